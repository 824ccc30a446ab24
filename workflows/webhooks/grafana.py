"""Grafana alerting: Alertmanager's frame, with links, values and a Test button."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import groups
from .base import Reading

DIALECT = groups.Dialect("grafana", links=("panelURL", "dashboardURL", "generatorURL"))


def read(headers: Mapping[str, str], body: Any, options: Mapping[str, Any]) -> Reading:
    return groups.read(body, options, dialect=DIALECT, is_test=_is_test)


def _is_test(member: groups.Member) -> bool:
    """Say whether the Test button made this alert."""
    return member.labels.get("alertname") == "TestAlert" and member.labels.get("instance") == "Grafana"
