"""The stand-in for SendGrid enforces the contract: a test of it for each rule, state and fault."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from . import sendgrid_rules as rules
from .fake_sendgrid import BAD_KEY, HELP, NO_KEY, NO_SCOPE, NOT_VERIFIED, PAGE, STATES, FakeSendGrid, message_id

Json = dict[str, Any]
A, B, C = {"email": "a@x.test"}, {"email": "b@x.test"}, {"email": "c@x.test"}
GOOD: Json = {
    "personalizations": [{"to": [{"email": "b@x.test", "name": "Bob"}]}],
    "from": {"email": "a@x.test", "name": "Doe, Amy"},
    "subject": "S",
    "content": [{"type": "text/plain", "value": "T"}, {"type": "text/html", "value": "<p>T"}],
}
HEADERS = {"Authorization": "Bearer SG.key", "Content-Type": "application/json"}


def post(fake: FakeSendGrid, document: object = GOOD, *, path: str = "/v3/mail/send", **headers: str) -> httpx.Response:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return httpx.post(fake.base_url + path, content=content, headers=HEADERS | headers, timeout=2)


def shown(answer: httpx.Response) -> tuple[int, Any]:
    return answer.status_code, answer.json() if answer.content else None


def errors(*rows: tuple[str, str | None]) -> Json:
    return {"errors": [{"message": text, "field": name, "help": HELP if name else None} for text, name in rows]}


def plain(status: int, message: str, field: str | None = None) -> tuple[int, Json]:
    return status, {"errors": [{"message": message, "field": field, "help": None}]}


def test_accepts_a_good_mail_with_202_an_id_and_an_empty_body() -> None:
    with FakeSendGrid() as fake:
        answer = post(fake)
    assert fake.base_url.startswith("https://")
    assert (answer.status_code, answer.content) == (202, b"")
    assert answer.headers["X-Message-Id"] == message_id(1)
    assert len(message_id(1)) == 22
    assert (fake.ledger, len(fake.taken_at)) == ([GOOD], 1)


def test_a_mail_that_comes_twice_is_taken_twice() -> None:
    with FakeSendGrid() as fake:
        assert [post(fake).headers["X-Message-Id"] for _ in range(2)] == [message_id(1), message_id(2)]
    assert fake.ledger == [GOOD, GOOD]


P0 = "personalizations.0"
TO = [{"to": [B]}]
MANY = [{"email": f"p{number}@x.test"} for number in range(1001)]
PNG = {"content": "cG5n", "filename": "a.png", "type": "image/png"}
BROKEN: list[tuple[Json, str, str | None]] = [
    ({"personalizations": []}, rules.NO_PERSONALIZATION, "personalizations"),
    ({"personalizations": [{"to": [B]}] * 1000 + [{}]}, rules.TOO_MANY_PERSONALIZATIONS, "personalizations"),
    ({"personalizations": [{"to": MANY}]}, rules.TOO_MANY_RECIPIENTS, "personalizations"),
    ({"personalizations": [{"cc": [B]}]}, rules.NO_TO, f"{P0}.to"),
    ({"personalizations": [{"to": [], "bcc": [B]}]}, rules.NO_TO, f"{P0}.to"),
    ({"personalizations": [{"to": [B, B]}]}, rules.DUPLICATE.format("b@x.test", 0, "to"), P0),
    ({"personalizations": [{"to": [B], "cc": [{"email": "B@X.test"}]}]},
     rules.DUPLICATE.format("b@x.test", 0, "cc"), P0),
    ({"personalizations": [{"to": [A], "cc": [B], "bcc": [B]}]}, rules.DUPLICATE.format("b@x.test", 0, "bcc"), P0),
    ({"personalizations": [{"to": [{"email": "bö@x.test"}]}]}, rules.BAD_ADDRESS, f"{P0}.to.0.email"),
    ({"personalizations": [{"to": [{"email": "b@bücher.test"}]}]}, rules.BAD_ADDRESS, f"{P0}.to.0.email"),
    ({"personalizations": [{"to": [{"email": "b"}]}]}, rules.BAD_ADDRESS, f"{P0}.to.0.email"),
    ({"personalizations": [{"to": [{"email": "b@x.test", "name": "B, b"}]}]}, rules.BAD_NAME, f"{P0}.to.0.name"),
    ({"personalizations": [{"to": [A], "cc": [{"email": "b@x.test", "name": "B;"}]}]}, rules.BAD_NAME,
     f"{P0}.cc.0.name"),
    ({"from": {}}, rules.NO_FROM, "from.email"),
    ({"from": {"email": "ä@x.test"}}, rules.BAD_ADDRESS, "from.email"),
    ({"subject": ""}, rules.NO_SUBJECT, "subject"),
    ({"subject": "", "personalizations": [{"to": [B], "subject": "S"}, {"to": [C]}]}, rules.NO_SUBJECT, "subject"),
    ({"content": []}, rules.NO_CONTENT, "content"),
    ({"content": [{"type": "text/plain", "value": ""}]}, rules.EMPTY_CONTENT, "content.0.value"),
    ({"content": [{"type": "text/plain; charset=utf-8", "value": "T"}]}, rules.BAD_TYPE, "content.0.type"),
    ({"content": [{"value": "T"}]}, rules.BAD_TYPE, "content.0.type"),
    ({"content": [*reversed(GOOD["content"])]}, rules.WRONG_ORDER, "content"),
    ({"content": [{"type": "text/calendar", "value": "C"}, *GOOD["content"]]}, rules.WRONG_ORDER, "content"),
    ({"content": [GOOD["content"][0]] * 2}, rules.WRONG_ORDER, "content"),
    *(({"headers": {name: "x"}}, rules.RESERVED_HEADER.format(name), f"headers.{name}") for name in
      ("x-sg-id", "X-SG-EID", "Received", "DKIM-Signature", "content-type", "Content-Transfer-Encoding", "To", "FROM",
       "subject", "Reply-To", "Cc", "bcc")),
    ({"headers": {"X-Ü": "x"}}, rules.BAD_HEADER, "headers.X-Ü"),
    ({"headers": {"X A": "x"}}, rules.BAD_HEADER, "headers.X A"),
    ({"headers": {"X-A": 1}}, rules.BAD_HEADER, "headers.X-A"),
    ({"custom_args": {"a": 1}}, rules.BAD_ARGUMENT, "custom_args"),
    ({"custom_args": {"a": ""}}, rules.BAD_ARGUMENT, "custom_args"),
    ({"custom_args": {"a": "x" * 10_000}}, rules.TOO_LARGE_ARGUMENTS, "custom_args"),
    ({"custom_args": {"a": "ü" * 5_000}}, rules.TOO_LARGE_ARGUMENTS, "custom_args"),
    ({"categories": [str(number) for number in range(11)]}, rules.TOO_MANY_CATEGORIES, "categories"),
    ({"categories": ["a", "a"]}, rules.BAD_CATEGORY, "categories"),
    ({"categories": ["ä"]}, rules.BAD_CATEGORY, "categories"),
    ({"categories": ["a" * 256]}, rules.BAD_CATEGORY, "categories"),
    ({"reply_to": C, "reply_to_list": [C]}, rules.TWO_REPLY_TO, "reply_to"),
    ({"reply_to": {"email": "c"}}, rules.BAD_ADDRESS, "reply_to"),
    ({"attachments": [PNG | {"content": "_-8="}]}, rules.BAD_ATTACHMENT, "attachments.0.content"),
    ({"attachments": [PNG | {"content": ""}]}, rules.BAD_ATTACHMENT, "attachments.0.content"),
    ({"attachments": [{"content": "cG5n"}]}, rules.BAD_FILENAME, "attachments.0.filename"),
    ({"attachments": [PNG | {"filename": "a\r\nb"}]}, rules.BAD_FILENAME, "attachments.0.filename"),
    ({"attachments": [PNG | {"disposition": "x"}]}, rules.BAD_DISPOSITION, "attachments.0.disposition"),
    ({"send_at": "1"}, rules.BAD_TIME, "send_at"),
    ({"send_at": 1.5}, rules.BAD_TIME, "send_at"),
    ({"send_at": 99_999_999_999}, rules.TOO_LATE, "send_at"),
    ({"personalizations": {"to": [B]}}, "Bad Request", None),
    ({"personalizations": [{"to": "b@x.test"}]}, "Bad Request", None),
    ({"headers": []}, "Bad Request", None),
    ({"subject": "\ud800"}, "Bad Request", None),
    ({"custom_args": "text"}, "Bad Request", None),
    ({"categories": "text"}, "Bad Request", None),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message", "field"), BROKEN)
def test_refuses_what_breaks_a_rule(changes: Json, message: str, field: str | None) -> None:
    with FakeSendGrid() as fake:
        status, document = shown(post(fake, GOOD | changes))
    assert (status, document["errors"][:1]) == (400, errors((message, field))["errors"])
    assert fake.ledger == []


@pytest.mark.parametrize(
    "changes",
    [
        {"personalizations": [{"to": [B]}, {"to": [B]}]},
        {"subject": "", "personalizations": [{"to": [B], "subject": "S"}]},
        {"custom_args": {"a": "x" * 9_999}},
        {"attachments": [PNG | {"filename": ""}]},
        {"send_at": 1},
        {"headers": {"List-Unsubscribe": "<mailto:u@x.test>", "Message-ID": "<1@x.test>"}},
        {"reply_to_list": [B, C]},
        {"personalizations": [{"to": [{"email": '"a b"@xn--bcher-kva.test'}]}]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_accepts_what_only_looks_like_breaking_one(changes: Json) -> None:
    with FakeSendGrid() as fake:
        assert post(fake, GOOD | changes).status_code == 202


def test_tells_several_errors_at_once() -> None:
    with FakeSendGrid() as fake:
        answer = post(fake, GOOD | {"subject": "", "content": []})
    assert shown(answer) == (400, errors((rules.NO_SUBJECT, "subject"), (rules.NO_CONTENT, "content")))


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"1"])
def test_what_is_no_document_is_a_bad_request(body: bytes) -> None:
    with FakeSendGrid() as fake:
        assert shown(post(fake, body)) == (400, {"errors": [{"message": "Bad Request", "field": None, "help": None}]})


@pytest.mark.parametrize(
    ("sender", "accepted"),
    [("a@x.test", True), ("A@X.test", True), ("b@y.test", True), ("b@x.test", False), ("a@z.y.test", False)],
)
def test_takes_only_verified_senders(sender: str, accepted: bool) -> None:
    with FakeSendGrid(verified=["a@x.test", "y.test"]) as fake:
        answer = shown(post(fake, GOOD | {"from": {"email": sender}}))
    assert answer == ((202, None) if accepted else plain(403, NOT_VERIFIED, "from"))


@pytest.mark.parametrize("state", STATES)
def test_an_account_that_may_not_send_is_told_why_and_its_key_is_still_good(state: str) -> None:
    with FakeSendGrid(state=state) as fake:
        assert shown(post(fake)) == plain(*STATES[state])
        assert httpx.get(f"{fake.base_url}/v3/scopes", headers=HEADERS).status_code == 200
    assert fake.ledger == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"Authorization": "Bearer SG.other"}, plain(*BAD_KEY)),
        ({"Authorization": ""}, plain(*NO_KEY)),
        ({"Content-Type": "text/plain"}, plain(415, "Content-Type should be application/json.")),
    ],
)
def test_refuses_wrong_headers(given: Mapping[str, str], expected: object) -> None:
    with FakeSendGrid() as fake:
        assert shown(post(fake, **given)) == expected


def test_a_key_without_mail_send_may_only_ask() -> None:
    with FakeSendGrid(scopes=["alerts.read"]) as fake:
        assert shown(post(fake)) == plain(*NO_SCOPE)
        asked = httpx.get(f"{fake.base_url}/v3/scopes", headers=HEADERS)
    assert shown(asked) == (200, {"scopes": ["alerts.read"]})


def test_knows_no_other_paths_and_methods() -> None:
    with FakeSendGrid() as fake:
        assert post(fake, path="/mail/send").status_code == 404
        assert httpx.get(f"{fake.base_url}/v3/mail/send", headers=HEADERS).status_code == 405


def test_a_mail_that_is_too_large_is_413() -> None:
    with FakeSendGrid(size_limit=300) as fake:
        assert post(fake, GOOD | {"subject": "S" * 300}).status_code == 413
        assert post(fake).status_code == 202


@pytest.mark.parametrize("says_retry_after", [False, True])
def test_after_too_many_calls_all_fail_until_reset(says_retry_after: bool) -> None:
    with FakeSendGrid(calls=(2, 0.6), says_retry_after=says_retry_after) as fake:
        answers = [post(fake) for _ in range(4)]
        assert [one.status_code for one in answers] == [202, 202, 429, 429]
        headers = answers[-1].headers
        assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == ("2", "0")
        assert 0 <= int(headers["X-RateLimit-Reset"]) - time.time() <= 2
        assert headers.get("Retry-After") == ("1" if says_retry_after else None)
        time.sleep(0.7)
        assert post(fake).status_code == 202
    assert len(fake.ledger) == 3
    assert fake.refused == [429, 429]


def test_sandbox_mode_answers_200_and_takes_nothing() -> None:
    with FakeSendGrid() as fake:
        assert shown(post(fake, GOOD | {"mail_settings": {"sandbox_mode": {"enable": True}}})) == (200, None)
    assert fake.ledger == []


@pytest.mark.parametrize(
    ("fault", "answer", "taken"),
    [
        ("error", (503, b""), 1),
        ("page", (502, PAGE.encode()), 0),
        ("okay", (200, b""), 0),
        ("hang", httpx.ReadTimeout, 1),
        ("reset", httpx.TransportError, 1),
        ("truncate", httpx.RemoteProtocolError, 1),
        ("early", httpx.TransportError, 0),
    ],
)
def test_each_fault_strikes_once_and_takes_the_mail_or_does_not(fault: str, answer: Any, taken: int) -> None:
    with FakeSendGrid(faults=[fault]) as fake:
        if isinstance(answer, tuple):
            got = post(fake)
            assert (got.status_code, got.content) == answer
        else:
            with pytest.raises(answer):
                post(fake)
        assert len(fake.ledger) == taken
        assert post(fake).status_code == 202
    assert len(fake.ledger) == taken + 1


def test_a_slow_one_answers_late() -> None:
    with FakeSendGrid(slow=0.3) as fake:
        began = time.monotonic()
        assert post(fake).status_code == 202
    assert time.monotonic() - began >= 0.3


def test_speaks_in_clear_text_only_where_a_test_says_so() -> None:
    with FakeSendGrid(tls=False) as fake:
        assert fake.base_url.startswith("http://127.0.0.1:")
        assert post(fake).status_code == 202
