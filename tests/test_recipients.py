import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.effort import examples
from workflows.recipients import Mailbox, parse, split, without_duplicates


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("a@example.org", ["a@example.org"]),
        ("a@example.org,b@example.org\nc@example.org", ["a@example.org", "b@example.org", "c@example.org"]),
        (" , None,nil\r\nnull , ", []),
        ('"Doe, Jane" <j@example.org>, b@example.org', ['"Doe, Jane" <j@example.org>', "b@example.org"]),
        ('Jane "JD <j@example.org>, b@example.org', ['Jane "JD <j@example.org>', "b@example.org"]),
        ("a@example.org; b@example.org", ["a@example.org; b@example.org"]),
    ],
)
def test_splits_on_commas_and_line_ends_outside_quotes(text: str, elements: list[str]) -> None:
    assert split(text) == elements


@pytest.mark.parametrize(
    ("text", "mailbox"),
    [
        ("a@example.org", Mailbox("a@example.org")),
        (" <a@example.org> ", Mailbox("a@example.org")),
        ("Zoë Müller <z@example.org>", Mailbox("z@example.org", "Zoë Müller")),
        ('"Doe, Jane" <j@example.org>', Mailbox("j@example.org", "Doe, Jane")),
        (r'"Jane \"JD\" Doe" <j@example.org>', Mailbox("j@example.org", 'Jane "JD" Doe')),
        ("j@bücher.example", Mailbox("j@bücher.example")),
        ("müller@example.com", Mailbox("müller@example.com")),
        ("Jörg <jörg.müller@bücher.example>", Mailbox("jörg.müller@bücher.example", "Jörg")),
        ("用户@example.org", Mailbox("用户@example.org")),
        (f"{'ä' * 32}@example.org", Mailbox(f"{'ä' * 32}@example.org")),
        ("first.last+tag@mail.example.co.uk", Mailbox("first.last+tag@mail.example.co.uk")),
    ],
)
def test_reads_a_mailbox(text: str, mailbox: Mailbox) -> None:
    assert parse(text) == mailbox


@pytest.mark.parametrize(
    "text",
    [
        "foo",
        "@example.org",
        "a@",
        "a@b@example.org",
        "a b@example.org",
        "a..b@example.org",
        ".a@example.org",
        "a@-example.org",
        "a@example..org",
        "a@example.org.",
        "Jane <x@evil.example> <j@example.org>",
        "j@example.org, k@example.org",
        "a@exa mple.org",
        "a\u00a0b@example.org",
        "a\u200bb@example.org",
        "a\u202eb@example.org",
        "a\u2028b@example.org",
        "a\ud800b@example.org",
        "a\U000f003cb@example.org",
        "a\uff20b@example.org",
        "a\uff0cb@example.org",
        "a\u2026@example.org",
        f"{'ä' * 33}@example.org",
        f"{'a' * 65}@example.org",
        f"a@{'b' * 64}.org",
        f"a@{'bcd.' * 70}org",
        "a@example.org\r\nBcc: b@example.org",
    ],
)
def test_refuses_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="is not an e-mail address"):
        parse(text)


def test_compares_only_the_domain_without_case_and_in_one_spelling() -> None:
    texts = ["A@example.org", "A@EXAMPLE.org", "a@example.org", "b@bücher.example", "b@xn--bcher-kva.example"]
    kept = without_duplicates(map(parse, texts), seen=set())
    assert [mailbox.address for mailbox in kept] == ["A@example.org", "a@example.org", "b@bücher.example"]


@settings(max_examples=examples(50))
@given(st.text(max_size=40))
def test_reads_back_every_name_it_writes(name: str) -> None:
    mailbox = Mailbox("a@example.org", " ".join(name.split()))
    assert parse(str(mailbox)) == mailbox
