"""The conditions of a workflow as rows of its form: added, removed and tried without being saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.html import format_html

from . import conditions, samples, variables, words
from .models import Workflow
from .samples import Sample

TOLD = "conditions"  # a hidden field: the form has rows, also where none is left
ADD, REMOVE, TRY = "add_condition", "remove_condition", "try_conditions"  # its buttons
TALLEST = 8  # lines of values that are seen at once
TOO_MANY = f"There may be {conditions.MOST_CONDITIONS} conditions: remove some, or use one with several values."
MEND_FIRST = "Nothing was run. Mend what is wrong above: then it can be told whether it would run."
JOINS = (("ALL", "all of these hold"), ("ANY", "at least one of these holds"), ("NONE", "none of these holds"))
Typed = dict[str, str]  # a row as it stands on the page


class ConditionForm(forms.Form):
    """One row. Its fields have the same names in every row: their order tells the rows apart."""

    prefix = "condition"
    path = forms.CharField(
        label="Value of the event", required=False,
        widget=forms.TextInput(attrs={"list": "paths", "class": "mono", "spellcheck": "false"}),
    )  # fmt: skip
    operator = forms.ChoiceField(
        label="Operator", choices=[(name, words.of_operator(name)) for name in conditions.OPERATORS]
    )
    values = forms.CharField(
        label="Values, one in each line", required=False,
        widget=forms.Textarea(attrs={"class": "mono", "spellcheck": "false"}),
    )  # fmt: skip

    def __init__(self, typed: Typed, *, number: int, checked: bool) -> None:
        named = {f"condition-{name}": text for name, text in typed.items()}
        super().__init__(named if checked else None, initial=typed, auto_id=f"id_{number}_%s")
        self.fields["values"].widget.attrs["rows"] = min(max(1, len(_lines(typed["values"]))), TALLEST)
        for name, field in self.fields.items():
            field.widget.attrs["aria-describedby"] = f"{self[name].auto_id}_error"

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        problem = None if self.errors else conditions.problem_of(_condition(cleaned))
        if problem:
            self.add_error(problem.part or None, problem.text)
        return cleaned


@dataclass(slots=True)
class Row:
    """`look` is what the condition saw, where it was tried."""

    number: int
    form: ConditionForm
    condition: dict[str, Any]
    look: conditions.Look | None = None

    @property
    def problems(self) -> list[str]:
        """Return what is wrong with it, each with the way to its field."""
        named = [(name if name in self.form.fields else "path", texts) for name, texts in self.form.errors.items()]
        return [self._led_to(self.form[name].auto_id, str(text)) for name, texts in named for text in texts]

    def _led_to(self, field: str, text: str) -> str:
        return format_html('<a href="#{}">Condition {}</a>: {}', field, self.number, text)


class Rows:
    """The rows of a page: those of the stored conditions, or as they were typed, with one more or one less."""

    def __init__(self, posted: QueryDict | None, *, stored: Sequence[Mapping[str, Any]]) -> None:
        asked = posted if posted is not None and TOLD in posted else QueryDict()
        self.added, self.removed, self.tried = (button in asked for button in (ADD, REMOVE, TRY))
        known = [(_as_typed(condition), condition) for condition in stored]
        typed = _asked_for(asked) if asked else [text for text, _ in known]
        checked = bool(asked) and not (self.added or self.removed)  # who adds a row has not finished it
        self.all = [_row(text, known, number=number, checked=checked) for number, text in enumerate(typed, start=1)]
        if self.added:
            self.all[-1].form.fields["path"].widget.attrs["autofocus"] = True
        self.differ = self.conditions != list(stored)
        self.told = ""  # what came of trying them
        self.samples: list[Sample] = []
        self.sample: Sample | None = None
        self.paths: list[str] = []

    @property
    def redrawn(self) -> bool:
        """Whether a button was pressed that saves nothing."""
        return self.added or self.removed or self.tried

    @property
    def conditions(self) -> list[dict[str, Any]]:
        return [row.condition for row in self.all]

    def problems(self) -> list[str]:
        """Return what is wrong, each with its row."""
        many = [TOO_MANY] if len(self.all) > conditions.MOST_CONDITIONS else []
        return many + [text for row in self.all for text in row.problems]

    def offer(self, workflow: Workflow, *, chosen: str) -> None:
        """Offer the events to try them on, and the paths in these."""
        self.samples = samples.heard(workflow)
        self.sample = samples.chosen(self.samples, chosen)
        named = (path for sample in reversed(self.samples) for path in variables.paths(sample.data))
        self.paths = list(dict.fromkeys(named))[: variables.MOST]
        if self.tried:
            self._try_on(self.sample, workflow)

    def _try_on(self, sample: Sample, workflow: Workflow) -> None:
        right = [row for row in self.all if not row.problems]
        join = workflow.condition
        verdict = conditions.examine([row.condition for row in right], sample.data, join=join)
        for row, look in zip(right, verdict.looks, strict=True):
            row.look = look
        told = words.of_trial(verdict.looks, held=verdict.held, join=join, enabled=workflow.enabled)
        self.told = told if right == self.all else MEND_FIRST


class ConditionsForm(forms.ModelForm):  # type: ignore[type-arg]
    """The part of a workflow's form that is its conditions; a request that says nothing of them keeps them."""

    condition = forms.ChoiceField(label="It runs if", choices=JOINS, widget=forms.RadioSelect, required=False)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.rows = Rows(self.data if self.is_bound else None, stored=self.instance.conditions)  # type: ignore[arg-type]

    def clean_condition(self) -> str:
        join: str = self.cleaned_data["condition"] or self.instance.condition
        return join

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        self.instance.conditions = self.rows.conditions
        for text in self.rows.problems():
            self.add_error(None, text)
        return cleaned

    def prepare(self, *, chosen: str, refused: bool) -> None:
        """Make ready to be drawn. Where a button asked for no more than that, no other field is complained of.

        Unless Save was refused before: what is still wrong goes on standing above the form, and nothing else does.
        """
        if self.rows.redrawn and not refused:
            self.errors.clear()
        self.rows.offer(self.instance, chosen=chosen)


