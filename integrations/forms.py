"""The forms of Configuration → Integrations. They read and show; the service decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from .models import Integration, SendGridIntegration, SmtpIntegration
from .transports.smtp import SmtpSettings, TlsMode

LIMITS = ("rate_limit", "rate_per", "session_limit")


class SecretInput(forms.PasswordInput):
    """A password field that never shows what is stored, not even its length, nor lets a browser fill it in."""

    def __init__(self) -> None:
        super().__init__(attrs={"autocomplete": "new-password", "spellcheck": "false"}, render_value=False)


class IntegrationForm(forms.ModelForm):  # type: ignore[type-arg]
    """A model form that leaves validation of the whole to the service, and keeps a stored secret untouched."""

    secret = ""  # nosec B105 # the name of a field, where there is one
    MAIN: Sequence[str] = ()
    MORE: Sequence[str] = ()
    when_stored = "Leave it blank to keep it."
    skip_check = forms.BooleanField(
        label="Connect without the check",
        required=False,
        help_text="For a server that is down just now. Mail waits until it answers.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.order_fields([name for name in self.fields if name != "skip_check"] + ["skip_check"])
        self.fields[self.secret].required = self.fields["rate_per"].required = False
        self.has_stored_secret = bool(self.initial.pop(self.secret, None))
        if self.has_stored_secret:
            self.fields[self.secret].help_text = f"Stored{self._since}. {self.when_stored}"
        if self.is_bound and self.data.get(self.secret):  # shown again only because something was wrong
            self.fields[self.secret].help_text = "What you typed is not kept: enter it again."

    @property
    def _since(self) -> str:
        at = self.instance.secret_set_at
        return f" on {date_format(timezone.localtime(at), 'j F Y, H:i')}" if at else ""

    def _post_clean(self) -> None:
        """Validate in `services.connect`, against the stored row; a ModelForm would write into it first."""

    def clean_rate_per(self) -> str:
        return self.cleaned_data["rate_per"] or Integration.RatePer.SECOND

    def in_words(self, proposal: Mapping[str, Any]) -> str:
        """Return a proposed correction as a sentence's end: 'turn on StartTLS, turn off SSL'."""
        verbs = {True: "turn on {}", False: "turn off {}"}
        return ", ".join(
            verbs[value].format(self.fields[name].label)
            if isinstance(value, bool)
            else f"set {self.fields[name].label} to {value}"
            for name, value in sorted(proposal.items(), reverse=True, key=lambda item: item[1] is True)
        )

    def explain(self, reasons: Mapping[str, str], *, changed: Iterable[str]) -> None:
        """Say beside the fields why something was filled in, and mark those that it changed."""
        for name in changed:
            why = reasons.get(name, "")
            self.fields[name].help_text = f"Changed by Detect settings. {why}".strip()
            self.fields[name].widget.attrs["class"] = (
                f"{self.fields[name].widget.attrs.get('class', '')} changed".strip()
            )

    @property
    def main_fields(self) -> list[Any]:
        return [self[name] for name in self.MAIN]

    @property
    def more_fields(self) -> list[Any]:
        return [self[name] for name in (*self.MORE, "skip_check")]

    @property
    def more_is_open(self) -> bool:
        """Whether something in the folded part wants to be seen."""
        return any(field.errors or "changed" in str(field.field.widget.attrs) for field in self.more_fields)

    @property
    def values(self) -> dict[str, Any]:
        """What was entered, by model field."""
        return {name: value for name, value in self.cleaned_data.items() if name != "skip_check"}


