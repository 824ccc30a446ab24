"""The table from states and replies to plain words."""

from __future__ import annotations

from typing import Any

import pytest

from workflows import causes, explain
from workflows.explain import Facts
from workflows.models import Delivery


def said(state: str = "failed", **values: Any) -> tuple[str, str]:
    found = explain.explain(Facts(state, **values))
    return found.sentence, found.advice


QUOTA = "The provider's quota is used up."
RELAYING = "The relay does not send to this recipient for us (relaying denied)."
FROM = "The relay does not let us send as this From."
RULES = "The relay's rules forbid it."
MACHINE = "The relay does not let this machine send."
STOPPED = "The provider has stopped this account's mail."


@pytest.mark.parametrize(
    ("stage", "code", "enhanced", "words", "sentence"),
    [
        ("rcpt", 450, "4.7.1", "try later", "The relay lets unknown senders wait (greylisting)."),
        ("data", 451, "4.7.1", "try later", "The relay lets unknown senders wait (greylisting)."),
        ("rcpt", 451, "", "Greylisted for 300 s", "The relay lets unknown senders wait (greylisting)."),
        ("rcpt", 452, "4.2.2", "over quota", "The recipient's mailbox is full."),
        ("rcpt", 552, "", "mailbox full", "The recipient's mailbox is full."),
        ("rcpt", 550, "5.2.1", "disabled", "The recipient's mailbox is switched off."),
        ("rcpt", 550, "5.1.1", "no such user", "The relay does not know this user."),
        ("rcpt", 550, "", "no such user", "The relay does not know this user."),
        ("rcpt", 550, "5.1.2", "", "The recipient's domain does not exist or takes no mail."),
        ("rcpt", 553, "", "bad", "This is no address that the relay can use."),
        (
            "rcpt",
            554,
            "5.7.1",
            "Relay access denied",
            "The relay does not send to this recipient for us (relaying denied).",
        ),
        ("rcpt", 454, "4.7.1", "<bob@x.test>: Relay access denied", RELAYING),
        ("rcpt", 550, "5.7.1", "Unable to relay", RELAYING),
        ("rcpt", 550, "", "relay not permitted", RELAYING),
        ("mail", 550, "5.7.64", "TenantAttribution; Relay Access Denied", RELAYING),
        ("rcpt", 550, "5.7.54", "SMTP; Unable to relay recipient in non-accepted domain", RELAYING),
        ("rcpt", 551, "", "relaying prohibited", RELAYING),
        ("rcpt", 550, "5.7.1", "the relay access denied", "The recipient takes no mail from us."),
        ("rcpt", 550, "5.7.1", "the relay refuses mail with this policy", "The recipient takes no mail from us."),
        ("rcpt", 553, "5.7.1", "<desk@x.test>: Sender address rejected: not owned by user desk", FROM),
        ("rcpt", 550, "5.1.0", "<from@x.test>: Sender address rejected: User unknown", FROM),
        ("rcpt", 550, "5.1.8", "<from@x.test>: Sender address rejected: Domain not found", FROM),
        ("rcpt", 450, "4.1.8", "<from@x.test>: Sender address rejected: Domain not found", FROM),
        ("rcpt", 450, "4.7.1", "<worker>: Helo command rejected: Host not found", MACHINE),
        ("rcpt", 504, "5.5.2", "<worker>: Helo command rejected: need fully-qualified hostname", MACHINE),
        ("rcpt", 554, "5.7.1", "Service unavailable; Client host [1.2.3.4] blocked using zen.spamhaus.org", MACHINE),
        ("rcpt", 450, "4.7.25", "The relay answered 450 4.7.25 cannot find your hostname", MACHINE),
        ("mail", 554, "5.7.1", "<unknown[10.0.0.9]>: Client host rejected: Access denied", MACHINE),
        ("rcpt", 450, "4.7.1", "Client host greylisted", "The relay lets unknown senders wait (greylisting)."),
        (
            "auth",
            454,
            "4.7.0",
            "Temporary authentication failure",
            "The relay cannot check username and password just now.",
        ),
        ("rcpt", 550, "5.7.133", "RESOLVER.RST.SenderNotAuthenticatedForGroup", "The relay refused it for good."),
        ("rcpt", 550, "5.4.1", "Recipient address rejected: Access denied", "The relay does not know this user."),
        ("rcpt", 550, "5.1.0", "Address rejected", "The relay does not know this user."),
        ("rcpt", 550, "", "Administrative prohibition", RULES),  # Exim's own words for any 'deny'
        ("mail", 550, "", "Administrative prohibition", RULES),
        ("rcpt", 550, "", "rejected because 192.0.2.1 is in a black list at zen.spamhaus.org", MACHINE),
        ("rcpt", 550, "", "I cannot deliver mail for <b@other.test>", RELAYING),  # Haraka
        ("rcpt", 524, "5.2.4", "Mailing list expansion problem: <b@x.test>", "The relay does not know this user."),
        ("rcpt", 452, "", "too many recipients", "The relay takes no more recipients in one mail."),
        ("rcpt", 452, "", "insufficient storage", "The recipient's mailbox is full."),
        ("rcpt", 450, "4.7.0", "Temporarily rejected", "The relay refused for now, and may take it later."),
        ("rcpt", 450, "4.7.28", "", "The relay finds that we send too much."),
        ("rcpt", 550, "5.7.1", "blocked", "The recipient takes no mail from us."),
        ("mail", 552, "5.3.4", "too big", "The mail is too large for the relay."),
        ("data", 552, "", "too big", "The mail is too large for the relay."),
        ("http", 413, "", "", "The mail is too large for the relay."),
        ("mail", 553, "5.7.1", "not owned", "The relay does not let us send as this From."),
        ("data", 550, "5.7.60", "not allowed", "The relay does not let us send as this From."),
        ("data", 550, "5.7.26", "", "The sender could not be proved to be genuine (SPF, DKIM, DMARC)."),
        ("data", 554, "5.7.1", "spam", "The relay takes the mail for spam, or its rules forbid it."),
        ("data", 554, "", "no", "The relay takes the mail for spam, or its rules forbid it."),
        ("data", 554, "5.6.0", "", "The relay found fault with the mail itself."),
        ("rcpt", 553, "5.6.7", "", "The relay cannot write letters beyond ASCII in an address (SMTPUTF8)."),
        ("data", 555, "5.6.0", "", "The relay found fault with the mail itself."),
        ("auth", 535, "5.7.8", "", "The provider refused the username or password."),
        ("auth", None, "", "", "The provider refused the username or password."),
        ("mail", 535, "", "", "The provider refused the username or password."),
        ("mail", 530, "5.7.0", "", "The relay wants a log-in."),
        ("http", 401, "", "", "SendGrid refused the API key."),
        ("http", 403, "", "", "SendGrid does not let us send this."),
        ("http", 429, "", "", "The provider finds that we send too much."),
        ("http", 500, "", "", "The relay is overloaded or under repair."),
        ("data", 550, "5.4.5", "", "The provider's quota is used up."),
        ("data", 554, "5.2.0", "STOREDRV.Submission.Exception:SubmissionQuotaExceededException", QUOTA),
        ("rcpt", 550, "5.7.1", "Daily SMTP relay limit exceeded for customer", QUOTA),
        ("rcpt", 450, "4.2.1", "Peak SMTP relay limit exceeded for customer", QUOTA),
        ("data", 554, "", "Message rejected: Sending suspended for this account", STOPPED),
        ("rcpt", 550, "5.1.8", "Access denied, bad outbound sender", STOPPED),
        ("mail", 451, "", "The relay answered 451 5.7.3 Require basic authentication", "The relay wants a log-in."),
        ("mail", 550, "", "Authentication required", "The relay wants a log-in."),
        ("mail", 550, "5.7.9", "Mail to submission port must be authenticated", "The relay wants a log-in."),
        ("mail", 530, "5.7.0", "Must issue a STARTTLS command first", "The relay wants an encrypted connection."),
        ("mail", 550, "", "TLS required", "The relay wants an encrypted connection."),
        ("mail", 451, "", "5.7.3 STARTTLS is required", "The relay wants an encrypted connection."),
        ("mail", 421, "4.7.0", "", "The relay finds that we send too much."),
        ("mail", 421, "", "", "The relay is overloaded, full or under repair."),
        ("connect", 421, "", "", "The relay is overloaded or under repair."),
        ("data", 452, "4.3.1", "", "The relay is overloaded, full or under repair."),
        ("rcpt", 452, "4.5.3", "", "The relay takes no more recipients in one mail."),
        ("resolve", None, "", "", "The provider's name could not be resolved."),
        ("connect", None, "", "", "The provider could not be reached."),
        ("tls", None, "", "", "No encrypted connection came about."),
        ("ehlo", None, "", "", "The relay did not greet us properly."),
        ("data", 451, "", "local error", "The relay refused for now, and may take it later."),
        ("rcpt", 599, "", "", "The relay refused it for good."),
        ("data", None, "", "", "It was not accepted."),
    ],
)
def test_a_reply_in_plain_words(stage: str, code: int | None, enhanced: str, words: str, sentence: str) -> None:
    assert said(stage=stage, outcome="failed", code=code, enhanced=enhanced, said=words)[0] == sentence