def _typed(posted: QueryDict) -> Iterator[Typed]:
    """Yield the rows of a page; one more than there may be, of many more."""
    lists = [posted.getlist(f"condition-{name}") for name in ("path", "operator", "values")]
    for path, operator, values in list(zip_longest(*lists, fillvalue=""))[: conditions.MOST_CONDITIONS + 1]:
        yield {"path": path, "operator": operator, "values": values.replace("\r\n", "\n")}


def _asked_for(posted: QueryDict) -> list[Typed]:
    """Return the rows as the button that was pressed wants them."""
    rows = list(_typed(posted))
    if ADD in posted:
        return [*rows, {"path": "", "operator": "IS", "values": ""}]
    if REMOVE in posted:
        return [row for number, row in enumerate(rows, start=1) if str(number) != posted[REMOVE]]
    return [row for row in rows if row["path"].strip() or row["values"].strip()]


def _row(typed: Typed, known: Sequence[tuple[Typed, Mapping[str, Any]]], *, number: int, checked: bool) -> Row:
    """Return a row; one that says what a stored condition says is that one, its numbers still numbers."""
    condition = _condition(typed)
    same = [dict(stored) for text, stored in known if _condition(text) == condition]
    return Row(number, ConditionForm(typed, number=number, checked=checked), same[0] if same else condition)


def _as_typed(condition: Mapping[str, Any]) -> Typed:
    values = "\n".join(conditions.written(value) for value in condition.get("values", []))
    return {"path": condition["path"], "operator": condition["operator"], "values": values}


def _condition(typed: Mapping[str, str]) -> dict[str, Any]:
    values = [] if typed["operator"] in conditions.NEED_NO_VALUES else _lines(typed["values"])
    return {"path": typed["path"].strip(), "operator": typed["operator"], "values": values}


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]
