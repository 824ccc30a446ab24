"""The editor: workflows and actions are saved whole or not at all, and a preview says what would come out."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from integrations import services as integrations
from integrations.models import AuditEvent, SendGridIntegration, SmtpIntegration
from tests.test_documents import SMALL
from tests.test_runs import SEV1, queued, with_tasks
from workflows import documents, drafts, overview, runs, samples, services
from workflows.events import TRIGGERS, Incoming
from workflows.models import Action, Delivery, Event, Recipient, Run, Workflow

pytestmark = pytest.mark.django_db
LIST, NEW = "/workflows/", "/workflows/_new/"
ORDER = "/workflows/tell/actions/order"
ONE, ADD, PREVIEW = "/workflows/tell/", "/workflows/tell/actions/new/", "/workflows/tell/preview/"
MAIL = {"name": "Mail", "to": "a@example.org", "subject": "Hello", "body": "World", "enabled": "on",
        "include_header": "on", "include_footer": "on", "view": "desktop"}  # fmt: skip
HOSTILE = "</iframe><script>alert(1)</script>\"'>"


@pytest.fixture
def editor(client: Client, team: dict[str, User]) -> Client:
    client.force_login(team["Editor"])
    return client


@pytest.fixture
def workflow() -> Workflow:
    documents.load(SMALL)
    return Workflow.objects.get()


@pytest.fixture
def action(workflow: Workflow) -> Action:
    return workflow.actions.get()


def page_of(action: Action) -> str:
    return f"{ONE}actions/{action.pk}/"


def text(answer: Any) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode())))


def note(answer: Any, field: str) -> str:
    found = re.search(rf'<div id="note-{field}".*?>(.*?)</div>', answer.content.decode(), re.S)
    assert found, f"no place for notes at {field}"
    return unescape(re.sub(r"<[^>]+>", " ", found[1])).strip()


def audited() -> list[str]:
    told = AuditEvent.objects.exclude(action="signed in").order_by("pk")
    return [f"{one.action} by {one.actor}" for one in told]


def the_mail(answer: Any) -> str:
    """Return the HTML within the frame."""
    found = re.search(r'<iframe[^>]* srcdoc="([^"]*)"', answer.content.decode())
    return unescape(found[1]) if found else ""


# Who may


@pytest.mark.parametrize("path", [NEW, ONE, ADD, f"{ONE}delete/", PREVIEW])
def test_only_editors_come_in(client: Client, team: dict[str, User], workflow: Workflow, path: str) -> None:
    post_only = path in (PREVIEW, f"{ONE}delete/")
    assert client.post(path).headers["Location"].startswith("/login/")
    client.force_login(team["Viewer"])
    assert (client.post(path) if post_only else client.get(path)).status_code == 403
    assert "New workflow" not in text(client.get(LIST))
    client.force_login(team["Editor"])
    assert client.get(path).status_code == (405 if post_only else 200)
    assert "New workflow" in text(client.get(LIST))


def test_what_is_not_there_is_not_found(editor: Client, workflow: Workflow) -> None:
    for path in ("/workflows/none/", "/workflows/none/actions/new/", f"{ONE}actions/0/"):
        assert editor.get(path).status_code == 404
    assert editor.post(f"{ONE}actions/0/up/").status_code == 404
    assert editor.post(PREVIEW, MAIL | {"view": "upside down"}).status_code == 404


# A workflow

KIND = {"name": "Tell the board", "enabled": "on", "trigger_type": "incident", "on_unknown": "retry"}
WHEN = {"triggers_incident": ["incident_created", "severity_updated"], "triggers_alert": ["alert_created"]}


def test_a_new_workflow_gets_its_slug_from_its_name_and_then_an_action(editor: Client) -> None:
    answer = editor.post(NEW, KIND | WHEN)
    assert answer.headers["Location"] == "/workflows/tell-the-board/actions/new/"
    made = Workflow.objects.get()
    assert (made.slug, made.triggers) == ("tell-the-board", ["incident_created", "severity_updated"])
    assert audited() == ["workflow created by editor"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": ""}, "Name : This field is required."),
        ({"slug": "Not A Slug"}, "Use small letters, digits and hyphens"),
        ({"slug": "tell"}, "already exists"),
        ({"triggers_incident": []}, "Name at least one event"),
        ({"triggers_incident": ["incident_updated", "title_updated"]}, "already hears 'title_updated'"),
        ({"others": "custom_fields.x"}, "'custom_fields.x' is not an event of type incident"),
        ({"trigger_type": "weather"}, "Select a valid choice"),
        ({"wait": "soon"}, "'soon' is not a duration"),
        ({"give_up_after": "5 seconds"}, "Give up after one minute at the earliest"),
        ({"on_unknown": "guess"}, "Select a valid choice"),
        ({"name": "!!!"}, "slug"),
    ],
)
def test_a_wrong_workflow_is_not_saved(editor: Client, workflow: Workflow, change: dict[str, Any], said: str) -> None:
    answer = editor.post(NEW, KIND | WHEN | change)
    assert answer.status_code == 422
    assert said.casefold() in text(answer).replace(" :", ":").replace("Name:", "Name :").casefold()
    assert Workflow.objects.count() == 1


def test_a_changed_workflow_keeps_what_the_page_does_not_show(editor: Client, workflow: Workflow) -> None:
    page = editor.get(ONE).content.decode()
    assert 'value="incident_created" id="id_triggers_incident_0" checked' in page
    values = KIND | {"slug": "tell", "triggers_incident": ["incident_started"], "wait": "5 mins", "on_unknown": "hold"}
    values |= {"others": "custom_fields.region.updated\n"}
    assert editor.post(ONE, values).headers["Location"] == ONE
    changed = Workflow.objects.get()
    assert changed.triggers == ["incident_started", "custom_fields.region.updated"]
    assert (changed.wait, changed.on_unknown, changed.conditions) == ("5 mins", "hold", workflow.conditions)
    assert "custom_fields.region.updated" in editor.get(ONE).content.decode()


TIMED = {
    "wait": "2h 30min", "repeat_every_duration": "1 Day", "repeat_on": ["M", "S"], "time_zone": "Europe/Berlin",
    "repeat_condition_number_of_repeats": "5", "repeat_condition_duration_since_first_run": "2 weeks",
    "continuously_repeat": "on", "run_once_per_resource": "on",
}  # fmt: skip


def test_timing_is_kept_as_it_was_typed_and_told_in_words(editor: Client, workflow: Workflow) -> None:
    assert editor.post(ONE, KIND | WHEN | {"slug": "tell"} | TIMED).status_code == 302
    stored = documents.dump()["workflows"][0]
    assert {name: stored[name] for name in TIMED} == TIMED | {
        "repeat_condition_number_of_repeats": 5,
        "continuously_repeat": True,
        "run_once_per_resource": True,
    }
    page = editor.get(ONE)
    said = "Waits 2h 30min, then repeats every day on Mondays and Sundays (Europe/Berlin), whether its conditions hold"
    assert said in text(page)
    run = services.trigger(Incoming("incident_created", SEV1)).runs[0]
    assert said in text(editor.get(f"/runs/{run.pk}/"))
    assert f'<a href="/runs/{run.pk}/">Last run</a>' in editor.get(LIST).content.decode()
    for shown in ('value="1 Day"', 'value="S" id="id_repeat_on_6" checked', 'value="Europe/Berlin"', 'value="5"'):
        assert shown in page.content.decode(), shown
    assert re.findall(r'form-selectgroup-label">(\w+)<', page.content.decode()) == [
        "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"repeat_every_duration": "often"}, "'often' is not a duration. Write for example: 30 seconds, 5 mins"),
        ({"repeat_every_duration": "5 seconds"}, "Repeat every minute at most"),
        ({"repeat_on": ["Monday"]}, "Select a valid choice"),
        ({"repeat_every_duration": "", "repeat_on": [], "continuously_repeat": ""}, "It never repeats"),
        ({"repeat_condition_number_of_repeats": "0"}, "greater than or equal to 1"),
        ({"repeat_condition_number_of_repeats": "many"}, "Enter a whole number"),
        ({"repeat_condition_duration_since_first_run": "a while"}, "'a while' is not a duration"),
        ({"time_zone": "Berlin"}, "Write a time zone as the tz database names it, for example Europe/Berlin."),
    ],
)
def test_wrong_timing_is_refused_beside_its_field(
    editor: Client, workflow: Workflow, change: dict[str, Any], said: str
) -> None:
    answer = editor.post(ONE, KIND | WHEN | {"slug": "tell"} | TIMED | change)
    assert answer.status_code == 422
    assert said in text(answer)
    assert Workflow.objects.get().repeat_every_duration == ""


def test_events_of_ones_own_are_typed_one_in_each_line(editor: Client) -> None:
    custom = {"name": "Deploys", "trigger_type": "custom", "on_unknown": "retry"}
    wrong = editor.post(NEW, custom | {"triggers_custom": "Deploy Finished"})
    assert "'Deploy Finished' is not an event of type custom" in text(wrong)
    typed = {"triggers_custom": "deploy.finished\r\n\r\n backup.failed ", "others": "custom_fields.left.updated"}
    assert editor.post(NEW, custom | typed).status_code == 302
    made = Workflow.objects.get()
    assert made.triggers == ["deploy.finished", "backup.failed"]
    assert "deploy.finished\nbackup.failed</textarea>" in editor.get("/workflows/deploys/").content.decode()
    assert "deploys · custom event When deploy.finished, backup.failed" in text(editor.get(LIST)).replace(" ,", ",")


def test_switching_off(editor: Client, workflow: Workflow) -> None:
    values = {name: value for name, value in KIND.items() if name != "enabled"}
    editor.post(ONE, values | {"slug": "tell", "triggers_incident": ["incident_created"]})
    assert not Workflow.objects.get().enabled


def test_only_a_workflow_no_run_of_which_has_begun_is_deleted(editor: Client, workflow: Workflow) -> None:
    run = services.trigger(Incoming("incident_created", SEV1)).runs[0]
    Run.objects.update(status="completed")
    assert "it cannot be deleted. Switch it off instead." in text(editor.get(ONE))
    assert "switch it off instead" in text(editor.post(f"{ONE}delete/", follow=True))
    assert Workflow.objects.exists()
    Run.objects.filter(pk=run.pk).update(status="queued")
    assert "1 waiting run would be cancelled" in text(editor.get(ONE))
    assert "is deleted" in text(editor.post(f"{ONE}delete/", follow=True))
    assert not Workflow.objects.exists()
    told = AuditEvent.objects.get(action="workflow deleted", actor="editor")
    assert told.details == {"workflow": "tell", "cancelled_runs": 1}


# An action


def test_a_new_action_comes_behind_the_others(editor: Client, action: Action) -> None:
    lines = {"to": " a@example.org \r\n\r\n{{ incident.notify_emails }}\r\n", "reply_to": "desk@example.org"}
    lines |= {"cc": "{% for one in incident.subscribers %}\r\n{{ one.email }}\r\n{% endfor %}"}
    assert editor.post(ADD, MAIL | lines).headers["Location"] == ONE
    made = Action.objects.get(position=2)
    assert made.to == ["a@example.org", "{{ incident.notify_emails }}"]
    assert made.cc == ["{% for one in incident.subscribers %}\n{{ one.email }}\n{% endfor %}"]
    assert (made.reply_to, made.enabled, made.skip_on_failure) == ("desk@example.org", True, False)
    assert audited() == ["action created by editor"]
    assert "{% for one in incident.subscribers %}\n{{ one.email }}\n{% endfor %}" in unescape(
        editor.get(page_of(made)).content.decode()
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"to": " \n "}, "Say who gets the mail."),
        ({"subject": ""}, "Subject : This field is required."),
        ({"body": "one\n{{ x"}, "Line 2: "),
        ({"body": "one\n{% if x %}\ntwo"}, "Line 2: endif is missing"),
        ({"subject": "{{ x | "}, "Subject : "),
        ({"to": "{% nonsense %}"}, "unknown tag"),
        ({"subject": "{{ incident.title | uppcase }}"}, 'Line 1: unknown filter "uppcase"'),
        ({"body": "a\n{% if x %}{{ y | upcase | uppcase }}{% endif %}"}, 'Line 2: unknown filter "uppcase"'),
        ({"to": "a@example.org\nnot an address, second bad"}, '"not an address" is not an e-mail address.'),
        ({"cc": "{{ incident.emails }}\nnobody"}, '"nobody" is not an e-mail address.'),
        ({"reply_to": "nobody"}, '"nobody" is not an e-mail address.'),
        ({"sender": "a@rootmail.example"}, "'rootmail.example' belongs to this installation"),
        ({"custom_logo_url": "javascript:alert(1)"}, "valid URL"),
        ({"cc": "a\x00b"}, "null character"),
        ({"subject": "a\x00b"}, "Null characters are not allowed."),
    ],
)
def test_a_wrong_action_is_not_saved_and_nothing_typed_is_lost(
    editor: Client, action: Action, change: dict[str, str], said: str
) -> None:
    answer = editor.post(page_of(action), MAIL | {"preheader": "kept as typed"} | change)
    assert answer.status_code == 422
    assert "Nothing was saved." in text(answer)
    assert said in text(answer).replace(":", " :", 1).replace("Subject:", "Subject :")
    assert "kept as typed" in answer.content.decode()
    assert Action.objects.get().preheader == ""


@pytest.mark.parametrize(
    ("name", "typed", "said"),
    [("body", "one\n{% if x %}\ntwo", "endif is missing"), ("to", "nobody", "is not an e-mail address")],
)
def test_what_save_finds_wrong_stands_once_below_its_field(
    editor: Client, action: Action, name: str, typed: str, said: str
) -> None:
    page = editor.post(page_of(action), MAIL | {name: typed}).content.decode()
    below = page.partition(f'id="field-{name}"')[2].partition('id="field-')[0]
    assert below.count(said) == 1


def test_a_filter_that_is_unknown_is_told_in_the_preview_before_it_fails_a_run(editor: Client, action: Action) -> None:
    answer = editor.post(PREVIEW, MAIL | {"body": "a\nb {{ incident.title | nonsense }}"})
    assert "Line 2: " in note(answer, "body")
    assert "nonsense" in note(answer, "body")


def test_what_is_wrong_with_this_event_alone_is_saved_and_told(editor: Client, action: Action) -> None:
    answer = editor.post(page_of(action), MAIL | {"save": "1", "to": "{{ incident.nobody }}"}, follow=True)
    assert "'Mail' is saved. With the event that you looked at (Built-in: incident created), no mail" in text(answer)
    assert "To: no address came out of '{{ incident.nobody }}'." in text(answer)
    assert Action.objects.get().to == ["{{ incident.nobody }}"]


def test_actions_change_places_and_go(editor: Client, workflow: Workflow) -> None:
    documents.load(with_tasks({"subject": "one"}, {"subject": "two"}, {"subject": "three"}))
    one, two, three = workflow.actions.all()

    def order() -> list[str]:
        return list(workflow.actions.values_list("subject", flat=True))

    editor.post(f"{page_of(three)}up/")
    assert order() == ["one", "three", "two"]
    editor.post(f"{page_of(one)}down/")
    assert order() == ["three", "one", "two"]
    assert "is the last action already" in text(editor.post(f"{page_of(two)}down/", follow=True))
    editor.post(f"{page_of(one)}delete/")
    assert order() == ["three", "two"]
    assert editor.get(f"{page_of(three)}up/").status_code == 405
    assert audited() == ["action moved up by editor", "action moved down by editor", "action deleted by editor"]


def test_actions_take_an_order_at_once(editor: Client, workflow: Workflow) -> None:
    documents.load(with_tasks({"subject": "one"}, {"subject": "two"}, {"subject": "three"}))
    one, two, three = workflow.actions.all()
    assert editor.post(ORDER, {"order": [three.pk, one.pk, two.pk]}).status_code == 204
    assert list(workflow.actions.values_list("subject", "position")) == [("three", 1), ("one", 2), ("two", 3)]
    assert editor.post(ORDER, {"order": [three.pk, one.pk, two.pk]}).status_code == 204
    assert audited() == ["actions reordered by editor"]


@pytest.mark.parametrize("order", [[], ["x"], ["1"], [1, 1], [2**70]])
def test_an_order_of_other_actions_is_refused(editor: Client, action: Action, order: list[Any]) -> None:
    answer = editor.post(ORDER, {"order": [action.pk, *order] if order else []})
    assert (answer.status_code, text(answer)) == (
        409,
        "Somebody has added or deleted an action meanwhile. Load the page again, then move it.",
    )
    assert Action.objects.get().position == 1
    assert audited() == []


def test_an_action_is_switched_off_and_on(editor: Client, action: Action) -> None:
    answer = editor.post(f"{page_of(action)}off/")
    assert answer.headers["Location"] == f"{ONE}#action-{action.pk}"
    assert not Action.objects.get().enabled
    assert "Switch on Mail" in text(editor.get(ONE))
    editor.post(f"{page_of(action)}on/")
    editor.post(f"{page_of(action)}on/")
    assert Action.objects.get().enabled
    assert audited() == ["action switched off by editor", "action switched on by editor"]


def test_a_deleted_action_leaves_its_mails(editor: Client) -> None:
    queued(with_tasks({}))
    runs.execute_due()
    editor.post(f"{page_of(Action.objects.get())}delete/")
    assert Delivery.objects.get().action is None


# The preview


def test_shows_the_mail_that_would_come_out_and_saves_nothing(editor: Client, action: Action) -> None:
    typed = {"subject": "{{ incident.severity }}: {{ incident.title }}", "body": "**{{ incident.status }}**"}
    answer = editor.post(PREVIEW, MAIL | typed | {"to": "{{ incident.notify_emails }}"})
    assert "SEV1: Checkout fails for card payments" in text(answer)
    assert "incident-leads@example.com, support-desk@example.org" in text(answer).replace(" ,", ",")
    assert "<strong" in the_mail(answer)
    assert Action.objects.get().subject == action.subject
    assert audited() == []


def test_another_event_brings_its_own_variables(editor: Client, workflow: Workflow) -> None:
    services.trigger(Incoming("incident_created", {"incident": {"severity": "SEV1", "colour": "green"}}))
    sample = {"sample": str(Event.objects.get().pk)}
    answer = editor.post(PREVIEW, MAIL | sample | {"listed": "incident_created"})
    assert "{{ incident.colour }}" in text(answer)
    assert "{{ incident.colour }}" not in text(editor.post(PREVIEW, MAIL | sample | {"listed": sample["sample"]}))


@pytest.mark.parametrize(
    ("view", "there"),
    [
        ("phone", 'class="look phone"'),
        ("dark", "@media all"),
        ("text", 'aria-label="The mail">World'),
        ("headers", "From: Rootmail &lt;workflows@rootmail.example&gt;"),
    ],
)
def test_in_every_view(editor: Client, action: Action, view: str, there: str) -> None:
    answer = editor.post(PREVIEW, MAIL | {"body": "**World**", "view": view})
    assert there in unescape(answer.content.decode()) or there in answer.content.decode()


def test_says_at_each_field_what_is_missing_or_wrong(editor: Client, action: Action) -> None:
    typed = {"to": "nobody, a@example.org", "subject": "{{ incident.titel }}", "cc": "x y"}
    answer = editor.post(PREVIEW, MAIL | typed)
    assert "was left out" in note(answer, "to")
    assert "incident.titel is not in this event" in note(answer, "subject")
    assert "was left out" in note(answer, "cc")
    assert note(answer, "body") == ""
    assert the_mail(answer)


def test_shows_the_rest_where_one_part_is_wrong(editor: Client, action: Action) -> None:
    typed = {
        "to": "",
        "subject": "{{ x | ",
        "sender": "a@rootmail.example",
        "reply_to": "{% if %}",
        "body": "Still here",
    }
    answer = editor.post(PREVIEW, MAIL | typed)
    assert "It cannot be sent like this." in text(answer)
    assert "no recipient is named" in note(answer, "to")
    assert note(answer, "subject").startswith("Line 1: ")
    assert "belongs to this installation" in note(answer, "sender")
    assert note(answer, "reply_to").startswith("Line 1: ")
    assert "Still here" in the_mail(answer)


def test_leaves_the_last_mail_where_there_is_none_now(editor: Client, action: Action) -> None:
    answer = editor.post(PREVIEW, MAIL | {"body": "{% if x %}"})
    assert "There is no mail yet." in text(answer)
    assert 'id="look"' not in answer.content.decode()


def test_says_whom_it_would_come_from_and_why(
    editor: Client, action: Action, smtp: SmtpIntegration, sendgrid: SendGridIntegration
) -> None:
    typed = MAIL | {"sender": "Ada <ada@example.com>"}
    assert "As this action says, through SMTP." in text(editor.post(PREVIEW, typed))
    assert "From is blank, so it is that of SMTP." in text(editor.post(PREVIEW, MAIL))
    integrations.disconnect("smtp", actor="ada")
    assert "As this action says, through SendGrid." in text(editor.post(PREVIEW, typed))
    SendGridIntegration.objects.update(default_from="")
    assert "fill in 'Default From'" in note(editor.post(PREVIEW, MAIL), "sender")
    integrations.disconnect("sendgrid", actor="ada")
    answer = text(editor.post(PREVIEW, typed))
    assert "Ada <workflows@rootmail.example> Default sender keeps its own address." in answer


def test_a_hostile_event_breaks_out_of_nothing(editor: Client, workflow: Workflow) -> None:
    services.trigger(Incoming("incident_created", {"incident": {"severity": "SEV1", "title": HOSTILE}}))
    sample = str(Event.objects.get().pk)
    typed = {"subject": "{{ incident.title }}", "body": "{{ incident.title }}", "to": "{{ incident.title }}, a@b.org"}
    for view in ("desktop", "text", "headers"):
        answer = editor.post(PREVIEW, MAIL | typed | {"sample": sample, "view": view}).content.decode()
        assert "<script>" not in answer
        assert answer.count("</iframe>") == (1 if view == "desktop" else 0)
    page = editor.get(f"{ADD}?sample={sample}").content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page  # among the variables


def test_the_frame_of_a_mail_runs_nothing(editor: Client, action: Action) -> None:
    page = editor.get(page_of(action))
    policy = page.headers["Content-Security-Policy"]
    assert re.search(r"script-src 'self'(;|$)", policy)
    assert "style-src 'self' 'unsafe-inline'" in policy
    [frame] = re.findall(r"<iframe[^>]*?sandbox=\"([^\"]*)\"", page.content.decode())
    assert frame == "allow-same-origin"
    assert "unsafe-inline" not in editor.get(LIST).headers["Content-Security-Policy"]
    assert "unsafe-inline" not in editor.get(ONE).headers["Content-Security-Policy"]


def test_without_a_script_the_button_shows_the_preview_beside_what_was_typed(editor: Client, action: Action) -> None:
    answer = editor.post(page_of(action), MAIL | {"subject": "Typed {{ x", "preview": "1"})
    assert answer.status_code == 200
    assert "Typed {{ x" in unescape(answer.content.decode())
    assert '<p class="error" id="id_subject_error">Line 1: ' in answer.content.decode()
    assert note(answer, "subject") == "", "it is said once"
    assert Action.objects.get().subject == action.subject


# Samples


@pytest.mark.parametrize("kind", TRIGGERS)
def test_every_kind_of_workflow_has_a_built_in_sample(kind: str) -> None:
    names = sorted(TRIGGERS[kind])[:2] or ["deploy.finished"]
    made = Workflow.objects.create(slug="x", trigger_type=kind, triggers=names)
    found = samples.of(made)
    assert [one.event for one in found] == made.triggers
    assert all(one.data for one in found)
    assert samples.chosen(found, "no such") == found[0]


def test_a_workflow_without_events_has_a_sample(db: None) -> None:
    made = Workflow.objects.create(slug="x", trigger_type="alert", triggers=[])
    assert [one.key for one in samples.of(made)] == ["alert"]


def test_real_events_come_first_and_previews_are_none(workflow: Workflow, action: Action) -> None:
    services.trigger(Incoming("incident_created", SEV1))
    drafts.send_to("ada@example.com", action, samples.of(workflow)[-1], actor="ada")
    real, built_in = samples.of(workflow)
    assert (real.event, real.data, built_in.key) == ("incident_created", SEV1, "incident_created")
    assert samples.chosen([real, built_in], real.key) == real
    assert samples.chosen([real, built_in], "") == built_in


# To its author


def test_sends_the_mail_to_its_author_alone(editor: Client, action: Action) -> None:
    typed = {"to": "everybody@example.org", "cc": "board@example.org", "subject": "Draft", "send_to_me": "1"}
    answer = editor.post(page_of(action), MAIL | typed)
    sent = Delivery.objects.get()
    assert "Queued for editor@example.com alone" in text(answer)
    assert f"/deliveries/{sent.pk}/" in answer.content.decode()
    assert list(Recipient.objects.values_list("address", "kind")) == [("editor@example.com", "to")]
    assert (sent.state, sent.subject, sent.workflow) == ("queued", "Draft", action.workflow)
    assert b"everybody@" not in bytes(sent.content)
    assert Action.objects.get().subject == action.subject
    assert audited() == ["test mail of an action by editor"]


def test_such_a_mail_is_no_run_of_the_workflow(editor: Client, action: Action) -> None:
    editor.post(ADD, MAIL | {"send_to_me": "1"})
    Run.objects.update(status="completed", finished_at=Event.objects.get().received_at)
    [one] = overview.page(overview.Wanted()).rows
    assert (one.last, one.ended) == (None, 0)


def test_such_a_mail_and_no_other_is_marked_as_a_test(editor: Client, action: Action) -> None:
    editor.post(page_of(action), MAIL | {"send_to_me": "1"})
    test = Delivery.objects.get()
    again = {
        "manual": True,
        "due_at": test.triggered_at,
    }  # older versions made such a run of it, for all recipients
    Run.objects.create(workflow=test.workflow, event=test.run.event, **again)
    services.trigger(Incoming("incident_created", SEV1))
    Run.objects.update(due_at=test.triggered_at)
    runs.execute_due()
    assert Delivery.objects.count() == 3
    marked = '<span class="badge tone">Test</span>'
    pages = {row.pk: editor.get(f"/deliveries/{row.pk}/").content.decode() for row in Delivery.objects.all()}
    assert [pk for pk, page in pages.items() if marked in page] == [test.pk]
    assert "A test: an author has sent it" in pages[test.pk]
    _, *rows = editor.get("/").content.decode().split('<li class="list-group-item">')
    assert [f"/deliveries/{test.pk}/" in row for row in rows] == [marked in row for row in rows]
    assert sum(marked in row for row in rows) == 1
    assert marked in editor.get(f"/runs/{test.run_id}/").content.decode()


def test_who_has_no_address_is_told_and_nothing_is_sent(editor: Client, team: dict[str, User], action: Action) -> None:
    User.objects.update(email="")
    assert "Your account has no e-mail address." in text(editor.post(ADD, MAIL | {"send_to_me": "1"}))
    assert not Delivery.objects.exists()


def test_what_cannot_be_made_is_not_sent(editor: Client, action: Action) -> None:
    answer = editor.post(ADD, MAIL | {"send_to_me": "1", "body": "{{ 1 | divided_by: 0 }}"})
    assert "Nothing was sent." in text(answer)
    assert not Delivery.objects.exists()
    assert not Event.objects.exists()


def test_what_is_wrong_with_any_event_is_not_sent(editor: Client, action: Action) -> None:
    answer = editor.post(ADD, MAIL | {"send_to_me": "1", "body": "{{ 'a' | nonsense }}"})
    assert answer.status_code == 422
    assert "Nothing was sent." in text(answer)
    assert 'unknown filter "nonsense"' in text(answer)


def test_an_address_is_no_template(action: Action) -> None:
    sample = samples.of(action.workflow)[0]
    sent = drafts.send_to("{{incident.creator.email}}@example.com", action, sample, actor="ada")
    assert [one.address for one in sent.recipients.all()] == ["{{incident.creator.email}}@example.com"]
