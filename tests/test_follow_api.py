"""What a service asks about the mails it triggered, and does with them: /v1/runs and /v1/deliveries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from integrations import tokens
from integrations.models import AuditEvent
from tests.test_search import NOW, made
from workflows import interventions, run_control, samples, search, services
from workflows.models import Attempt, Delivery, Recipient, Run, Workflow
from workflows.search import PAGE
from workflows.told_models import Told

pytestmark = pytest.mark.django_db
NOBODYS = UUID(int=0)


@pytest.fixture(autouse=True)
def _nobody_is_rung_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "ring", lambda: None)


@pytest.fixture
def ask(client: Client) -> Callable[..., Any]:
    """Return what asks as a program with these scopes, or acts where it is told to post."""

    def ask(address: str, *, scope: str = "read", post: bool = False) -> Any:
        token = tokens.create(f"pager {AuditEvent.objects.count()}", scopes=[scope], actor="ada")
        return (client.post if post else client.get)(address, headers={"Authorization": f"Bearer {token}"})

    return ask


def failed(**values: Any) -> Delivery:
    """Return a mail that one recipient was refused, and that bounced afterwards at the other."""
    row = made("Checkout slow", state="failed", provider="smtp", reason="Somebody was refused.", **values)
    Recipient.objects.filter(delivery=row).update(state="accepted", code=250, reply="ok")
    refused = {"state": "rejected", "code": 550, "enhanced_code": "5.1.1", "reply": "no such user"}
    Recipient.objects.create(delivery=row, address="b@example.org", kind="bcc", **refused)
    told = {"at": NOW, "kind": "bounce", "reason": "full", "event_id": str(row.pk)}
    Told.objects.create(recipient=Recipient.objects.filter(delivery=row).earliest("pk"), **told)
    Attempt.objects.create(delivery=row, at=NOW, provider="smtp", stage="rcpt", outcome="failed", milliseconds=7)
    return row


class TestAsking:
    def test_a_run_tells_what_became_of_its_mails(self, ask: Callable[..., Any]) -> None:
        mail = failed()
        answer = ask(f"/v1/runs/{mail.run_id}")
        document = answer.json()
        [told] = document.pop("deliveries")
        run = mail.run
        assert document == {
            "id": str(run.pk), "workflow": "tell", "event_id": str(run.event_id), "event": "incident_created",
            "status": "started", "reason": None, "by_hand": False, "repeat": 0, "due_at": NOW.isoformat(),
            "started_at": None, "finished_at": None,
        }  # fmt: skip
        assert answer["Cache-Control"] == "max-age=0, no-cache, no-store, must-revalidate, private"
        assert (told["id"], told["state"], told["reason"]) == (str(mail.pk), "failed", "Somebody was refused.")
        first, second = told["recipients"]
        assert first["told"] == [{"at": NOW.isoformat(), "kind": "bounce", "reason": "full"}]
        assert second == {
            "address": "b@example.org", "kind": "bcc", "state": "rejected", "code": 550, "enhanced_code": "5.1.1",
            "reply": "no such user", "told": [],
        }  # fmt: skip
        assert [one["outcome"] for one in told["attempts"]] == ["failed"]
        assert ask(f"/v1/deliveries/{mail.pk}").json() == told
        assert ask("/v1/deliveries").json() == {"deliveries": [told], "next": None}

    @pytest.mark.parametrize("address", [f"/v1/runs/{NOBODYS}", f"/v1/deliveries/{NOBODYS}", "/v1/runs/x"])
    def test_what_there_is_not_is_404(self, ask: Callable[..., Any], address: str) -> None:
        answer = ask(address)
        assert (answer.status_code, answer.json()["errors"][0]["status"]) == (404, "404")

    def test_an_id_in_capitals_is_the_same(self, ask: Callable[..., Any]) -> None:
        mail = made("a mail", state="held", status="queued")
        run, pk = str(mail.run_id).upper(), str(mail.pk).upper()
        assert ask(f"/v1/runs/{run}").json()["id"] == str(mail.run_id)
        for address in (f"/v1/deliveries/{pk}", f"/v1/deliveries?run={run}&before={'F' * 32}"):
            assert str(mail.pk) in ask(address).content.decode()
        acted = ask(f"/v1/deliveries/{pk}/cancel", scope="write", post=True)
        assert acted.json() == {"id": str(mail.pk), "state": "cancelled"}
        assert ask(f"/v1/runs/{run}/cancel", scope="write", post=True).json()["id"] == str(mail.run_id)

    def test_the_pages_follow_one_another(self, ask: Callable[..., Any]) -> None:
        rows = [made(f"mail {hours}", hours_ago=hours, state="failed") for hours in range(2 * PAGE + 1)]
        made("another", state="accepted")
        address, seen = "/v1/deliveries?state=failed&state=held", []
        while address:
            page = ask(address).json()
            assert len(page["deliveries"]) in (PAGE, 1)
            seen += [one["id"] for one in page["deliveries"]]
            address = page["next"]
        assert seen == [str(row.pk) for row in rows]

    def test_a_full_page_with_nothing_behind_it_is_the_last(self, ask: Callable[..., Any]) -> None:
        for hours in range(PAGE):
            made("mail", hours_ago=hours)
        assert ask("/v1/deliveries").json()["next"] is None

    def test_mails_of_many_recipients_come_a_few_at_once(
        self, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(search, "RECIPIENTS_AT_ONCE", 4)
        rows = [made("mail", hours_ago=hours) for hours in range(5)]  # each to one of its own
        for row, others in zip(rows, (1, 1, 2, 7, 0), strict=True):
            Recipient.objects.bulk_create(
                Recipient(delivery=row, address=f"{n}@example.org", kind="to") for n in range(others)
            )
        address, pages = "/v1/deliveries", []
        while address:
            page = ask(address).json()
            pages.append([one["id"] for one in page["deliveries"]])
            address = page["next"]
        one, two, three, many, last = (str(row.pk) for row in rows)
        assert pages == [[one, two], [three], [many], [last]]

    def test_a_run_tells_of_as_many_recipients_as_there_is_room_for(
        self, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(search, "RECIPIENTS_AT_ONCE", 4)
        rows = [made("mail") for _ in range(4)]  # each to one of its own
        for place, (row, others) in enumerate(zip(rows, (1, 4, 2, 1), strict=True)):
            Delivery.objects.filter(pk=row.pk).update(run=rows[0].run_id, position=place)
            Recipient.objects.bulk_create(
                Recipient(delivery=row, address=f"{n}@example.org", kind="to") for n in range(others)
            )
        told = ask(f"/v1/runs/{rows[0].run_id}").json()["deliveries"]
        assert [one["id"] for one in told] == [str(row.pk) for row in rows]
        assert [one["recipients"] and len(one["recipients"]) for one in told] == [2, None, None, 2]
        whole = ask(f"/v1/deliveries/{rows[1].pk}").json()
        assert len(whole["recipients"]) == 5
        assert told[1] == whole | {"recipients": None}

    def test_neither_bytes_nor_transcripts_are_read(
        self, ask: Callable[..., Any], django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        failed()
        with django_assert_max_num_queries(20) as queries:
            ask("/v1/deliveries")
        read = " ".join(query["sql"] for query in queries.captured_queries)
        assert '"milliseconds"' in read
        assert '"transcript"' not in read
        assert '"content"' not in read

    @pytest.mark.parametrize(
        ("query", "said"),
        [
            ("stat=failed", "stat: There is no such filter, only search, state, recipient,"),
            ("state=lost", "state: Select a valid choice. lost is not one"),
            ("since=yesterday", "since: Enter a day, or a day and a time"),
            ("since=03/04/2026", "since: Enter a day, or a day and a time, such as 2026-11-27 14:30."),
            ("since=2026-11-24T10:30:00+01:00", "since: The + of a zone is %2B in an address. since: Enter a day,"),
            ("before=7", "before: This is no delivery's id."),
            ("run=", "run: It is blank. Leave it out."),
            ("recipient=%20", "recipient: It is blank. Leave it out."),
            ("before", "before: It is blank. Leave it out."),
            ("state=failed&state=", "state: It is blank. Leave it out."),
            (f"run={NOBODYS}&run={NOBODYS}", "run: It may be there once."),
            ("before=x&before=y", "before: It may be there once."),
            ("bounced=no", "bounced: Say true, or leave it out."),
            ("&".join(["state=failed"] * 1001), "The query has too many parts."),
        ],
    )
    def test_a_wrong_filter_is_not_taken_for_none(self, ask: Callable[..., Any], query: str, said: str) -> None:
        answer = ask(f"/v1/deliveries?{query}")
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["detail"].startswith(said)

    @pytest.mark.parametrize(("said", "number"), [("true", 1), ("on", 1), ("false", 2)])
    def test_bounced_mails_are_asked_for_by_a_word(self, ask: Callable[..., Any], said: str, number: int) -> None:
        made("bounced", bounced_at=NOW)
        made("another")
        assert len(ask(f"/v1/deliveries?bounced={said}").json()["deliveries"]) == number

    def test_a_test_mail_says_so(self, ask: Callable[..., Any]) -> None:
        mail = made("a test")
        mail.run.event.name = samples.PREVIEW
        mail.run.event.save()
        assert ask(f"/v1/deliveries/{mail.pk}").json()["test"] is True
        assert ask("/v1/deliveries").json()["deliveries"][0]["test"] is True

    def test_the_number_of_queries_does_not_grow_with_the_mails(
        self, client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        headers = {"Authorization": f"Bearer {tokens.create('pager', scopes=['read'], actor='ada')}"}
        for hours in range(20):
            failed(hours_ago=hours)
        client.get("/v1/deliveries", headers=headers)  # its use is noted once a minute
        with django_assert_max_num_queries(8):
            client.get("/v1/deliveries", headers=headers)

    def test_whether_there_is_anything_can_be_asked_without_the_answer(self, client: Client) -> None:
        token = tokens.create("pager", scopes=["read"], actor="ada")
        answer = client.head(f"/v1/runs/{made('a mail').run_id}", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.content) == (200, b"")


class TestActing:
    def test_a_mail_is_sent_again_and_the_audit_log_names_the_token(self, ask: Callable[..., Any]) -> None:
        mail = failed()
        answer = ask(f"/v1/deliveries/{mail.pk}/send-again", scope="write", post=True)
        assert (answer.status_code, answer.json()) == (200, {"id": str(mail.pk), "state": "queued"})
        assert list(mail.recipients.order_by("pk").values_list("state", flat=True)) == ["accepted", "queued"]
        entry = AuditEvent.objects.latest("pk")
        assert entry.action == "deliveries sent again"
        assert entry.actor.startswith("API token pager ")
        assert entry.details == {"delivery": str(mail.pk), "done": 1}

    def test_what_cannot_be_done_says_why_and_changes_nothing(self, ask: Callable[..., Any]) -> None:
        mail = made("never rendered", state="failed", content=b"")
        answer = ask(f"/v1/deliveries/{mail.pk}/send-again", scope="write", post=True)
        assert answer.status_code == 409
        assert answer.json()["errors"][0]["detail"] == "Nothing was changed: never rendered."
        mail.refresh_from_db()
        assert mail.state == "failed"
        assert AuditEvent.objects.get().action == "token created"  # a refusal is for no log that is kept for ever

    @pytest.mark.parametrize(("verb", "state"), [("cancel", "cancelled"), ("consider-delivered", "accepted")])
    def test_the_other_verbs(self, ask: Callable[..., Any], verb: str, state: str) -> None:
        mail = made("held", state="held")
        assert ask(f"/v1/deliveries/{mail.pk}/{verb}", scope="write", post=True).json()["state"] == state

    @pytest.mark.parametrize("address", ["/v1/deliveries/{}/cancel", "/v1/runs/{}/cancel", "/v1/runs/{}/again"])
    def test_there_is_nothing_to_act_on(self, ask: Callable[..., Any], address: str) -> None:
        assert ask(address.format(NOBODYS), scope="write", post=True).status_code == 404

    def test_a_mail_may_be_erased_meanwhile(self, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
        mail, act = made("an old one", state="queued"), interventions.intervene

        def last_moment(*arguments: Any, **named: Any) -> interventions.Outcome:
            Delivery.objects.filter(pk=mail.pk).delete()
            return act(*arguments, **named)

        monkeypatch.setattr(interventions, "intervene", last_moment)
        answer = ask(f"/v1/deliveries/{mail.pk}/cancel", scope="write", post=True)
        assert answer.json()["errors"][0]["detail"] == "There is no such delivery; it may have been erased."

    @pytest.mark.parametrize("what", [Workflow, Run])
    def test_a_run_may_be_deleted_before_it_runs_again(
        self, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, what: type[Workflow | Run]
    ) -> None:
        run, again = made("never", status="queued").run, run_control.again

        def last_moment(*arguments: Any, **named: Any) -> Run:
            what._default_manager.all().delete()
            return again(*arguments, **named)

        monkeypatch.setattr(run_control, "again", last_moment)
        answer = ask(f"/v1/runs/{run.pk}/again", scope="write", post=True)
        assert answer.status_code == 404
        assert answer.json()["errors"][0]["detail"] == "There is no such run; it may have been erased."
        assert not Run.objects.exists()
        assert AuditEvent.objects.get().action == "token created"

    def test_a_run_that_waits_is_cancelled_once(self, ask: Callable[..., Any]) -> None:
        run = made("never", status="queued").run
        answer = ask(f"/v1/runs/{run.pk}/cancel", scope="write", post=True)
        assert (answer.status_code, answer.json()) == (200, {"id": str(run.pk), "status": "canceled"})
        run.refresh_from_db()
        assert run.status_message.startswith("Cancelled by API token pager ")
        assert ask(f"/v1/runs/{run.pk}/cancel", scope="write", post=True).status_code == 409

    def test_a_run_is_run_again(self, ask: Callable[..., Any]) -> None:
        run = made("a mail").run
        answer = ask(f"/v1/runs/{run.pk}/again", scope="write", post=True)
        new = Run.objects.exclude(pk=run.pk).get()
        assert (answer.status_code, answer.json()) == (201, {"id": str(new.pk), "status": "queued"})
        assert (new.event, new.manual) == (run.event, True)

    def test_a_workflow_that_is_off_runs_nothing_again(self, ask: Callable[..., Any]) -> None:
        run = made("a mail").run
        run.workflow.enabled = False
        run.workflow.save()
        answer = ask(f"/v1/runs/{run.pk}/again", scope="write", post=True)
        assert answer.json()["errors"][0]["detail"] == "The workflow is switched off: switch it on first."
        assert (answer.status_code, Run.objects.count()) == (409, 1)

    def test_a_test_mail_never_becomes_one_for_everybody(self, ask: Callable[..., Any]) -> None:
        mail = made("a test")
        mail.run.event.name = samples.PREVIEW
        mail.run.event.save()
        answer = ask(f"/v1/runs/{mail.run_id}/again", scope="write", post=True)
        assert answer.json()["errors"][0]["detail"].startswith("It belongs to a test mail")
        assert (answer.status_code, Run.objects.count()) == (409, 1)


ADDRESSES = [
    ("/v1/runs/{run}", False), ("/v1/deliveries", False), ("/v1/deliveries/{mail}", False),
    ("/v1/runs/{run}/cancel", True), ("/v1/runs/{run}/again", True), ("/v1/deliveries/{mail}/cancel", True),
]  # fmt: skip


@pytest.mark.parametrize(("address", "post"), ADDRESSES)
@pytest.mark.parametrize("scope", ["trigger", "read", "write"])
def test_a_token_opens_what_its_scope_says(ask: Callable[..., Any], address: str, post: bool, scope: str) -> None:
    mail = made("a mail", state="queued", status="queued")
    answer = ask(address.format(run=mail.run_id, mail=mail.pk), scope=scope, post=post)
    needed = "write" if post else "read"
    assert answer.status_code == 403 if scope != needed else answer.status_code in (200, 201)
    if scope != needed:
        assert answer.json()["errors"][0]["detail"] == f"This token lacks the scope '{needed}'."
        assert (Delivery.objects.get().state, Run.objects.get().status) == ("queued", "queued")


@pytest.mark.parametrize(("address", "post"), ADDRESSES)
def test_the_other_method_is_refused(ask: Callable[..., Any], address: str, post: bool) -> None:
    mail = made("a mail")
    answer = ask(address.format(run=mail.run_id, mail=mail.pk), scope="write" if post else "read", post=not post)
    assert (answer.status_code, answer["Allow"]) == (405, "POST" if post else "GET, HEAD")


def test_a_log_in_is_no_token(admin_client: Client) -> None:
    mail = made("a mail", state="queued")
    assert admin_client.get(f"/v1/deliveries/{mail.pk}").status_code == 401
    assert admin_client.post(f"/v1/deliveries/{mail.pk}/cancel").status_code == 401
