import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest

from workflows import structure
from workflows.markdown import render
from workflows.sanitiser import TooDeep


def html(source: str) -> str:
    return render(source)[0].strip()


def text(source: str) -> str:
    return render(source)[1]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("~~old~~ **new**", "<p><s>old</s> <strong>new</strong></p>"),
        ("    indented", "<p>indented</p>"),
        ("```\n  <b>\n```", "<pre><code>  &lt;b&gt;\n</code></pre>"),
        ("![logo](cid:logo 'Logo')", '<p><img src="cid:logo" alt="logo" title="Logo"></p>'),
        ("<https://example.org/>", '<p><a href="https://example.org/">https://example.org/</a></p>'),
        (
            "(see https://example.org/a_b.)",
            '<p>(see <a href="https://example.org/a_b">https://example.org/a_b</a>.)</p>',
        ),
        (
            "<a href='https://example.org/'>https://b.example</a>",
            '<p><a href="https://example.org/">https://b.example</a></p>',
        ),
        ("[x](javascript:alert(1)) [y](/path) [z]( 'btn')", "<p>x y z</p>"),
        ("![x](data:image/png;base64,AAAA)", '<p><img alt="x"></p>'),
        (
            '<p style="color: red; position: fixed" onclick="x()" class="card" id="a">hi</p>',
            '<p style="color:red">hi</p>',
        ),
        ("<script>alert(1)</script>ok <b>bold</b><iframe src='https://x.example'></iframe>", "ok <b>bold</b>"),
        ("<a href='java&#9;script:alert(1)'>x</a>", "<p><a>x</a></p>"),
        (
            "a [Go](https://example.org 'btn') b",
            '<p>a <a href="https://example.org" class="button-inline">Go</a> b</p>',
        ),
    ],
)
def test_makes_safe_html(source: str, expected: str) -> None:
    assert html(source) == expected


def test_makes_a_button_of_table_cells() -> None:
    assert html("[View *it*](https://example.org/?a=1&b=2 'btn')") == (
        '<table role="presentation" class="buttons" border="0" cellpadding="0" cellspacing="0"><tbody><tr>'
        '<td class="button" align="center" bgcolor="#1d4ed8">'
        '<a class="button-link" href="https://example.org/?a=1&amp;b=2">View it</a></td></tr></tbody></table>'
    )


