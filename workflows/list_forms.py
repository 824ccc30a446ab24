"""The filter of the list of workflows."""

from __future__ import annotations

from django import forms

from . import events, words
from .forms import Words
from .overview import Wanted


def _kinds() -> list[tuple[str, str]]:
    return [("", "Any"), *((kind, words.of_kind(kind).capitalize()) for kind in events.TRIGGERS)]


class WorkflowFilterForm(forms.Form):
    """A plain GET form, so that what it shows has an address. The fields are those of Wanted."""

    search = Words(label="Name or slug", required=False, max_length=200)
    kind = forms.ChoiceField(label="About", required=False, choices=_kinds)
    state = forms.ChoiceField(
        label="State", required=False, choices=[("", "Any"), ("on", "On"), ("off", "Off"), ("locked", "Locked")]
    )

    @property
    def wanted(self) -> Wanted:
        if not self.is_valid():
            raise ValueError("ask is_valid() first")
        return Wanted(**self.cleaned_data)
