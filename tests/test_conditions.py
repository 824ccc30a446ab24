"""Conditions: every operator over everything that JSON knows, patterns, paths; and nothing takes long."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.effort import examples
from workflows.conditions import OPERATORS, Look, Verdict, examine, look_up, problem_of, quoted
from workflows.conditions.effort import STEPS, Effort
from workflows.conditions.paths import find, names_of
from workflows.validators import validate_conditions

THINGS: dict[str, Any] = {
    "text": " SEV1 on call ",
    "version": "1.10",
    "digits": "3",
    "number": 3,
    "float": 3.0,
    "zero": 0,
    "yes": True,
    "no": False,
    "texts": ["payments", "Customer-Facing"],
    "one text": ["payments"],
    "numbers": [1, 2.0],
    "nested": [["a"], [["b"]]],
    "object": {"id": "s1", "slug": "sev1", "name": "Critical"},
    "bare object": {"colour": "red"},
    "objects": [{"slug": "checkout", "name": "Checkout"}, {"slug": "api", "id": 7}],
    "null": None,
    "blank": "  ",
    "empty list": [],
    "list of nothing": [None, "", []],
    "empty object": {},
}
# What stands there, its values, and then in this order whether it IS, CONTAINS and CONTAINS_ALL hold. IS NOT and NONE
# are the contrary of IS, CONTAINS_NONE that of CONTAINS.
CELLS: list[tuple[str, list[Any], tuple[bool, bool, bool]]] = [
    ("text", ["sev1 ON call"], (True, True, True)),
    ("text", ["SEV1"], (False, True, True)),
    ("text", ["sev0", "sev1 on call"], (True, True, False)),
    ("text", ["SEV1", " Call "], (False, True, True)),
    ("text", [1], (False, True, True)),
    ("text", ["/^sev\\d/i"], (False, False, False)),  # the blank before it is seen
    ("text", ["/sev\\d/i"], (True, True, True)),
    ("text", ["/sev\\d/"], (False, False, False)),
    ("text", ["/SEV/", "/x/"], (True, True, False)),
    ("version", ["1.1"], (False, True, True)),
    ("version", [1.1], (True, True, True)),
    ("digits", [3], (True, True, True)),
    ("digits", [3.0], (True, False, False)),
    ("digits", ["3.0"], (False, False, False)),
    ("number", [3], (True, True, True)),
    ("number", ["3"], (True, True, True)),
    ("number", ["3.0", 4], (True, True, False)),
    ("number", ["33", "three"], (False, False, False)),
    ("number", ["/^3$/"], (True, True, True)),
    ("float", [3, "3"], (True, True, True)),
    ("zero", [0], (True, True, True)),
    ("zero", [False, "no"], (False, False, False)),
    ("yes", ["TRUE", True], (True, True, True)),
    ("yes", [1, "yes"], (False, False, False)),
    ("no", ["false"], (True, True, True)),
    ("texts", ["Payments"], (True, True, True)),
    ("texts", ["payments", "internal"], (True, True, False)),
    ("texts", ["payments", "customer-facing"], (True, True, True)),
    ("texts", ["customer", "pay"], (False, False, False)),
    ("texts", ["/^customer/i"], (True, True, True)),
    ("one text", ["pay"], (False, False, False)),
    ("numbers", ["1", 2], (True, True, True)),
    ("nested", ["a", "B"], (True, True, True)),
    ("object", ["sev1"], (True, True, True)),
    ("object", ["S1", "critical"], (True, True, True)),
    ("object", ["sev", "{"], (False, False, False)),
    ("object", ["/^crit/i"], (True, True, True)),
    ("bare object", ["red", "/./"], (False, False, False)),
    ("objects", ["checkout", 7], (True, True, True)),
    ("objects", ["check"], (False, False, False)),
    ("null", ["null", "None", "/./"], (False, False, False)),
    ("blank", ["x"], (False, False, False)),
    ("empty list", ["x", "/^$/"], (False, False, False)),
    ("list of nothing", ["x"], (False, False, False)),
    ("empty object", ["x"], (False, False, False)),
    ("missing", ["x"], (False, False, False)),
]


def condition(path: str, operator: str, *values: Any) -> dict[str, Any]:
    return {"path": path, "operator": operator, "values": list(values)}


def holds(path: str, operator: str, *values: Any, data: Any = THINGS) -> bool:
    verdict = examine([condition(path, operator, *values)], data, join="ALL")
    assert [look.error for look in verdict.looks] == [""]
    return verdict.held


@pytest.mark.parametrize(("there", "values", "expected"), CELLS)
def test_every_operator_over_everything(there: str, values: list[Any], expected: tuple[bool, bool, bool]) -> None:
    found = {operator: holds(there, operator, *values) for operator in OPERATORS if operator not in ("SET", "UNSET")}
    equal, contains, all_of_them = expected
    assert found == {
        "IS": equal, "IS NOT": not equal, "NONE": not equal, "ANY": True,
        "CONTAINS": contains, "CONTAINS_ALL": all_of_them, "CONTAINS_NONE": not contains,
    }  # fmt: skip


@pytest.mark.parametrize("there", [*THINGS, "missing", "text.deeper", "number.deeper"])
def test_null_blank_empty_and_missing_are_not_set_and_false_and_zero_are(there: str) -> None:
    unset = there in ("null", "blank", "empty list", "list of nothing", "empty object") or there not in THINGS
    assert (holds(there, "SET"), holds(there, "UNSET")) == (not unset, unset)


TRUE, FALSE, BROKEN = condition("text", "SET"), condition("text", "UNSET"), condition("text", "IS", "/(/")


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
        ("ALL", [TRUE, BROKEN], False),
        ("ANY", [TRUE, BROKEN], True),
        ("NONE", [FALSE, BROKEN], False),
    ],
)
def test_joins(join: str, conditions: list[dict[str, object]], expected: bool) -> None:
    assert examine(conditions, THINGS, join=join).held is expected


def test_a_verdict_says_what_each_condition_saw() -> None:
    conditions = [condition("objects", "IS", "api"), {"path": "null", "operator": "UNSET"}, BROKEN]
    assert examine(conditions, THINGS, join="ANY") == Verdict(
        True,
        (
            Look("objects", "IS", ("api",), ["checkout", "api"], True),
            Look("null", "UNSET", (), [], True),
            Look("text", "IS", ("/(/",), [" SEV1 on call "], False, "Character 2 of the pattern (: missing )."),
        ),
    )


def test_what_is_stored_of_a_look_is_limited() -> None:
    data = {"many": [*range(12)], "long": "x" * 1000, "bare": {"a": 1, "b": 2}, "on": True}
    looks = [
        examine([condition("many", operator, 3, "x" * 300, "/(/")], data, join="ALL").looks[0].as_dict()
        for operator in ("SET", "IS NOT")
    ]
    known = {"path": "many", "values": [3, "x" * 199 + "…", "/(/"]}
    known["saw"] = [*(str(number) for number in range(10)), "… and 2 more"]
    assert looks == [
        known | {"operator": "SET", "held": True},
        known | {"operator": "IS NOT", "held": False},
    ]
    saw = [examine([condition(path, "SET")], data, join="ALL").looks[0].saw for path in ("long", "bare", "on")]
    assert saw == [["x" * 199 + "…"], ["an object with a, b"], ["true"]]
    assert (
        examine([BROKEN], THINGS, join="ALL").looks[0].as_dict()["error"] == "Character 2 of the pattern (: missing )."
    )


# Paths

ALERT: dict[str, Any] = {
    "alert": {
        "labels": {"kubernetes.io/name": "checkout", "{{ of others }}": "x", 'a"b\\': 1, "on call": "zoe"},
        "services": [{"slug": "checkout", "teams": [{"name": "Web"}, {}]}, {"slug": "api"}],
        "data": [{"name": "cpu", "value": 99}, {"name": "disk", "value": 10}],
    },
    "$odd": 1,
}


@pytest.mark.parametrize(
    ("path", "values", "several"),
    [
        ("alert.services.slug", ["checkout", "api"], True),
        ("alert.services.teams.name", ["Web"], True),
        ('alert.labels["kubernetes.io/name"]', ["checkout"], False),
        ('alert.labels["a\\"b\\\\"]', [1], False),
        ('["alert"]["labels"].on call', ["zoe"], False),
        ('["$odd"]', [1], False),
        ("alert.no.such", [], False),
        ("$.alert.data[0].name", ["cpu"], False),
        ("$.alert.data[?@.value > 50].name", ["cpu"], True),
        ("$.alert.data[?match(@.name, 'd.*')].value", [10], True),
        ("$.alert.data[?search(@.name, '[')].value", [], True),
        ("$..slug", ["checkout", "api"], True),
        ("$.alert['labels']['kubernetes.io/name']", ["checkout"], False),
        ("$.alert.data[-1:].value", [10], True),
        ("$.alert.data[*].value", [99, 10], True),
        ('alert.labels["{{ of others }}"]', ["x"], False),
        ("$.alert.labels['{{ of others }}']", ["x"], False),
    ],
)
def test_paths(path: str, values: list[Any], several: bool) -> None:
    found = find(ALERT, path=path, effort=Effort())
    assert (found.values, found.several) == (values, several)
    assert problem_of(condition(path, "SET")) is None


@given(
    st.lists(
        st.text(min_size=1) | st.sampled_from(["$", "$.a", "a.b", '"', "on call", " ", "{{ a }}"]),
        min_size=1,
        max_size=4,
    )
)
@settings(deadline=None)
def test_any_names_can_be_written_as_a_path(names: list[str]) -> None:
    path = quoted(tuple(names))
    assert (names_of(path), path.startswith("$")) == (tuple(names), False)
    assert len(path) > 500 or problem_of(condition(path, "SET")) is None


def test_a_path_in_a_payload_keeps_its_lists() -> None:
    assert look_up(ALERT, ["alert", "services", "slug"]) == ["checkout", "api"]
    assert look_up({"a": [{"b": [{"c": 1}, {}]}, {}]}, ["a", "b", "c"]) == [[1]]
    assert look_up({"a": [{"b": [{"c": 1}, {"c": 2}]}, {}]}, ["a", 0, "b", -1, "c"]) == 2
    missing = ["alert", "no", "such"], ["alert", 0], ["alert", "services", 2], ["alert", "services", -3]
    assert [look_up(ALERT, path) for path in missing] == [None] * 4
    assert look_up({"a": 1}, ["a", "b"]) is None


def test_a_jsonpath_that_finds_one_text_looks_for_parts_of_it() -> None:
    assert holds("$.alert.data[0].name", "CONTAINS", "cp", data=ALERT)
    assert not holds("$.alert.data[*].name", "CONTAINS", "cp", data=ALERT)


# What is refused

HOW = (
    'write names with dots between them, incident.severity; a name with dots or brackets as ["a.b"]; places as $.a[0].'
)


@pytest.mark.parametrize(
    ("wrong", "part", "said"),
    [
        ("text", "", "It is an object with 'path', 'operator' and 'values'."),
        (condition("x", "SET") | {"value": 1}, "", "It is an object with 'path', 'operator' and 'values'."),
        (condition("", "SET"), "path", "'path' names a value of the event, for example incident.severity."),
        (condition("a..b", "SET"), "path", f"Character 2 of the path a..b: {HOW}"),
        (condition("a.", "SET"), "path", f"Character 2 of the path a.: {HOW}"),
        (condition("a[0]", "SET"), "path", f"Character 2 of the path a[0]: {HOW}"),
        (condition('["a"]b', "SET"), "path", f'Character 6 of the path ["a"]b: {HOW}'),
        (condition('["\\x"]', "SET"), "path", '"\\x" in the path ["\\x"] is no JSON text: write \\\\ for a backslash.'),
        (condition("{{ incident.severity }}", "SET"), "path", "Write the path without braces: incident.severity."),
        (condition("{{- incident.severity | upcase -}}", "SET"), "path",
         "Write the path without braces: incident.severity."),
        (condition("incident.{{ x }}", "SET"), "path", "Write the path without braces: incident.x."),
        (condition("{{ $.a[0] }}", "SET"), "path", "Write the path without braces: $.a[0]."),
        (condition("{{ }}", "SET"), "path", "Write the path without braces, for example incident.severity."),
        (condition(" a", "SET"), "path", "The path is one line of text, without blanks around it."),
        (condition("a\x00", "SET"), "path", "The path is one line of text, without blanks around it."),
        (condition("a" * 501, "SET"), "path", "The path is longer than 500 characters."),
        (condition("$.a[", "SET"), "path", "Character 5 of the JSONPath $.a[: unbalanced brackets."),
        (condition("$[?no(@)]", "SET"), "path", "Character 4 of the JSONPath $[?no(@)]: function 'no' is not defined."),
        (condition("a", "LIKE", 1), "operator", f"'operator' is one of {', '.join(OPERATORS)}."),
        (condition("a", "IS") | {"values": "x"}, "values", "'values' is a list of texts or numbers."),
        (condition("a", "IS", None), "values", "'values' is a list of texts or numbers."),
        (condition("a", "IS"), "values", "'IS' needs at least one value."),
        (condition("a", "IS", "x", " "), "values",
         "Value 2: It is blank: for what is blank or missing there is the operator UNSET."),
        (condition("a", "IS", "x\ny"), "values", "Value 1: A value is one line of 1000 characters at the most."),
        (condition("a", "IS", "x" * 1001), "values", "Value 1: A value is one line of 1000 characters at the most."),
        (condition("a", "IS", "/a(b/"), "values", "Value 1: Character 4 of the pattern a(b: missing )."),
        (condition("a", "IS", "/https://x/"), "values",
         "Value 1: Character 7 of the pattern https://x: write a slash within a pattern as \\/."),
        (condition("a", "IS", f"/{'x' * 501}/"), "values", "Value 1: The pattern is longer than 500 characters."),
        (condition("a", "IS", *range(101)), "values",
         "There are 101 values, and 100 at the most: a pattern, /a|b/, stands for many."),
    ],
)  # fmt: skip
def test_says_what_is_wrong_and_where(wrong: Any, part: str, said: str) -> None:
    problem = problem_of(wrong)
    assert problem
    assert (problem.part, problem.text) == (part, said)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "Conditions are a list."),
        ([TRUE, condition("a", "IS")], "Condition 2: 'IS' needs at least one value."),
        ([TRUE] * 51, "51 conditions are too many: there may be 50."),
    ],
)
def test_validation_names_the_condition(wrong: Any, said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        validate_conditions(wrong)
    assert refused.value.messages == [said]


def test_fifty_conditions_of_a_hundred_values_are_taken() -> None:
    validate_conditions([condition("a.b", "IS NOT", *range(100))] * 50)


# What could take for ever

TOO_MANY = f"The conditions would have to look at more than {STEPS:,} values of this event."


@pytest.mark.parametrize(
    ("path", "operator", "values", "data", "said"),
    [
        ("a", "IS", ["/(a|a)+$/"], {"a": "a" * 60 + "b"}, "The pattern (a|a)+$ took too long on this event."),
        ("a.b", "SET", [], {"a": [{"b": 1}] * 600_000}, TOO_MANY),
        ("$..*..*..*..x", "SET", [], {"a": [[[0] * 50] * 50] * 50}, TOO_MANY),
        ("$..[?count(@..[?@..x]) > 1]", "SET", [], {"a": [[[0] * 30] * 30] * 99}, TOO_MANY),
        ("$[?search(@, '(a|a)+b')]", "SET", [], ["a" * 60], "The pattern (a|a)+b took too long on this event."),
    ],
)
def test_what_takes_too_long_does_not_hold_and_says_so(
    path: str, operator: str, values: list[str], data: Any, said: str
) -> None:
    began = time.thread_time()
    verdict = examine([condition(path, operator, *values)], data, join="NONE")
    assert (verdict.held, verdict.looks[0].held, verdict.looks[0].error) == (False, False, said)
    assert time.thread_time() - began < 5


def test_all_patterns_together_have_a_limit() -> None:
    slow = [condition("a", "IS", f"/(a|a)+{letter}$/") for letter in "bcdefghijklmnopq"]
    began = time.thread_time()
    assert all(look.error for look in examine(slow, {"a": "a" * 60 + "z"}, join="ALL").looks)
    assert time.thread_time() - began < 2


def test_data_nested_deep_is_no_harm() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    assert holds("a", "IS", "x", data={"a": deep})
    look = examine([condition("$..x", "SET")], {"a": deep}, join="ALL").looks[0]
    assert look.error == "The event is nested too deep for this JSONPath."


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b.c", "slug", "name"]) | st.text(), inner, max_size=4)
    ),
    max_leaves=20,
)
PATHS = st.sampled_from(
    ["a", "a.b", "a.slug", 'a["b.c"]', "$", "$.a", "$..*", "$..a[?@.name]", "$[?@.a == $.a]", "$..[?length(@) > 1]"]
)
VALUES = st.text() | st.integers() | st.floats() | st.booleans() | st.sampled_from(["/a+/", "/^(a|b)*$/i", "/\\d/"])
CONDITIONS = st.builds(condition, PATHS, st.sampled_from(list(OPERATORS)), VALUES, VALUES)
CONDITIONS = CONDITIONS.filter(lambda one: problem_of(one) is None)


@given(
    st.lists(CONDITIONS, max_size=4),
    st.dictionaries(st.sampled_from(["a", "x"]), JSON),
    st.sampled_from(["ALL", "ANY", "NONE"]),
)
@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_examining_never_raises_and_joins_what_it_saw(conditions: list[Any], data: Any, join: str) -> None:
    verdict = examine(conditions, data, join=join)
    held = [look.held for look in verdict.looks]
    expected = all(held) if join == "ALL" else any(held) if join == "ANY" else not any(held)
    assert verdict.held is (expected if conditions else True)
    assert [look.error for look in verdict.looks] == [""] * len(conditions)
    assert [len(look.as_dict()["saw"]) <= 11 for look in verdict.looks] == [True] * len(conditions)
