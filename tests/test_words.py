"""What sets a workflow off, in words."""

from __future__ import annotations

from typing import Any

import pytest

from workflows import conditions, words


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("incident_created", "incident", "incident created"),
        ("incident_updated", "incident", "incident updated (any change)"),
        ("incident_updated", "action_item", "incident updated"),
        ("action_item_updated", "action_item", "action item updated (any change)"),
        ("custom_fields.affected-region.updated", "incident", "custom field affected-region updated"),
    ],
)
def test_triggers(name: str, kind: str, said: str) -> None:
    assert words.of_trigger(name, kind=kind) == said


@pytest.mark.parametrize(
    ("operator", "values", "said"),
    [
        ("IS", ["SEV0"], "is 'SEV0'"),
        ("IS", ["SEV0", "SEV1"], "is 'SEV0' or 'SEV1'"),
        ("IS NOT", ["a", "b", 3], "is not 'a', 'b' or '3'"),
        ("NONE", ["a"], "is not 'a'"),
        ("CONTAINS", ["a", "b"], "contains 'a' or 'b'"),
        ("CONTAINS_ALL", ["a", "b"], "contains 'a' and 'b'"),
        ("CONTAINS_NONE", ["a", "b"], "does not contain 'a' or 'b'"),
        ("IS", ["/^sev[01]$/i"], "is a match of /^sev[01]$/i"),
        ("IS NOT", ["x", "/y/"], "is not 'x' or a match of /y/"),
        ("CONTAINS", ["/y/", "/var/log"], "contains a match of /y/ or '/var/log'"),
        ("SET", [], "is set"),
        ("UNSET", [], "is not set"),
        ("ANY", ["of no matter"], "is anything"),
        ("IS", [*range(12)], "is '0', '1', '2', '3', '4', '5', '6', '7', '8' or 3 more"),
        ("IS", [*range(10)], "is '0', '1', '2', '3', '4', '5', '6', '7', '8' or '9'"),
    ],
)
def test_conditions(operator: str, values: list[Any], said: str) -> None:
    assert words.of_condition({"path": "x.y", "operator": operator, "values": values}) == f"x.y {said}"


def test_a_jsonpath_is_said_as_it_is() -> None:
    condition = {"path": "$.alert.data[?@.value > 50].name", "operator": "CONTAINS", "values": ["cpu"]}
    assert words.of_condition(condition) == "$.alert.data[?@.value > 50].name contains 'cpu'"


@pytest.mark.parametrize("operator", conditions.OPERATORS)
def test_every_operator_has_words(operator: str) -> None:
    values = {} if operator in conditions.NEED_NO_VALUES else {"values": ["a"]}
    assert words.of_condition({"path": "x", "operator": operator, **values}).startswith("x ")
    assert words.of_operator(operator)


@pytest.mark.parametrize(
    ("join", "number", "said"),
    [
        ("ALL", 1, "if"),
        ("ANY", 1, "if"),
        ("NONE", 1, "if none of these holds:"),
        ("ALL", 2, "if all of these hold:"),
        ("ANY", 2, "if at least one of these holds:"),
    ],
)
def test_joins(join: str, number: int, said: str) -> None:
    assert words.of_join(join, number=number) == said


@pytest.mark.parametrize(
    ("join", "said"),
    [
        ("ALL", "Its conditions do not hold: a is 'x' (it is '/b/' and 'c'); "
                "d is a match of /(/ (it cannot be told: Character 2 of the pattern (: missing ))."),
        ("NONE", "None of its conditions may hold, but: "
                 "d is a match of /(/ (it cannot be told: Character 2 of the pattern (: missing ))."),
    ],
)  # fmt: skip
def test_a_refusal_says_what_was_seen_and_what_cannot_be_told(join: str, said: str) -> None:
    wanted = [
        {"path": "a", "operator": "IS", "values": ["x"]},
        {"path": "d", "operator": "IS", "values": ["/(/"]},
    ]
    looks = conditions.examine(wanted, {"a": ["/b/", "c"], "d": "e"}, join=join).looks
    assert words.of_refusal(looks, join=join) == said