@pytest.mark.parametrize(
    ("facts", "sentence", "advice"),
    [
        (Facts("queued"), "It waits for a worker.", "where none runs, every page says so"),
        (Facts("queued", waits=True), "It waits for its provider", "leave by themselves"),
        (Facts("sending"), "A worker is handing it over right now.", "That takes seconds"),
        (Facts("accepted", recipients=2), "The relay has taken it over for everybody.", "the relay's log"),
        (Facts("accepted", confirmed=False), "The relay's answer was not heard; a person considers", ""),
        (
            Facts("accepted", without=1, recipients=3, stage="data", outcome="accepted", code=550, enhanced="5.1.1"),
            "but not for 1 of 3 recipients. The relay does not know this user.",
            "reaches only those who have not got it",
        ),
        (
            Facts("accepted", without=1, recipients=3, suppressed=1, outcome="accepted"),
            "taken it over; to 1 of 3 recipients it was not sent, because of earlier mails.",
            "under Suppressed addresses",
        ),
        (
            Facts("accepted", without=2, recipients=3, suppressed=1, stage="rcpt", code=550, enhanced="5.1.1"),
            "but not for 2 of 3 recipients. The relay does not know this user.",
            "reaches only those who have not got it",
        ),
        (
            Facts("accepted", recipients=2, bounced=1),
            "The provider has taken it over, and told later that it did not reach 1 of 2 recipients.",
            "stands beside each recipient",
        ),
        (Facts("failed", without=2, recipients=2, suppressed=2), "Nobody is left to send it to", "an Admin releases"),
        (Facts("failed", kept=False, without=1, suppressed=1), "Nobody is left to send it to", "cannot be sent again"),
        (Facts("unknown"), "It is sent once more by itself, so a recipient may get it twice.", "consider it delivered"),
        (Facts("held"), "This workflow leaves what to do to a person.", "where it is not, send it again"),
        (Facts("accepted", kept=False), "taken it over for everybody", "the relay's log"),
        (
            Facts("accepted", kept=False, without=1, stage="rcpt", code=550),
            "does not know this user.",
            "cannot be sent",
        ),
        (Facts("failed", kept=False, stage="auth", outcome="failed"), "refused the username", "cannot be sent again"),
        (Facts("cancelled"), "A person cancelled it; nothing more is sent.", "Send it again"),
        (Facts("failed", rendered=False, reason="to: no address"), "No mail came of its templates.", "nothing to send"),
        (Facts("failed", stage="data", outcome="unknown"), "Its time was over before that became clear.", "consider"),
        (
            Facts("failed", stage="rcpt", outcome="deferred", code=450, enhanced="4.2.2"),
            "Its time was over before it could be sent. The recipient's mailbox is full.",
            "Send it again where it is still wanted.",
        ),
        (Facts("failed", reason="Given up: late", outcome="failed"), "Its time was over", "Send it again where"),
        (
            Facts("deferred", stage="connect", outcome="deferred"),
            "The provider could not be reached. It is tried again by itself.",
            "firewall",
        ),
        (Facts("failed", stage="auth", outcome="failed", code=535), "refused the username", "Then send it again."),
        (Facts("failed", stage="data", outcome="failed", code=552), "too large", "this one cannot get smaller."),
    ],
)
def test_a_state_in_plain_words(facts: Facts, sentence: str, advice: str) -> None:
    found = explain.explain(facts)
    assert sentence in found.sentence
    assert advice in found.advice


def test_every_state_has_a_sentence() -> None:
    for state in Delivery.State.values:
        assert explain.explain(Facts(state)).sentence


def test_every_cause_has_whole_sentences() -> None:
    for one in causes.CAUSES:
        assert one.codes or one.stages or one.words
        assert one.sentence.endswith(".")
        assert one.advice.endswith(".")
