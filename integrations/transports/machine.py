"""What this machine lacks: files, memory, threads. Then neither the provider nor the mail is to blame."""

from __future__ import annotations

import errno
import os
import resource
import socket
import ssl
import threading
from collections.abc import Iterator

from .base import Scope, Stage, TransportError

FEW = 4  # files: looking a name up and verifying a certificate may need as many
_MAIL_WAITS = "No mail can leave from here; it waits."
_NO_THREAD = (
    f"This process gets no further thread from the system. {_MAIL_WAITS} Look what runs here, and how much memory is "
    "left; where it needs more, raise the limit (systemd: TasksMax=, Compose: pids_limit, a shell: ulimit -u)."
)


def start(thread: threading.Thread, *, stage: Stage) -> None:
    """Start a thread; raises TransportError where the system gives us none."""
    try:
        thread.start()
    except RuntimeError as error:
        raise _of_machine(_NO_THREAD, stage=stage) from error


def lack(error: BaseException, *, stage: Stage) -> TransportError | None:
    """Return what to raise where something failed because this machine lacks something, or None.

    To be asked only where nothing of the mail was handed over yet.
    """
    for cause in _causes(error):
        if isinstance(cause, OSError) and (text := _in_words(_number(cause))):
            return _of_machine(text, stage=stage)
    return None


def _of_machine(text: str, *, stage: Stage) -> TransportError:
    return TransportError(text, stage=stage, scope=Scope.MACHINE, untried=True)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _number(error: OSError) -> int | None:
    """Return the errno. The resolver and OpenSSL keep it: without a file, a name or a CA merely is unknown to them."""
    if isinstance(error, (socket.gaierror, ssl.SSLError)):
        return _number_of_next_file()
    return error.errno


def _number_of_next_file() -> int | None:
    """Return the errno with which opening a few more files fails."""
    files: list[int] = []
    try:
        for _ in range(FEW):
            files.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno
    finally:
        for file in files:
            os.close(file)
    return None


def in_words(error: BaseException) -> str:
    """Say what is lacking and what to do, where an error tells so by its number; '' for any other error."""
    return _in_words(error.errno) if isinstance(error, OSError) else ""


def _in_words(number: int | None) -> str:
    if number == errno.EMFILE:
        limit, pid = resource.getrlimit(resource.RLIMIT_NOFILE)[0], os.getpid()
        return (
            f"This process has all {limit} files and connections open that it may have. {_MAIL_WAITS} Look what they "
            f"are (ls -l /proc/{pid}/fd) and restart the workers; where they really need more, raise the limit "
            "(systemd: LimitNOFILE=, Compose: ulimits, a shell: ulimit -n)."
        )
    if number == errno.ENFILE:
        return (
            f"This machine has as many files open as it may have. {_MAIL_WAITS} "
            "Look which process has so many (lsof), or raise fs.file-max."
        )
    if number in (errno.ENOMEM, errno.ENOBUFS):
        return f"This machine has no memory left for a connection. {_MAIL_WAITS} Look what takes it, or give it more."
    return ""
