"""The forms of accounts: log-in, first admin, people, tokens, the audit log's filter. They read; services decide."""

from __future__ import annotations

from datetime import date
from typing import Any

from django import forms
from django.contrib.auth.forms import PasswordChangeForm, UserCreationForm
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from . import audit, sign_in
from .models import ApiToken
from .people import Role


class FirstAdminForm(UserCreationForm):  # type: ignore[type-arg]
    """The account that makes all others."""

    email = forms.EmailField(label="E-mail", help_text="A link to set a new password goes there.")
    token = forms.CharField(
        label="Token",
        help_text="It was printed when rootmail started, and is in the file first_admin_token of its state folder.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "class": "mono"}),
    )

    class Meta:
        model = User
        fields = ["username"]

    field_order = ["token", "username", "email", "password1", "password2"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].widget.attrs.pop("autofocus", None)  # it is not the first field here


class InviteForm(forms.Form):
    username = forms.CharField(
        label="Username", max_length=150, widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"})
    )
    email = forms.EmailField(label="E-mail", help_text="The link to set a password goes there.")
    role = forms.ChoiceField(label="Role", choices=Role.choices, initial=Role.VIEWER)


class RoleForm(forms.Form):
    role = forms.ChoiceField(label="Role", choices=Role.choices)


class AddressForm(forms.Form):
    """The address of one of several people on a page."""

    email = forms.EmailField(label="E-mail", max_length=254)

    def __init__(self, person: User, data: Any = None) -> None:
        super().__init__(data, initial={"email": person.email}, auto_id=f"id_%s_{person.pk}")
        self.person = person


class OwnAddressForm(forms.Form):
    """One's own address, with the password: a link to set a new password goes there."""

    email = forms.EmailField(
        label="E-mail", max_length=254, help_text="A link to set a new password goes there. Links from before end."
    )
    password = forms.CharField(
        label="Current password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, request: HttpRequest, data: Any = None) -> None:
        super().__init__(data, initial={"email": getattr(request.user, "email", "")})
        self.request = request

    def clean_password(self) -> str:
        return _own_password(self.request, self.cleaned_data["password"])


class OwnPasswordForm(PasswordChangeForm):
    """Django's form, which counts the wrong ones as well."""

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request

    def clean_old_password(self) -> str:
        return _own_password(self.request, self.cleaned_data["old_password"])


def _own_password(request: HttpRequest, password: str) -> str:
    if not sign_in.is_own_password(request, password):
        raise ValidationError("This is not your password. Wrong ones count like failed log-ins.")
    return password


class ForgottenForm(forms.Form):
    email = forms.EmailField(label="E-mail", widget=forms.EmailInput(attrs={"autocomplete": "email"}))


class TokenForm(forms.Form):
    """One switch for each scope."""

    name = forms.CharField(label="Name", max_length=100, help_text="Who uses it, for example pager.")
    trigger = forms.BooleanField(label="Trigger", required=False, help_text="Post events, which make runs.")
    read = forms.BooleanField(label="Read", required=False, help_text="Ask what became of runs and mails.")
    write = forms.BooleanField(label="Write", required=False, help_text="Cancel runs and mails, and send them again.")

    @property
    def scopes(self) -> list[str]:
        return [scope for scope in ApiToken.Scope.values if self.cleaned_data.get(scope)]


class AuditForm(forms.Form):
    """The filter: a plain GET form, so that what it shows has an address."""

    actor = forms.CharField(label="Who", required=False, max_length=150)
    action = forms.ChoiceField(label="What", required=False)
    since = forms.DateField(label="From", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label="To", required=False, widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        asked = self.data.get("action", "")
        names = sorted({*audit.actions(), asked.replace("\0", "")} - {""})
        self.fields["action"].choices = [("", "Everything"), *((name, name) for name in names)]  # type: ignore[attr-defined]

    def clean_since(self) -> date | None:
        return _near(self.cleaned_data["since"])

    def clean_until(self) -> date | None:
        return _near(self.cleaned_data["until"])

    @property
    def wanted(self) -> audit.Wanted:
        return audit.Wanted(**self.cleaned_data)


def _near(day: date | None) -> date | None:
    """Refuse days at the ends of the calendar, which have no midnight in every time zone."""
    if day and not 1970 <= day.year <= 2999:
        raise ValidationError("Enter a day between 1970 and 2999.")
    return day
