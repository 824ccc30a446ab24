"""The filter among suppressed addresses, and what comes back of it with a release of many."""

from __future__ import annotations

from datetime import datetime

from django import forms

from .forms import Words, moment_field, near
from .suppression import Wanted
from .told_models import Suppression


class FilterForm(forms.Form):
    """A plain GET form, so that what it shows has an address. The fields are those of Wanted."""

    search = Words(label="Address or a part of one", required=False, max_length=320)
    kind = forms.ChoiceField(label="Because", required=False, choices=[("", "Any"), *Suppression.Kind.choices])
    since = moment_field("Listed since")

    def clean_since(self) -> datetime | None:
        return near(self.cleaned_data["since"])

    @property
    def wanted(self) -> Wanted:
        """The filter; nothing that could be taken for 'all' where a field was wrong."""
        if not self.is_valid():
            raise ValueError("ask is_valid() first")
        return Wanted(**self.cleaned_data)


class ReleaseAllForm(FilterForm):
    """`until` bounds what the person was shown."""

    until = forms.DateTimeField()

    @property
    def wanted(self) -> Wanted:
        return Wanted(**{name: self.cleaned_data[name] for name in FilterForm.base_fields})
