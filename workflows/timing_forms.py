"""When a workflow acts: the fields of the editor, which are the names of the public API."""

from __future__ import annotations

import zoneinfo
from typing import Any

from django import forms
from django.conf import settings

from . import words
from .models import Workflow

EXAMPLES = "For example 30 seconds, 5 mins, 2h 30min."
WEEK = [(letter, words.of_days([letter]).removesuffix("s")) for letter in "MTWRFUS"]
TIMING: tuple[str, ...] = (
    "wait", "repeat_every_duration", "repeat_on", "repeat_condition_number_of_repeats",
    "repeat_condition_duration_since_first_run", "continuously_repeat", "run_once_per_resource", "time_zone",
)  # fmt: skip


class TimingForm(forms.ModelForm):  # type: ignore[type-arg]
    """The part of a workflow that says when. Durations are kept as they were typed."""

    repeat_on = forms.MultipleChoiceField(
        label="On these days", choices=WEEK, required=False, widget=forms.CheckboxSelectMultiple,
        help_text="Without a duration above: once on each of them. None: on every day.",
    )  # fmt: skip

    class Meta:
        model = Workflow
        fields = TIMING
        labels = {
            "wait": "Wait before the first action", "repeat_every_duration": "Repeat every",
            "repeat_condition_number_of_repeats": "Stop after so many repeats",
            "repeat_condition_duration_since_first_run": "Stop so long after the first run",
            "continuously_repeat": "Repeat even when its conditions no longer hold",
            "run_once_per_resource": "Run only once for each incident, alert or other resource",
            "time_zone": "Time zone",
        }  # fmt: skip
        help_texts = {
            "wait": f"{EXAMPLES} Blank: at once.",
            "repeat_every_duration": "For example 1 hour, 1 day, 2 weeks. Blank: it does not repeat, but for the days.",
            "repeat_condition_number_of_repeats": "Blank: without a limit.",
            "repeat_condition_duration_since_first_run": "For example 12h, 2 weeks. Blank: without a limit.",
            "run_once_per_resource": "What happens to the same one later makes no run, but a person still can.",
        }
        widgets: dict[str, Any] = {
            "repeat_condition_number_of_repeats": forms.NumberInput(attrs={"min": 1, "inputmode": "numeric"}),
            "time_zone": forms.TextInput(attrs={"list": "time-zones", "spellcheck": "false"}),
        }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        example = f"For example Europe/Berlin. Blank: {settings.TIME_ZONE}."
        self.fields["time_zone"].help_text = f"Of the days, and of the clock that whole days keep to. {example}"

    @property
    def time_zones(self) -> list[str]:
        return sorted(zoneinfo.available_timezones())

    @property
    def timing_is_open(self) -> bool:
        """Whether any of it was filled in or is wrong: then it must be seen."""
        return any(self[name].value() or self[name].errors for name in TIMING)
