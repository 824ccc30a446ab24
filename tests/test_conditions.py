"""Conditions: every operator over text, number, list, null and missing."""

from __future__ import annotations

import pytest

from workflows.conditions import holds, look_up, satisfied

DATA = {
    "incident": {
        "severity": "SEV1",
        "count": 3,
        "private": False,
        "nothing": None,
        "empty": "",
        "labels": ["payments", "Customer-Facing"],
        "raw_severity": {"id": "s1", "slug": "sev1", "name": "SEV1"},
        "raw_services": [{"slug": "checkout", "name": "Checkout"}, {"slug": "api", "name": "Payments API"}],
    }
}


@pytest.mark.parametrize(
    ("path", "operator", "values", "expected"),
    [
        ("severity", "IS", ["sev1"], True),
        ("severity", "IS", ["sev0", "SEV1"], True),
        ("severity", "IS", ["sev2"], False),
        ("severity", "IS NOT", ["sev2"], True),
        ("severity", "IS NOT", ["sev1"], False),
        ("severity", "ANY", [], True),
        ("severity", "CONTAINS", ["sev"], True),
        ("severity", "CONTAINS", ["x", "ev1"], True),
        ("severity", "CONTAINS_ALL", ["sev", "1"], True),
        ("severity", "CONTAINS_ALL", ["sev", "2"], False),
        ("severity", "CONTAINS_NONE", ["2"], True),
        ("severity", "CONTAINS_NONE", ["2", "1"], False),
        ("severity", "NONE", ["sev0"], True),
        ("severity", "NONE", ["sev1"], False),
        ("severity", "SET", [], True),
        ("severity", "UNSET", [], False),
        ("count", "IS", [3], True),
        ("count", "IS", ["3"], True),
        ("count", "IS", [4], False),
        ("private", "IS", ["false"], True),
        ("private", "SET", [], True),
        ("labels", "IS", ["payments"], True),
        ("labels", "CONTAINS", ["customer"], True),
        ("labels", "CONTAINS_ALL", ["payments", "customer-facing"], True),
        ("labels", "CONTAINS_ALL", ["payments", "internal"], False),
        ("labels", "CONTAINS_NONE", ["internal"], True),
        ("labels", "NONE", ["payments"], False),
        ("raw_severity", "IS", ["sev1"], True),
        ("raw_severity", "IS", ["s1"], True),
        ("raw_severity.slug", "IS", ["sev1"], True),
        ("raw_services.slug", "CONTAINS", ["check"], True),
        ("raw_services", "IS", ["api"], True),
        ("nothing", "SET", [], False),
        ("nothing", "UNSET", [], True),
        ("nothing", "IS", ["none"], False),
        ("nothing", "IS NOT", ["x"], True),
        ("empty", "UNSET", [], True),
        ("no.such.path", "UNSET", [], True),
        ("no.such.path", "IS", ["x"], False),
        ("no.such.path", "CONTAINS", ["x"], False),
        ("no.such.path", "CONTAINS_NONE", ["x"], True),
        ("severity.deeper", "SET", [], False),
    ],
)
def test_operators(path: str, operator: str, values: list[object], expected: bool) -> None:
    assert holds({"path": f"incident.{path}", "operator": operator, "values": values}, DATA) is expected


TRUE = {"path": "incident.severity", "operator": "SET"}
FALSE = {"path": "incident.severity", "operator": "UNSET"}


@pytest.mark.parametrize(
    ("join", "conditions", "expected"),
    [
        ("ALL", [], True),
        ("NONE", [], True),
        ("ALL", [TRUE, TRUE], True),
        ("ALL", [TRUE, FALSE], False),
        ("ANY", [FALSE, TRUE], True),
        ("ANY", [FALSE, FALSE], False),
        ("NONE", [FALSE, FALSE], True),
        ("NONE", [FALSE, TRUE], False),
    ],
)
def test_joins(join: str, conditions: list[dict[str, object]], expected: bool) -> None:
    assert satisfied(conditions, DATA, join=join) is expected


def test_a_path_goes_through_lists() -> None:
    assert look_up(DATA, "incident.raw_services.name") == ["Checkout", "Payments API"]
    assert look_up({"a": [{"b": [{"c": 1}, {}]}, {}]}, "a.b.c") == [[1]]
