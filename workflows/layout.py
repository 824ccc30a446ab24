"""Dress a sanitised body: header, footer, hidden preview text, styles inlined."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from css_inline import CSSInliner
from django.template import Context, Engine, Template
from django.utils.safestring import mark_safe

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
ENGINE = Engine(dirs=[str(TEMPLATES)])
INLINER = CSSInliner(keep_at_rules=True, load_remote_stylesheets=False)


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
    context = {"body": mark_safe(body), "mail": dressing}  # noqa: S308 - the sanitiser made it
    # No settings and no localising: every value is text already.
    return INLINER.inline(_template().render(Context(context, use_l10n=False, use_tz=False)))


def text(body: str, *, dressing: Dressing) -> str:
    if not dressing.footer:
        return body + "\n"
    signature = f"Sent by workflow {dressing.workflow}" if dressing.workflow else "Sent by rootmail"
    return f"{body}\n\n-- \n{signature}\n{dressing.site_url}".rstrip() + "\n"


@lru_cache(maxsize=1)
def _template() -> Template:
    return ENGINE.get_template("email/layout.html")
