"""Events over HTTP: how many are answered in a second, and how many mails are accepted."""

from __future__ import annotations

from statistics import median

from . import cast, tables
from .options import Options
from .stage import stage
from .trial import Row, alternate

TITLE = "Events over HTTP"
TEXT = """\
One client with one connection that is kept alive posts {mails} events to `/v1/events` of the site as `manage.py up`
starts it (gunicorn, two processes), one a request or a hundred. 'events/s' are answered, which means committed;
'mails/s' are accepted by the sink, from the first request on, while the same processors answer. Medians of {rounds}
rounds.
"""
NAMES = {"single": "one event a request", "hundreds": "100 events a request"}


def run(options: Options) -> str:
    with stage() as place, cast.rows(cast.over_http(place), only=options.only) as rows:
        alternate(rows, mails=options.mails, rounds=options.rounds)
        head = ["", "database", "events/s", "mails/s", "range", *tables.PROCESSOR_HEAD]
        text = TEXT.format(mails=f"{options.mails:,}", rounds=options.rounds)
        return f"{text}\n{tables.table(head, [_line(row) for row in rows])}"


def _line(row: Row) -> list[str]:
    answered = median(trial.mails / trial.triggered for trial in row.trials)
    database = row.contender.database
    return [NAMES[row.way], database, tables.number(answered), *tables.rates(row), *tables.processor(row)]
