"""Fill in a template that holds text and names alone, as most do: without the library's contexts, buffers and nodes.

What comes out is what the library makes of it; a property test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from liquid import BoundTemplate
from liquid.builtin.content import ContentNode

from .nodes import Kind, NameOutput, text_of
from .shielding import shield


@dataclass(frozen=True, slots=True)
class Names:
    """`texts` stand before, between and behind the names: 'incident.title' is ('incident', 'title')."""

    texts: list[str]
    paths: list[tuple[str, ...]]
    kind: Kind

    def filled(self, variables: Mapping[str, object]) -> str | None:
        """Return the filled text; None where a name stands for nothing, which is the library's to say."""
        parts = [""] * (len(self.texts) + len(self.paths))
        parts[::2] = self.texts
        for place, path in enumerate(self.paths):
            value: object = variables
            for name in path:
                if type(value) is not dict or name not in value:
                    return None
                value = value[name]
            text = value if type(value) is str else text_of(value, kind=self.kind)
            parts[2 * place + 1] = shield(text) if self.kind is Kind.BODY else text
        return "".join(parts)


def names_alone(template: BoundTemplate, kind: Kind) -> Names | None:
    """Take a hardened template apart; None where it holds more, or a tag, in which values are shielded otherwise."""
    texts, paths = [""], []
    for node in template.nodes:
        if isinstance(node, ContentNode):
            texts[-1] += node.text
        elif isinstance(node, NameOutput):
            texts.append("")
            paths.append(tuple(node.expression.left.path))  # type: ignore[attr-defined]
        else:
            return None
    has_tags = kind is Kind.BODY and any("<" in text for text in texts)
    return None if has_tags else Names(texts, paths, kind)
