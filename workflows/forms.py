"""The forms of deliveries: the filter. It reads what people and scripts wrote; `search` knows what it means."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from .models import Delivery, Workflow
from .search import PROVIDERS, DeliveryFilter

_CODE = re.compile(r"[2-5]\d\d|[245]\.\d{1,3}\.\d{1,3}")
_SURROGATE = re.compile("[\ud800-\udfff]")  # an argument of a command that was no UTF-8


class Words(forms.CharField):
    """Text that every database can be asked for."""

    def clean(self, value: Any) -> str:
        text: str = super().clean(value)
        if _SURROGATE.search(text):
            raise ValidationError("This is not readable text.")
        return text


class MomentInput(forms.DateTimeInput):
    """Show what an address named, also a day alone or another time zone, as the browser's control takes it."""

    def format_value(self, value: Any) -> str | None:
        try:
            moment = datetime.fromisoformat(value) if isinstance(value, str) else value
            local = timezone.localtime(moment) if moment and timezone.is_aware(moment) else moment
        except (ValueError, OverflowError):
            return None
        return f"{local:%Y-%m-%dT%H:%M:%S}" if local else None


def moment_field(label: str) -> forms.DateTimeField:
    """Take a day (its midnight) or a day and a time, in ISO 8601: what 03/04/2026 is depends on who reads it."""
    widget = MomentInput(attrs={"type": "datetime-local", "step": "1"})
    wrong = {"invalid": "Enter a day, or a day and a time, such as 2026-11-27 14:30."}
    return forms.DateTimeField(label=label, required=False, widget=widget, error_messages=wrong, input_formats=[])


class FilterForm(forms.Form):
    """A plain GET form, so that what it shows has an address. The fields are those of DeliveryFilter."""

    search = Words(label="Subject, id or Message-ID", required=False, max_length=300)
    state = forms.MultipleChoiceField(
        label="State", required=False, choices=Delivery.State.choices, widget=forms.CheckboxSelectMultiple
    )
    recipient = Words(label="Recipient (address or a part)", required=False, max_length=320)
    workflow = forms.ChoiceField(label="Workflow", required=False)
    provider = forms.ChoiceField(label="Through", required=False, choices=[("", "Any"), *PROVIDERS.items()])
    code = forms.CharField(label="Code (535, 5.7.1)", required=False, max_length=11)
    since = moment_field("Since")
    until = moment_field("Before")
    bounced = forms.BooleanField(label="Bounced afterwards", required=False)
    run = forms.UUIDField(required=False, widget=forms.HiddenInput, error_messages={"invalid": "This is no run's id."})

    def __init__(self, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data)
        names = Workflow.objects.order_by("name", "slug").values_list("slug", "name")
        self.fields["workflow"].choices = [("", "Any"), *names]  # type: ignore[attr-defined]

    def clean_since(self) -> datetime | None:
        return near(self.cleaned_data["since"])

    def clean_until(self) -> datetime | None:
        return near(self.cleaned_data["until"])

    def clean_code(self) -> str:
        code: str = self.cleaned_data["code"]
        if code and not _CODE.fullmatch(code):
            raise ValidationError("Enter a reply code such as 535, or an enhanced status code such as 5.7.1.")
        return code

    def clean(self) -> None:
        since, until = self.cleaned_data.get("since"), self.cleaned_data.get("until")
        if since and until and until <= since:
            self.add_error("until", "Enter a time later than the one in Since: nothing lies between them.")

    @property
    def wanted(self) -> DeliveryFilter:
        """The filter; nothing that could be taken for 'all' where a field was wrong."""
        if not self.is_valid():
            raise ValueError("ask is_valid() first")
        states = self.cleaned_data["state"]
        in_order = tuple(state for state in Delivery.State.values if state in states)
        run: uuid.UUID | None = self.cleaned_data["run"]
        return DeliveryFilter(**self.cleaned_data | {"state": in_order, "run": run})

    def complaints(self) -> list[str]:
        """Return what is wrong, one line for each, with the field's name as a command's option."""
        return [f"--{name}: {text}" for name, texts in self.errors.items() for text in texts]


class ConfirmForm(forms.Form):
    """What a confirmation page gives back: `before` bounds what the person was told about, `after` goes on behind."""

    before = forms.UUIDField()
    after = forms.UUIDField(required=False)


def near(moment: datetime | None) -> datetime | None:
    """Refuse the ends of the calendar, which not every time zone has."""
    if moment and not 1970 <= moment.year <= 2999:
        raise ValidationError("Enter a time between 1970 and 2999.")
    return moment
