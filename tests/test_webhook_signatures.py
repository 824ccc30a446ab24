"""Whether a request comes from whom the endpoint is for: vectors, every secret, and what strangers send."""

from __future__ import annotations

import hmac
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.effort import examples
from workflows.webhooks.signatures import REFUSED, SCHEMES, refusal, unusable

SECRET = "rootmail-test-secret-32-bytes-ab"
WHSEC = "whsec_cm9vdG1haWwtdGVzdC1zZWNyZXQtMzItYnl0ZXMtYWI="
BODY = '{"ping":"é"}'.encode()
THEN = 1767225600
PLAIN = "766b85669d91c53fe0ca2281cacb2ce2084af57948f514faaa2bbe22f21911d6"
TIMED = "87214bf53c36a6e51649273aa38fac8665e64d73a3f9922d5444a8982a13c8a4"
ROOTLY = "1632629c3ad9165a392cb3f41a9905b185c0eea0e51b6f295302d811f9d9beae"
STANDARD = "v1,QtJxBOZAbIDfZHFGBBAZbLuE2m68J0Y/oGjFtWirdeU="
OTHER = "00" * 32
AS_STANDARD = {"webhook-id": "msg_test1", "webhook-timestamp": str(THEN), "webhook-signature": STANDARD}
AS_SVIX = {name.replace("webhook", "svix"): value for name, value in AS_STANDARD.items()}
AT = {"timestamp_header": "X-At"}


def a_refusal(
    scheme: str,
    headers: dict[str, str],
    *,
    secrets: tuple[str, ...] = (SECRET,),
    options: dict[str, Any] | None = None,
    now: float = THEN,
    body: bytes = BODY,
) -> str:
    return refusal(scheme, headers=headers, body=body, secrets=secrets, options=options or {}, now=now)


def signed_with_nothing() -> str:
    signature = hmac.digest(b"", f"msg_test1.{THEN}.".encode() + BODY, "sha256")
    return "v1," + b64encode(signature).decode()


def basic(user: str) -> str:
    return "Basic " + b64encode(user.encode()).decode()


# fmt: off
@pytest.mark.parametrize(
    ("scheme", "headers", "given"),
    [
        ("none", {}, {"secrets": ()}),
        ("hmac_sha256_hex", {"fh-signature": PLAIN}, {}),
        ("hmac_sha256_hex", {"fh-signature": PLAIN.upper()}, {}),
        ("hmac_sha256_hex", {"x-hub": f"sha256={PLAIN}"}, {"options": {"signature_header": "X-Hub"}}),
        ("pagerduty", {"x-pagerduty-signature": f"v1={PLAIN}"}, {}),
        ("pagerduty", {"x-pagerduty-signature": f"v2=zz, v1={OTHER}, v1={PLAIN}"}, {}),
        ("grafana", {"x-grafana-alerting-signature": PLAIN}, {}),
        ("grafana", {"x-own": PLAIN}, {"options": {"signature_header": "X-Own"}}),
        ("grafana", {"x-grafana-alerting-signature": TIMED, "x-at": str(THEN)}, {"options": AT}),
        ("grafana", {"x-grafana-alerting-signature": TIMED, "x-at": str(THEN)}, {"options": AT, "now": THEN + 299.5}),
        ("rootly", {"x-rootly-signature": f"t={THEN},v1={ROOTLY}"}, {}),
        ("rootly", {"x-rootly-signature": f" v1={ROOTLY} , t={THEN}"}, {"now": THEN + 6 * 86400}),
        ("standard", AS_STANDARD, {"secrets": (WHSEC,)}),
        ("standard", AS_STANDARD, {"secrets": (WHSEC.rstrip("="),)}),
        ("standard", AS_STANDARD, {"secrets": (WHSEC.removeprefix("whsec_"),)}),
        ("standard", AS_STANDARD, {}),
        ("standard", AS_STANDARD, {"secrets": (WHSEC,), "now": THEN - 300}),
        ("standard", AS_SVIX, {"secrets": (WHSEC,)}),
        ("standard", AS_STANDARD | {"webhook-signature": f"v1a,xx v1,AAAA {STANDARD}"}, {"secrets": (WHSEC,)}),
        ("bearer", {"authorization": f"Bearer {SECRET}"}, {}),
        ("bearer", {"authorization": f"bearer  {SECRET}"}, {}),
        ("basic", {"authorization": basic("am:gehëim")}, {"secrets": ("am:gehëim",)}),
        ("header", {"x-webhook-secret": SECRET}, {}),
        ("header", {"x-token": "gehÃ«im"}, {"secrets": ("gehëim",), "options": {"signature_header": "X-Token"}}),
    ],
)
def test_takes_what_is_genuine(scheme: str, headers: dict[str, str], given: dict[str, Any]) -> None:
    assert a_refusal(scheme, headers, **given) == ""


