"""Every field that people fill in has its heading in the manual, with its choices and its default."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django import forms
from django.contrib.auth.forms import AuthenticationForm, SetPasswordForm
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.urls import get_resolver

from integrations import forms as of_integrations
from integrations import people_forms as of_people
from tests import manual
from tests.manual import Section
from workflows import condition_forms, editor_forms, list_forms, run_forms, suppression_forms, timing_forms
from workflows import forms as of_deliveries
from workflows import webhook_forms as of_webhooks
from workflows.models import Action, Workflow
from workflows.webhook_models import WebhookEndpoint
from workflows.webhooks import SENDERS

pytestmark = pytest.mark.django_db
OURS = ("rootmail.", "integrations.", "workflows.")


def somebody() -> HttpRequest:
    request = HttpRequest()
    request.user = AnonymousUser()
    return request


def workflow() -> Workflow:
    return Workflow(trigger_type="incident")


def start() -> forms.BaseForm:
    return run_forms.StartForm(workflow=Workflow.objects.create(slug="tell", name="Tell", trigger_type="incident"))


def endpoints() -> list[forms.BaseForm]:
    kinds = [WebhookEndpoint(kind=one.kind, scheme=one.scheme) for one in SENDERS.values()]
    return [of_webhooks.EndpointForm(instance=kind) for kind in kinds]


# Where the fields of a form have their headings: the document, and the heading above them.
FORMS: dict[type[forms.BaseForm], tuple[str, str, Callable[[], Any]]] = {
    of_integrations.SmtpForm: ("integrations.md", "The fields of SMTP", of_integrations.SmtpForm),
    of_integrations.SendGridForm: ("integrations.md", "The fields of SendGrid", of_integrations.SendGridForm),
    of_integrations.TestMailForm: ("integrations.md", "Test mail", of_integrations.TestMailForm),
    of_people.FirstAdminForm: ("accounts.md", "The first account", of_people.FirstAdminForm),
    AuthenticationForm: ("accounts.md", "Logging in", AuthenticationForm),
    of_people.ForgottenForm: ("accounts.md", "Password forgotten", of_people.ForgottenForm),
    SetPasswordForm: ("accounts.md", "Set your password", lambda: SetPasswordForm(User())),
    of_people.InviteForm: ("accounts.md", "Invite somebody", of_people.InviteForm),
    of_people.RoleForm: ("accounts.md", "Change somebody", of_people.RoleForm),
    of_people.AddressForm: ("accounts.md", "Change somebody", lambda: of_people.AddressForm(User())),
    of_people.OwnAddressForm: ("accounts.md", "Your address", lambda: of_people.OwnAddressForm(somebody())),
    of_people.OwnPasswordForm: (
        "accounts.md", "Change your password", lambda: of_people.OwnPasswordForm(User(), request=somebody()),
    ),
    of_people.TokenForm: ("accounts.md", "API tokens", lambda: of_people.TokenForm(initial={"trigger": True})),
    of_people.AuditForm: ("accounts.md", "Audit log", of_people.AuditForm),
    of_deliveries.FilterForm: ("deliveries.md", "Finding some", of_deliveries.FilterForm),
    suppression_forms.FilterForm: ("deliveries.md", "Suppressed addresses", suppression_forms.FilterForm),
    run_forms.EventFilterForm: ("runs.md", "Events", run_forms.EventFilterForm),
    run_forms.RunFilterForm: ("runs.md", "Runs", run_forms.RunFilterForm),
    run_forms.StartForm: ("runs.md", "By hand", start),
    list_forms.WorkflowFilterForm: ("workflows.md", "The list", list_forms.WorkflowFilterForm),
    editor_forms.WorkflowForm: (
        "workflows.md", "A workflow's fields|Timing|Conditions", lambda: editor_forms.WorkflowForm(instance=workflow()),
    ),
    condition_forms.ConditionForm: (
        "workflows.md", "Conditions",
        lambda: condition_forms.ConditionForm({"path": "", "operator": "", "values": ""}, number=1, checked=False),
    ),
    editor_forms.ActionForm: (
        "workflows.md", "Send an Email",
        lambda: editor_forms.ActionForm(instance=Action(workflow=workflow(), name="Send an Email")),
    ),
    of_webhooks.EndpointForm: ("webhooks.md", "The fields of an endpoint", endpoints),
    of_webhooks.SecretForm: (
        "webhooks.md", "The fields of an endpoint", lambda: of_webhooks.SecretForm(scheme="bearer", given=False),
    ),
    of_webhooks.TestForm: ("webhooks.md", "The fields of an endpoint", of_webhooks.TestForm),
}  # fmt: skip
# What other forms are made of, and those that nobody fills in.
PARTS = {of_integrations.IntegrationForm, timing_forms.TimingForm, condition_forms.ConditionsForm}
PARTS |= {of_deliveries.ConfirmForm, suppression_forms.ReleaseAllForm}
DEPENDING = ("scheme",)  # on the kind of sender
CHANGING = (
    "workflow",
    "sample",
    "action",
    "triggers_",
)  # fields whose choices are data, or stand in the API's catalogue


def every_form(above: type[forms.BaseForm] = forms.BaseForm) -> Iterator[type[forms.BaseForm]]:
    for one in above.__subclasses__():
        yield from every_form(one)
        if one.__module__.startswith(OURS):
            yield one


def test_every_form_has_its_place_in_the_manual() -> None:
    assert get_resolver().url_patterns  # every view is imported by then, and with it every form
    assert set(every_form()) - set(FORMS) - PARTS == set()


def fields_of(form: type[forms.BaseForm]) -> list[forms.BoundField]:
    made = FORMS[form][2]()
    every = made if isinstance(made, list) else [made]
    return [field for one in every for field in one if not field.is_hidden]


def heading_of(form: type[forms.BaseForm], field: forms.BoundField) -> Section:
    document, above, _ = FORMS[form]
    label = str(field.label)
    wanted = {label, re.sub(r" \([^)]*\)$", "", label)}
    found = [
        one
        for one in manual.every_section()
        if one.document == document and set(above.split("|")) & set(one.within) and one.label in wanted
    ]
    assert found, f"'{label}' has no heading below '{above}' in docs/{document}"
    return found[0]


def default_of(field: forms.BoundField) -> set[str]:
    """Return how the manual may write what stands in the field at first; nothing where it is empty."""
    initial = None if field.name in DEPENDING else field.initial
    if isinstance(field.field, forms.BooleanField):
        return {"on" if initial else "off"}
    choices = dict(getattr(field.field, "choices", ()))
    if initial in (None, "", []):
        return set()
    return {f"`{initial}`", f"`{choices.get(initial)}`", f"*{choices.get(initial)}*"}


def missing_choices(field: forms.BoundField, text: str) -> list[str]:
    """Return the choices that the text names neither by their label nor by their value."""
    choices = getattr(field.field, "choices", ())
    if field.name.startswith(CHANGING):
        return []
    return [
        label
        for value, label in choices
        if value and not any(re.search(rf"\b{re.escape(str(one))}(?!\w)", text) for one in (value, label))
    ]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_the_fields_of_a_form_have_their_headings(form: type[forms.BaseForm]) -> None:
    fields = fields_of(form)
    assert fields
    for field in fields:
        heading = heading_of(form, field)
        assert heading.explains, f"nothing is said of '{field.label}'"
        assert missing_choices(field, heading.text) == []
        expected = default_of(field)
        assert not expected or heading.default in expected, f"'{field.label}': Default: {' or '.join(expected)}"


class Invented(forms.Form):
    """A form as somebody might add one."""

    to = forms.BooleanField(label="To", initial=True)
    colour = forms.ChoiceField(label="Colour", choices=[("r", "Red"), ("g", "Green")])


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMS, Invented, ("integrations.md", "Test mail", Invented))
    to, colour = fields_of(Invented)
    assert heading_of(Invented, to).title == "To"
    with pytest.raises(AssertionError, match="'Colour' has no heading below 'Test mail'"):
        heading_of(Invented, colour)
    assert default_of(to) == {"on"}
    assert missing_choices(colour, "Red, or blue.") == ["Green"]
