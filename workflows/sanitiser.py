"""Which HTML a mail may hold: tags, attributes, styles and schemes by name; all else is dropped."""

import re
from collections import Counter

import nh3

from .liquid.shielding import to_entities

SCHEMES = ("cid", "http", "https", "mailto", "tel")
TAGS = """
    a abbr b blockquote br caption center code col colgroup dd del div dl dt em font h1 h2 h3 h4 h5 h6 hr i img ins kbd
    li mark ol p pre q s samp small span strike strong sub sup table tbody td tfoot th thead tr tt u ul var
"""
STYLES = """
    background-color border border-bottom border-collapse border-color border-left border-radius border-right
    border-spacing border-style border-top border-width color display font-family font-size font-style font-weight
    height letter-spacing line-height list-style-type margin margin-bottom margin-left margin-right margin-top
    max-width min-width padding padding-bottom padding-left padding-right padding-top text-align text-decoration
    text-transform vertical-align white-space width
"""
SIZED = {"align", "bgcolor", "height", "valign", "width"}
ATTRIBUTES = {
    "*": {"dir", "lang", "style", "title"},
    "a": {"href"},
    "img": {"alt", "align", "border", "height", "src", "width"},
    "table": {"border", "cellpadding", "cellspacing", "role", *SIZED},
    "td": {"colspan", "rowspan", *SIZED},
    "th": {"colspan", "rowspan", *SIZED},
    "tr": SIZED,
    "col": {"span", "width"},
    "div": {"align"},
    "p": {"align"},
    "font": {"color", "face", "size"},
    "ol": {"start", "type"},
}
CLASSES = {
    "a": {"button-link", "button-inline"},
    "table": {"data", "buttons"},
    "td": {"button", "long"},
    "th": {"long"},
}
BLANK = "".join(map(chr, range(33)))  # what the URL standard (section 4.4) drops at both ends of an address


def _without_blanks(tag: str, attribute: str, value: str) -> str:
    """Browsers overlook a blank before an address, some mail programs then show no link."""
    return value.strip(BLANK) if attribute in ("href", "src") else value


DEEPEST = 150
TAG = re.compile(r'<(?P<end>/)?(?P<name>[a-zA-Z][a-zA-Z0-9]*)(?:"[^"]*"|[^">])*')
# What people need not close ends where the next of its kind begins.
HOLDS_NOTHING = {"br", "hr", "img", "col", "meta", "link"}
CLOSED_BY_THE_NEXT = HOLDS_NOTHING | {"p", "li", "td", "th", "tr", "thead", "tbody", "tfoot"}
CLEANER = nh3.Cleaner(
    tags=set(TAGS.split()),
    clean_content_tags={"script", "style", "title"},
    attributes=ATTRIBUTES,
    allowed_classes=CLASSES,
    filter_style_properties=set(STYLES.split()),
    url_schemes=set(SCHEMES),
    url_relative="deny",
    attribute_filter=_without_blanks,
    link_rel=None,
)


class TooDeep(ValueError):
    """Elements are nested deeper than their readers can bear: css-inline ends the process, nh3 takes minutes."""


def clean(html: str) -> str:
    """Return the safe part of the HTML, with every value in its place and every tag closed; raises TooDeep."""
    with_values = to_entities(html)
    _refuse_depth(with_values, uncounted=CLOSED_BY_THE_NEXT)  # for the time's sake: a stray end tag can deceive it
    cleaned = CLEANER.clean(with_values)
    _refuse_depth(cleaned, uncounted=HOLDS_NOTHING)  # here every tag is closed, and every attribute quoted
    return cleaned


def _refuse_depth(html: str, *, uncounted: set[str]) -> None:
    """Count the elements that are open; an end tag counts where such an element is open."""
    if html.count("<") - html.count("</") <= DEEPEST:
        return  # so few begin at all
    open_ones: Counter[str] = Counter()
    depth = 0
    for tag in TAG.finditer(html):
        name = tag["name"].lower()
        if name in uncounted or (tag["end"] and not open_ones[name]):
            continue
        step = -1 if tag["end"] else 1
        open_ones[name] += step
        depth += step
        if depth > DEEPEST:
            raise TooDeep(f"more than {DEEPEST} elements lie within each other")
