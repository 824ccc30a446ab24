"""HTML of other systems as Markdown."""

from typing import Any

from markdownify import MarkdownConverter


class _Text(MarkdownConverter):
    """Leaves out what is no text."""

    def convert_script(self, *_: Any, **__: Any) -> str:
        return ""

    convert_style = convert_script


CONVERTER = _Text(heading_style="ATX", bullets="-")
