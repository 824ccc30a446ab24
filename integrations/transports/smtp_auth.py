"""AUTH (RFC 4954): the chosen mechanism only, once, and never a password in clear by accident."""

from __future__ import annotations

import base64
import hmac
import re

from .base import Reply, Scope, Stage, TransportError
from .smtp_line import SmtpLine
from .smtp_settings import SmtpSettings

MECHANISMS = {"plain": "PLAIN", "login": "LOGIN", "cram_md5": "CRAM-MD5"}
SAFE_IN_CLEAR = frozenset({"CRAM-MD5"})  # the password itself does not go over the wire
TLS_PORTS = {465: "465 with 'SSL'", 587: "587 with 'StartTLS'"}
# Google and Yahoo say it with 534 5.7.9, Apple with 535: the words are what they have in common.
_APP_PASSWORD = re.compile(r"\bapp(?:lication)?(?:[- ]specific)?[- ]password", re.I)


def authenticate(session: SmtpLine) -> Reply:
    """Prove who we are; anything but 235 is a failure, 503 too."""
    mechanism = MECHANISMS[session.settings.authentication]
    _check_offer(session, mechanism=mechanism)
    _check_protection(session, mechanism=mechanism)
    reply = _EXCHANGES[mechanism](session)
    if reply.code != 235:
        raise _refused(session, reply=reply)
    return reply


def offered(session: SmtpLine) -> list[str]:
    return session.features.get("auth", "").upper().split()


def _check_offer(session: SmtpLine, *, mechanism: str) -> None:
    names = list(dict.fromkeys(offered(session)))
    if mechanism not in names:
        raise _failed(session, _other_offer(session, names, mechanism=mechanism) if names else _no_offer(session))


def _other_offer(session: SmtpLine, names: list[str], *, mechanism: str) -> str:
    known = [name for name in names if name in MECHANISMS.values()]
    if not known:
        return (
            f"The relay offers {', '.join(names)}, and none of these is supported yet. "
            f"Use a relay that offers {', '.join(MECHANISMS.values())}, or remove the username."
        )
    usable = [name for name in known if is_protected(session, mechanism=name)]
    if not usable:
        return _unprotected(session, mechanism=known[0])
    choice = "choose one of them" if usable[1:] else "choose it"
    return f"The relay does not offer {mechanism}. It offers {', '.join(usable)}: {choice}."


def _no_offer(session: SmtpLine) -> str:
    if session.tls:
        return "The relay offers no authentication. Remove the username, or use another port."
    if "starttls" in session.features:
        return "The relay offers no authentication without TLS. Turn on 'StartTLS', or remove the username."
    port = session.settings.port
    return (
        f"The relay offers neither authentication nor STARTTLS on port {port}. "
        f"Use another port ({other_ports(port)}), or remove the username."
    )


def _check_protection(session: SmtpLine, *, mechanism: str) -> None:
    if not is_protected(session, mechanism=mechanism):
        raise _failed(session, _unprotected(session, mechanism=mechanism))


def is_protected(session: SmtpLine, *, mechanism: str) -> bool:
    return bool(session.tls) or mechanism in SAFE_IN_CLEAR or session.settings.allow_clear_text_auth


def _unprotected(session: SmtpLine, *, mechanism: str) -> str:
    danger = f"The connection is not encrypted, and {mechanism} would show the password to everybody on the way."
    return f"{danger} {_way_to_tls(session)}"


def _way_to_tls(session: SmtpLine) -> str:
    """Say only what this relay can do: EHLO has shown whether STARTTLS is there."""
    if "starttls" in session.features:
        return "Turn on 'StartTLS'."
    port = session.settings.port
    return (
        f"The relay offers no STARTTLS on port {port}: use another port ({other_ports(port)}). "
        "Only where nobody can listen: 'Allow credentials without TLS'."
    )


def other_ports(port: int) -> str:
    return " or ".join(text for number, text in TLS_PORTS.items() if number != port)