def test_puts_two_buttons_in_one_row() -> None:
    row = html("[A](https://a.example 'btn')\n[B](https://b.example 'btn')")
    assert row.count("<table") == 1
    assert row.count('class="button"') == 2


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("# Big\n\ntext", "Big\n===\n\ntext"),
        ("## 障害", "障害\n----"),
        ("* one\n* two\n  * deep\n", "- one\n- two\n  - deep"),
        ("3. three\n4. four", "3. three\n4. four"),
        ("1. one\n\n   more\n\n2. two", "1. one\n   more\n2. two"),
        ("> said\n> so", "> said\n> so"),
        (
            "[docs](https://example.org/) and <https://example.org/>",
            "docs (https://example.org/) and https://example.org/",
        ),
        ("<me@example.org>", "me@example.org"),
        ("[View](https://example.org 'btn')", "View: https://example.org"),
        ("| a | long |\n|---|---|\n| wide cell | b |", "a          long\n---------  ----\nwide cell  b"),
        ("| | |\n|---|---|\n| a | b |", "a  b"),
        ("a  \nb\nc", "a\nb\nc"),
        ("```\nx < 1\n  y\n```", "x < 1\n  y"),
        ("one\n\n---\n\ntwo", f"one\n\n{'-' * 40}\n\ntwo"),
        ("![diagram](https://example.org/a.png)", "diagram"),
        ("<p>one<br>two &amp; <b>three</b></p>", "one\ntwo & three"),
        ("<table><tr><td>a</td><td>b</td></tr></table>", "a  b"),
        ("x <a href='https://example.org/'>here</a> <!-- no --> <i>y</i>", "x here (https://example.org/)  y"),
        ("<style>p {}</style>", ""),
        ("", ""),
        (
            "| a | n | m |\n|---|--:|:-:|\n| b | 1,240 | x |\n| c | 7 | yes |",
            "a      n   m\n-  -----  ---\nb  1,240   x\nc      7  yes",
        ),
        (f"| a | b |\n|---|---|\n| {'x' * 90} | {'y' * 30} |\n| c | |", f"a: {'x' * 90}\nb: {'y' * 30}\n\na: c"),
        ("> one\n>\n> two", "> one\n>\n> two"),
        ("[![](https://a.example/i.png)](https://example.org/)", "https://example.org/"),
        ("[+49 30 1](tel:+49301)", "+49 30 1 (tel:+49301)"),
        ("[+49301](tel:+49301)", "+49301"),
    ],
)
def test_makes_text_that_reads_well(source: str, expected: str) -> None:
    assert text(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            '<p>See <a href="https://example.org/?a=1&amp;b=2">the page</a>.</p>',
            "See the page (https://example.org/?a=1&b=2).",
        ),
        (
            "<p><a href='https://example.org/'>https://example.org</a> <a href='x.html'>no</a></p>",
            "https://example.org no",
        ),
        ("<div><a href='javascript:alert(1)'>x</a> <a>y</a></div>", "x y"),
        (
            "<p><a href='https://a.example'><img src='https://a.example/i.png' alt='Plan'></a></p>",
            "Plan (https://a.example)",
        ),
        ("<p><a href='https://a.example'><img src='https://a.example/i.png'></a></p>", "https://a.example"),
        ("<div><a href='https://a.example'><b>x</b></div>", "x (https://a.example)"),
        (
            "<h2>Big</h2><ul><li>one</li><li>two<ol start='3'><li>three</li></ol></li></ul>",
            "Big\n---\n\n- one\n- two\n  3. three",
        ),
        ("<p>a\n   b<hr>c</p><blockquote>d</blockquote>", f"a\nb\n\n{'-' * 40}\n\nc\n\n> d"),
        ("<pre>x <b>&lt;</b>\n  y</pre>", "x <\n  y"),
        (
            "<table><caption>T</caption><tr><th>Name</th><th align='right'>n</th></tr>"
            "<tr><td>a</td><td>100</td></tr><tr><td></td><td><a href='https://a.example'>b</a></td></tr></table>",
            "T\n\nName                      n\n----  ---------------------\n"
            "a                       100\n      b (https://a.example)",
        ),
        (
            "<table><tr><td>one<br>two</td></tr><tr><td><p>three</p><p>four</p></td></tr></table>",
            "one\ntwo\n\nthree\nfour",
        ),
        ("<table><tr><td>a<table><tr><td>b</td></tr></table></td><td>c</td></tr></table>", "ab  c"),
        ("<table><tr><td colspan='2'>a</td></tr><tr><td>b</td><td>c</td></tr></table>", "a\nb  c"),
        ("<table></table>x", "x"),
        ("<p>&lt;b&gt; &amp;amp; \U000f003ci&gt;</p>", "<b> &amp; <i>"),
        (f"{'<div>' * 140}deep{'</div>' * 140}<p>flat</p>", "deep\n\nflat"),
        ("<p><title>no</title><script>no</script>yes<!-- no --></p>", "yes"),
    ],
)
def test_makes_text_of_html(source: str, expected: str) -> None:
    assert text(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("مرحبا **x**", '<p dir="rtl">مرحبا <strong>x</strong></p>'),
        ("2026: מה", '<p dir="rtl">2026: מה</p>'),
        ("Checkout: مرحبا", "<p>Checkout: مرحبا</p>"),
        ("[مرحبا](https://example.org)", '<p dir="rtl"><a href="https://example.org">مرحبا</a></p>'),
        ("- مرحبا\n- x", '<ul dir="rtl">\n<li dir="rtl">مرحبا</li>\n<li>x</li>\n</ul>'),
        ("> # مرحبا", '<blockquote>\n<h1 dir="rtl">مرحبا</h1>\n</blockquote>'),
    ],
)
def test_what_is_written_from_right_to_left_is_shown_so(source: str, expected: str) -> None:
    assert html(source) == expected


