"""Remembered shapes: what comes out is what drawing the body itself gives."""

from __future__ import annotations

import json
import random
import sys
import unicodedata
from collections import ChainMap
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import goldens
from tests.effort import examples
from workflows import drawing, layout, markdown, sanitiser
from workflows.rendering import MailTemplate, render
from workflows.sanitiser import TooDeep

from .test_structure import TEXTS

BODY = """\
# {severity}: {title}

Hello **{name}**, it has begun at {time}.

* One of *{name}*
  1. {title}
* `{name}`

> {title}
> {name}

| Fact | Now |
|---|--:|
| {title} | {name} |

![{name}](https://cdn.example.com/{path}.png)
[{name}](https://status.example.com/{path}) and more

[Join {name}](https://status.example.com/{path} "btn") [Look](https://status.example.com/{path} "btn")

```
{title}
```
"""
MAIL = {"severity": "SEV1", "title": "Payments fail", "name": "Ada", "time": "14:02", "path": "a/1"}


# What follows a word may make it something else.
# fmt: off
BEHIND = [
    "^", "@", "…", "😀", "\u0301", "\u200d", "]", "|", "{", "\\\\", '"', "\U000f003c", "\U000f0026", "()", "%", ":",
    "/b%", "_", "/!",
]
HOSTILE = [
    "See **here**: https:\\/\\/a.example\\/x now", "**x** https:\\//a.example",
    "[https:\\//a.example](https://a.example) x",
    "| a | b |\n|---|---|\n| x](~" + "c" * 30 + "~ | d |", "| a | b |\n|---|---|\n| a](`" + "w" * 30 + "` | d |",
    "![x](https://a.example^) y", '[x](https://a.example^ "btn")', "```py a\nword\n```",
    "![a [b](https://x.example/b) c](https://y.example/i.png) d", "[x](https://-a-.b--c.example) y",
    "| a | b |\n|---|---|\n| x\\|y | " + "c" * 12 + "\\|" + "d" * 12 + " |", "| a |\n|---|\n| `x\\|y` |", "x\\|y",
    "x\\\\|y",     "| a |\n|---|\n| [x\\|y](https://a.example/b\\|c) |", "| a | b |\n|---|---|\n| x\\\\|y | z |",
    "[x](https://" + "a" * 80 + ".example) y", "*a " * 149 + "[x](javascript:y)" + " a*" * 149,
]
# fmt: on


def plainly(body: str) -> tuple[str, str]:
    """Draw a body with nothing remembered."""
    html, text = markdown.render(body)
    return layout.inlined(html), text


def hits() -> int:
    return drawing._known.cache_info().hits


def test_a_body_with_other_words_is_not_drawn_again() -> None:
    drawing.draw(BODY.format(**MAIL))
    before = hits()
    other = BODY.format(severity="SEV2", title="Zoë: 中文 – 5 % of logins", name="Bob", time="3:15", path="b-c/2.html")
    assert drawing.draw(other) == plainly(other)
    assert hits() == before + 1
    assert drawing._known(drawing.structure.shape_of(other)[0]) is not None


@settings(max_examples=examples(1500), deadline=None)
@given(TEXTS)
@example('[a]( mailto:a@b.example "btn")')
@example("a | b\n-|-\n" + "x_" * 20 + " | y")
@example("1 &rlm; 2")
@example("a [b](c) [d](https://xn--a.example) [e](https://1.2.3.4.5/) [f](javascript:alert)")
@example("[https](https://a.example) \\](https://a.example/b) `](https://a.example/b`")
@example("12 שלום")
@example("| a | b |\n|---|---|\n| c\\|" + "d" * 24 + " | e |")
def test_a_body_is_drawn_as_if_nothing_were_remembered(body: str) -> None:
    try:
        expected = plainly(body)
    except TooDeep:
        with pytest.raises(TooDeep):
            drawing.draw(body)
        return
    assert drawing.draw(body) == expected
    assert drawing.draw(body) == expected  # now that it is known


@pytest.mark.parametrize("body", [f"[x](https://a.example{behind}) y" for behind in BEHIND] + HOSTILE)
def test_no_sign_beside_a_word_makes_a_difference(body: str) -> None:
    assert drawing.draw(body) == plainly(body)


def shipped() -> Iterator[Any]:
    """The actions of the examples and of what a new workflow may begin with."""
    for path in sorted(goldens.EXAMPLES.rglob("*.json")):
        for workflow in json.loads(path.read_text()).get("workflows", []):
            for number, task in enumerate(workflow["tasks"], start=1):
                yield pytest.param(task["task_params"]["body"], id=f"{workflow['slug']}-{number}")


@pytest.mark.parametrize("body", list(shipped()))
def test_the_mails_that_people_begin_with_are_remembered(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [json.loads(path.read_text()) for path in sorted(goldens.EXAMPLES.glob("*.json"))]
    variables = ChainMap(goldens.VARIABLES, *samples)
    template = MailTemplate(to=("a@example.org",), subject="Hello", body=body)
    first = render(template, variables, now=goldens.NOW, site_url=goldens.SITE)
    monkeypatch.delattr(markdown, "render")  # the plain way
    assert render(template, variables, now=goldens.NOW, site_url=goldens.SITE) == first


def test_every_letter_that_is_written_from_right_to_left_is_known_as_one() -> None:
    letters = map(chr, range(sys.maxunicode + 1))
    backwards = [letter for letter in letters if unicodedata.bidirectional(letter) in ("R", "AL")]
    assert [letter for letter in backwards if not drawing.RIGHT_TO_LEFT.search(letter)] == []


def test_every_sound_address_passes_the_sanitiser_as_it_is() -> None:
    parts = ["a", "b", "xn", "--", "-", "1", "0x7f", "127", ".", ".", "example", "com", "io", "xn--"]
    sound = 0
    choose = random.Random(3)
    for _ in range(20_000):
        host = "".join(choose.choices(parts, k=choose.randint(1, 7)))
        address = f"https://{host}" + choose.choice(["", "/", "/a", "//", "/..", "/.-_", "/a/../.."])
        if drawing.SOUND_ADDRESS.fullmatch(address):
            sound += 1
            assert f'href="{address}"' in sanitiser.clean(f'<a href="{address}">x</a>')
    assert sound > 300


def test_a_shape_that_grows_by_being_drawn_is_not_remembered() -> None:
    """Markdown fills up the cells that are missing in a row: two kB become some MB."""
    body = "|".join("abcdefgh") + "\n" + "|".join("-" * 8) + "\n" + "x\n" * 120
    drawing._known.cache_clear()
    assert drawing.draw(body) == plainly(body)
    assert drawing._known(drawing.structure.shape_of(body)[0]) is None
    assert drawing.structure._known(drawing.structure.shape_of(body)[0]) is None


WORDS = st.text(alphabet="ab1.:/-@_%é中א <>&\"'()|*`\\\U000f0026\U000f1001", max_size=30)


@settings(max_examples=examples(1500), deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(MAIL, WORDS)))
def test_no_value_makes_a_difference(values: dict[str, str]) -> None:
    body = BODY.format(**values)
    assert drawing.draw(body) == plainly(body)


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "data:text/html,x", "https://a.example/%22", "//a.example", ""]
)
def test_an_address_is_judged_in_every_mail(address: str) -> None:
    for target in ("https://status.example.com/a/1", address):
        body = f"See [the page]({target}) now"
        assert drawing.draw(body) == plainly(body)
