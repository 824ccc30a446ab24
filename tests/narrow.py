"""Mails over SMTP from a process that lacks something: prints, as JSON, what became of each.

`python -m tests.narrow SETTINGS files`: one mail with no file left to open, one with one file left, and so on.
`python -m tests.narrow SETTINGS threads`: one mail where no thread can be had.
"""

from __future__ import annotations

import json
import os
import re
import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from integrations.transports.base import Submission, TransportError
from integrations.transports.smtp import SmtpSettings, SmtpTransport

MOST = 12  # files


@contextmanager
def files_left(number: int) -> Iterator[None]:
    """Let this process open so many files more, by its real limit."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(one.name) for one in Path("/dev/fd").iterdir())
    taken = [os.open(os.devnull, os.O_RDONLY)]
    while taken[-1] < highest:  # no gap is left below it
        taken.append(os.open(os.devnull, os.O_RDONLY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[-1] + 1 + number, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for one in taken:
            os.close(one)


def no_more_threads() -> None:
    """Leave memory for anything but a thread's stack."""
    pages = int(re.findall(r"\d+", Path("/proc/self/statm").read_text())[0])
    size = pages * resource.getpagesize() + 4 * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def outcome(settings: SmtpSettings) -> dict[str, Any]:
    transport = SmtpTransport(settings)
    try:
        transport.send(Submission("a@x.test", ("b@x.test",), b"Message-ID: <1@x.test>\r\n\r\nHello\r\n"))
    except TransportError as error:
        return {"scope": error.scope, "untried": error.untried, "text": error.text}
    finally:
        transport.close()
    return {"scope": "accepted"}


def main(encoded: str, lacking: str) -> None:
    settings = SmtpSettings(**json.loads(encoded))
    socket.getaddrinfo("localhost", 25)  # whatever is loaded for that is loaded
    found = []
    if lacking == "threads":
        no_more_threads()
        found.append(outcome(settings))
    for number in range(MOST if lacking == "files" else 0):
        with files_left(number):
            found.append(outcome(settings))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
