"""Draw form controls with Tabler's classes."""

from __future__ import annotations

from typing import Any

from django import template
from django.forms import BoundField

register = template.Library()
CLASSES = {"checkbox": "form-check-input", "select": "form-select"}


@register.filter
def control(field: BoundField) -> Any:
    """Return the control of a field; the classes that the form gave it stay."""
    own = field.field.widget.attrs.get("class", "")
    wrong = "is-invalid" if field.errors else ""
    words = [CLASSES.get(field.widget_type, "form-control"), wrong, own]
    return field.as_widget(attrs={"class": " ".join(word for word in words if word)})
