"""Posts events over HTTP, one connection kept alive: one event a request, or a batch of them (docs/api.md).

BENCH_TOKEN=... python -m bench.posting ADDRESS:PORT
"""

from __future__ import annotations

import http.client
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from bench import calling, mails
from bench.trigger import accepted, set_up


class Poster:
    """One client with one connection; raises where an event is not accepted."""

    def __init__(self, site: str, *, token: str) -> None:
        self._connection = http.client.HTTPConnection(site)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def prepare(self, first: int, count: int) -> list[dict[str, Any]]:
        self._connection.close()  # the site has hung up, if nothing came for two seconds
        self._connection.connect()
        return [{"event": "incident_created", "data": mails.data(number)} for number in range(first, first + count)]

    def act(self, prepared: Sequence[dict[str, Any]], *, batch: int) -> None:
        for begin in range(0, len(prepared), batch):
            some = prepared[begin : begin + batch]
            self._post(some[0] if batch == 1 else {"events": some})

    def _post(self, document: Any) -> None:
        self._connection.request("POST", "/v1/events", json.dumps(document), self._headers)
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status != 202:
            raise RuntimeError(f"{answer.status}: {said[:500]!r}")


if __name__ == "__main__":
    set_up()
    poster = Poster(sys.argv[1], token=os.environ["BENCH_TOKEN"])
    calling.serve(poster.act, prepare=poster.prepare, accepted=accepted)
