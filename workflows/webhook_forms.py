"""The forms of Configuration → Webhooks: an endpoint with the options of its kind, another secret, a test."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from .endpoints import GIVEN
from .webhook_models import WebhookEndpoint
from .webhooks import SENDERS, parse_mapping, parse_severities
from .webhooks.signatures import SCHEMES, unusable

_HEADER = re.compile(r"[A-Za-z0-9-]{1,100}\Z")
_HEADERS = ("bearer", "basic", "header", "none")  # what nearly every sender can be told to do
# How the senders can prove themselves.
PROOFS: dict[str, tuple[str, ...]] = {
    "alertmanager": _HEADERS,
    "grafana": ("bearer", "basic", "grafana", "header", "none"),
    "pagerduty": ("pagerduty", "header", "basic", "none"),
    "rootly": ("rootly", "header", "none"),
    "opsgenie": ("header", "none"),
    "datadog": ("header", "basic", "none"),
    "incident_io": ("standard", "none"),
    "firehydrant": ("hmac_sha256_hex", "none"),
    "json": ("standard", "hmac_sha256_hex", *_HEADERS),
    "cloudevents": ("bearer", "header", "basic", "standard", "hmac_sha256_hex", "none"),
}
HEADER_OPTIONS = ("signature_header", "timestamp_header")
MADE_HERE = "Leave it blank, and a good one is made and shown once."
SHOWN_THERE = "The sender shows it when the address has been entered there: leave it blank now, and paste it later."
LONGEST = 20_000  # characters of a mapping


class SecretField(forms.CharField):
    """A secret to paste: never shown again, and not what a browser fills in."""

    def __init__(self, **options: Any) -> None:
        attributes = {"autocomplete": "new-password", "spellcheck": "false"}
        widget = forms.PasswordInput(attrs=attributes, render_value=False)
        super().__init__(label="Secret", max_length=500, widget=widget, **options)


class RulesField(forms.CharField):
    """Lines `left = right`; what is wrong is told with the line."""

    def __init__(self, *, parse: Callable[[str], object], rows: int, **options: Any) -> None:
        widget = forms.Textarea(attrs={"rows": rows, "class": "mono", "spellcheck": "false"})
        super().__init__(max_length=LONGEST, widget=widget, **options)
        self._parse = parse

    def validate(self, value: Any) -> None:
        super().validate(value)
        try:
            self._parse(value) if value else None
        except ValueError as error:
            raise ValidationError(str(error)) from error


def _header(label: str, help_text: str) -> forms.CharField:
    return forms.CharField(
        label=label, required=False, max_length=100, help_text=help_text,
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocomplete": "off", "class": "mono"}),
    )  # fmt: skip


def _option(name: str, *, kind: str) -> forms.Field:
    """Return the field of an option; each is made anew, since a form changes its fields."""
    if name == "mapping":
        return RulesField(
            label="Mapping", parse=parse_mapping, rows=8, required=kind == "json",
            help_text="One rule in each line, such as event = alert_created, id = $.uuid, alert.title = $.message. "
            "A path begins with $. and leads into the payload; docs/webhooks.md tells the rest.",
        )  # fmt: skip
    if name == "severities":
        return RulesField(
            label="Severities", parse=parse_severities, rows=3, required=False,
            help_text="The sender's word and yours, the severest first: critical = sev0. Others stay as they are.",
        )  # fmt: skip
    if name == "grouping":
        choices = [("group", "One event for each group"), ("alert", "One event for each alert")]
        return forms.ChoiceField(
            label="Events", choices=choices,
            help_text="With 'each alert', three hundred alerts are three hundred mails.",
        )  # fmt: skip
    return forms.BooleanField(label="Take private incidents, too", required=False)


class EndpointForm(forms.ModelForm):  # type: ignore[type-arg]
    """An endpoint of one kind; `options` is what its own fields say."""

    MORE = (*HEADER_OPTIONS, "posts_per_minute", "events_per_minute")

    class Meta:
        model = WebhookEndpoint
        fields = ("name", "scheme", "posts_per_minute", "events_per_minute")
        labels = {"posts_per_minute": "POSTs a minute", "events_per_minute": "Events a minute"}
        help_texts = {
            "name": "As people call what posts there.",
            "posts_per_minute": "What is beyond it is answered with 503, and most senders try again.",
            "events_per_minute": "So that a loop, mail that makes alerts that make mail, comes to an end.",
        }
        error_messages = {"name": {"unique": "There is a webhook with this name: take another one."}}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        kind, self._stored = self.instance.kind, self.instance.options
        proofs = PROOFS[kind]
        self.fields["scheme"] = forms.ChoiceField(
            label="Proof of who posts", choices=[(name, SCHEMES[name].label) for name in proofs],
            help_text="A signature is best, then a secret in a header. Without any, the address itself is the secret.",
        )  # fmt: skip
        if self.instance._state.adding:
            given = (kind, SENDERS[kind].scheme) in GIVEN
            self.fields["secret"] = SecretField(required=False, help_text=SHOWN_THERE if given else MADE_HERE)
        self._add_options(kind, proofs)
        self.order_fields(["name", "scheme", "secret", *SENDERS[kind].options, *self.MORE])

    def _add_options(self, kind: str, proofs: tuple[str, ...]) -> None:
        for name in SENDERS[kind].options:
            self.fields[name] = _option(name, kind=kind)
            self.initial.setdefault(name, self._stored.get(name, self.fields[name].initial))
        wanted = {option for proof in proofs for option in SCHEMES[proof].options}
        texts = {
            "signature_header": ("Header of the proof", "Blank: the usual one of the proof chosen above."),
            "timestamp_header": ("Header of the time", "Only where the sender signs a time, too."),
        }
        for name in HEADER_OPTIONS:
            if name in wanted:
                self.fields[name] = _header(*texts[name])
                self.initial.setdefault(name, self._stored.get(name, ""))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for name in HEADER_OPTIONS:
            if cleaned.get(name) and not _HEADER.match(cleaned[name]):
                self.add_error(name, "A header's name has letters, digits and hyphens only.")
        scheme, secret = cleaned.get("scheme"), cleaned.get("secret")
        if scheme and secret and (reason := unusable(scheme, secret)):
            self.add_error("secret", reason)
        return cleaned

    def entered(self) -> WebhookEndpoint:
        """Return the endpoint as it was entered, not saved."""
        row: WebhookEndpoint = self.instance
        names = [*SENDERS[row.kind].options, *SCHEMES[row.scheme].options]
        row.options = {name: value for name in names if (value := self.cleaned_data.get(name))}
        if row._state.adding:
            row.secret = self.cleaned_data["secret"]
        return row

    @property
    def main_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name not in self.MORE]

    @property
    def more_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name in self.MORE]

    @property
    def more_is_open(self) -> bool:
        return any(field.errors for field in self.more_fields) or any(self._stored.get(name) for name in HEADER_OPTIONS)


class SecretForm(forms.Form):
    """Another secret; the sender's own where only the sender can make one."""

    def __init__(self, data: Any = None, *, scheme: str, given: bool) -> None:
        super().__init__(data)
        self._scheme = scheme
        helped = "Paste what the sender shows." if given else MADE_HERE
        self.fields["secret"] = SecretField(required=given, help_text=helped)

    def clean_secret(self) -> str:
        secret: str = self.cleaned_data["secret"]
        if secret and (reason := unusable(self._scheme, secret)):
            raise ValidationError(reason)
        return secret


class TestForm(forms.Form):
    """A payload to try."""

    body = forms.CharField(
        label="Payload",
        max_length=200_000,
        widget=forms.Textarea(attrs={"rows": 10, "class": "mono", "spellcheck": "false"}),
    )
