"""What a server's words mean: pure tables."""

from __future__ import annotations

import pytest

from integrations.transports.base import Reply, Scope, Stage, TransportError, classify, stated_wait


@pytest.mark.parametrize(
    ("code", "text", "parsed"),
    [
        (250, b"ok", Reply(250, "ok")),
        (250, b"2.0.0 queued as 4711", Reply(250, "queued as 4711", "2.0.0")),
        (550, b"5.1.1 no such user\n5.1.1 here", Reply(550, "no such user here", "5.1.1")),
        (550, b"5.7.139", Reply(550, "", "5.7.139")),
        (250, b"5.1.1 belongs to another class", Reply(250, "5.1.1 belongs to another class")),
        (220, b"10.0.0.1 ready", Reply(220, "10.0.0.1 ready")),
        (250, b"", Reply(250, "")),
        (554, b"caf\xe9", Reply(554, "caf�")),
        (421, "4.4.2 idle", Reply(421, "idle", "4.4.2")),
    ],
)
def test_splits_a_reply(code: int, text: bytes | str, parsed: Reply) -> None:
    assert Reply.parse(code, text) == parsed


@pytest.mark.parametrize(
    ("reply", "permanent", "words"),
    [
        (Reply(550, "no", "5.1.1"), True, "550 5.1.1 no"),
        (Reply(450, "later"), False, "450 later"),
        (Reply(None, "no address", "5.1.3"), True, "5.1.3 no address"),
        (Reply(None, "nobody spoke"), False, "nobody spoke"),
    ],
)
def test_a_reply_knows_whether_it_is_permanent(reply: Reply, permanent: bool, words: str) -> None:
    assert (reply.permanent, str(reply)) == (permanent, words)


P, M, R = Scope.PROVIDER, Scope.MESSAGE, Scope.RECIPIENT


@pytest.mark.parametrize(
    ("stage", "code", "enhanced", "scope", "permanent"),
    [
        (Stage.CONNECT, 554, "", P, False),
        (Stage.EHLO, 550, "", P, False),
        (Stage.TLS, 454, "4.7.0", P, False),
        (Stage.AUTH, 535, "5.7.8", P, False),
        (Stage.AUTH, 503, "", P, False),
        (Stage.MAIL, 421, "4.7.0", P, False),
        (Stage.RCPT, 421, "", P, False),
        (Stage.DATA, 421, "4.4.2", P, False),
        (Stage.MAIL, 530, "5.7.0", P, False),
        (Stage.MAIL, 535, "", P, False),
        (Stage.MAIL, 454, "", P, False),
        (Stage.MAIL, 550, "5.7.57", P, False),
        (Stage.DATA, 550, "5.7.139", P, False),
        (Stage.DATA, 432, "4.3.2", P, False),
        (Stage.RCPT, 451, "4.3.2", P, False),
        (Stage.RCPT, 550, "5.1.1", R, True),
        (Stage.RCPT, 550, "", R, True),
        (Stage.RCPT, 550, "5.7.1", R, True),
        (Stage.RCPT, 452, "4.2.2", R, False),
        (Stage.RCPT, 450, "4.7.1", R, False),
        (Stage.RCPT, 454, "4.7.1", R, False),
        (Stage.RCPT, 454, "4.7.0", P, False),
        (Stage.RCPT, 421, "4.7.1", P, False),
        (Stage.RCPT, 451, "", R, False),
        (Stage.RCPT, 450, "4.7.28", P, False),
        (Stage.RCPT, 451, "4.7.500", P, False),
        (Stage.DATA, 550, "5.4.5", P, False),
        (Stage.MAIL, 550, "5.1.90", P, False),
        (Stage.DATA, 552, "", M, True),
        (Stage.DATA, 550, "5.7.1", M, True),
        (Stage.MAIL, 554, "", M, True),
        (Stage.MAIL, 451, "4.7.1", P, False),
        (Stage.MAIL, 451, "4.1.8", M, False),
        (Stage.MAIL, 553, "5.1.8", M, True),
        (Stage.MAIL, 550, "", M, True),
        (Stage.MAIL, 552, "5.3.4", M, True),
        (Stage.DATA, 554, "5.7.1", M, True),
        (Stage.DATA, 550, "5.7.60", M, True),
        (Stage.DATA, 554, "5.6.0", M, True),
        (Stage.DATA, 452, "4.3.1", M, False),
        (Stage.DATA, 451, "4.7.1", M, False),
        (Stage.DATA, 421, "4.7.1", P, False),
        (Stage.DATA, 451, "4.7.0", P, False),
        (Stage.DATA, 451, "", M, False),
        (Stage.DATA, 250, "", P, False),
    ],
)
def test_classifies_a_refusal(stage: Stage, code: int, enhanced: str, scope: Scope, permanent: bool) -> None:
    verdict = classify(Reply(code, "words", enhanced), stage=stage)
    assert (verdict.scope, verdict.permanent) == (scope, permanent)


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA])
@pytest.mark.parametrize(
    ("code", "text"),
    [
        (554, "5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message"),
        (554, "5.2.2 mailbox full; STOREDRV.Submission.Exception:QuotaExceededException.MapiExceptionQuotaExceeded"),
        (550, "5.2.251 Sender throttled due to continuous invalid recipients errors; STOREDRV.Submission"),
        (550, "5.7.1 Daily SMTP relay limit exceeded for customer. For more information visit"),
        (450, "4.2.1 Peak SMTP relay limit exceeded for customer. Please try again later"),
        (554, "Message rejected: Sending suspended for this account. For more information"),
        (454, "Throttling failure: Sending paused for this account."),
        (550, "5.1.8 Access denied, bad outbound sender. For more information please go to"),
        (451, "5.7.3 STARTTLS is required to send mail"),
        (451, "5.7.3 Require basic authentication"),
    ],
)
def test_what_concerns_the_account_pauses_the_provider_and_ends_no_mail(stage: Stage, code: int, text: str) -> None:
    verdict = classify(Reply.parse(code, text), stage=stage)
    assert (verdict.scope, verdict.permanent) == (P, False)


