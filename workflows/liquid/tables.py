"""The filter to_table: a list of objects as a table in ASCII, Markdown or HTML."""

import html
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from liquid.filter import with_context

from .dates import changed, time_zone
from .shielding import TrustedText, shield
from .values import as_list, dig, is_blank, to_text

ROW_LIMIT = 500
CELL_LIMIT = 2_000
# For each kind: heading, and the paths that are tried in turn.
COLUMNS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "events": (
        ("Time", ("occurred_at", "created_at", "started_at")),
        ("Event", ("event", "summary", "title", "name")),
        ("By", ("user.name", "user_display_name", "user")),
    ),
    "action_items": (
        ("Action item", ("summary", "title", "name")),
        ("Status", ("status",)),
        ("Priority", ("priority",)),
        ("Due", ("due_date",)),
        ("Assigned to", ("assigned_to.name", "assigned_user.name")),
    ),
    "roles": (("Role", ("incident_role.name", "name")), ("Person", ("user.name",))),
}
Rows = list[list[str]]
BARE_BAR = re.compile(r"(?<!\\)((?:\\\\)*)\|")
COLUMN_LIMIT = 30


@with_context
def to_table(
    value: object,
    kind: object = "",
    title: object = "",
    zone: object = "UTC",
    form: object = "markdown",
    *,
    context: Any,
) -> str:
    items = as_list(value)[:ROW_LIMIT]
    draw = FORMATS.get(to_text(form).casefold())
    if draw is None:
        raise ValueError(f'to_table knows ascii, markdown and html, not "{to_text(form)}"')
    columns = COLUMNS.get(to_text(kind)) or _columns_of(items)
    if not items or not columns:
        return ""
    times = _time_writer(zone, context=context)
    rows = [[_cell(item, paths, times) for _, paths in columns] for item in items]
    return draw(to_text(title), [heading for heading, _ in columns], rows)


def _columns_of(items: Sequence[object]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    first = items[0] if items else None
    if not isinstance(first, Mapping):
        return ()
    simple = [str(key) for key, value in first.items() if not isinstance(value, Mapping | list)][:COLUMN_LIMIT]
    return tuple((key.replace("_", " ").capitalize(), (key,)) for key in simple)


def _time_writer(zone: object, *, context: Any) -> Callable[[object], str]:
    place = time_zone(zone)

    def write(value: object) -> str:
        local = changed(value, lambda when: when.astimezone(place), context=context)
        return f"{local:%Y-%m-%d %H:%M}" if isinstance(local, datetime) else to_text(value)

    return write


def _cell(item: object, paths: Sequence[str], times: Callable[[object], str]) -> str:
    found = ((path, dig(item, path)) for path in paths)
    path, value = next((pair for pair in found if not is_blank(pair[1])), ("", None))
    text = times(value) if path.endswith("_at") else to_text(value)
    return " ".join(text.split())[:CELL_LIMIT]


def _markdown(title: str, headings: list[str], rows: Rows) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    drawn = "\n".join("| " + " | ".join(_markdown_cell(cell) for cell in line) + " |" for line in lines)
    heading = f"\n**{title}**\n" if title else ""
    return f"{heading}\n{drawn}\n"


def _markdown_cell(text: str) -> str:
    return BARE_BAR.sub(r"\1\\|", text) if "|" in text else text


def _ascii(title: str, headings: list[str], rows: Rows) -> str:
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    border = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    drawn = [_ascii_line(row, widths) for row in rows]
    lines = [border, _ascii_line(headings, widths), border, *drawn, border]
    return "\n".join([title, *lines] if title else lines)


def _ascii_line(cells: list[str], widths: list[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def _html(title: str, headings: list[str], rows: Rows) -> str:
    caption = f"<caption>{_html_text(title)}</caption>" if title else ""
    head = "".join(f"<th>{_html_text(heading)}</th>" for heading in headings)
    body = "".join("<tr>" + "".join(f"<td>{_html_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return TrustedText(f'<table class="data">{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>')


def _html_text(text: str) -> str:
    # Shielded, not escaped: Markdown still reads this text, and would undo the entities.
    return html.escape(shield(text), quote=False)


FORMATS: dict[str, Callable[[str, list[str], Rows], str]] = {"ascii": _ascii, "markdown": _markdown, "html": _html}
FILTERS: dict[str, Callable[..., object]] = {"to_table": to_table}
