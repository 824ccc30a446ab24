"""What the pages that change workflows have in common: who does it, and what becomes of a refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

from . import editing
from .entrance import LOCKED, is_admin


def carry_out(request: HttpRequest, change: Callable[..., Any], row: Any, **options: Any) -> Any:
    """Have `editing` do it in the name of this person; raises Http404, PermissionDenied or editing.Changed."""
    try:
        return change(row, actor=request.user.get_username(), admin=is_admin(request), **options)
    except editing.Gone as error:
        raise Http404 from error
    except editing.Locked as error:
        raise PermissionDenied(LOCKED) from error
