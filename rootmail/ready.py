"""What `up` started tells it that it is ready, over a socket that it was given: what it replaces may end then."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

NAME = "ROOTMAIL_READY_FD"  # the descriptor of that socket, in the environment


class Ear:
    """What `up` keeps of one process that it starts. `theirs` is the end which that one inherits."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair()
        self._ours.setblocking(False)

    def heard(self) -> bool:
        """Say whether the process has told that it is ready; it may have ended since."""
        with suppress(BlockingIOError):
            return self._ours.recv(1, socket.MSG_PEEK) != b""  # which is what an end without a word leaves
        return False

    def close(self) -> None:
        self._ours.close()


def is_awaited() -> bool:
    """Say whether this process may replace another one as soon as it tells."""
    return NAME in os.environ


def tell() -> None:
    """Called where a process begins its work; does nothing where nobody waits for it."""
    if descriptor := os.environ.pop(NAME, ""):
        with suppress(OSError):  # nobody listens any more
            os.write(int(descriptor), b".")
            os.close(int(descriptor))