class SmtpForm(IntegrationForm):
    secret = "password"  # noqa: S105 # nosec B105 # the name of a field
    when_stored = "Leave it blank to keep it, unless you change Address, Port or anything about TLS."

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"].strip = False  # type: ignore[attr-defined]  # blanks may belong to it

    class Meta:
        model = SmtpIntegration
        fields = [
            "address",
            "port",
            "domain",
            "user_name",
            "password",
            "authentication",
            "enable_starttls",
            "enable_starttls_auto",
            "ssl",
            "openssl_verify_mode",
            "ca_certificates",
            "default_from",
            "allow_clear_text_auth",
            *LIMITS,
        ]
        widgets = {
            "address": forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}),
            "domain": forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}),
            "user_name": forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
            "password": SecretInput(),
            "ca_certificates": forms.Textarea(attrs={"rows": 4, "spellcheck": "false", "class": "mono"}),
        }

    MAIN = Meta.fields[:10]  # the documented form
    MORE = Meta.fields[10:]

    @property
    def mode(self) -> str:
        """How the connection is protected with the switches as they stand, in words."""
        switches = self._switches
        if switches.ssl and switches.starttls:
            return "SSL and StartTLS exclude each other: turn one of them off."
        return switches.tls_mode.label

    @property
    def mode_warning(self) -> str:
        """What is unusual about this mode on this port, or ''."""
        switches = self._switches
        if switches.ssl and switches.port in (25, 587):
            return f"Port {switches.port} usually begins in clear text: turn off SSL and turn on StartTLS, or use 465."
        if not switches.ssl and switches.port == 465:
            return "Port 465 usually expects TLS from the first byte: turn on SSL."
        if switches.tls_mode in (TlsMode.CLEARTEXT, TlsMode.STARTTLS_OPPORTUNISTIC):
            return "Somebody on the way could read or change the mails." if not switches.ssl else ""
        return ""

    @property
    def _switches(self) -> SmtpSettings:
        port = str(self["port"].value() or "")
        return SmtpSettings(
            "",
            port=int(port) if port.isdecimal() else 0,
            ssl=bool(self["ssl"].value()),
            starttls=bool(self["enable_starttls"].value()),
            starttls_auto=bool(self["enable_starttls_auto"].value()),
        )


class TestMailForm(forms.Form):
    to = forms.EmailField(label="To", help_text="One address. The mail says in subject and body that it is a test.")


class HttpsAddress(forms.URLField):
    """An address that is https where nothing else is written before it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(assume_scheme="https", **options)


class AddressInput(forms.URLInput):
    """An address to type, with the usual ones to choose from."""

    def __init__(self, choices: Mapping[str, str]) -> None:
        super().__init__(attrs={"list": "usual-addresses", "spellcheck": "false", "autocapitalize": "none"})
        self.choices = choices

    def render(self, *args: Any, **kwargs: Any) -> SafeString:
        options = format_html_join("", '<option value="{}">{}</option>', self.choices.items())
        return format_html('{}<datalist id="usual-addresses">{}</datalist>', super().render(*args, **kwargs), options)


REGIONS = {"https://api.sendgrid.com": "Global", "https://api.eu.sendgrid.com": "EU"}


class SendGridForm(IntegrationForm):
    secret = "api_key"  # noqa: S105 # nosec B105 # the name of a field
    when_stored = "Leave it blank to keep it, unless you change the API address."

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["api_key"].required = not self.has_stored_secret
        self.fields["default_from"].help_text = (
            "Used where an action leaves From blank, for example Incident Desk <incidents@example.com>. Without it "
            "such actions fail. It must be a verified sender at SendGrid, or of an authenticated domain."
        )

    class Meta:
        model = SendGridIntegration
        fields = ["api_key", "base_url", "default_from", "event_key", "click_tracking", "open_tracking", *LIMITS]
        field_classes = {"base_url": HttpsAddress}
        widgets = {
            "api_key": SecretInput(),
            "base_url": AddressInput(REGIONS),
            "event_key": forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "class": "mono"}),
        }

    MAIN = Meta.fields[:4]
    MORE = Meta.fields[4:]


FORMS: dict[str, type[IntegrationForm]] = {"smtp": SmtpForm, "sendgrid": SendGridForm}
