"""The search among suppressed addresses."""

from __future__ import annotations

from django import forms

from .forms import Words


class SearchForm(forms.Form):
    search = Words(label="Address or a part of one", required=False, max_length=320)
