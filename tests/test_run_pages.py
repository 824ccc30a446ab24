"""Pages of runs, as their users read them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from integrations import clock
from integrations.models import AuditEvent
from tests.scenes import become
from tests.test_accessibility import reader
from tests.test_runs import SEV1, queued, with_tasks
from workflows import documents, retention, run_control, run_ends, runs, services
from workflows.events import Incoming
from workflows.models import Action, Delivery, Event, Run, Workflow

pytestmark = pytest.mark.django_db


@pytest.fixture
def editor(client: Client, team: dict[str, User]) -> Client:
    client.force_login(team["Editor"])
    return client


def words(client: Client, address: str) -> str:
    """Return what stands on a page."""
    answer = client.get(address)
    assert answer.status_code == 200
    main = answer.content.decode().partition("<main")[2]
    return " ".join(re.sub(r"<[^>]+>", " ", main).split())


def words_after(client: Client, address: str) -> str:
    """Return the page that a button leads to."""
    return client.post(address, follow=True).content.decode()


def accept_everything() -> None:
    Delivery.objects.update(state="accepted", next_attempt_at=None)
    for run in Run.objects.filter(status="started"):
        run_ends.settle(run.pk)


def test_a_run_is_told_from_the_trigger_to_the_last_mail(editor: Client) -> None:
    run = queued(with_tasks({"subject": "One"}, {"subject": "Two"}))
    waiting = words(editor, f"/runs/{run.pk}/")
    assert "It waits for its time." in waiting
    assert "At the trigger: they held" in waiting
    assert "incident.severity is &#x27;sev0&#x27; or &#x27;sev1&#x27; SEV1 yes" in waiting
    runs.execute_due()
    assert "Its mails are on their way." in words(editor, f"/runs/{run.pk}/")
    accept_everything()
    done = words(editor, f"/runs/{run.pk}/")
    assert "All its mails were accepted." in done
    assert re.search(r"Mail : One .* Accepted .* Two .* Accepted", done)


def test_a_page_asks_again_until_the_run_has_ended(editor: Client) -> None:
    run = queued(with_tasks({}))
    page = f"/runs/{run.pk}/"
    assert 'hx-trigger="every 5s"' in editor.get(page).content.decode()
    runs.execute_due()
    assert 'hx-trigger="every 2s"' in editor.get(page).content.decode()
    accept_everything()
    assert "hx-trigger" not in editor.get(page).content.decode()


def test_what_was_not_reached_is_said(editor: Client) -> None:
    run = queued(with_tasks({"to": ["{{ nobody }}"]}, {"subject": "Two"}))
    runs.execute_due()
    text = words(editor, f"/runs/{run.pk}/")
    assert "Failed Nothing was sent: no mail could be made. Mail: to: no address" in text
    assert "no address came out of &#x27;{{ nobody }}&#x27;" in text
    assert "Not carried out: the action before it failed." in text


def test_a_run_that_its_conditions_ended_says_that_nothing_was_run_and_which_did_not_hold(editor: Client) -> None:
    run = queued(with_tasks({}, wait="1 hour"))
    Workflow.objects.update(conditions=[{"path": "incident.severity", "operator": "IS", "values": ["sev9"]}])
    Run.objects.update(due_at=clock.now())
    runs.execute_due()
    assert (
        "Canceled Nothing was run: it was cancelled. "
        "Its conditions do not hold: incident.severity is &#x27;sev9&#x27; (it is &#x27;SEV1&#x27;)."
    ) in words(editor, f"/runs/{run.pk}/")


def test_a_run_without_an_enabled_action_says_that_nothing_was_run(editor: Client) -> None:
    run = queued(with_tasks({}))
    Action.objects.update(enabled=False)
    runs.execute_due()
    assert "Nothing was run: no action of the workflow was enabled." in words(editor, f"/runs/{run.pk}/")


def test_a_run_whose_workflow_is_switched_off_does_not_look_as_if_it_would_run_again(editor: Client) -> None:
    run = queued(with_tasks({}))
    runs.execute_due()
    accept_everything()
    page = f"/runs/{run.pk}/"
    assert "it cannot run again" not in words(editor, page)
    Workflow.objects.update(enabled=False)
    assert "Run again The workflow is switched off: it cannot run again." in words(editor, page)
    assert 'id="again" disabled' in editor.get(page).content.decode()
    assert "The workflow is switched off: switch it on first." in words_after(editor, f"{page}again/")


def test_a_repeating_run_shows_its_chain_and_can_be_stopped(editor: Client) -> None:
    run = queued(with_tasks({}))
    Workflow.objects.update(repeat_every_duration="1 day")
    runs.execute_due()
    text = words(editor, f"/runs/{run.pk}/")
    assert "It repeats: the next run is due" in text
    assert "Stop repeating" in text
    assert "Repeat 1" in text
    answer = editor.post(f"/runs/{run.pk}/cancel/", follow=True)
    assert "It is cancelled: nothing more comes of it." in answer.content.decode()
    assert Run.objects.get(number=1).status == "canceled"
    last = AuditEvent.objects.latest("pk")
    assert (last.action, last.actor, last.details["run"]) == ("run cancelled", "editor", str(run.pk))


def test_what_has_ended_can_run_again_and_not_be_cancelled(editor: Client) -> None:
    run = queued(with_tasks({}))
    runs.execute_due()
    accept_everything()
    answer = editor.post(f"/runs/{run.pk}/cancel/", follow=True)
    assert "Nothing of it waits any more" in answer.content.decode()
    answer = editor.post(f"/runs/{run.pk}/again/", follow=True)
    made = Run.objects.exclude(pk=run.pk).get()
    assert answer.redirect_chain == [(f"/runs/{made.pk}/", 302)]
    assert (made.manual, made.event, made.status) == (True, run.event, "queued")
    assert "Not looked at: somebody wanted this run." in answer.content.decode()


@pytest.mark.parametrize("verb", ["cancel", "again"])
def test_what_only_looks_like_an_id_is_404(editor: Client, verb: str) -> None:
    assert editor.post(f"/runs/{'-' * 36}/{verb}/").status_code == 404


@pytest.mark.parametrize("button", ["start", "again"])
def test_a_workflow_that_is_deleted_meanwhile_runs_no_more(
    editor: Client, monkeypatch: pytest.MonkeyPatch, button: str
) -> None:
    run, act = queued(with_tasks({})), getattr(run_control, button)

    def last_moment(*arguments: Any, **named: Any) -> Run:
        Workflow.objects.all().delete()
        made: Run = act(*arguments, **named)
        return made

    monkeypatch.setattr(run_control, button, last_moment)
    address = {"start": "/workflows/tell/run/", "again": f"/runs/{run.pk}/again/"}[button]
    answer = editor.post(address, {"sample": "incident_created"})
    assert answer.status_code == 404
    assert not Run.objects.exists()
    assert Event.objects.count() == 1  # of the trigger


def test_what_repeats_can_be_stopped_while_a_worker_has_it_in_hand(editor: Client) -> None:
    run = queued(with_tasks({}))
    Workflow.objects.update(repeat_every_duration="1 day")
    runs._claim(runs.new_id())
    answer = editor.post(f"/runs/{run.pk}/cancel/", follow=True)
    assert "It is being carried out just now. It does not come again." in answer.content.decode()


def test_a_large_event_is_cut(editor: Client) -> None:
    deep: Any = [1] * 100_000
    for _ in range(45):
        deep = [deep]
    documents.load(with_tasks({}))
    run_control.start(Workflow.objects.get(), event="incident_created", data={"incident": deep}, actor="ada")
    answer = editor.get(f"/runs/{Run.objects.get().pk}/").content.decode()
    assert 100_000 < len(answer) < 150_000


def test_a_cancelled_run_says_why(editor: Client) -> None:
    run = queued(with_tasks({}, wait="1 hour"))
    run_control.cancel(run, actor="ada")
    text = words(editor, f"/runs/{run.pk}/")
    assert "Nothing was run: it was cancelled. Cancelled by ada." in text


def test_data_of_an_event_cannot_break_out(editor: Client) -> None:
    evil = {"incident": {"severity": "SEV1", "id": "<script>alert(1)</script>", "title": "<img src=x>"}}
    run = queued(with_tasks({"subject": "{{ incident.title }}"}), evil)
    runs.execute_due()
    for page in (f"/runs/{run.pk}/", "/runs/"):
        html = editor.get(page).content.decode()
        assert "<script>alert" not in html
        assert "<img src=x" not in html


class TestList:
    def test_shows_the_newest_first_with_why(self, editor: Client) -> None:
        documents.load(with_tasks({}))
        for _ in range(2):
            services.trigger(Incoming("incident_created", SEV1))
        run_control.cancel(Run.objects.latest("pk"), actor="ada")
        text = words(editor, "/runs/")
        assert text.index("Cancelled by ada.") < text.rindex("Queued")

    def test_can_be_filtered(self, editor: Client) -> None:
        documents.load(with_tasks({}))
        services.trigger(Incoming("incident_created", SEV1))
        assert "No run fits" in words(editor, "/runs/?status=failed")
        assert "No run fits" not in words(editor, "/runs/?status=queued&workflow=tell")
        assert editor.get("/runs/?status=nonsense").status_code == 422
        assert editor.get("/runs/?before=nonsense").status_code == 404

    def test_goes_on_page_by_page(self, editor: Client) -> None:
        documents.load(with_tasks({}))
        event = services.trigger(Incoming("incident_created", SEV1)).event
        workflow = Workflow.objects.get()
        Run.objects.bulk_create(Run(workflow=workflow, event=event, due_at=clock.now(), manual=True) for _ in range(60))
        first = editor.get("/runs/")
        link = re.search(r'rel="next" href="([^"]+)"', first.content.decode())
        assert link
        second = editor.get("/runs/" + link[1].replace("&amp;", "&"))
        assert (len(first.context["runs"]), len(second.context["runs"])) == (50, 11)
        assert set(first.context["runs"]).isdisjoint(second.context["runs"])

    def test_says_that_there_is_none(self, editor: Client) -> None:
        assert "No run yet" in words(editor, "/runs/")


@pytest.mark.processes
@pytest.mark.parametrize("width", [390, 1440])
def test_the_filter_has_room_above_and_below(live_server: Any, people: None, width: int) -> None:
    with reader(theme="light", width=width) as context:
        become(context, "ada", site=live_server.url)
        page = context.new_page()
        page.goto(f"{live_server.url}/runs/?workflow=")
        card, *parts = [page.locator(f"form.run-filter{part}").first for part in ("", " .field", " .btn-list")]
        frame, first, last = [one.bounding_box() or {} for one in (card, *parts)]
    above = first["y"] - frame["y"]
    below = frame["y"] + frame["height"] - last["y"] - last["height"]
    assert min(above, below) > 16


class TestByHand:
    @pytest.fixture(autouse=True)
    def workflow(self) -> Workflow:
        documents.load(with_tasks({"subject": "{{ incident.title }}"}, wait="1 day"))
        return Workflow.objects.get()

    def start(self, client: Client, **fields: Any) -> Any:
        return client.post("/workflows/tell/run/", fields, follow=True)

    def test_on_a_built_in_sample(self, editor: Client) -> None:
        answer = self.start(editor, sample="incident_created", payload="")
        run = Run.objects.get()
        assert answer.redirect_chain == [(f"/runs/{run.pk}/", 302)]
        assert (run.manual, run.event.name, run.event.resource) == (True, "incident_created", "")
        runs.execute_due()
        assert Delivery.objects.get().subject

    def test_on_data_of_ones_own(self, editor: Client) -> None:
        self.start(editor, sample="incident_created", payload='{"incident": {"title": "Mine"}}')
        runs.execute_due()
        assert Delivery.objects.get().subject == "Mine"

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            ("{", "This is not JSON that can be read"),
            ("[]", "The data must be a JSON object"),
            ("7", "JSON object"),
        ],
    )
    def test_says_what_is_wrong_and_keeps_it(self, editor: Client, data: str, said: str) -> None:
        answer = self.start(editor, sample="incident_created", payload=data)
        assert answer.status_code == 422
        assert "<b>Nothing was run.</b>" in answer.content.decode()
        assert said in answer.content.decode()
        assert f">\n{data}</textarea>" in answer.content.decode()
        assert not Event.objects.exists()

    def test_not_while_it_is_switched_off(self, editor: Client) -> None:
        Workflow.objects.update(enabled=False)
        answer = self.start(editor, sample="incident_created", payload="")
        assert answer.status_code == 422
        assert "It is switched off: switch it on first." in answer.content.decode()

    def test_that_it_is_switched_off_is_said_before_anything_is_filled_in(self, editor: Client) -> None:
        page = "/workflows/tell/run/"
        assert "switched off" not in words(editor, page)
        Workflow.objects.update(enabled=False)
        assert "It is switched off: it cannot be run before it is switched on" in words(editor, page)
        assert "Run it now Cancel It is switched off: nothing can be run." in words(editor, page)
        assert 'type="submit" disabled>Run it now' in editor.get(page).content.decode()

    def test_what_was_typed_can_be_sent_again_once_it_is_switched_on(self, editor: Client) -> None:
        Workflow.objects.update(enabled=False)
        answer = self.start(editor, sample="incident_created", payload="")
        assert 'type="submit">Run it now' in answer.content.decode()

    def test_the_way_to_it_is_closed_while_it_is_switched_off(self, editor: Client) -> None:
        assert 'href="/workflows/tell/run/">Run by hand</a>' in editor.get("/workflows/tell/").content.decode()
        Workflow.objects.update(enabled=False)
        page = editor.get("/workflows/tell/").content.decode()
        assert "/workflows/tell/run/" not in page
        assert 'type="button" disabled>Run by hand</button>' in page
        assert "It cannot be run by hand while it is switched off." in page

    def test_it_is_on_record(self, editor: Client) -> None:
        self.start(editor, sample="incident_created", payload="")
        last = AuditEvent.objects.latest("pk")
        assert (last.action, last.actor) == ("workflow run by hand", "editor")


def test_a_first_run_outlives_its_repeats(settings: Any) -> None:
    settings.KEEP_DELIVERIES_DAYS = 1
    run = queued(with_tasks({}))
    later = clock.now() + timedelta(days=400)
    Run.objects.update(status="completed", finished_at=clock.now())
    Run.objects.create(workflow=run.workflow, event=run.event, first=run, number=1, due_at=later)
    retention._delete_runs(runs.new_id())
    assert Run.objects.count() == 2
    Run.objects.filter(number=1).update(finished_at=clock.now())
    assert retention._delete_runs(runs.new_id()) == 1
    assert retention._delete_runs(runs.new_id()) == 1
    assert not Run.objects.exists()
