"""The forms of Configuration → Integrations. They read and show; the service decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms

from .models import SendGridIntegration, SmtpIntegration


class SecretInput(forms.PasswordInput):
    """A password field that never shows what is stored, not even its length, nor lets a browser fill it in."""

    def __init__(self) -> None:
        super().__init__(attrs={"autocomplete": "new-password", "spellcheck": "false"}, render_value=False)


class IntegrationForm(forms.ModelForm):  # type: ignore[type-arg]
    """A model form that leaves validation of the whole to the service, and keeps a stored secret untouched."""

    secret = ""
    when_stored = "Stored. Leave it blank to keep it."
    skip_check = forms.BooleanField(
        label="Connect without the check",
        required=False,
        help_text="For a server that is down just now. Mail waits until it answers.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.order_fields([name for name in self.fields if name != "skip_check"] + ["skip_check"])
        self.fields[self.secret].required = False
        self.has_stored_secret = bool(self.initial.pop(self.secret, None))
        if self.has_stored_secret:
            self.fields[self.secret].help_text = self.when_stored
        if self.is_bound and self.data.get(self.secret):  # shown again only because something was wrong
            self.fields[self.secret].help_text = "What you typed is not kept: enter it again."

    def _post_clean(self) -> None:
        """Validate in `services.connect`, against the stored row; a ModelForm would write into it first."""

    def in_words(self, proposal: Mapping[str, Any]) -> str:
        """Return a proposed correction as a sentence's end: 'turn on StartTLS, turn off SSL'."""
        verbs = {True: "turn on {}", False: "turn off {}"}
        return ", ".join(
            verbs[value].format(self.fields[name].label)
            if isinstance(value, bool)
            else f"set {self.fields[name].label} to {value}"
            for name, value in sorted(proposal.items(), reverse=True, key=lambda item: item[1] is True)
        )

    @property
    def values(self) -> dict[str, Any]:
        """What was entered, by model field."""
        return {name: value for name, value in self.cleaned_data.items() if name != "skip_check"}


class SmtpForm(IntegrationForm):
    secret = "password"  # noqa: S105 (the name of a field)
    when_stored = "Stored. Leave it blank to keep it, unless you change Address, Port or anything about TLS."

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
        ]
        widgets = {
            "address": forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}),
            "domain": forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}),
            "user_name": forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
            "password": SecretInput(),
            "ca_certificates": forms.Textarea(attrs={"rows": 4, "spellcheck": "false", "class": "mono"}),
        }


class HttpsAddress(forms.URLField):
    """An address that is https where nothing else is written before it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(assume_scheme="https", **options)


class SendGridForm(IntegrationForm):
    secret = "api_key"  # noqa: S105 (the name of a field)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["api_key"].required = not self.has_stored_secret

    class Meta:
        model = SendGridIntegration
        fields = ["api_key", "base_url", "default_from"]
        field_classes = {"base_url": HttpsAddress}
        widgets = {"api_key": SecretInput()}


FORMS: dict[str, type[IntegrationForm]] = {"smtp": SmtpForm, "sendgrid": SendGridForm}
