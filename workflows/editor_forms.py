"""The forms of the editor: a workflow, and a Send an Email action of it."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.utils.text import slugify

from . import events, words
from .condition_forms import ConditionsForm
from .models import Action
from .timing_forms import TIMING, TimingForm

ONE_EACH_LINE = "One address in each line, or Liquid that gives addresses."


CATALOGUE = {kind: names for kind, names in events.TRIGGERS.items() if kind != events.CUSTOM}


def disable(form: forms.BaseForm) -> None:
    """Let a form be read only. What it would save is what is stored."""
    for field in form.fields.values():
        field.disabled = True


class LinesField(forms.CharField):
    """A list of texts, one in each line. A text with a Liquid tag is one element: its block may go over lines."""

    widget = forms.Textarea

    def __init__(self, *, required: bool = False, **options: Any) -> None:
        super().__init__(required=required, **options)
        self.widget.attrs |= {"rows": 2, "class": "mono", "spellcheck": "false"}

    def to_python(self, value: Any) -> list[str]:  # type: ignore[override]
        text = str(value or "").replace("\r\n", "\n").strip()
        lines = [text] if "{%" in text else [line.strip() for line in text.split("\n")]
        return [line for line in lines if line]

    def validate(self, value: Any) -> None:
        super().validate(value)
        if any("\x00" in line for line in value):
            raise ValidationError("It holds a null character, which no database can keep.")

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value


def _liquid(rows: int, **attributes: Any) -> forms.Textarea:
    return forms.Textarea(attrs={"rows": rows, "class": "mono", "spellcheck": "true", **attributes})


class ActionForm(forms.ModelForm):  # type: ignore[type-arg]
    """Every parameter of an action; errors stand at their field, with the line."""

    MORE = ("cc", "bcc", "sender", "reply_to", "preheader", "include_header", "include_footer", "custom_logo_url")
    SWITCHES = ("enabled", "skip_on_failure")

    to = LinesField(
        label="To", help_text=ONE_EACH_LINE, required=True, error_messages={"required": "Say who gets the mail."}
    )
    cc = LinesField(label="Cc", help_text=ONE_EACH_LINE)
    bcc = LinesField(label="Bcc", help_text=ONE_EACH_LINE)

    class Meta:
        model = Action
        fields = ("name", "to", "subject", "body", "cc", "bcc", "sender", "reply_to", "preheader", "include_header",
                  "include_footer", "custom_logo_url", "enabled", "skip_on_failure")  # fmt: skip
        labels = {
            "name": "Name of the action", "sender": "From", "reply_to": "Reply-To", "body": "Body (Markdown)",
            "include_header": "Header with logo", "include_footer": "Footer", "custom_logo_url": "Logo",
            "enabled": "Enabled", "skip_on_failure": "Go on with the next action when this one fails",
        }  # fmt: skip
        help_texts = {
            "sender": "Blank: the From of whatever provider is in force.",
            "reply_to": "Where answers go; blank: to From.",
            "preheader": "The line that mail programs show behind the subject.",
            "custom_logo_url": "The address of a picture, at most 48 pixels high in the mail.",
        }
        widgets = {
            "subject": _liquid(1), "body": _liquid(14), "preheader": _liquid(1), "sender": forms.TextInput,
            "reply_to": forms.TextInput, "custom_logo_url": forms.URLInput(attrs={"placeholder": "https://"}),
        }  # fmt: skip

    @property
    def stored(self) -> list[str]:
        return list(self.fields)

    @property
    def differs(self) -> bool:
        """Whether what was typed is something else than what is stored; browsers end lines in a way of their own."""
        pairs = [(self[name].initial, self[name].value()) for name in self.changed_data]
        return self.is_bound and any(_with_plain_lines(stored) != _with_plain_lines(typed) for stored, typed in pairs)

    def unchecked(self) -> Action:
        """Return the action as it was typed, for a preview, which finds out by itself what is wrong."""
        if self.fields["body"].disabled:
            return cast(Action, self.instance)
        typed = Action(workflow=self.instance.workflow, position=self.instance.position)
        for name, field in self.fields.items():
            raw = field.widget.value_from_datadict(self.data, self.files, name)
            setattr(typed, name, field.to_python(raw))
        return typed

    def __init__(self, *args: Any, admin: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance.workflow.locked and not admin:
            disable(self)
        for name, field in self.fields.items():
            if name not in self.SWITCHES:  # what the preview says of it is read with it
                helped = f" id_{name}_helptext" if field.help_text else ""
                field.widget.attrs["aria-describedby"] = f"note-{name} id_{name}_error{helped}"

    @property
    def main_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name not in (*self.MORE, *self.SWITCHES)]

    @property
    def more_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.MORE]

    @property
    def switches(self) -> list[forms.BoundField]:
        return [self[name] for name in self.SWITCHES]

    @property
    def more_is_open(self) -> bool:
        """Whether what lies under 'More' was filled in or is wrong: then it must be seen."""
        texts = [name for name in self.MORE if not name.startswith("include_")]
        return any(self[name].value() or self[name].errors for name in texts)


def _with_plain_lines(value: Any) -> str:
    return str(value).replace("\r\n", "\n").strip()


def _place(kind: str, trigger: str) -> tuple[bool, str]:
    """Sort what happens to the whole object before what happens to its parts."""
    return not trigger.startswith(f"{kind}_"), trigger


def _kind_choices() -> list[tuple[str, str]]:
    return [(kind, words.of_kind(kind).capitalize()) for kind in events.TRIGGERS]


class WorkflowForm(ConditionsForm, TimingForm):
    """What a workflow is called and what sets it off. The events of the other kinds are not looked at."""

    trigger_type = forms.ChoiceField(label="About", choices=_kind_choices)
    triggers_custom = LinesField(
        label="When one of these events is sent",
        help_text="Names that you choose, one in each line, with a dot and small letters: deploy.finished",
    )
    others = LinesField(label="Changes of custom fields", help_text="One in each line: custom_fields.region.updated")

    class Meta(TimingForm.Meta):
        fields = ("name", "slug", "enabled", "locked", "trigger_type", *TIMING, "give_up_after", "on_unknown",
                  "condition")  # fmt: skip
        labels = {
            **TimingForm.Meta.labels, "give_up_after": "Give up after", "locked": "Locked: only Admins may change it",
            "on_unknown": "Where a relay may have taken a mail and its answer was not heard",
        }  # fmt: skip
        help_texts = {
            **TimingForm.Meta.help_texts,
            "slug": "The name in addresses and files, for example tell-stakeholders. Blank: made from the name.",
            "give_up_after": "For example 2 hours. Blank: 24 hours.",
        }
        widgets = {**TimingForm.Meta.widgets, "on_unknown": forms.RadioSelect}

    def __init__(self, *args: Any, admin: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["slug"].required = False
        self._add_events()
        self.fields["on_unknown"].choices = [  # type: ignore[attr-defined]
            ("retry", "Send it again: it may arrive twice"), ("hold", "Hold it until a person decides"),
        ]  # fmt: skip
        self.fields["locked"].disabled = not admin
        if self.instance.locked and not admin:
            disable(self)

    def _add_events(self) -> None:
        known = self.instance.triggers
        for kind, names in CATALOGUE.items():
            mine = known if kind == self.instance.trigger_type else []
            own_first = sorted(names, key=partial(_place, kind))
            choices = [(name, words.of_trigger(name, kind=kind)) for name in own_first]
            self.fields[f"triggers_{kind}"] = forms.MultipleChoiceField(
                label=f"When ({words.of_kind(kind)})", choices=choices, required=False,
                initial=[name for name in mine if name in names], widget=forms.CheckboxSelectMultiple,
            )  # fmt: skip
        self.fields["others"].initial = [name for name in known if name.startswith("custom_fields.")]
        own = known if self.instance.trigger_type == events.CUSTOM else []
        self.fields["triggers_custom"].initial = own

    @property
    def stored(self) -> list[str]:
        return [*self._meta.fields, "triggers", "conditions"]  # type: ignore[misc]

    @property
    def differs(self) -> bool:
        """Whether what was typed is something else than what is stored."""
        return self.is_bound and (self.has_changed() or self.rows.differ)

    def clean_slug(self) -> str:
        made = re.sub(r"[-_]+", "-", slugify(self.cleaned_data.get("name", "")))[:100].strip("-")
        slug: str = self.cleaned_data["slug"] or made
        if not slug:
            raise ValidationError("Enter a slug: none can be made from this name.")
        return slug

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        kind = cleaned.get("trigger_type", "")
        others = cleaned.get("others", []) if kind in events.WITH_CUSTOM_FIELDS else []
        self.instance.triggers = [*cleaned.get(f"triggers_{kind}", []), *others]
        return cleaned

    def add_error(self, field: str | None, error: Any) -> None:
        """Let what the model says of `triggers`, which is no field here, stand above the events."""
        if isinstance(error, ValidationError) and hasattr(error, "error_dict") and "triggers" in error.error_dict:
            texts = error.error_dict.pop("triggers")
            if "trigger_type" in self.cleaned_data:
                super().add_error(f"triggers_{self.cleaned_data['trigger_type']}", texts)
            if not error.error_dict:
                return
        super().add_error(field, error)

    @property
    def events_by_kind(self) -> list[tuple[str, forms.BoundField]]:
        return [(kind, self[f"triggers_{kind}"]) for kind in CATALOGUE]
