"""What the editor offers to click in: variables that print what they promise, filters whose results are computed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from workflows import filter_sheet, liquid, variables
from workflows.liquid import Kind
from workflows.liquid.filters import FILTERS
from workflows.samples import EXAMPLES
from workflows.variables import Variable

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def printed(source: str, data: dict[str, Any]) -> str:
    return " ".join(liquid.fill(source, kind=Kind.PLAIN, variables=data, now=NOW).text.split())


@pytest.mark.parametrize("name", ["incident", "alert", "action_item", "post_mortem", "pulse", "simple"])
def test_each_prints_the_value_that_stands_beside_it(name: str) -> None:
    data = json.loads((EXAMPLES / f"{name}.json").read_text())
    found = variables.of(data)
    assert len(found) > 5
    for one in found:
        if "flatten" not in one.liquid and "None" not in one.value:
            assert printed(one.liquid, data).startswith(one.value.removesuffix("…")), one


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({}, []),
        ({"a": None, "b": True, "c": 1.5}, [("{{ a }}", ""), ("{{ b }}", "true"), ("{{ c }}", "1.5")]),
        ({"a": {"b": {"c": "x"}}}, [("{{ a.b.c }}", "x")]),
        ({"a": []}, [("{{ a | join: ', ' }}", "")]),
        ({"a": [{"b": 1}, {"c": 2}]}, [("{{ a | map: 'b' | join: ', ' }}", "1,")]),
        ({"a": [{"b": ["x"]}]}, [("{{ a | map: 'b' | flatten | join: ', ' }}", "")]),
        ({"not an identifier": 1, "x-y": 2}, []),
        ({"a": "line\n two  " + "x" * 100}, [("{{ a }}", "line two " + "x" * 50 + "…")]),
    ],
)
def test_of_any_data(data: dict[str, Any], found: list[tuple[str, str]]) -> None:
    assert variables.of(data) == [Variable(*one) for one in found]


def test_much_and_deep_data_ends() -> None:
    deep: dict[str, Any] = {}
    for _ in range(50):
        deep = {"a": deep, "b": 1}
    assert len(variables.of(deep)) <= variables.DEEPEST
    assert len(variables.of({f"k{number}": 1 for number in range(1000)})) == variables.MOST


def test_every_filter_of_ours_has_an_example() -> None:
    lines = [example.liquid for examples in filter_sheet.groups().values() for example in examples]
    assert [name for name in FILTERS if not any(f"| {name}" in line for line in lines)] == []
    assert len(lines) == len(set(lines))


def test_every_example_comes_to_something() -> None:
    for examples in filter_sheet.groups().values():
        assert [example.liquid for example in examples if not example.result] == []
