"""The benchmarks: a harness that measured something else than it says would be worse than none."""

from __future__ import annotations

import smtplib
from collections.abc import Iterable
from pathlib import Path

import pytest

from bench import cast, distance, mails, report, tables, trial
from bench.latency import quantile
from bench.others import Floor
from bench.sink import Sink, WrongMails
from bench.stage import SQLITE, stage
from tests.effort import LONG


def hand_over(sink: Sink, recipients: Iterable[str]) -> None:
    with smtplib.SMTP("127.0.0.1", sink.port) as session:
        for recipient in recipients:
            session.sendmail(mails.SENDER, [recipient], b"Subject: one\r\n\r\nHello\r\n")


@pytest.mark.parametrize("own", [True, False])  # False: smtp-sink, where there is one
def test_the_sink_tells_exactly_which_mails_came(own: bool) -> None:
    with Sink(own=own) as sink:
        hand_over(sink, ["a@example.org", "b@example.org"])
        sink.wait_for(2)
        assert sink.check(["b@example.org", "a@example.org"]) >= 2 * len("Subject: one\r\n\r\nHello\r\n")
        hand_over(sink, ["c@example.org", "c@example.org"])
        sink.wait_for(4)
        with pytest.raises(WrongMails, match=r"1 mails were lost, 1 came too often or for nobody: d@.*, c@"):
            sink.check(["c@example.org", "d@example.org"])


def test_the_sink_waits_no_longer_than_its_patience() -> None:
    with Sink(own=True, patience=0.2) as sink, pytest.raises(WrongMails, match="1 mails have not come"):
        sink.wait_for(1)


@LONG
@pytest.mark.processes
def test_our_rows_are_measured_and_a_lost_mail_makes_it_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "WARM_UP", 2)
    with Sink(refuse=mails.address(1000)) as sink, stage(sink) as place, cast.rows(cast.ours(place, [SQLITE])) as rows:
        with rows[0].contender as ours:
            trial.warm_up(ours)
            for row in rows:  # with enough mails for a processor that is counted in hundredths of a second
                row.trials.append(trial.measure(ours, mails=100, batch=ours.ways[row.way]))
            sink.patience, place.numbers = 4.0, 1000
            with pytest.raises(WrongMails, match="1 mails have not come"):
                trial.measure(ours, mails=2)
        assert [row.key for row in rows] == ["rootmail-sqlite-single", "rootmail-sqlite-hundreds"]
        assert all(row.rate > 0 and row.processor()["workers"] > 0 for row in rows)
        assert "| rootmail, events in hundreds " in tables.compared(rows)


def test_the_floor_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "WARM_UP", 2)
    with stage() as place:
        rows = [trial.Row(Floor(place, cast.FLOOR, "smtplib"), "", [])]
        trial.alternate(rows, mails=20, rounds=3)
    assert cast.floor(rows) is rows[0]
    assert [measured.mails for measured in rows[0].trials] == [20, 20, 20]
    assert rows[0].trials[0].size > 3000


def test_a_distant_relay_takes_a_round_trip_for_every_answer_that_somebody_waits_for() -> None:
    with Sink(secure=True) as sink, distance.distance(sink) as proxy, stage(sink, port=proxy.port) as place:
        row = trial.Row(Floor(place, cast.FLOOR, "smtplib"), "", [])
        travelled = distance._travel(row, proxy, mails=5)
    assert (travelled.trips_a_mail, travelled.sessions, travelled.connections) == (4, 1, 0)
    assert 5 * 4 * 0.02 <= travelled.trial.seconds < 5


def test_a_section_that_was_not_measured_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "FILE", tmp_path / "benchmarks.md")
    report.write({"growth": "## Growth\n\nold", "latency": "## Latency\n\nold"}, order=["latency", "growth"])
    report.write({"latency": "## Latency\n\nnew"}, order=["latency", "growth"])
    written = report.FILE.read_text()
    assert written.startswith("# Benchmarks\n")
    assert written.endswith(
        "<!-- section: latency -->\n## Latency\n\nnew\n\n<!-- section: growth -->\n## Growth\n\nold\n"
    )


def test_quantiles() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [quantile(values, part) for part in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