def _say(session: SmtpLine, line: str, *, shown: str = "***") -> Reply:
    """Send a line of the exchange; nobody but the relay gets to see it, unless it is `shown`."""
    return session.confide(line, shown=shown)


def _plain(session: SmtpLine) -> Reply:
    settings = session.settings
    response = _base64(f"\0{settings.username}\0{settings.password}")
    session.veil.keep(response)
    reply = _say(session, f"AUTH PLAIN {response}", shown="AUTH PLAIN ***")
    if reply.code == 334:  # a relay that does not take the response with the command
        reply = _say(session, response)
    return reply


def _login(session: SmtpLine) -> Reply:
    reply = _say(session, "AUTH LOGIN", shown="AUTH LOGIN")
    for answer in (session.settings.username, session.settings.password):
        if reply.code != 334:
            break
        reply = _say(session, _base64(answer))
    return reply


def _cram_md5(session: SmtpLine) -> Reply:
    reply = _say(session, "AUTH CRAM-MD5", shown="AUTH CRAM-MD5")
    if reply.code != 334:
        return reply
    digest = _digest(session, challenge=reply.text)
    response = _base64(f"{session.settings.username} {digest}")
    session.veil.keep(digest, response)
    return _say(session, response)


def _digest(session: SmtpLine, *, challenge: str) -> str:
    try:
        decoded = base64.b64decode(challenge, validate=True)
    except ValueError as error:  # of letters beyond ASCII it is no binascii.Error
        raise _failed(session, "The relay's CRAM-MD5 challenge cannot be read.") from error
    try:
        return hmac.new(session.settings.password.encode(), decoded, "md5").hexdigest()
    except ValueError as error:  # FIPS builds of OpenSSL have no MD5
        raise _failed(session, "This machine allows no MD5 (FIPS): choose PLAIN or LOGIN with TLS.") from error


_EXCHANGES = {"PLAIN": _plain, "LOGIN": _login, "CRAM-MD5": _cram_md5}


def _refused(session: SmtpLine, *, reply: Reply) -> TransportError:
    if reply.code == 334:  # its words are no words: another challenge, which may echo what we sent
        reply = Reply(334, "another question")
    return TransportError.from_reply(reply, stage=Stage.AUTH, text=_refusal_text(reply), tls=session.tls)


def _refusal_text(reply: Reply) -> str:
    refused = f"The relay refused the credentials: {reply.quote}."
    if reply.code in (500, 502, 503):
        return f"The relay did not take AUTH: {reply.quote}. Remove the username if it needs none."
    if reply.code and 400 <= reply.code < 500:
        return f"The relay cannot check credentials just now: {reply.quote}. Try again later."
    if wants_app_password(reply):
        return f"{refused} Make an app password in the account's settings and enter it here as password."
    if is_auth_disabled(reply):
        return (
            f"SMTP AUTH is disabled for this mailbox or its whole organisation: {reply.quote}. "
            "Other credentials cannot help. An administrator there has to allow it, or use another relay."
        )
    return f"{refused} Check username, password and authentication."


def wants_app_password(reply: Reply) -> bool:
    return bool(_APP_PASSWORD.search(reply.text))


def is_auth_disabled(reply: Reply) -> bool:
    """Tell Microsoft's 5.7.139 for a mailbox that may not log in at all from the one for a wrong password."""
    return reply.enhanced == "5.7.139" and "incorrect" not in reply.text.lower()


def _failed(session: SmtpLine, text: str) -> TransportError:
    return TransportError(text, stage=Stage.AUTH, scope=Scope.PROVIDER, tls=session.tls)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


def secrets_of(settings: SmtpSettings) -> set[str]:
    """Return every form of the credentials that a server might echo; the bare username is no secret yet."""
    username = {_base64(settings.username)}
    if not settings.password:
        return username
    plain = f"\0{settings.username}\0{settings.password}"
    return username | {settings.password, _base64(settings.password), _base64(plain)}
