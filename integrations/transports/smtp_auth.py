"""AUTH (RFC 4954): the chosen mechanism only, once, and never a password in clear by accident."""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import TYPE_CHECKING

from .base import Reply, Scope, Stage, TransportError
from .smtp_settings import SmtpSettings

if TYPE_CHECKING:
    from .smtp_session import SmtpSession

MECHANISMS = {"plain": "PLAIN", "login": "LOGIN", "cram_md5": "CRAM-MD5"}
SAFE_IN_CLEAR = frozenset({"CRAM-MD5"})  # the password itself does not go over the wire


def authenticate(session: SmtpSession) -> Reply:
    """Prove who we are; anything but 235 is a failure, 503 too."""
    mechanism = MECHANISMS[session.settings.authentication]
    _check_offer(session, mechanism=mechanism)
    _check_protection(session, mechanism=mechanism)
    reply = _EXCHANGES[mechanism](session)
    if reply.code != 235:
        raise _refused(session, reply=reply)
    return reply


def offered(session: SmtpSession) -> list[str]:
    return session.features.get("auth", "").upper().split()


def _check_offer(session: SmtpSession, *, mechanism: str) -> None:
    names = list(dict.fromkeys(offered(session)))
    if mechanism in names:
        return
    if names:
        raise _failed(
            session, f"The relay does not offer {mechanism}. It offers {', '.join(names)}: choose one of them."
        )
    if not session.tls:
        raise _failed(
            session, "The relay offers no authentication without TLS. Turn on 'StartTLS', or remove the username."
        )
    raise _failed(session, "The relay offers no authentication. Remove the username, or use another port.")


def _check_protection(session: SmtpSession, *, mechanism: str) -> None:
    if session.tls or mechanism in SAFE_IN_CLEAR or session.settings.allow_clear_text_auth:
        return
    text = (
        f"The connection is not encrypted, and {mechanism} would show the password to everybody on the way. "
        "Turn on 'StartTLS' or 'SSL', or allow credentials without TLS."
    )
    raise _failed(session, text)


def _plain(session: SmtpSession) -> Reply:
    settings = session.settings
    response = _base64(f"\0{settings.username}\0{settings.password}")
    session.keep_secret(response)
    reply = session.ask(f"AUTH PLAIN {response}", stage=Stage.AUTH)
    if reply.code == 334:  # a relay that does not take the response with the command
        reply = session.ask(response, stage=Stage.AUTH)
    return reply


def _login(session: SmtpSession) -> Reply:
    reply = session.ask("AUTH LOGIN", stage=Stage.AUTH)
    for answer in (session.settings.username, session.settings.password):
        if reply.code != 334:
            break
        reply = session.ask(_base64(answer), stage=Stage.AUTH)
    return reply


def _cram_md5(session: SmtpSession) -> Reply:
    reply = session.ask("AUTH CRAM-MD5", stage=Stage.AUTH)
    if reply.code != 334:
        return reply
    digest = _digest(session, challenge=reply.text)
    response = _base64(f"{session.settings.username} {digest}")
    session.keep_secret(digest, response)
    return session.ask(response, stage=Stage.AUTH)


def _digest(session: SmtpSession, *, challenge: str) -> str:
    try:
        decoded = base64.b64decode(challenge, validate=True)
    except binascii.Error as error:
        raise _failed(session, "The relay's CRAM-MD5 challenge cannot be read.") from error
    try:
        return hmac.new(session.settings.password.encode(), decoded, "md5").hexdigest()
    except ValueError as error:  # FIPS builds of OpenSSL have no MD5
        raise _failed(session, "This machine allows no MD5 (FIPS): choose PLAIN or LOGIN with TLS.") from error


_EXCHANGES = {"PLAIN": _plain, "LOGIN": _login, "CRAM-MD5": _cram_md5}


def _refused(session: SmtpSession, *, reply: Reply) -> TransportError:
    if reply.code == 334:  # its words are no words: another challenge, which may echo what we sent
        reply = Reply(334, "another question")
    text = f"The relay refused the credentials: {reply}. Check username, password and authentication."
    if reply.code == 503:
        text = f"The relay did not take AUTH: {reply}. Remove the username if it needs none."
    return TransportError.from_reply(reply, stage=Stage.AUTH, text=text, tls=session.tls)


def _failed(session: SmtpSession, text: str) -> TransportError:
    return TransportError(text, stage=Stage.AUTH, scope=Scope.PROVIDER, tls=session.tls)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


def secrets_of(settings: SmtpSettings) -> set[str]:
    """Return every form of the password that a server might echo."""
    if not settings.password:
        return set()
    return {settings.password, _base64(settings.password), _base64(f"\0{settings.username}\0{settings.password}")}


def without_secrets(text: bytes, *, secrets: set[str]) -> bytes:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret.encode(), b"***")
    return text
