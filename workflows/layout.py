"""Dress a sanitised body: header, footer, hidden preview text, styles inlined.

What surrounds a body is the same in all mails of a workflow: it is drawn once, and only the body is inlined each time.
"""

import re
import secrets
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from css_inline import CSSInliner
from django.template import Context, Engine
from django.utils.html import escape

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
ENGINE = Engine(dirs=[str(TEMPLATES)])
INLINER = CSSInliner(keep_at_rules=True, load_remote_stylesheets=False)
LAYOUT = "email/layout.html"
# Where the values go in what surrounds them. Nobody outside can guess these words, and so write them.
SUBJECT, PREHEADER, BODY = (f"place-{secrets.token_hex(8)}" for _ in range(3))
PLACE = re.compile(f"{SUBJECT}|{PREHEADER}|{BODY}")
CONTENT = re.compile(r'<div class="content"[^>]*>(.*)</div>', re.DOTALL)  # what the styles of a body expect around it
STYLES = re.compile(r"^\.content .*\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Dressing:
    subject: str
    preheader: str
    header: bool
    footer: bool
    logo_url: str
    workflow: str
    site_url: str

    @property
    def logo(self) -> str:
        """Return the address of the logo when a mail program could fetch it."""
        return self.logo_url if self.logo_url.casefold().startswith(("https://", "http://")) else ""


def html(body: str, *, dressing: Dressing) -> str:
    """Return the whole HTML part around an inlined body."""
    preheader = PREHEADER if dressing.preheader else ""
    pieces = _surroundings(replace(dressing, subject=SUBJECT, preheader=preheader))
    shown = (dressing.subject, dressing.preheader) if preheader else (dressing.subject,)
    values = [*map(escape, shown), body, ""]
    return "".join(text for pair in zip(pieces, values, strict=True) for text in pair)


def text(body: str, *, dressing: Dressing) -> str:
    if not dressing.footer:
        return body + "\n"
    signature = f"Sent by workflow {dressing.workflow}" if dressing.workflow else "Sent by rootmail"
    return f"{body}\n\n-- \n{signature}\n{dressing.site_url}".rstrip() + "\n"


@lru_cache(maxsize=256)
def _surroundings(dressing: Dressing) -> list[str]:
    """Return the pieces between subject, preheader (unless there is none) and body, their styles inlined."""
    context = Context({"mail": dressing, "body": BODY}, use_l10n=False, use_tz=False)  # every value is text already
    drawn = INLINER.inline(ENGINE.get_template(LAYOUT).render(context))
    # A mail whose own words are ASCII then needs no transfer encoding.
    return PLACE.split(drawn.encode("ascii", "xmlcharrefreplace").decode())


def inlined(body: str) -> str:
    """Return a sanitised body with its styles at each element, as mail programs need them."""
    found = CONTENT.fullmatch(INLINER.inline_fragment(f'<div class="content">{body}</div>', _styles()))
    # Nothing that the sanitiser lets through ends the element around it.
    assert found is not None  # noqa: S101 # nosec B101
    return found[1]


@lru_cache(maxsize=1)
def _styles() -> str:
    """Return the styles that concern a body, those for narrow and dark screens left out: they cannot be inlined."""
    return "".join(STYLES.findall((TEMPLATES / LAYOUT).read_text(encoding="utf-8")))
