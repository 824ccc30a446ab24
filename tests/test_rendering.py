import json
import re
from datetime import UTC, datetime
from email import policy
from email.parser import BytesParser
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.effort import examples
from workflows import mime
from workflows.rendering import MailTemplate, RenderedMail, RenderingError, render

NOW = datetime(2026, 11, 22, 13, 30, tzinfo=UTC)
SITE = "https://rootmail.example.com"
EXAMPLES = Path(__file__).parent.parent / "workflows" / "examples"
INCIDENT: dict[str, Any] = json.loads((EXAMPLES / "incident.json").read_text(encoding="utf-8"))
TASKS = json.loads((EXAMPLES / "workflows.json").read_text(encoding="utf-8"))["workflows"][0]["tasks"]


def rendered(
    *,
    to: tuple[str, ...] = ("a@example.org",),
    cc: tuple[str, ...] = (),
    bcc: tuple[str, ...] = (),
    sender: str = "",
    reply_to: str = "",
    subject: str = "",
    preheader: str = "",
    body: str = "",
    header: bool = False,
    footer: bool = False,
    logo: str = "",
    **variables: object,
) -> RenderedMail:
    template = MailTemplate(
        to=to,
        cc=cc,
        bcc=bcc,
        sender=sender,
        reply_to=reply_to,
        subject=subject,
        preheader=preheader,
        body=body,
        include_header=header,
        include_footer=footer,
        custom_logo_url=logo,
    )
    return render(template, variables, now=NOW, site_url=SITE)


def failure(**fields: Any) -> str:
    with pytest.raises(RenderingError) as caught:
        rendered(**fields)
    return str(caught.value)


def from_task(number: int) -> RenderedMail:
    params = TASKS[number]["task_params"]
    return rendered(
        to=tuple(params["to"]),
        cc=tuple(params["cc"]),
        bcc=tuple(params["bcc"]),
        sender=params["from"] or "",
        subject=params["subject"],
        preheader=params["preheader"] or "",
        body=params["body"],
        header=params["include_header"],
        footer=params["include_footer"],
        logo=params["custom_logo_url"] or "",
        workflow={"name": "Tell stakeholders"},
        **INCIDENT,
    )


def test_renders_the_example_with_everything() -> None:
    mail = from_task(0)
    assert mail.to == ("checkout-team@example.com", "shop-owners@example.org", "payments-team@example.com")
    assert mail.cc == ("severe@example.com", "duty-manager@example.com", "Zoë Müller <zoe.mueller@example.com>")
    assert mail.bcc == ("incident-archive@example.org",)
    assert mail.sender == "Incident Desk <incidents@example.com>"
    assert mail.subject == "SEV1 - Checkout fails for card payments incident has been started"
    assert mail.warnings == ()
    assert mail.envelope[-2:] == (("zoe.mueller@example.com", "cc"), ("incident-archive@example.org", "bcc"))
    assert mail.text.startswith("SEV1: Checkout fails for card payments\n======")
    assert "- Follow the status page (https://status.example.com/incidents/482) for updates\n" in mail.text
    assert "\n- Operations: Zoë Müller\n" in mail.text
    assert "\n2026-11-22 14:05  Alert: card authorisations < 65 % | checkout-eu\n" in mail.text
    assert f"\nView incident: {INCIDENT['incident']['url']}\n" in mail.text
    assert mail.text.endswith(f"\n-- \nSent by workflow Tell stakeholders\n{SITE}\n")


def test_the_html_of_the_example_has_its_layout() -> None:
    html = from_task(0).html
    assert '<img src="https://rootmail.example.com/static/logo.png" alt="rootmail" height="48"' in html
    assert "Checkout, Payments API: status started" in html
    assert "@media (prefers-color-scheme: dark)" in html.split("</head>")[0]
    assert re.search(r'<td class="button"[^>]* bgcolor="#1d4ed8"[^>]*mso-padding-alt: 12px 24px', html)
    assert re.search(r'<a class="button-link"[^>]*display: inline-block;padding: 12px 24px', html)
    assert re.search(
        r'<a href="https://status.example.com/incidents/482" style="color: #1d4ed8;">status page</a>', html
    )
    assert "card authorisations &lt; 65 % | checkout-eu</td>" in html
    assert "<!--[if mso]><table" in html
    assert "Sent by workflow Tell stakeholders" in html


def test_header_and_footer_can_be_left_out() -> None:
    mail = from_task(1)
    assert mail.subject == "incident-20261122-checkout-fails-for-card-payments"
    assert mail.to[:2] == ("incident-leads@example.com", "support-desk@example.org")
    assert mail.sender == ""
    assert 'class="header"' not in mail.html
    assert 'class="footer"' not in mail.html
    assert "Sent by" not in mail.html + mail.text


