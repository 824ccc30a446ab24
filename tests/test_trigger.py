"""Triggering: in process, over HTTP, from the command line."""

from __future__ import annotations

import json
import random
import threading
import time
from datetime import timedelta
from io import StringIO
from typing import Any

import django.db
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from kombu.exceptions import OperationalError

from integrations import tokens
from integrations.models import ApiToken
from tests.installation import wait_until
from tests.test_documents import SMALL, changed
from workflows import documents, run_control, runs, services, tasks
from workflows.bell import Bell
from workflows.events import Incoming
from workflows.inserting import insert_alone
from workflows.models import Delivery, Event, Run, Workflow

SEV1 = {"incident": {"severity": "SEV1", "title": "Checkout slow"}}


@pytest.fixture
def rings(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    rung: list[dict[str, Any]] = []
    time_passes(monkeypatch)
    monkeypatch.setattr(services, "RING_EVERY", 60.0)  # whatever the machine does meanwhile
    monkeypatch.setattr(tasks.work, "apply_async", lambda **options: rung.append(options))
    return rung


def time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what was rung for last be long ago."""
    monkeypatch.setattr(services, "_spoken_for_until", 0.0)


@pytest.fixture
def workflow(db: None) -> Workflow:
    documents.load(changed("wait", None))
    return Workflow.objects.get()


@pytest.fixture
def headers(db: None) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens.create('pager', scopes=['trigger'], actor='a test')}"}


def post(client: Client, body: Any, headers: dict[str, str]) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post("/v1/events", content, content_type="application/json", headers=headers)


class TestInProcess:
    def test_within_a_transaction_it_rings_after_the_commit(
        self, workflow: Workflow, rings: list[dict[str, Any]], django_capture_on_commit_callbacks: Any
    ) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            done = services.trigger(Incoming("incident_created", SEV1))
            assert rings == []
        [rung] = rings
        assert rung.keys() == {"args", "retry"}, "what Celery lets expire, a worker whose clock is ahead throws away"
        assert rung["retry"] is False
        assert 60 < rung["args"][0] - time.time() <= 120
        run = Run.objects.get()
        assert done.as_dict() == {
            "event_id": str(Event.objects.get().pk),
            "runs": [{"id": str(run.pk), "workflow": "tell", "status": "queued"}],
            "skipped": [],
            "repeat": False,
        }
        assert (run.event.data, run.triggered_by) == (SEV1, "system")

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize(("took_long", "rung"), [(False, 1), (True, 2)])
    def test_rings_before_it_stores_and_again_where_that_took_long(
        self,
        workflow: Workflow,
        rings: list[dict[str, Any]],
        monkeypatch: pytest.MonkeyPatch,
        took_long: bool,
        rung: int,
    ) -> None:
        before: list[int] = []

        def slow(*tables: Any, **options: Any) -> None:
            before.append(len(rings))
            if took_long:
                time_passes(monkeypatch)
            insert_alone(*tables, **options)

        monkeypatch.setattr(services, "insert_alone", slow)
        services.trigger(Incoming("incident_created", SEV1))
        assert (before, len(rings)) == ([1], rung)

    def test_of_two_batches_none_waits_for_the_other_that_waits_for_it(
        self, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever order they come in: PostgreSQL ended one of two such batches as a deadlock."""
        Workflow.objects.update(run_once_per_resource=True)
        stored: list[list[str | None]] = []

        def note(events: list[Event], runs: list[Run], **_: Any) -> None:
            stored.append([event.key for event in events] + [run.once_key for run in runs])

        monkeypatch.setattr(services, "insert_alone", note)
        about = [Incoming("incident_created", {"incident": {"id": n, "severity": "sev1"}}, key=n) for n in "abc"]
        for batch in (about, about[::-1]):
            services.trigger_all(batch)
        one, other = stored
        assert one == other == ["a", "b", "c", "incident:a", "incident:b", "incident:c"]

    @pytest.mark.django_db(transaction=True)
    def test_rings_for_nobody_where_no_workflow_runs(self, workflow: Workflow, rings: list[dict[str, Any]]) -> None:
        services.trigger(Incoming("incident_created", {"incident": {"severity": "sev3"}}))
        assert rings == []

    def test_rings_once_for_what_happens_in_the_same_moment(
        self, workflow: Workflow, rings: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(3):
            services.ring()
        assert len(rings) == 1
        time_passes(monkeypatch)
        services.ring()
        assert len(rings) == 2

    def test_says_why_a_workflow_did_not_run(self, workflow: Workflow) -> None:
        done = services.trigger(Incoming("incident_created", {"incident": {"severity": "sev3"}}))
        reason = "Its conditions do not hold: incident.severity is 'sev0' or 'sev1' (it is 'sev3')."
        assert done.as_dict()["skipped"] == [{"workflow": "tell", "reason": reason}]
        Workflow.objects.update(enabled=False)
        done = services.trigger(Incoming("incident_created", SEV1))
        assert done.as_dict()["skipped"] == [{"workflow": "tell", "reason": "The workflow is switched off."}]
        assert not Run.objects.exists()
        assert Event.objects.count() == 2

    def test_another_event_concerns_nobody(self, workflow: Workflow) -> None:
        done = services.trigger(Incoming("alert_created", SEV1)).as_dict()
        assert (done["runs"], done["skipped"]) == ([], [])

    def test_the_same_key_makes_no_second_run(self, workflow: Workflow) -> None:
        first = services.trigger(Incoming("incident_created", SEV1, key="k"))
        again = services.trigger(Incoming("incident_created", {"incident": {"severity": "sev0"}}, key="k"))
        assert (first.repeated, again.repeated) == (False, True)
        assert first.as_dict() | {"repeat": True} == again.as_dict()
        assert Run.objects.count() == 1

    def test_a_known_key_is_answered_with_the_runs_of_the_first_time_alone(self, workflow: Workflow) -> None:
        incoming = Incoming("incident_created", SEV1, key="k")
        first = services.trigger(incoming)
        Workflow.objects.update(repeat_every_duration="1 day")
        runs.execute_due()
        run_control.again(first.runs[0], actor="ada")
        assert Run.objects.count() == 3
        assert [run.pk for run in services.trigger(incoming).runs] == [run.pk for run in first.runs]

    def test_a_wait_delays_the_run_in_the_database(self, workflow: Workflow) -> None:
        documents.load(SMALL)
        services.trigger(Incoming("incident_created", SEV1))
        run = Run.objects.get()
        assert run.due_at == run.event.received_at + timedelta(seconds=30)

    def test_a_broker_that_is_down_costs_a_log_line(
        self, workflow: Workflow, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def refuse(**_: Any) -> None:
            raise OperationalError("connection refused")

        monkeypatch.setattr(tasks.work, "apply_async", refuse)
        monkeypatch.setattr(services, "_silent_until", 0.0)
        monkeypatch.setattr(services, "_spoken_for_until", 0.0)
        services.ring()
        services.ring()  # not tried again at once
        assert [record.getMessage() for record in caplog.records] == [
            "The broker does not answer (connection refused). The sweeper will ring again."
        ]

    def test_a_broker_that_hangs_holds_up_nobody_for_long(
        self, workflow: Workflow, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Frozen, or behind a firewall that drops: each request waited for ten seconds, and senders gave up."""
        rung, answers = [], threading.Event()
        monkeypatch.setattr(tasks.work, "apply_async", lambda **_: rung.append(answers.wait()))
        monkeypatch.setattr(services, "RING_WITHIN", 0.05)
        monkeypatch.setattr(services, "RING_AGAIN_AFTER", 0.0)
        monkeypatch.setattr(services, "_silent_until", 0.0)
        time_passes(monkeypatch)
        threading.Timer(5.0, answers.set).start()
        began = time.monotonic()
        services.ring()
        time_passes(monkeypatch)
        services.ring()  # the first one has not come through yet
        assert time.monotonic() - began < 2
        assert [record.getMessage() for record in caplog.records] == [
            "The broker does not answer (nothing within 0.05 s). The sweeper will ring again."
        ]
        answers.set()
        wait_until(lambda: not services._bell.is_ringing)
        services.ring()
        assert rung == [True, True]

    def test_an_event_is_answered_where_the_system_gives_no_thread(
        self, rings: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(services, "_bell", Bell(services._ring))
        monkeypatch.setattr(threading.Thread, "start", refuse)
        monkeypatch.setattr(services, "_silent_until", 0.0)
        services.ring()
        assert (rings, "can't start new thread" in caplog.text) == ([], True)

    @pytest.mark.django_db(transaction=True)
    def test_a_workflow_that_is_deleted_just_now_has_no_run(
        self, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What happens to an event is found out before the transaction that stores it."""
        store = services._store

        def deleted_before(new: Any) -> None:
            Workflow.objects.all().delete()
            store(new)

        monkeypatch.setattr(services, "_store", deleted_before)
        assert services.trigger(Incoming("incident_created", SEV1)).runs == []
        assert (Event.objects.count(), Run.objects.count()) == (1, 0)

    @pytest.mark.django_db(transaction=True)
    def test_a_repeat_waits_until_its_first_is_on_the_disk(
        self, workflow: Workflow, rings: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who is answered that an event is known already may rely on it, whoever brought it first."""
        services.trigger(Incoming("incident_created", SEV1, key="k"))
        waited: list[int] = []
        monkeypatch.setattr("rootmail.sqlite.base._sync", waited.append)
        assert services.trigger(Incoming("incident_created", SEV1, key="k")).repeated
        assert len(waited) == (connection.vendor == "sqlite")  # PostgreSQL shows nothing that is not on the disk

    @pytest.mark.django_db(transaction=True)
    def test_batches_that_share_events_do_not_hinder_one_another(self, rings: list[dict[str, Any]]) -> None:
        documents.load(changed("wait", None))
        failed: list[Exception] = []
        gate = threading.Barrier(4)

        def trigger(seed: int) -> None:
            choose = random.Random(seed)
            gate.wait()
            try:
                for number in range(6):
                    keys = [f"{number}-{choose.randrange(30)}" for _ in range(10)]
                    services.trigger_all([Incoming("incident_created", SEV1, key=key) for key in keys])
            except Exception as error:
                failed.append(error)
            connection.close()

        threads = [threading.Thread(target=trigger, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert Event.objects.count() == Run.objects.count()

    @pytest.mark.django_db(transaction=True)
    def test_the_same_event_at_once_from_many_sides_makes_one_run(self, rings: list[dict[str, Any]]) -> None:
        documents.load(changed("wait", None))
        answers: list[dict[str, Any]] = []
        gate = threading.Barrier(4)

        def trigger() -> None:
            gate.wait()
            answers.append(services.trigger(Incoming("incident_created", SEV1, key="same")).as_dict())
            connection.close()

        threads = [threading.Thread(target=trigger) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 4
        assert sorted(answer.pop("repeat") for answer in answers) == [False, True, True, True]
        assert all(answer == answers[0] for answer in answers)
        assert (Event.objects.count(), Run.objects.count()) == (1, 1)


@pytest.mark.usefixtures("rings")
class TestHttp:
    @pytest.mark.django_db(transaction=True)
    def test_answers_202_with_the_runs(self, client: Client, workflow: Workflow, headers: dict[str, str]) -> None:
        answer = post(client, {"event": "incident_created", "data": SEV1}, headers)
        run = Run.objects.get()
        assert (answer.status_code, answer.json()) == (
            202,
            {
                "event_id": str(run.event_id),
                "runs": [{"id": str(run.pk), "workflow": "tell", "status": "queued"}],
                "skipped": [],
                "repeat": False,
            },
        )

    def test_a_repeat_is_answered_with_200(self, client: Client, workflow: Workflow, headers: dict[str, str]) -> None:
        event = {"event": "incident_created", "id": "k-1", "data": SEV1}
        first, again = post(client, event, headers), post(client, event, headers)
        assert (first.status_code, again.status_code) == (202, 200)
        assert first.json() | {"repeat": True} == again.json()

    def test_a_repeat_names_no_workflow_that_was_skipped(
        self, client: Client, workflow: Workflow, headers: dict[str, str]
    ) -> None:
        event = {"event": "incident_created", "id": "k-1", "data": {"incident": {"severity": "sev3"}}}
        first, again = post(client, {"events": [event, event]}, headers).json()["events"]
        assert ([one["workflow"] for one in first["skipped"]], again["skipped"]) == (["tell"], [])
        assert post(client, event, headers).json() == again

    @pytest.mark.parametrize(
        ("name", "data", "other"),
        [
            ("incident_updated", {"incident": {"id": 7}}, "incident_created"),
            ("incident_created", {"incident": {"id": 8}}, "incident_created about something else"),
            ("incident_created", {}, "incident_created about something else"),
        ],
    )
    def test_an_id_that_another_event_had_is_409_and_nothing_stored(
        self, client: Client, workflow: Workflow, headers: dict[str, str], name: str, data: Any, other: str
    ) -> None:
        first = {"event": "incident_created", "id": "k-1", "data": {"incident": {"id": 7}}}
        assert post(client, first, headers).status_code == 202
        told = {"event": name, "id": "k-1", "data": data}
        answer, several = post(client, told, headers), post(client, {"events": [first | {"id": "k-2"}, told]}, headers)
        at = f"{Event.objects.get().received_at:%Y-%m-%d at %H:%M:%S} UTC"
        detail = (
            f"The id 'k-1' was used before, on {at}, for another event: {other}. Nothing is stored: send this one with "
            "an id of its own."
        )
        assert [answer.status_code, several.status_code] == [409, 409]
        assert answer.json()["errors"] == [{"title": "Conflict", "status": "409", "detail": detail}]
        assert several.json()["errors"][0]["detail"] == f"Event 2: {detail}"

    def test_one_id_for_two_events_of_a_batch_is_409(
        self, client: Client, workflow: Workflow, headers: dict[str, str]
    ) -> None:
        two = [{"event": name, "id": "k-1"} for name in ("pulse_created", "alert_created")]
        assert post(client, {"events": two}, headers).status_code == 409
        assert not Event.objects.exists()

    def test_several_events_are_answered_one_by_one(
        self, client: Client, workflow: Workflow, headers: dict[str, str]
    ) -> None:
        event = {"event": "incident_created", "id": "k-1", "data": SEV1}
        own = {"event": "deploy.finished", "data": {"id": 3}}
        answer = post(client, {"events": [event, own, event]}, headers)
        first, second, third = answer.json()["events"]
        assert answer.status_code == 202
        assert first | {"repeat": True} == third
        assert ([run["workflow"] for run in first["runs"]], second["runs"], second["skipped"]) == (["tell"], [], [])
        assert post(client, {"events": [event]}, headers).status_code == 200
        assert (Event.objects.count(), Run.objects.count()) == (2, 1)

    def test_the_key_as_a_header(self, client: Client, workflow: Workflow, headers: dict[str, str]) -> None:
        event = {"event": "incident_created", "data": SEV1}
        first, again = (post(client, event, {**headers, "Idempotency-Key": key}) for key in ("k-1", '"k-1"'))
        assert (first.status_code, again.status_code) == (202, 200)
        assert Event.objects.get().key == "k-1"

    def test_a_key_in_the_header_is_the_same_as_in_the_body(
        self, client: Client, workflow: Workflow, headers: dict[str, str]
    ) -> None:
        event = {"event": "incident_created", "data": SEV1}
        first = post(client, event | {"id": "für"}, headers)
        sent = "für".encode().decode("latin-1")  # as WSGI hands it over
        assert post(client, event, {**headers, "Idempotency-Key": sent}).json()["event_id"] == first.json()["event_id"]

    @pytest.mark.parametrize(
        ("key", "said"), [("", "must be a text of 1 to 200"), ('""', "must be a text"), ("f\xfcr", "is not UTF-8.")]
    )
    def test_a_header_that_holds_no_key_is_400(
        self, client: Client, headers: dict[str, str], key: str, said: str
    ) -> None:
        answer = post(client, {"event": "pulse_created"}, {**headers, "Idempotency-Key": key})
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["detail"].startswith(f"The header Idempotency-Key {said}")

    def test_one_wrong_event_of_several_stores_none(
        self, client: Client, workflow: Workflow, headers: dict[str, str]
    ) -> None:
        answer = post(client, {"events": [{"event": "incident_created", "data": SEV1}, {"event": "lunch"}]}, headers)
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["detail"].startswith("Event 2: Unknown event 'lunch'")
        assert not Event.objects.exists()

    def test_the_log_names_an_event_that_nobody_heard(
        self, client: Client, headers: dict[str, str], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", logger="workflows.api")
        post(client, {"event": "deploy.finished", "data": {"secret": "hunter2"}}, headers)
        [line] = [record.getMessage() for record in caplog.records if record.name == "workflows.api"]
        assert line == f"event {Event.objects.get().pk}: no run of deploy.finished"

    def test_the_slash_at_the_end_may_be_there(self, client: Client, headers: dict[str, str]) -> None:
        answer = client.post("/v1/events/", b'{"event": "pulse_created"}', content_type="text/plain", headers=headers)
        assert answer.status_code == 202

    @pytest.mark.parametrize(
        ("body", "status", "detail"),
        [
            (b"{", 400, "This is not JSON"),
            ({"event": "lunch"}, 400, "Unknown event 'lunch'"),
            ({"event": "incident_created", "data": 1}, 400, "'data' must be an object"),
            (b'{"event": "pulse_created", "data": {"x": "' + b"y" * 1024 * 1024 + b'"}}', 413, "At most 1048576 bytes"),
        ],
    )
    def test_bad_input_is_refused_and_nothing_stored(
        self, client: Client, headers: dict[str, str], body: Any, status: int, detail: str
    ) -> None:
        answer = post(client, body, headers)
        assert answer.status_code == status
        assert answer.json()["errors"][0]["status"] == str(status)
        assert answer.json()["errors"][0]["detail"].startswith(detail)
        assert not Event.objects.exists()

    @pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer  ", "Bearer wrong", "Basic dTpw", "rm_x"])
    def test_without_a_valid_token_401(self, client: Client, db: None, authorization: str | None) -> None:
        answer = post(client, {"event": "pulse_created"}, {"Authorization": authorization} if authorization else {})
        assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")
        assert not Event.objects.exists()

    def test_a_revoked_token_is_no_token(self, client: Client, headers: dict[str, str]) -> None:
        ApiToken.objects.update(revoked_at=timezone.now())
        assert post(client, {"event": "pulse_created"}, headers).status_code == 401

    def test_a_token_without_the_scope_403(self, client: Client, db: None) -> None:
        token = tokens.create("reader", scopes=["read"], actor="a test")
        answer = post(client, {"event": "pulse_created"}, {"Authorization": f"Bearer {token}"})
        assert answer.status_code == 403
        assert not Event.objects.exists()

    def test_plain_http_is_refused_where_the_site_has_https_and_never_redirected(
        self, client: Client, headers: dict[str, str], settings: Any
    ) -> None:
        settings.SECURE_SSL_REDIRECT = True
        answer = post(client, {"event": "pulse_created"}, headers)
        assert (answer.status_code, b"begins with https" in answer.content) == (403, True)
        assert not Event.objects.exists()

    def test_a_get_is_405(self, client: Client, headers: dict[str, str]) -> None:
        answer = client.get("/v1/events", headers=headers)
        assert (answer.status_code, answer["Allow"]) == (405, "POST")

    @pytest.mark.parametrize("path", ["/v1/", "/v1/event", "/v1/events/7", "/v1/events//"])
    def test_another_address_is_404_as_every_error_is_told(self, path: str) -> None:
        answer = Client(enforce_csrf_checks=True).post(path, b"{}", content_type="application/json")
        detail = "There is no such address. Events go to /v1/events; /v1/runs and /v1/deliveries tell of them."
        assert (answer.status_code, answer.json()) == (
            404,
            {"errors": [{"title": "Not found", "status": "404", "detail": detail}]},
        )

    def test_a_compressed_body_is_415(self, client: Client, headers: dict[str, str]) -> None:
        assert post(client, b"x", headers | {"Content-Encoding": "gzip"}).status_code == 415

    def test_a_session_is_no_substitute_for_a_token(self, as_admin: Client) -> None:
        assert post(as_admin, {"event": "pulse_created"}, {}).status_code == 401

    @pytest.mark.parametrize("error", [django.db.OperationalError, django.db.InterfaceError, django.db.InternalError])
    def test_a_database_that_is_away_or_only_read_is_503(
        self,
        client: Client,
        headers: dict[str, str],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        error: type[Exception],
    ) -> None:
        def refuse(*_: Any) -> None:
            raise error("cannot execute INSERT in a read-only transaction")

        monkeypatch.setattr(services, "trigger_all", refuse)
        answer = post(client, {"event": "incident_created"}, headers)
        assert (answer.status_code, answer["Retry-After"]) == (503, "10")
        assert answer.json()["errors"][0]["detail"] == "The database does not answer. Try again."
        [line] = [record for record in caplog.records if record.name == "rootmail.http"]
        assert line.getMessage() == "The database takes nothing: cannot execute INSERT in a read-only transaction"
        assert not line.exc_info, "a traceback for every request fills a disk that is nearly full"


@pytest.mark.usefixtures("rings")
class TestCommand:
    def run(self, *arguments: str, capsys: pytest.CaptureFixture[str] | None = None) -> tuple[str, str]:
        out, err = StringIO(), StringIO()
        call_command("workflow", *arguments, stdout=out, stderr=err)
        return out.getvalue(), err.getvalue()

    def test_prints_the_run_ids(self, workflow: Workflow, tmp_path: Any) -> None:
        (tmp_path / "data.json").write_text(json.dumps(SEV1))
        out, err = self.run("trigger", "incident_created", str(tmp_path / "data.json"))
        assert (out, err) == (f"{Run.objects.get().pk}\n", "")
        assert Run.objects.get().triggered_by == "user"

    def test_takes_a_whole_event_from_standard_input(self, workflow: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", StringIO(json.dumps({"event": "incident_created", "id": "k", "data": SEV1})))
        out, _ = self.run("trigger", "incident_created", "-", "--json")
        assert json.loads(out)["runs"] == [{"id": str(Run.objects.get().pk), "workflow": "tell", "status": "queued"}]
        assert Event.objects.get().key == "k"

    def test_says_on_standard_error_what_was_skipped(self, workflow: Workflow) -> None:
        out, err = self.run("trigger", "incident_created")
        reason = "Its conditions do not hold: incident.severity is 'sev0' or 'sev1' (it is not set)."
        assert (out, err.strip()) == ("", f"tell: {reason}")

    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            (["trigger", "lunch"], "Unknown event 'lunch'"),
            (["trigger", "incident_created", "/no/such/file"], "cannot be read"),
            (["load", "/no/such/file"], "cannot be read"),
        ],
    )
    def test_errors_are_for_people(self, db: None, arguments: list[str], complaint: str) -> None:
        with pytest.raises(CommandError, match=complaint):
            self.run(*arguments)

    def test_load_and_dump(self, db: None, tmp_path: Any) -> None:
        (tmp_path / "w.json").write_text(json.dumps(SMALL))
        assert self.run("load", str(tmp_path / "w.json")) == ("tell: created\n", "")
        assert self.run("load", str(tmp_path / "w.json")) == ("tell: unchanged\n", "")
        assert json.loads(self.run("dump")[0]) == SMALL

    def test_a_file_that_is_not_json(self, db: None, tmp_path: Any) -> None:
        (tmp_path / "w.json").write_text("workflows: []")
        with pytest.raises(CommandError, match="is not JSON"):
            self.run("load", str(tmp_path / "w.json"))

    def test_without_mail_deliveries_say_so(self, db: None) -> None:
        out = StringIO()
        call_command("deliveries", stdout=out)
        call_command("deliveries", "--json", stdout=out)
        assert out.getvalue() == "No mail yet.\n[]\n"
        assert not Delivery.objects.exists()
