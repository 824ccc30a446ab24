"""Mails per second from the first trigger to the last accepted mail, beside what a user would pick instead."""

from __future__ import annotations

from . import cast, tables
from .options import Options
from .stage import POSTGRESQL, stage
from .trial import alternate

TITLE = "Throughput"
TEXT = """\
The clock runs from the first trigger inside a process to the last mail that the sink accepted ({sink}, on loopback):
run, rendering, stored delivery, Celery, router, SMTP. Afterwards every mail has to be recorded as accepted, and the
sink must have got each of them exactly once, or there is no result. {mails} personalised mails of text and HTML each
time, two worker processes for everybody, medians of {rounds} rounds in which all took turns. 'x fastest peer' compares
with the fastest of the four on the same database (those without one count on both), 'x smtplib' with the floor.

`caller` is the process that triggers, and for django-mailer and django-post_office the sending commands that it starts
once everything is queued; `workers` is everything that runs besides: for rootmail the whole of `manage.py up` with
site and beat. The HTML is the same document for everybody: a Django template for the peers, Liquid and Markdown for
rootmail. Each peer opens connections as it does by itself. django-mailer sends with two processes on PostgreSQL and
with one on SQLite, where its lock allows no more; django-post_office with two, in batches of 1000 that are rendered
there, which is its fastest way. {postgres}
"""
MEASURED = "`PostgreSQL` is the whole database server."
NOT_MEASURED = "PostgreSQL was not measured: `TEST_POSTGRES_URL` names no server."


def run(options: Options) -> str:
    with stage() as place, cast.rows(cast.everybody(place), only=options.only) as rows:
        alternate(rows, mails=options.mails, rounds=options.rounds)
        with_postgres = POSTGRESQL in place.databases
        text = TEXT.format(
            sink=place.sink.name, mails=f"{options.mails:,}", rounds=options.rounds,
            postgres=MEASURED if with_postgres else NOT_MEASURED,
        )  # fmt: skip
        return f"{text}\n{tables.compared(rows)}"