def test_is_the_same_for_the_same_event() -> None:
    assert from_task(0) == from_task(0)


def test_a_header_without_logo_has_our_name() -> None:
    mail = rendered(header=True, logo="javascript:alert(1)")
    assert ">rootmail</td>" in mail.html
    assert "javascript" not in mail.html
    assert mail.warnings == ("custom_logo_url: is no web address and was left out",)


def test_the_first_place_of_a_recipient_wins() -> None:
    mail = rendered(
        to=("{{ emails }}", "b@EXAMPLE.org"),
        cc=("b@example.org, c@example.org",),
        bcc=("c@example.org",),
        emails=["a@example.org"],
    )
    assert (mail.to, mail.cc, mail.bcc) == (("a@example.org", "b@EXAMPLE.org"), ("c@example.org",), ())
    assert mail.envelope == (("a@example.org", "to"), ("b@EXAMPLE.org", "to"), ("c@example.org", "cc"))


def test_leaves_out_a_bad_address_with_a_warning() -> None:
    mail = rendered(to=("a@example.org, foo", "{{ missing }}", "None"))
    assert mail.to == ("a@example.org",)
    assert mail.warnings == (
        "to: missing is not in this event",
        'to: "foo" is not an e-mail address and was left out',
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"to": ("{{ x }}", "None")}, "to: no address came out of '{{ x }}', 'None'"),
        ({"to": (), "cc": ("foo",)}, "cc: no address came out of 'foo' (\"foo\" is not an e-mail address)"),
        ({"to": (), "bcc": ("{{ x }}",)}, "bcc: no address came out of '{{ x }}'"),
        (
            {"to": ("{{ x }}", "{{\n y }}", f"{{{{ x | default: '{' ' * 50}' }}}}", "None", "nil")},
            "to: no address came out of '{{ x }}', '{{ y }}', '{{ x | default: ' ' }}' and 2 more",
        ),
        ({"to": ("{% if x %}" + "b" * 70 + "{% endif %}",)}, f"to: no address came out of '{{% if x %}}{'b' * 49}…'"),
        ({"to": ()}, "to: no recipient is named"),
        ({"subject": "a\n{{ x | foo }}"}, 'subject, line 2: unknown filter "foo"'),
        ({"body": "\n\n{% include 'x' %}"}, 'body, line 3: unknown tag "include"'),
        ({"bcc": ("{{ x | nope }}",)}, 'bcc, line 1: unknown filter "nope"'),
        ({"sender": "a@example.org, b@example.org"}, "from: a mail has one sender, not 2"),
        ({"sender": "Desk"}, 'from: "Desk" is not an e-mail address'),
    ],
)
def test_an_error_names_its_field(fields: dict[str, Any], message: str) -> None:
    assert failure(**fields) == message


def test_a_comma_may_stand_in_the_name_of_the_sender() -> None:
    mail = rendered(sender="{{ name }} <{{ email }}>", name="Doe, Jane, MD", email="jane@example.org")
    assert mail.sender == '"Doe, Jane, MD" <jane@example.org>'


def test_one_hidden_recipient_is_enough() -> None:
    assert rendered(to=("None",), bcc=("b@example.org",)).envelope == (("b@example.org", "bcc"),)


def test_a_subject_is_one_clean_line() -> None:
    mail = rendered(subject=" {{ name }} \u2028!", name="a\r\nBcc: x@example.org\x00\x1b\t\ud800b")
    assert mail.subject == "a Bcc: x@example.org \ufffdb !"


def test_a_name_cannot_smuggle_a_recipient() -> None:
    to = ("{{ name }} <{{ email }}>", "b@example.org")
    assert rendered(to=to, name="Eve <eve@evil.example>", email="a@example.org").to == ("b@example.org",)
    mail = rendered(to=('"{{ name }}" <{{ email }}>',), name="Doe, Jane", email="a@example.org")
    assert mail.to == ('"Doe, Jane" <a@example.org>',)


def test_markdown_in_a_value_is_rendered_and_html_is_shown() -> None:
    mail = rendered(body="{{ s }}", s="* **one** [x](https://example.org)\n* <b>two</b> `<i>` &copy;")
    assert "<strong>one</strong>" in mail.html
    assert "&lt;b&gt;two&lt;/b&gt;" in mail.html
    assert re.search(r"<code[^>]*>&lt;i&gt;</code> &amp;copy;", mail.html)
    assert mail.text == "- one x (https://example.org)\n- <b>two</b> <i> &copy;\n"


