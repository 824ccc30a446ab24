"""The manual holds together: every link leads somewhere, every document can be found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import manual, showcase
from tests.manual import ROOT


@pytest.mark.parametrize("path", manual.documents(), ids=lambda path: path.name)
def test_every_link_leads_to_a_file_and_an_anchor_that_are_there(path: Path) -> None:
    assert manual.broken_links(path, path.read_text()) == []


def test_the_readme_leads_to_every_document() -> None:
    linked = set(manual.LINK.findall(manual.prose((ROOT / "README.md").read_text())))
    documents = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    assert documents - {link.partition("#")[0] for link in linked} == set()


def test_every_picture_is_shown_somewhere() -> None:
    shown = "".join(path.read_text() for path in manual.documents())
    assert [path.name for path in (ROOT / "docs" / "images").iterdir() if f"images/{path.name}" not in shown] == []


def test_make_screenshots_draws_every_picture() -> None:
    drawn = {f"{name}.png" for name, _, _ in [*showcase.empty(0), *showcase.in_use()]}
    assert drawn == {path.name for path in (ROOT / "docs" / "images").iterdir()}


@pytest.mark.parametrize(
    ("title", "anchor"),
    [
        ("Who may be From", "who-may-be-from"),
        ("`SITE_URL`", "site_url"),
        ("`manage.py up`", "managepy-up"),
        ("Delivery: what is promised", "delivery-what-is-promised"),
        ("Time zone (`time_zone`)", "time-zone-time_zone"),
        ("Cc, Bcc - and [others](x.md#y)", "cc-bcc---and-others"),
        ("Größe", "größe"),
    ],
)
def test_anchors_are_those_of_github(title: str, anchor: str) -> None:
    assert manual.slug_of(title) == anchor


PAGE = """# A
## B
text
```sh
# no heading
```
### C (`c`)

Default: `5`

Says something.
## B
[here](#b-1) [there](#b-2) [which](#b) [file](nothing.md) [code](`x`) [out](https://example.org)

    [indented](nothing.md)
"""


def test_a_document_is_read_as_github_shows_it() -> None:
    sections = list(manual.sections_of(PAGE, document="page.md"))
    assert [(one.title, one.anchor, one.within) for one in sections] == [
        ("A", "a", ()), ("B", "b", ("A",)), ("C (`c`)", "c-c", ("A", "B")), ("B", "b-1", ("A",)),
    ]  # fmt: skip
    third = sections[2]
    assert (third.names, third.label, third.default, third.explains) == ({"c"}, "C", "`5`", True)
    assert not sections[0].explains


def test_a_link_to_nothing_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert manual.broken_links(page, PAGE) == ["#b-2", "#b", "nothing.md"]


@pytest.mark.parametrize("body", ["", "\n", "Default: on\n", "The port.", "Port"])
def test_a_heading_with_nothing_beneath_it_explains_nothing(body: str) -> None:
    assert not manual.Section("x.md", "The port", "the-port", body, ()).explains
