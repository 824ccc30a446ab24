"""Prometheus Alertmanager, payload version 4. It signs nothing; Basic, Bearer or a header of one's own prove it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import groups
from .base import Reading

DIALECT = groups.Dialect("alertmanager", links=("generatorURL",))


def read(headers: Mapping[str, str], body: Any, options: Mapping[str, Any]) -> Reading:
    return groups.read(body, options, dialect=DIALECT, is_test=lambda member: False)
