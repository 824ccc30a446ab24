"""Where an API may be: the key goes out over TLS, and no connection is made to an address that is refused."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from . import network
from .base import Scope, Stage, TransportError
from .total_time import Trace


def checked_url(base_url: str) -> str:
    """Return the API address without its last slash; raises TransportError where the key would go in clear text."""
    try:
        parts = urlsplit(base_url)
    except ValueError as error:
        raise _wrong("The API address cannot be read.", stage=Stage.HTTP) from error
    loopback = parts.scheme == "http" and _is_loopback(parts.hostname or "")
    if parts.hostname and (parts.scheme == "https" or loopback):
        return base_url.rstrip("/")
    raise _wrong(
        "The API address must begin with https://, so that the API key is not sent in clear text.", stage=Stage.HTTP
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """A trace for httpcore that refuses what `network` refuses: before it connects, and what it has connected to.

    In between, the name may have got another address. A proxy is the operator's own choice, and is not looked at.
    """

    def __init__(self, url: str, *, allow_private: bool, seconds: float, trace: Trace | None) -> None:
        self._host = httpx.URL(url).raw_host.decode("ascii")
        self._allow_private, self._seconds, self._trace = allow_private, seconds, trace
        self._is_direct = False

    def __call__(self, name: str, info: Mapping[str, Any]) -> None:
        if self._trace:
            self._trace(name, info)
        if name.endswith(".connect_tcp.started"):
            self._is_direct = info["host"] == self._host
            if self._is_direct:
                self._look_up(info["port"])
        elif name.endswith(".connect_tcp.complete") and self._is_direct:
            self._look_at(info["return_value"])

    def _look_up(self, port: int) -> None:
        network.resolve(self._host, port=port, allow_private=self._allow_private, clock=network.Clock(self._seconds))

    def _look_at(self, stream: Any) -> None:
        ip = stream.get_extra_info("server_addr")[0]
        if problem := network.refusal(ip, allow_private=self._allow_private):
            stream.close()
            raise _wrong(f"{self._host} is not a place for an API: {ip} ({problem}).", stage=Stage.CONNECT)


def _wrong(text: str, *, stage: Stage) -> TransportError:
    return TransportError(text, stage=stage, scope=Scope.PROVIDER)
