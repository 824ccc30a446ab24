"""The forms of runs and events: which ones a list shows, and on what a run by hand works."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from . import events, samples
from .models import Run, Workflow


class RunFilterForm(forms.Form):
    """A plain GET form."""

    workflow = forms.ChoiceField(label="Workflow", required=False)
    status = forms.ChoiceField(label="Status", required=False, choices=[("", "Any"), *Run.Status.choices])

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        known = Workflow.objects.order_by("name", "slug").values_list("slug", "name")
        self.fields["workflow"].choices = [("", "Any"), *known]  # type: ignore[attr-defined]


class EventFilterForm(forms.Form):
    """A plain GET form."""

    about = forms.CharField(
        label="About",
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs={"class": "mono", "spellcheck": "false", "placeholder": "incident:482"}),
    )


class StartForm(forms.Form):
    """A sample event, or the data of one as JSON."""

    sample = forms.ChoiceField(label="Event", required=False)
    payload = forms.CharField(
        label="Or data of your own",
        required=False,
        widget=forms.Textarea(attrs={"rows": 12, "class": "mono", "spellcheck": "false"}),
        help_text='JSON, as a service would send it under "data". Where something stands here, the event above lends '
        "it nothing but its name.",
    )

    def __init__(self, *args: Any, workflow: Workflow, **options: Any) -> None:
        super().__init__(*args, **options)
        self.samples = samples.of(workflow)
        self.fields["sample"].choices = [(one.key, one.label) for one in self.samples]  # type: ignore[attr-defined]

    def clean_payload(self) -> dict[str, Any] | None:
        text = self.cleaned_data["payload"].strip()
        if not text:
            return None
        try:
            return events.read_data(text)
        except events.EventError as error:
            raise ValidationError(str(error)) from error

    @property
    def chosen(self) -> tuple[str, dict[str, Any]]:
        """Return the name of the event and its data."""
        sample = samples.chosen(self.samples, self.cleaned_data.get("sample", ""))
        own = self.cleaned_data["payload"]
        return sample.event, sample.data if own is None else own
