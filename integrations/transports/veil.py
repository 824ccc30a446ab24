"""What a relay may echo and nobody may read: credentials, in every form that went over the wire, and names."""

from __future__ import annotations

import re

_RUN = re.compile(r"[A-Za-z0-9+/]{8,}=*")  # what may be a piece of base64
PIECE = 8
DISTINCTIVE = 4  # a username of so many letters is taken out of the middle of words, too


class Veil:
    """Hides secrets, a username and a host name in what others said, once that is made `visible`.

    `secrets` are hidden wherever they stand, in small letters and capitals; those in base64 with their padding
    or without. A look by `covers` is cheap: nearly always there is nothing to hide.
    """

    def __init__(self, *secrets: str, user_name: str = "", host: str = "") -> None:
        self._secrets: set[str] = set()
        self._user_name, self._host = visible(user_name), host
        self.keep(*secrets)

    def keep(self, *secrets: str) -> None:
        """Hide these, too."""
        self._secrets |= {form for secret in secrets for form in (secret, secret.rstrip("=")) if form}
        self._encoded = [secret.encode() for secret in sorted(self._secrets, key=len, reverse=True)]
        distinctive = {self._user_name} if len(self._user_name) >= DISTINCTIVE else set()
        longest_first = sorted({*map(visible, self._secrets), *distinctive} - {""}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)", re.IGNORECASE)
        self._marks = [mark.casefold() for mark in {*longest_first, self._user_name, self._host} if mark]

    def without_secrets(self, reply: bytes, *, closely: bool) -> bytes:
        """Return a reply with the secrets hidden and no names; `closely` with pieces of the secrets hidden as well."""
        for secret in self._encoded:
            reply = reply.replace(secret, b"***")
        return self._without_pieces(reply.decode("latin-1")).encode("latin-1") if closely else reply

    def covers(self, text: str) -> bool:
        """Tell whether there may be something to hide."""
        folded = text.casefold()
        return any(map(folded.__contains__, self._marks))

    def over(self, text: str) -> str:
        """Return the text with everything hidden."""
        if not self.covers(text):
            return text
        rest = "" if len(self._user_name) >= DISTINCTIVE else self._user_name
        return without_names(self._pattern.sub(self._instead, text), host=self._host, user_name=rest)

    def closely_over(self, text: str) -> str:
        """Hide pieces of the secrets as well: a server that echoes a line may cut it short or break it in two."""
        return self._without_pieces(self.over(text))

    def _instead(self, match: re.Match[str]) -> str:
        return "the username" if match[0].casefold() == self._user_name.casefold() else "***"

    def _without_pieces(self, text: str) -> str:
        return _RUN.sub(self._unless_piece, text)

    def _unless_piece(self, run: re.Match[str]) -> str:
        pieces = (run[0][start : start + PIECE] for start in range(len(run[0]) - PIECE + 1))
        return "***" if any(piece in secret for piece in pieces for secret in self._secrets) else run[0]


def visible(text: str) -> str:
    """Return the text without signs that are not seen: those that `storable` takes out, and U+2028 or U+200B, too."""
    if text.isprintable():
        return text
    seen = (sign if sign.isprintable() else " " if sign.isspace() else "" for sign in text)
    return "".join(seen).strip()


def without_names(text: str, *, host: str, user_name: str = "") -> str:
    """Return the text without two names, where they stand as words; doing it twice changes nothing more."""
    for word, instead in ((host, "the relay"), (user_name, "the username")):
        if word:
            name = rf"(?<![\w.-])(?:the )?{re.escape(word)}(?::\d+)?(?![\w-])"
            text = re.sub(name, instead, text, flags=re.IGNORECASE)
    return text[:1].upper() + text[1:] if text.startswith("the relay") else text
