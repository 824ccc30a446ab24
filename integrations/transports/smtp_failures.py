"""Why a conversation with a relay broke, in words for people."""

from __future__ import annotations

import smtplib

from . import tls
from .base import Stage
from .smtp_settings import SmtpSettings

GREETING = "the greeting"  # the one thing that a server says unasked


def broken(error: OSError, *, stage: Stage, to: str, settings: SmtpSettings) -> str:
    """Say what happened in place of an answer `to` something."""
    place = settings.place
    if stage is Stage.TLS and to != "STARTTLS":
        return tls.failure_text(error, place=place, host=settings.host)
    if to == GREETING:
        return _no_greeting(error, settings=settings)
    if isinstance(error, TimeoutError):
        return f"{place} did not answer {to} in time."
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return f"{place} closed the connection instead of answering {to}."
    return f"The connection to {place} broke at {to}: {error}"


def _no_greeting(error: OSError, *, settings: SmtpSettings) -> str:
    place, advice = settings.place, "Is this an SMTP port? Check the port, and whether a firewall is between."
    if isinstance(error, TimeoutError):
        return f"{place} sent no greeting within {settings.reply_seconds:g} s. {advice}"
    if isinstance(error, (smtplib.SMTPServerDisconnected, ConnectionResetError)):
        return f"{place} closed the connection without a greeting. {advice}"
    return f"The connection to {place} broke at the greeting: {error}"


def unreachable(error: OSError, *, place: str) -> str:
    if isinstance(error, TimeoutError):
        return f"{place} does not answer. Check the address and the port, and whether a firewall is between."
    if isinstance(error, ConnectionRefusedError):
        return f"{place} refuses connections: nothing listens there. Check the address and the port."
    return f"{place} cannot be reached: {error}"


def root(error: OSError) -> OSError:
    """Return the failure that smtplib wrapped, if it did."""
    context = error.__context__
    return context if isinstance(error, smtplib.SMTPServerDisconnected) and isinstance(context, OSError) else error
