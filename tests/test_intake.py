"""Receiving what other systems post: proof, the order of the checks, repeats, states, limits, what is kept of it."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from integrations import clock
from integrations.models import AuditEvent
from rootmail.logs import WithoutAddresses
from tests.damage import lose_key_of
from tests.test_documents import changed
from workflows import documents, endpoints, intake, receipts, retention
from workflows.ids import first_id_at
from workflows.models import Event, Run
from workflows.webhook_models import WebhookEndpoint, WebhookKey, WebhookReceipt, WebhookSubject
from workflows.webhooks import SENDERS, Foreign, Reading, Sender, Unreadable

pytestmark = pytest.mark.django_db

SECRET = "a secret of the sender"
SEV1 = {"incident": {"id": "i-1", "severity": "SEV1", "title": "Checkout slow"}}
NOON = datetime(2026, 3, 2, 12, 0, 20, tzinfo=UTC)


def read_probe(headers: Mapping[str, str], body: Any, options: Mapping[str, Any]) -> Reading:
    """Stand in for an adapter: the body names the events that it makes."""
    if not isinstance(body, dict):
        raise Unreadable("The body must be an object.")
    if "status" in body:
        raise Unreadable("This sender cannot do that.", status=body["status"])
    return Reading(tuple(Foreign(**one) for one in body.get("events", [])), body.get("ignored", ""))


@pytest.fixture(autouse=True)
def _probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SENDERS, "probe", Sender("probe", "Probe", read_probe, (), "none", ""))


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOON)


def made(**values: Any) -> tuple[WebhookEndpoint, str]:
    """Return a new endpoint and the path of its address."""
    row = WebhookEndpoint(**{"name": "probe", "kind": "probe", "scheme": "none"} | values)
    handed = endpoints.create(row, actor="ada")
    return row, handed.address.partition("/hooks/")[2].join(["/hooks/", ""])


@pytest.fixture
def path(db: None) -> str:
    documents.load(changed("wait", None))
    return made()[1]


def event(key: str = "k-1", **values: Any) -> dict[str, Any]:
    return {"name": "incident_created", "key": key, "data": SEV1} | values


def post(client: Client, path: str, *told: dict[str, Any], raw: bytes | None = None, **headers: str) -> Any:
    body = json.dumps({"events": told}).encode() if raw is None else raw
    return client.post(path, body, "application/json", headers=headers)


def seen() -> list[tuple[str, int, str]]:
    return list(WebhookReceipt.objects.order_by("pk").values_list("outcome", "status", "reason"))


class TestAnswers:
    def test_202_names_the_events_and_their_runs(self, client: Client, path: str) -> None:
        answer = post(client, path, event())
        stored, run = Event.objects.get(), Run.objects.get()
        assert (answer.status_code, answer.json()) == (
            202,
            {
                "outcome": "stored",
                "reason": "",
                "events": [
                    {
                        "event": "incident_created",
                        "repeat": False,
                        "event_id": str(stored.pk),
                        "runs": [{"id": str(run.pk), "workflow": "tell", "status": "queued"}],
                        "skipped": [],
                    }
                ],
            },
        )
        row = WebhookEndpoint.objects.get()
        assert (stored.key, stored.data, stored.resource) == (f"webhook:{row.pk}:k-1", SEV1, "incident:i-1")
        assert list(WebhookReceipt.objects.values_list("made", flat=True)) == [
            [{"name": "incident_created", "event": str(stored.pk), "repeat": False}]
        ]

    def test_a_repeat_is_answered_with_200_and_makes_nothing(self, client: Client, path: str) -> None:
        post(client, path, event())
        answer = post(client, path, event(data={"incident": {"severity": "sev0"}}))
        assert (answer.status_code, answer.json()) == (
            200,
            {
                "outcome": "duplicate",
                "reason": "All of it was told before.",
                "events": [{"event": "incident_created", "repeat": True}],
            },
        )
        assert (Event.objects.count(), Run.objects.count()) == (1, 1)

    def test_what_is_ignored_is_answered_with_200_and_the_reason(self, client: Client, path: str) -> None:
        answer = post(client, path, raw=b'{"ignored": "A test: received, it triggers nothing."}')
        assert (answer.status_code, answer.json()) == (
            200,
            {"outcome": "ignored", "reason": "A test: received, it triggers nothing.", "events": []},
        )

    @pytest.mark.parametrize("slash", ["/", ""])
    @pytest.mark.parametrize("method", ["post", "put"])
    def test_the_slash_at_the_end_may_be_missing(self, client: Client, path: str, slash: str, method: str) -> None:
        answer = getattr(client, method)(path.rstrip("/") + slash, b"{}", "text/plain")
        assert (answer.status_code, answer.json()["outcome"]) == (200, "ignored")

    @pytest.mark.parametrize(
        ("raw", "headers", "status", "said"),
        [
            (b" ", {}, 400, "This is not JSON that can be read"),
            (b"[1]", {}, 400, "The body must be an object."),
            (b'{"x": NaN}', {}, 400, "This is not JSON that can be read: NaN is not JSON"),
            (b'{"x": 1e999}', {}, 400, "A number in the data is too large."),
            (b'{"x": ' + b"9" * 5000 + b"}", {}, 400, "A number in the data has thousands of digits"),
            (
                b"payload=%7B%7D",
                {},
                400,
                "This is not JSON that can be read: it is a form. Choose application/json",
            ),
            (b'{"x": ' + b"[" * 100 + b"]" * 100 + b"}", {}, 400, "The data is nested deeper than 50 levels."),
            (b'{"x": ' + b"[" * 99_999, {}, 400, "The data is nested deeper than 50 levels."),
            (b'{"x": "\xff"}', {}, 400, "The body is not UTF-8."),
            (b'{"status": 415}', {}, 415, "This sender cannot do that."),
            (b'{"events": [{"name": "lunch", "key": "k", "data": {}}]}', {}, 400, "Unknown event 'lunch'."),
            (b" " * 1_048_577, {}, 413, "At most 1048576 bytes are taken."),
            (b"{}", {"Content-Encoding": "gzip"}, 415, "Send the body without Content-Encoding."),
            (b"{}", {"Content-Length": ""}, 411, "Send a Content-Length header."),
        ],
    )
    def test_what_cannot_be_read_is_refused_and_nothing_stored(
        self, client: Client, path: str, raw: bytes, headers: dict[str, str], status: int, said: str
    ) -> None:
        answer = post(client, path, raw=raw, **headers)
        assert answer.status_code == status
        assert answer.json()["errors"][0]["detail"].startswith(said)
        assert not Event.objects.exists()
        assert not WebhookKey.objects.exists()

    @pytest.mark.parametrize("method", ["get", "head", "delete", "options", "patch"])
    def test_other_methods_are_405(self, client: Client, path: str, method: str) -> None:
        answer = getattr(client, method)(path)
        assert (answer.status_code, answer["Allow"]) == (405, "POST, PUT")

    @pytest.mark.parametrize("address", ["x", "x" * 43, "0" * 36, "01890000-0000-7000-8000-000000000000", "x" * 100])
    def test_an_unknown_address_is_404_in_json(self, client: Client, path: str, address: str) -> None:
        answer = post(client, f"/hooks/{address}/", event())
        assert (answer.status_code, answer.json()["errors"][0]["title"]) == (404, "Not found")

    def test_an_endpoint_that_is_deleted_meanwhile_is_404(
        self, client: Client, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = intake._read

        def too_late(endpoint: WebhookEndpoint, posted: intake.Posted) -> Reading:
            WebhookEndpoint.objects.filter(pk=endpoint.pk).delete()
            return read(endpoint, posted)

        monkeypatch.setattr(intake, "_read", too_late)
        assert post(client, path, event()).status_code == 404
        assert not WebhookReceipt.objects.exists()

    def test_a_retired_address_is_410(self, client: Client, path: str) -> None:
        row = WebhookEndpoint.objects.get()
        endpoints.set_retired(row, True, actor="ada")
        assert post(client, path, event()).status_code == 410
        endpoints.set_retired(row, False, actor="ada")
        assert post(client, path, event()).status_code == 202

    def test_a_database_that_is_away_is_503(self, client: Client, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any) -> None:
            raise OperationalError("connection refused")

        monkeypatch.setattr(endpoints, "find", refuse)
        answer = post(client, path, event())
        assert (answer.status_code, answer["Retry-After"]) == (503, "10")

    def test_plain_http_is_refused_where_the_site_has_https_and_never_redirected(
        self, client: Client, path: str, settings: Any
    ) -> None:
        settings.SECURE_SSL_REDIRECT = True
        assert post(client, path, event()).status_code == 403
        assert client.post(path, b"{}", "application/json", secure=True).status_code == 200

    def test_neither_a_cookie_nor_a_log_in_is_needed_or_set(self, path: str) -> None:
        answer = post(Client(enforce_csrf_checks=True), path, event())
        assert (answer.status_code, answer.cookies) == (202, {})


class TestProof:
    def sign(self, body: bytes) -> str:
        return "v1=" + hmac.digest(SECRET.encode(), body, hashlib.sha256).hex()

    def test_a_wrong_signature_is_401_and_its_body_is_not_read(self, client: Client) -> None:
        _, path = made(scheme="pagerduty", secret=SECRET)
        body = b'{"password": "x", "not json'
        answers = [
            post(client, path, raw=body, **headers)
            for headers in ({}, {"X-PagerDuty-Signature": "v1=00"}, {"X-PagerDuty-Signature": "v1=é"})
        ]
        assert {answer.status_code for answer in answers} == {401}
        assert len({answer.content for answer in answers}) == 1, "one text for all of them"
        [receipt] = WebhookReceipt.objects.all()
        assert (receipt.outcome, receipt.times, receipt.body) == ("refused", 3, "")

    @pytest.mark.parametrize(
        ("scheme", "secret", "challenge"),
        [("basic", "user:password", 'Basic realm="rootmail"'), ("bearer", SECRET, "Bearer")],
    )
    def test_401_says_which_proof_is_asked_for(self, client: Client, scheme: str, secret: str, challenge: str) -> None:
        _, path = made(scheme=scheme, secret=secret)
        answer = post(client, path)
        assert (answer.status_code, answer["WWW-Authenticate"]) == (401, challenge)

    def test_what_is_too_large_or_compressed_is_listed_without_its_body(self, client: Client) -> None:
        row, path = made(scheme="pagerduty", secret=SECRET)
        for _ in range(2):
            post(client, path, raw=b" " * 1_048_577)
            post(client, path, raw=b"x", **{"Content-Encoding": "gzip"})
            post(client, f"/hooks/{row.pk}/", raw=b"x", **{"Content-Length": ""})
        assert list(WebhookReceipt.objects.order_by("pk").values_list("outcome", "status", "times", "body")) == [
            ("refused", status, 2, "") for status in (413, 415, 411)
        ]
        assert seen()[0][2] == "At most 1048576 bytes are taken."

    def test_refusals_by_turns_do_not_fill_the_list(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        _, path = made(scheme="pagerduty", secret=SECRET)
        for minutes in (0, 4, 8, 14):
            monkeypatch.setattr(clock, "now", lambda after=minutes: NOON + timedelta(minutes=after))
            post(client, path, raw=b"{}")
            post(client, path, raw=b" " * 1_048_577)
        assert [(row.status, row.times) for row in WebhookReceipt.objects.order_by("pk")] == [
            (401, 3), (413, 3), (401, 1), (413, 1),
        ]  # fmt: skip

    def test_nothing_is_noted_of_an_address_that_is_unknown_or_retired(self, client: Client) -> None:
        row, path = made()
        endpoints.set_retired(row, True, actor="ada")
        answers = [post(client, one, raw=b" " * 1_048_577) for one in (path, "/hooks/x/")]
        assert [answer.status_code for answer in answers] == [413, 413]
        assert not WebhookReceipt.objects.exists()

    def test_a_genuine_one_is_taken_at_the_address_and_at_the_id(self, client: Client) -> None:
        row, path = made(scheme="pagerduty", secret=SECRET)
        body = json.dumps({"events": [event()]}).encode()
        headers = {"X-PagerDuty-Signature": self.sign(body)}
        assert post(client, path, raw=body, **headers).status_code == 202
        assert post(client, f"/hooks/{row.pk}", raw=body, **headers).status_code == 200

    def test_the_id_is_no_address_of_a_sender_that_proves_nothing(self, client: Client) -> None:
        row, _ = made()
        assert post(client, f"/hooks/{row.pk}/", event()).status_code == 404

    def test_two_secrets_are_valid_until_the_old_one_is_ended(self, client: Client) -> None:
        row, path = made(scheme="bearer", secret=SECRET)
        new = endpoints.exchange_secret(row, actor="ada").secret
        asked = [{"Authorization": f"Bearer {secret}"} for secret in (SECRET, new)]
        assert [post(client, path, **headers).status_code for headers in asked] == [200, 200]
        endpoints.end_old(row, actor="ada")
        assert [post(client, path, **headers).status_code for headers in asked] == [401, 200]

    def test_two_addresses_are_valid_until_the_old_one_is_ended(self, client: Client) -> None:
        row, path = made()
        new = "/hooks/" + endpoints.exchange_address(row, actor="ada").address.partition("/hooks/")[2]
        assert [post(client, one).status_code for one in (path, new)] == [200, 200]
        endpoints.end_old(row, actor="ada")
        assert [post(client, one).status_code for one in (path, new)] == [404, 200]

    def test_a_secret_that_cannot_be_decrypted_is_503(self, client: Client) -> None:
        row, path = made(scheme="bearer", secret=SECRET)
        lose_key_of(row, "secret")
        answer = post(client, path)
        assert (answer.status_code, answer["Retry-After"]) == (503, "10")

    def test_tokens_and_secrets_are_stored_nowhere_in_clear(self, client: Client) -> None:
        row, path = made(scheme="bearer", secret=SECRET)
        post(client, path, event(), Authorization=f"Bearer {SECRET}")
        token = path.split("/")[2]
        assert row.digest == hashlib.sha256(token.encode()).hexdigest()
        kept = [str(list(model.objects.values())) for model in (WebhookReceipt, WebhookSubject, WebhookKey, AuditEvent)]
        assert not any(word in text for word in (token, SECRET) for text in kept)


class TestRepeats:
    def test_a_state_that_is_repeated_makes_nothing_and_a_change_does(self, client: Client, path: str) -> None:
        told = {"name": "alert_status_updated", "first": "alert_created", "subject": "a-1"}
        for key, state in ((1, "open"), (2, "open"), (3, "resolved"), (4, "resolved"), (5, "open")):
            post(client, path, event(str(key), data={"alert": {"id": "a-1", "n": key}}, state=state, **told))
        assert list(Event.objects.order_by("pk").values_list("name", "data__alert__n")) == [
            ("alert_created", 1),
            ("alert_status_updated", 3),
            ("alert_status_updated", 5),
        ]
        assert [outcome for outcome, *_ in seen()] == ["stored", "duplicate", "stored", "duplicate", "stored"]

    def test_after_the_last_event_of_a_subject_the_next_one_is_a_first_one(self, client: Client, path: str) -> None:
        told = {"name": "alert_status_updated", "first": "alert_created", "subject": "g", "data": {"alert": {"id": 1}}}
        for key, state, last in (("1", "open", False), ("2", "over", True), ("3", "over", True), ("4", "open", False)):
            post(client, path, event(key, state=state, last=last, **told))
        assert list(Event.objects.order_by("pk").values_list("name", flat=True)) == [
            "alert_created",
            "alert_status_updated",
            "alert_created",
        ]

    def test_a_part_is_laid_over_the_last_whole_data(self, client: Client, path: str) -> None:
        whole = {"incident": {"id": "i", "title": "Slow", "labels": {"a": 1}}}
        part = {"incident": {"id": "i", "labels": {"b": 2}, "note": "n"}}
        post(client, path, event("1", data=whole, subject="i", state="open"))
        post(client, path, event("2", name="timeline_updated", data=part, subject="i", thin=True))
        post(client, path, event("3", name="timeline_updated", data={"incident": {"id": "i"}}, subject="i", thin=True))
        assert list(Event.objects.order_by("pk").values_list("data", flat=True)) == [
            whole,
            {"incident": {"id": "i", "title": "Slow", "labels": {"b": 2}, "note": "n"}},
            whole,
        ]
        assert WebhookSubject.objects.get().state == "open"

    def test_what_was_told_so_long_ago_that_it_is_forgotten_is_new_again(self, client: Client, path: str) -> None:
        post(client, path, event("1"), event("2"))
        retention._delete_keys(first_id_at(clock.now() + timedelta(days=1)))
        assert [post(client, path, event("1")).status_code for _ in range(2)] == [202, 200]
        assert (Event.objects.count(), Run.objects.count()) == (3, 3)
        assert len(set(Event.objects.values_list("key", flat=True))) == 3

    def test_two_endpoints_have_keys_and_states_of_their_own(self, client: Client, path: str) -> None:
        other = made(name="other")[1]
        told = event(subject="s", state="open")
        assert [post(client, one, told).status_code for one in (path, other)] == [202, 202]

    def test_a_long_key_is_kept_as_its_digest(self, client: Client, path: str) -> None:
        long = "k" * 1000
        told = [event(long, subject=long, state=long), event(long + "2", subject=long + "2")]
        assert [post(client, path, *told).status_code for _ in range(2)] == [202, 200]
        assert set(Event.objects.values_list("key", flat=True)) == {
            f"sha256:{hashlib.sha256(f'webhook:{WebhookEndpoint.objects.get().pk}:{key}'.encode()).hexdigest()}"
            for key in (long, long + "2")
        }

    def test_all_events_of_a_post_are_stored_or_none(self, client: Client, path: str) -> None:
        answer = post(client, path, event("1", subject="s", state="open"), event("2", name="lunch"))
        assert answer.status_code == 400
        assert [model.objects.count() for model in (Event, Run, WebhookKey, WebhookSubject)] == [0, 0, 0, 0]
        assert post(client, path, event("1"), event("2"), event("1")).status_code == 202
        assert Event.objects.count() == 2

    def test_null_characters_and_half_pairs_are_left_out(self, client: Client, path: str) -> None:
        raw = json.dumps({"events": [event(data={"incident": {"title": "a\x00\ud800b"}})]}).encode()
        assert post(client, path, raw=raw).status_code == 202
        assert Event.objects.get().data == {"incident": {"title": "ab"}}

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("same", ["key", "state"])
    def test_the_same_from_many_sides_at_once_triggers_once(self, same: str) -> None:
        documents.load(changed("wait", None))
        _, path = made()
        answers: list[Any] = []
        gate = threading.Barrier(4)

        def send(number: int) -> None:
            key = "k" if same == "key" else f"k-{number}"
            gate.wait()
            answers.append(post(Client(), path, event(key, subject="s", state="open")))
            connection.close()

        threads = [threading.Thread(target=send, args=[number]) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        answers.sort(key=lambda answer: -answer.status_code)
        assert [answer.status_code for answer in answers] == [202, 200, 200, 200]
        [told] = answers[0].json()["events"]
        assert ([run["workflow"] for run in told["runs"]], told["skipped"]) == (["tell"], [])
        assert (Event.objects.count(), Run.objects.count()) == (1, 1)


@pytest.mark.usefixtures("noon")
class TestLimits:
    def test_too_many_posts_in_a_minute_are_503_until_the_next_one(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, path = made(posts_per_minute=2)
        answers = [post(client, path, event(str(number))) for number in range(4)]
        assert [answer.status_code for answer in answers] == [202, 202, 503, 503]
        assert answers[-1]["Retry-After"] == "40"
        assert [(row.outcome, row.times) for row in WebhookReceipt.objects.order_by("pk")][-1] == ("refused", 2)
        monkeypatch.setattr(clock, "now", lambda: NOON + timedelta(seconds=40))
        assert post(client, path, event("3")).status_code == 202

    def test_too_many_events_in_a_minute_are_503_and_repeats_do_not_count(self, client: Client) -> None:
        _, path = made(events_per_minute=3)
        statuses = [post(client, path, event("1"), event(str(number))).status_code for number in (2, 2, 3, 4)]
        assert statuses == [202, 200, 202, 503]

    def test_a_post_of_far_too_many_events_is_413(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(intake, "MOST_EVENTS", 2)
        _, path = made()
        answer = post(client, path, *(event(key=str(number)) for number in range(3)))
        assert (answer.status_code, Event.objects.count()) == (413, 0)
        assert "holds 3 new events, and there may be 2" in answer.json()["errors"][0]["detail"]

    def test_what_is_refused_or_ignored_takes_nobodys_room(self, client: Client) -> None:
        _, path = made(posts_per_minute=1, scheme="bearer", secret=SECRET)
        for _ in range(5):
            post(client, path, event())
            post(client, path, raw=b"{}", Authorization=f"Bearer {SECRET}")
        assert post(client, path, event(), Authorization=f"Bearer {SECRET}").status_code == 202


class TestWhatIsKept:
    def test_the_last_fifty_of_each_endpoint(self, client: Client, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(receipts, "KEPT", 3)
        other = made(name="other")[1]
        post(client, other, event())
        for number in range(5):
            post(client, path, raw=json.dumps({"ignored": str(number)}).encode())
        assert [reason for _, _, reason in seen()] == ["", "2", "3", "4"]

    def test_a_body_without_what_looks_like_a_secret(self, client: Client, path: str) -> None:
        body = {"ignored": "no", "api_key": "1", "data": [{"Password": {"a": 1}, "tokens": None, "title": "Größe"}]}
        post(client, path, raw=json.dumps(body).encode())
        assert json.loads(WebhookReceipt.objects.get().body) == {
            "ignored": "no",
            "api_key": "(not kept)",
            "data": [{"Password": "(not kept)", "tokens": None, "title": "Größe"}],
        }

    @pytest.mark.parametrize(
        ("body", "shown"),
        [
            (b'{"password": "hunter2", "a', '{"password": "(not kept)", "a'),
            (b'{"x_token" : "hun\\"ter2', '{"x_token" : "(not kept)"'),
            (b'{"title": "the horse"}', '{\n  "title": "the (not kept)"\n}'),
            (b"\xff\x00a", "�a"),
        ],
    )
    def test_a_body_that_is_no_json_is_redacted_as_text(self, body: bytes, shown: str) -> None:
        assert receipts.readable(body, secrets=["horse"]) == shown

    def test_a_secret_is_found_as_json_writes_it_and_at_the_end_of_what_is_shown(self) -> None:
        secret = 'a"b\\cé'
        for written in (json.dumps({"x": secret}), json.dumps({"x": secret}, ensure_ascii=False)):
            assert receipts.readable(written.encode(), secrets=[secret]) == '{\n  "x": "(not kept)"\n}'
        text = "x" * (receipts.MOST - 3) + secret
        assert receipts.readable(text.encode(), secrets=[secret]).startswith(text[:-6] + "(no\n… cut here")

    def test_a_long_body_is_cut(self) -> None:
        shown = receipts.readable(b'{"a": "' + b"x" * 99_990 + b'"}', secrets=[])
        assert (len(shown) < 16_500, shown.endswith("… cut here, of 99999 bytes.")) == (True, True)

    def test_bodies_and_keys_for_a_week_and_subjects_as_long_as_deliveries(self, client: Client, path: str) -> None:
        post(client, path, event(subject="s", state="open"))
        tomorrow_week = clock.now() + timedelta(days=8)
        retention._delete_keys(first_id_at(clock.now() - timedelta(days=1)))
        assert WebhookKey.objects.count() == 1
        before = first_id_at(tomorrow_week - timedelta(days=7))
        assert [retention._delete_keys(before), retention._erase_posted(before)] == [1, 1]
        assert list(WebhookReceipt.objects.values_list("body", "outcome")) == [("", "stored")]
        assert retention._delete_subjects(first_id_at(clock.now() - timedelta(days=1))) == 0
        assert retention._delete_subjects(before) == 1
        retention.forget_old()

    @pytest.mark.parametrize("told", [("Not Found: %s", ("/hooks/tok-en_1/",)), ("GET /hooks/tok-en_1 failed", ())])
    def test_the_log_masks_the_address(self, told: tuple[str, tuple[str, ...]]) -> None:
        record = logging.LogRecord("django.request", logging.WARNING, "", 0, *told, None)
        assert WithoutAddresses().filter(record)
        assert "tok-en" not in record.getMessage()
        assert "/hooks/…" in record.getMessage()


class TestRehearsal:
    def test_says_what_would_become_of_it_and_stores_nothing(self, path: str) -> None:
        row = WebhookEndpoint.objects.get()
        posted = intake.Posted({}, json.dumps({"events": [event(subject="s", state="open")]}).encode())
        for _ in range(2):
            answer = intake.rehearse(row, posted, actor="ada")
            assert (answer.outcome, [(one.name, one.is_new) for one in answer.made]) == (
                "test",
                [("incident_created", True)],
            )
            assert [run.workflow.slug for run in answer.made[0].triggered.runs] == ["tell"]
        assert [model.objects.count() for model in (Event, Run, WebhookKey, WebhookSubject)] == [0, 0, 0, 0]
        assert seen() == [("test", 200, intake.TRIED)] * 2
        assert WebhookReceipt.objects.latest("pk").made == [
            {"name": "incident_created", "event": None, "repeat": False}
        ]

    def test_leaves_no_mark_that_would_swallow_the_real_one(self, client: Client, path: str) -> None:
        told = json.dumps({"events": [event()]}).encode()
        intake.rehearse(WebhookEndpoint.objects.get(), intake.Posted({}, told), actor="ada")
        assert post(client, path, raw=told).status_code == 202
