"""What was said when a mail was handed over, for people to read; credentials and names are not in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import methodcaller

from .veil import Veil, visible

LINE_LENGTH = 500
LENGTH = 7_500  # in UTF-8; what stands behind the last line said comes on top
OPENING_LENGTH = 3_000  # of LENGTH
_PLAIN = b"\n" + bytes(range(0x20, 0x7F))
_IS_MAIL = methodcaller("startswith", b"> MAIL ")


class Transcript:
    """The lines of one session, in the order in which they went over the wire.

    `> ` is what we sent, noted when it was handed over whole; `< ` is what the other side said; `* ` is what
    happened besides. The opening of a session is kept and stands before every mail; the lines of a mail are
    forgotten with `end_mail`, so no mail is told about the recipients of another.

    What we sent stands as it was, so nobody may pass a secret to `sent`: AUTH passes '***'. What the other side
    said goes under the veil. Noting a line costs next to nothing, the work is left for `text`.
    """

    def __init__(self, veil: Veil) -> None:
        self._veil = veil
        self._said: list[bytes] = []
        self._opening = ""
        self._length = LENGTH  # of what may stand behind it
        self._mails = 0  # that were told over this session before

    def sent(self, *lines: str) -> None:
        self._said.append(("> " + "\n> ".join(lines)).encode())

    def heard(self, line: bytes) -> None:
        """Note one line, with a CR at its end or without."""
        self._said.append(b"< " + line.replace(b"\n", b" "))

    def note(self, what: str) -> None:
        """Note something in words of ours."""
        self._said.append(f"* {what}".encode())

    def opened(self) -> None:
        """Keep the lines so far: they belong to every mail of the session."""
        self._opening, self._said = self._tell(length=OPENING_LENGTH), []
        self._length = LENGTH - len(self._opening.encode())

    def end_mail(self) -> None:
        self._mails += any(map(_IS_MAIL, self._said))
        self._said = []

    def text(self, ending: str = "") -> str:
        """Return the whole; `ending` says what happened where no reply does. A mail that was not begun has no text."""
        if self._mails and not self._said:
            return ""
        later = f"* {self._mails} {'mail' if self._mails == 1 else 'mails'} later" if self._mails else ""
        told = self._tell(length=self._length)
        end = _cut(f"* {self._veil.closely_over(visible(ending))}") if ending else ""
        return "\n".join(filter(None, (self._opening, later, told, end)))

    def _tell(self, *, length: int) -> str:
        said = b"\n".join(self._said).replace(b"\r\n", b"\n").removesuffix(b"\r")
        if self._opening and len(said) <= length and _is_plain(said) and not self._veil.covers(text := said.decode()):
            return text  # nearly every mail ends here
        hide = self._veil.over if self._opening else self._veil.closely_over
        lines = said.decode("utf-8", "replace").split("\n") if said else []
        return _bounded(lines, length=length, show=lambda line: _cut(_shown(line, hide=hide)))


def without(transcript: str, hide: Callable[[str], str]) -> str:
    """Return a transcript with something hidden in what others said, and in why it ended."""
    return "\n".join(_hidden(line, hide=hide) for line in transcript.split("\n"))


def _shown(line: str, *, hide: Callable[[str], str]) -> str:
    if line.startswith("< 334"):
        return line[:6] + "***"
    return _hidden(line[:2] + visible(line[2:]), hide=hide)


def _hidden(line: str, *, hide: Callable[[str], str]) -> str:
    """Hide behind '< 250-', for a name is known by beginning where a word does; but not if that is a part of it."""
    if line.startswith(">"):
        return line
    whole = line[:2] + hide(line[2:])
    is_reply = line.startswith("<") and line[2:5].isdecimal() and line[5:6] in (" ", "-")
    return line[:6] + hide(line[6:]) if is_reply and whole.startswith(line[:6]) else whole


def _is_plain(said: bytes) -> bool:
    """Tell whether nothing has to be cleaned, masked or cut, as with any ordinary relay."""
    is_clean = not said.translate(None, delete=_PLAIN) and b"< 334" not in said
    return is_clean and (len(said) <= LINE_LENGTH or max(map(len, said.split(b"\n"))) <= LINE_LENGTH)


def _cut(line: str) -> str:
    """Shorten a line between words: half a name would not be recognised as one."""
    if len(line) <= LINE_LENGTH:
        return line
    return line[: LINE_LENGTH - 1].rsplit(" ", 1)[0] + " …"


def _bounded(lines: list[str], *, length: int, show: Callable[[str], str]) -> str:
    """Return the first and the last lines, half of the length each, and how many were left out between."""
    head = _fitting(lines, length=length // 2, show=show)
    tail = _fitting(reversed(lines[len(head) :]), length=length // 2, show=show)
    count = len(lines) - len(head) - len(tail)
    gap = [f"* … {count:,} {'line' if count == 1 else 'lines'} left out …"] if count else []
    return "\n".join([*head, *gap, *reversed(tail)])


def _fitting(lines: Iterable[str], *, length: int, show: Callable[[str], str]) -> list[str]:
    fitting: list[str] = []
    for line in map(show, lines):
        length -= len(line.encode()) + 1
        if length < 0:
            break
        fitting.append(line)
    return fitting
