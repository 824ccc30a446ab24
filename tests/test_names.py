"""A template of names alone is filled in without the library; nobody can tell."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workflows.liquid import Kind, TemplateError, engine, fill

NOW = datetime(2026, 11, 22, 13, 30, tzinfo=UTC)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("a<&>\"'é\n, @{}%|"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["b", "size"]), inner, max_size=2),
    max_leaves=4,
)
NAMES = ["a", "a.b", "a.b.c", "a.size", "a.first", "c", "missing", "missing.b", "now", "today", "nil", "true", "empty"]
PIECES = st.sampled_from([f"{{{{ {name} }}}}" for name in NAMES] + ["{{-a-}}", "{{ a[0] }}", "{{ a | upcase }}"])
TEXTS = st.text("x <&>\"'=\n*|/") | st.sampled_from(["<a href='", "'>", "<b>", "</b>", "{% raw %}{{ a }}{% endraw %}"])


def outcome(source: str, kind: Kind, variables: dict[str, Any]) -> object:
    try:
        return fill(source, kind=kind, variables=variables, now=NOW)
    except TemplateError as error:
        return str(error), error.line


@given(
    st.lists(PIECES | TEXTS, min_size=1, max_size=6).map("".join),
    st.sampled_from(Kind),
    st.fixed_dictionaries({"a": VALUES, "c": VALUES}),
)
@example("{{ a }}", Kind.LIST, {"a": ["x", ["y"]], "c": None})
@example("<a href='{{ a }}'>", Kind.BODY, {"a": "' onclick='", "c": None})
@example("{{ a.b }}", Kind.PLAIN, {"a": {}, "c": None})
def test_it_becomes_what_the_library_makes_of_it(source: str, kind: Kind, variables: dict[str, Any]) -> None:
    alone = outcome(source, kind, variables)
    with mock.patch.object(engine, "_names", return_value=None):
        assert alone == outcome(source, kind, variables)


def test_the_library_is_not_asked_where_all_names_stand_for_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SandboxContext", None)
    filled = fill("{{ a.b }}: {{ c }} & more", kind=Kind.BODY, variables={"a": {"b": 5}, "c": "<c>"}, now=NOW)
    assert filled.text == "5: \U000f003cc> & more"
    assert filled.warnings == ()


def test_it_may_be_neither_too_long_nor_too_late() -> None:
    long = {"a": "x" * 150_000}
    with pytest.raises(TemplateError, match="longer than 200000 characters"):
        fill("{{ a }}{{ a }}", kind=Kind.PLAIN, variables=long, now=NOW)
    with pytest.raises(TemplateError, match="took longer than 2 seconds"):
        fill("{{ a }}", kind=Kind.PLAIN, variables=long, now=NOW, deadline=time.monotonic() - 1)