def test_words_that_were_read_before_are_read_anew_where_the_body_gives_them_a_link() -> None:
    linked = "[known before]\n\n[known before]: https://example.org"
    assert html("[known before]") == "<p>[known before]</p>"
    assert html(linked) == '<p><a href="https://example.org">known before</a></p>'
    assert html("[known before]") == "<p>[known before]</p>"


def test_what_was_read_before_gives_the_same_again() -> None:
    source = "a [Go](https://example.org 'btn') ![*b*](https://example.org/i.png) https://example.org \\* &lt;"
    first = render(f"{source}\n\n- {source}\n\n[Go](https://example.org 'btn')")
    assert render(f"{source}\n\n- {source}\n\n[Go](https://example.org 'btn')") == first


def test_only_a_cell_with_a_long_word_may_break_it() -> None:
    drawn = html(f"| a |\n|---|\n| {'x' * 25} |\n| {'y' * 24} |")
    assert f'<td class="long">{"x" * 25}</td>' in drawn
    assert f"<td>{'y' * 24}</td>" in drawn


@pytest.mark.parametrize(
    "piece",
    [
        "[",
        "![",
        "*a ",
        "**a*",
        "<",
        "<a ",
        "&",
        "`a``",
        "> ",
        "- ",
        "|a|b|\n",
        "http://a",
        ")",
        "<p>",
        "<div>",
        "<ul><li>",
        "<table><tr><td>a",
    ],
)
def test_hostile_text_costs_work_in_proportion(piece: str) -> None:
    """Four times the text may take about four times the calls: counted, so that a busy machine changes nothing."""
    start = "http://a" if piece == ")" else ""
    short = calls_of(lambda: drawn(start + piece * (2_000 // len(piece))))
    long = calls_of(lambda: drawn(start + piece * (8_000 // len(piece))))
    assert long < 6 * short


def drawn(source: str) -> None:
    with suppress(TooDeep):
        render(source)


def calls_of(function: Callable[[], object]) -> int:
    """Return how many Python and C functions were called."""
    events: Counter[str] = Counter()
    sys.setprofile(lambda frame, event, argument: events.update((event,)))
    try:
        function()
    finally:
        sys.setprofile(None)
    return events["call"] + events["c_call"]


TABLE = "|" * 101 + "\n" + "-|" * 100 + "\n" + "|\n" * 99 + "\n"  # 10,000 cells of 500 characters


@pytest.mark.parametrize("around", ["", "> ", "- x\n\n  "])
def test_lines_that_leave_out_their_cells_make_no_huge_mail(around: str) -> None:
    rows = "|a|b|\n|-|-|\n" + "|c|d|\n" * 1000
    assert render(rows)[0].count("<td>") == 2000
    source = (TABLE * 20 + "|e|f|").replace("\n", f"\n{around}" if around == "> " else "\n  " if around else "\n")
    html, text = render(around + source)
    assert (html.count("<td"), len(html) < 20 * len(source)) == (0, True)
    assert "|e|f|" in text


def test_a_known_structure_keeps_nothing_of_the_mail_before() -> None:
    table = "| a | b |\n|---|---|\n| {0} | x |\n\n* {0}\n\n[{0}]({1})\n"
    structure._known.cache_clear()
    first = render(table.format("plain", "https://a.example"))
    render(table.format("שלום" * 10, "javascript"))
    assert structure._known.cache_info().hits >= 2
    assert render(table.format("plain", "https://a.example")) == first
