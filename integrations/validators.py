"""What a field's text must look like. Messages say what to do."""

from __future__ import annotations

import ipaddress
import ssl
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import DomainNameValidator

from . import senders
from .transports import sendgrid_events

_domain_name = DomainNameValidator(accept_idna=True)


def validate_host_name(value: str) -> None:
    """Accept a domain name, a single label such as `localhost`, or an IP address."""
    name = value.rstrip(".")
    if _is_ip_address(name):
        return
    try:
        _domain_name(name if "." in name else f"{name}.example")
    except ValidationError:
        raise ValidationError(
            "Enter a host name such as smtp.example.com, without port, path or 'smtp://'.", code="host"
        ) from None
    if name.rpartition(".")[2].isdigit():
        raise ValidationError("This is not a complete IP address.", code="host")


def _is_ip_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def validate_mailbox(value: str) -> None:
    try:
        senders.refuse_reserved(value)
    except senders.SenderError as error:
        raise ValidationError(str(error), code="from") from error


def validate_address(value: str) -> None:
    """Accept one bare address."""
    try:
        bare = senders.parse_mailbox(value).address == value
    except senders.SenderError:
        bare = False
    if not bare:
        raise ValidationError("Enter one e-mail address, for example you@example.com.", code="address")


def validate_ca_certificates(value: str) -> None:
    if "PRIVATE KEY" in value:
        raise ValidationError("Leave the private key out: only certificates belong here.", code="key")
    try:
        ssl.create_default_context(cadata=value)
    except (ssl.SSLError, ValueError) as error:
        raise ValidationError(
            "Paste one or more certificates in PEM form, each from -----BEGIN CERTIFICATE----- to its END line.",
            code="pem",
        ) from error


def validate_sendgrid_url(value: str) -> None:
    """Demand https, but for a stand-in on this machine."""
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise ValidationError("Enter an address such as https://api.sendgrid.com.", code="url") from error
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    if parts.scheme != "https" and not local:
        raise ValidationError("Enter an https address; the key would travel in clear text.", code="https")
    if parts.username is not None:
        raise ValidationError("Enter the address without a username or password.", code="credentials")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValidationError("Enter the address without a path; /v3 is added by rootmail.", code="path")


def validate_event_key(value: str) -> None:
    try:
        sendgrid_events.public_key(value)
    except ValueError as error:
        raise ValidationError(
            "Paste the verification key as SendGrid shows it: one line that begins with MFkw, without BEGIN and END.",
            code="key",
        ) from error