def test_the_preheader_is_escaped_and_hidden() -> None:
    mail = rendered(preheader="{{ p }}\nmore", p="<b>")
    assert re.search(r'<div class="preheader" style="display: none[^"]*">&lt;b&gt; more', mail.html)


class Tags(HTMLParser):
    """Lists every tag and attribute, so that two pages can be compared."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]


PIECES = r"""
<script> </p> <b onclick='x()'> <!-- --> " ' > & &lt; &#60; javascript:alert(1) onerror=x = / \ style=x ]]> {{ x }} x
{% x %} =?utf-8?q?x?= ` ** [x](javascript:alert(1)) [x](https://example.org) ](https://example.org) "btn" | # https://a.b
"""
ODD_PIECES = ["java\tscript:", "\U000f003c", "\U000f0022", "<a\xa0href='javascript:x'>", "\u2028", "\ud800", "\x00"]
SPACES = [" ", "\n", "\n\n", ",", "\r\nBcc: evil@example.org\r\n"]
HOSTILE = st.lists(st.sampled_from([*PIECES.split(), *ODD_PIECES, *SPACES]), max_size=8).map("".join)

# No Markdown reaches into these places, so a value must leave every tag and attribute as it is.
PLACES = """<div title="{{ v }}" align="left">{{ v }}</div>

<div><a title='{{ v }}' href={{ u }}>{{ v }}</a><img alt="{{ v }}" src="https://example.org/{{ v }}"></div>

<table><tr><td {% if true %}title="{{ v }}"{% endif %}>{{ v }}{{ v | escape }}</td></tr></table>

<div>{% capture c %}<i>{{ v }}</i>{% endcapture %}{{ c }}{{ l | join: '<br>' }}<!-- {{ v }} --></div>
"""


def test_answers_go_to_every_address_that_is_one() -> None:
    mail = rendered(reply_to="{{ v }}, Desk <desk@example.org>, desk@EXAMPLE.org", v="nobody")
    assert mail.reply_to == ("Desk <desk@example.org>",)
    assert [text for text in mail.warnings if text.startswith("reply_to: ")] != []
    assert rendered().reply_to == ()


@settings(max_examples=examples(80), deadline=None)
@given(HOSTILE)
def test_hostile_values_add_no_tag_and_no_attribute(value: str) -> None:
    # A blank line would end an HTML block, which is Markdown's rule and not an escape.
    value = re.sub(r"\s+", " ", value)
    harmless = rendered(body=PLACES, v="harmless", u="https://example.org/", l=["a", "b"])
    hostile = rendered(body=PLACES, v=value, u="https://example.org/", l=[value, value])
    assert Tags(hostile.html).found == Tags(harmless.html).found


@settings(max_examples=examples(80), deadline=None)
@given(HOSTILE)
@example(" https://a.b")
def test_hostile_values_make_no_script_and_no_bad_link(value: str) -> None:
    links = "[x]({{ v }} '{{ v }}') ![x]({{ v }}) <{{ v }}> </{{ v }} <a href='{{ v }}'>x</a>"
    body = f"{{{{ v }}}}\n\n{links} `{{{{ v }}}}`\n\n```\n{{{{ v }}}}\n```"
    mail = rendered(body=body, preheader="{{ v }}", footer=True, v=value, workflow={"name": value})
    page = Tags(mail.html)
    assert not {"script", "iframe", "object", "form"} & {tag for tag, _ in page.found}
    assert not [names for _, names in page.found if any(name.startswith("on") for name in names)]
    assert all(re.match("(?:https?|mailto|tel|cid):|$", link) for link in page.links)


@settings(max_examples=examples(60), deadline=None)
@given(HOSTILE, HOSTILE)
def test_hostile_values_reach_no_header(value: str, name: str) -> None:
    mail = rendered(
        to=("a@example.org", "{{ n }} <b@example.org>"),
        sender="",
        reply_to="b@example.org, {{ n }} <c@example.org>",
        subject="{{ v }}",
        preheader="{{ v }}",
        body="{{ v }}",
        v=value,
        n=name,
    )
    message = mime.build(mail, message_id="<1@example.org>", date=NOW, delivery_id="d-1")
    parsed = BytesParser(policy=policy.default).parsebytes(message)
    assert [key for key in parsed if key != "Content-Type"] == [
        "To",
        "Reply-To",
        "Subject",
        "Date",
        "Message-ID",
        "MIME-Version",
        "Auto-Submitted",
        "X-Rootmail-Delivery",
    ]
    assert not parsed.defects
    # A comma or a line end of its own is the one way in which a value may divide a recipient field.
    assert {each.addr_spec for each in parsed["To"].addresses} <= {"a@example.org", "b@example.org"}
    assert str(parsed["Subject"]) == mail.subject
