"""Links without brackets: whole in the HTML and in the text, whatever marks of Markdown they hold."""

from __future__ import annotations

import re
import time

import pytest

from workflows import structure
from workflows.markdown import render

from .test_rendering import rendered
from .test_structure import plain

HELD = [
    "https://grafana.example.com/d/abc__def__x?var=*a*",
    "https://a.example/__b__/c",
    "https://a.example/_b_",
    "https://a.example/**b**/c?d=~~e~~",
    "https://a.example/?q=host:*.prod.*",
    "https://a.example/*b",
    "https://a.example/?b=*c*&d=*e*",
    "https://a.example/d/a__b__c",
]


def link(address: str) -> str:
    escaped = address.replace("&", "&amp;")
    return f'<a href="{escaped}">{escaped}</a>'


def unstyled(html: str) -> str:
    return re.sub(' style="[^"]*"', "", html)


@pytest.mark.parametrize("address", HELD)
def test_marks_within_a_link_belong_to_it(address: str) -> None:
    assert render(address) == (f"<p>{link(address)}</p>\n", address)
    html, text = render(f"- *See* ({address}), **now**")
    assert html == f"<ul>\n<li><em>See</em> ({link(address)}), <strong>now</strong></li>\n</ul>\n"
    assert text == f"- See ({address}), now"


@pytest.mark.parametrize("address", HELD)
def test_so_do_those_of_a_value(address: str) -> None:
    mail = rendered(body="# Look\n\nSee {{ incident.url }}. *Soon*", incident={"url": address})
    assert f"See {link(address)}. <em>Soon</em>" in unstyled(mail.html)
    assert mail.text.strip() == f"Look\n====\n\nSee {address}. Soon"


@pytest.mark.parametrize("slug", ["a__b__c", "__b__", "*b*/c", "a_b"])
def test_so_do_those_of_a_value_that_ends_it(slug: str) -> None:
    mail = rendered(body="https://example.com/{{ incident.slug }} is *up*", incident={"slug": slug})
    assert f"{link(f'https://example.com/{slug}')} is <em>up</em>" in unstyled(mail.html)
    assert mail.text.strip() == f"https://example.com/{slug} is up"


A = link("https://a.example")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("**https://a.example**", f"<strong>{A}</strong>"),
        ("[**https://a.example**]", f"[<strong>{A}</strong>]"),
        ("**https://a.example**—and *x*", f"<strong>{A}</strong>—and <em>x</em>"),
        ("_See https://a.example/x_y_, ok", f"<em>See {link('https://a.example/x_y')}</em>, ok"),
        ("**Look: https://a.example/?b=*c***", f"<strong>Look: {link('https://a.example/?b=*c*')}</strong>"),
        ("~~https://a.example~~ *b*", f"<s>{A}</s> <em>b</em>"),
        ("https://a.example* https://a.example**.", f"{A}* {A}**."),
        ("https://a.example/*b and c*", f"{link('https://a.example/*b')} and c*"),
        ("5 * 3 https://a.example *b*", f"5 * 3 {A} <em>b</em>"),
        ("`https://a.example/*b*`", "<code>https://a.example/*b*</code>"),
        ("[*b*](https://a.example/*c*)", '<a href="https://a.example/*c*"><em>b</em></a>'),
        ("[https://b.example/_c_](https://a.example)", '<a href="https://a.example">https://b.example/_c_</a>'),
        ("<https://a.example/*b*>", link("https://a.example/*b*")),
    ],
)
def test_marks_around_a_link_and_other_links_are_what_they_were(source: str, expected: str) -> None:
    assert render(source)[0] == f"<p>{expected}</p>\n"


@pytest.mark.parametrize(
    "source",
    ["See https://a.example and x*b*", "&https://a.example and x*b*", "](https://a.example/b*c*", "*x https://a/b*c*d"],
)
def test_a_link_is_read_as_if_nothing_were_remembered(source: str) -> None:
    assert plain(structure.tokens(source)) == plain(structure.MARKDOWN.parse(source))


@pytest.mark.parametrize("piece", ["http://a*b*", "http://", "_a*", "http://a_*"])
def test_hostile_links_take_no_long_time(piece: str) -> None:
    began = time.process_time()
    render(piece * (100_000 // len(piece)))
    assert time.process_time() - began < 20