@pytest.mark.parametrize(
    ("scheme", "headers", "given"),
    [
        ("hmac_sha256_hex", {}, {}),
        ("hmac_sha256_hex", {"fh-signature": PLAIN}, {"body": BODY + b" "}),
        ("hmac_sha256_hex", {"fh-signature": PLAIN[:-2]}, {}),
        ("hmac_sha256_hex", {"fh-signature": "no hex"}, {}),
        ("hmac_sha256_hex", {"fh-signature": "é"}, {}),
        ("pagerduty", {"x-pagerduty-signature": f"v2={PLAIN}"}, {}),
        ("pagerduty", {"x-pagerduty-signature": PLAIN}, {}),
        ("pagerduty", {"x-pagerduty-signature": f"v1={OTHER}"}, {}),
        ("grafana", {"x-grafana-alerting-signature": TIMED}, {}),
        ("grafana", {"x-grafana-alerting-signature": PLAIN}, {"options": AT}),
        ("grafana", {"x-grafana-alerting-signature": PLAIN, "x-at": str(THEN)}, {"options": AT}),
        ("grafana", {"x-grafana-alerting-signature": TIMED, "x-at": str(THEN)}, {"options": AT, "now": THEN + 301}),
        ("grafana", {"x-grafana-alerting-signature": TIMED, "x-at": str(THEN)}, {"options": AT, "now": THEN - 301}),
        ("grafana", {"x-grafana-alerting-signature": TIMED, "x-at": f"{THEN}.0"}, {"options": AT}),
        ("rootly", {"x-rootly-signature": f"t={THEN},v1={ROOTLY}"}, {"now": THEN + 8 * 86400}),
        ("rootly", {"x-rootly-signature": f"t={THEN},v1={ROOTLY}"}, {"now": THEN - 301}),
        ("rootly", {"x-rootly-signature": f"t={THEN + 1},v1={ROOTLY}"}, {}),
        ("rootly", {"x-rootly-signature": f"v1={ROOTLY}"}, {}),
        ("rootly", {"x-rootly-signature": f"t={'9' * 400},v1={ROOTLY}"}, {}),
        ("rootly", {"x-rootly-signature": f"t={'9' * 5000},v1={ROOTLY}"}, {}),
        ("standard", AS_STANDARD | {"webhook-id": "msg_test2"}, {"secrets": (WHSEC,)}),
        ("standard", AS_STANDARD, {"secrets": (WHSEC,), "now": THEN + 301}),
        ("standard", AS_STANDARD, {"secrets": ("whsec_!",)}),
        ("standard", AS_STANDARD | {"webhook-signature": signed_with_nothing()}, {"secrets": ("whsec_",)}),
        ("standard", AS_STANDARD | {"webhook-signature": STANDARD[3:]}, {"secrets": (WHSEC,)}),
        ("standard", AS_STANDARD | {"webhook-signature": "v1,ö"}, {"secrets": (WHSEC,)}),
        ("standard", {"webhook-signature": STANDARD}, {"secrets": (WHSEC,)}),
        ("bearer", {"authorization": SECRET}, {}),
        ("bearer", {"authorization": f"Basic {SECRET}"}, {}),
        ("bearer", {"authorization": f"Bearer {SECRET}\u20ac"}, {}),
        ("bearer", {}, {}),
        ("basic", {"authorization": basic("am:wrong")}, {"secrets": ("am:right",)}),
        ("basic", {"authorization": "Basic not base64"}, {"secrets": ("am:right",)}),
        ("header", {"x-webhook-secret": "wrong"}, {}),
        ("header", {}, {"options": {"signature_header": "X-Token"}}),
        ("no such scheme", {}, {}),
    ],
)
def test_refuses_all_else_with_one_text(scheme: str, headers: dict[str, str], given: dict[str, Any]) -> None:
    assert a_refusal(scheme, headers, **given) == REFUSED
# fmt: on


PROVEN = [("hmac_sha256_hex", {"fh-signature": PLAIN}), ("bearer", {"authorization": f"Bearer {SECRET}"})]


@pytest.mark.parametrize(("scheme", "headers"), PROVEN)
def test_either_of_two_secrets_will_do(scheme: str, headers: dict[str, str]) -> None:
    assert a_refusal(scheme, headers, secrets=("another", SECRET)) == ""
    assert a_refusal(scheme, headers, secrets=(SECRET, "another")) == ""
    assert a_refusal(scheme, headers, secrets=("another",)) == REFUSED


@pytest.mark.parametrize("scheme", sorted(set(SCHEMES) - {"none"}))
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer "}, {"authorization": "Basic "}, AS_STANDARD])
@pytest.mark.parametrize("secrets", [(), ("",)])
def test_without_a_secret_nothing_is_genuine(scheme: str, headers: dict[str, str], secrets: tuple[str, ...]) -> None:
    assert a_refusal(scheme, headers, secrets=secrets) == REFUSED


HEADERS = [
    *("authorization", "x-webhook-secret", "fh-signature", "x-pagerduty-signature", "x-rootly-signature"),
    *("x-grafana-alerting-signature", "x-at", *AS_STANDARD, *AS_SVIX),
]
PIECES = ["v1=", "v1,", "t=", str(THEN), "Bearer ", "Basic ", "sha256=", ",", "=", " ", PLAIN, "é", "\ud800", "\u0665"]
VALUES = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=6).map("".join)


@settings(max_examples=examples(300), deadline=None)
@given(
    st.sampled_from(sorted(set(SCHEMES) - {"none"})),
    st.dictionaries(st.sampled_from(HEADERS), VALUES),
    st.sampled_from([SECRET, WHSEC, "whsec_?", f"us:{SECRET}"]),
)
def test_what_strangers_invent_is_refused_and_breaks_nothing(scheme: str, headers: dict[str, str], secret: str) -> None:
    assert a_refusal(scheme, headers, secrets=(secret,), options=AT, body=b"never signed") == REFUSED


@pytest.mark.parametrize(
    ("scheme", "secret", "is_usable"),
    [
        ("standard", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", True),
        ("standard", "a plain text", True),
        ("standard", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw*", False),
        ("standard", "whsec_", False),
        ("standard", "whsec_a", False),
        ("bearer", "whsec_not*base64", True),
        ("basic", "user:password", True),
        ("basic", "password", False),
    ],
)
def test_tells_which_secret_could_prove_nothing(scheme: str, secret: str, is_usable: bool) -> None:
    assert (unusable(scheme, secret) == "") is is_usable