@pytest.mark.parametrize(
    ("stage", "code", "text", "scope"),
    [
        (Stage.RCPT, 450, "4.7.0 Greylisted for 5 minutes", R),
        (Stage.RCPT, 421, "4.7.0 <b@x.test>: you are greylisted", R),
        (Stage.RCPT, 450, "Grey-listed, come back later", R),
        (Stage.MAIL, 451, "4.7.1 Graylisting in action", M),
        (Stage.DATA, 421, "4.7.0 Message greylisted", M),
        (Stage.RCPT, 450, "4.7.0 <greylist@x.test>: too many mails", P),
        (Stage.RCPT, 450, "4.7.0 greylist@x.test gets too many mails", P),
        (Stage.CONNECT, 421, "greylisted", P),
        (Stage.MAIL, 554, "5.7.1 for ever greylisted", M),
    ],
)
def test_greylisting_is_no_word_about_us(stage: Stage, code: int, text: str, scope: Scope) -> None:
    assert classify(Reply.parse(code, text), stage=stage).scope == scope


@pytest.mark.parametrize(
    ("stage", "scope", "permanent"), [(Stage.MAIL, P, False), (Stage.RCPT, R, True), (Stage.DATA, M, True)]
)
@pytest.mark.parametrize("words", ["Authentication required", "Submission must be authenticated", "TLS is required"])
def test_a_log_in_or_tls_that_is_missing_at_mail_pauses_the_provider(
    words: str, stage: Stage, scope: Scope, permanent: bool
) -> None:
    """At RCPT it may be about a group that takes mail from its own people alone, as Exchange says."""
    verdict = classify(Reply(550, words), stage=stage)
    assert (verdict.scope, verdict.permanent) == (scope, permanent)


@pytest.mark.parametrize("words", ["<starttls@x.test> is not yours", "starttls@x.test is not yours"])
def test_an_address_is_no_demand(words: str) -> None:
    assert classify(Reply(550, words), stage=Stage.MAIL).scope == M


@pytest.mark.parametrize(
    ("code", "text", "permanent"),
    [
        (552, "5.2.2 quota exceeded", True),
        (554, "5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException", True),
        (550, "5.1.8 Sender address rejected: Domain not found", True),
        (451, "5.1.1 no such user", False),
        (550, "5.1.1 <submissionquotaexceeded@x.test>: User unknown", True),
        (550, "5.7.1 submissionquotaexceeded@x.test may not get this", True),
        (550, "5.7.1 <SMTP relay limit exceeded>: rejected", True),
        (550, "5.1.1 <b@x.test>: host mx.x.test said: 550 5.1.8 Access denied, bad outbound sender", True),
        (450, "4.1.1 <b@x.test>: host mx.x.test said: 550 5.1.8 Access denied, bad outbound sender", False),
    ],
)
def test_similar_words_about_one_recipient_concern_that_one(code: int, text: str, permanent: bool) -> None:
    verdict = classify(Reply.parse(code, text), stage=Stage.RCPT)
    assert (verdict.scope, verdict.permanent) == (R, permanent)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("try again in 5 minutes", 300),
        ("Greylisted, please try again in 300 seconds", 300),
        ("Retry after 1 hour", 3600),
        ("please wait 10s", 10),
        ("retry in 2 min.", 120),
        ("<b@x.test>: Recipient address rejected: Greylisted for 5 minutes", 300),  # sqlgrey
        ("Greylisting in action, please come back in 00:05:00", 300),  # milter-greylist
        ("come back in 1:30:20, please", 5420),
        ("try again at 12:30:00 or later", None),
        ("session 1:2:3 rejected", None),
        ("try again later", None),
        ("mailbox full for 5 days", None),
        ("", None),
    ],
)
def test_reads_how_long_a_server_asks_us_to_wait(text: str, seconds: int | None) -> None:
    assert stated_wait(text) == seconds


def test_an_error_from_a_reply_quotes_and_classifies_it() -> None:
    error = TransportError.from_reply(Reply(451, "try again in 2 minutes", "4.7.1"), stage=Stage.MAIL, tls="TLSv1.3")
    assert str(error) == "The relay answered 451 4.7.1 try again in 2 minutes"
    assert (error.stage, error.scope, error.permanent) == (Stage.MAIL, Scope.PROVIDER, False)
    assert (error.code, error.enhanced_code, error.retry_after, error.tls) == (451, "4.7.1", 120, "TLSv1.3")
