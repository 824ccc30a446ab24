"""What a relay may echo and nobody may read: credentials, in every form that went over the wire, and names."""

from __future__ import annotations

import re

_RUN = re.compile(r"\S{4,}")
PIECE = 8  # letters of a secret, wherever they stand
_HIDDEN = "\0"
END = 4  # its first or last letters, which a line that was cut or broken ends or begins with
DISTINCTIVE = 4  # a username of so many letters is taken out of the middle of words, too


class Veil:
    """Hides secrets, a username and a host name in what others said, once that is made `visible`.

    `secrets` are hidden wherever they stand, in small letters and capitals, also where signs that nobody sees stand
    between; those in base64 with their padding or without. A look by `covers` is cheap:
    nearly always there is nothing to hide.
    """

    def __init__(self, *secrets: str, user_name: str = "", host: str = "") -> None:
        self._secrets: set[str] = set()
        self._user_name, self._host = visible(user_name), host.rstrip(".")
        self.keep(*secrets)

    def keep(self, *secrets: str) -> None:
        """Hide these, too."""
        self._secrets |= {form for secret in secrets for form in (secret, secret.rstrip("=")) if form}
        seen = {*map(visible, self._secrets)} - {""}
        distinctive = {self._user_name} if len(self._user_name) >= DISTINCTIVE else set()
        self._pattern, self._secret_pattern = _any_of(seen | distinctive), _any_of(seen)
        self._folded = [secret.lower() for secret in seen]
        self._marks = [mark.casefold() for mark in {*seen, self._user_name, self._host} if mark]

    def without_secrets(self, words: str) -> str:
        """Return what will be stored with the secrets hidden; names are taken out elsewhere."""
        shown = visible(words)  # with what nobody sees in between, it would still be read
        folded = shown.lower()
        return self._secret_pattern.sub("***", shown) if any(map(folded.__contains__, self._folded)) else words

    def closely_without_secrets(self, words: str) -> str:
        """Hide pieces of the secrets as well: a server that echoes a line may cut it short or break it in two."""
        return self._without_pieces(self.without_secrets(words))

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
        """Return the text with everything hidden, pieces of the secrets as well."""
        return self._without_pieces(self.over(text))

    def _instead(self, match: re.Match[str]) -> str:
        return "the username" if match[0].casefold() == self._user_name.casefold() else "***"

    def _without_pieces(self, text: str) -> str:
        return _RUN.sub(lambda run: self._without_its_pieces(run[0]), text)

    def _without_its_pieces(self, run: str) -> str:
        word = run.lower()
        if len(bare := word.strip(".…,;:'\"()<>[]")) >= END and self._is_end(bare):
            return word.replace(bare, "***")
        signs = list(run)
        for start in range(len(word) - PIECE + 1):
            if any(word[start : start + PIECE] in secret for secret in self._folded):
                signs[start : start + PIECE] = _HIDDEN * PIECE
        return re.sub(f"{_HIDDEN}+", "***", "".join(signs))

    def _is_end(self, word: str) -> bool:
        return any(secret.startswith(word) or secret.endswith(word) for secret in self._folded)


def _any_of(words: set[str]) -> re.Pattern[str]:
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)", re.IGNORECASE)


def visible(text: str) -> str:
    """Return the text without signs that are not seen: those that `storable` takes out, and U+2028 or U+200B, too."""
    if text.isprintable():
        return text
    seen = (sign if sign.isprintable() else " " if sign.isspace() else "" for sign in text)
    return "".join(seen).strip()


def without_names(text: str, *, host: str, user_name: str = "") -> str:
    """Return the text without two names, where they stand as words; doing it twice changes nothing more."""
    for name, instead in ((_place(host), "the relay"), (re.escape(user_name), "the username")):
        if name:
            text = re.sub(rf"(?<![\w.-])(?:the )?{name}(?![\w-])", instead, text, flags=re.IGNORECASE)
    return text[:1].upper() + text[1:] if text.startswith("the relay") else text


def _place(host: str) -> str:
    """A name such as 'mail' is a word like any other: it is the host only with its port."""
    name = host.rstrip(".")  # servers and certificates leave that dot out
    if not name:
        return ""
    port = r"\.?:\d+"
    return f"{re.escape(name)}(?:{port})?" if any(sign in name for sign in ".:") else f"{re.escape(name)}{port}"
