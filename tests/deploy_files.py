"""What stands in `deploy/`, read as those who use it read it."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
EXAMPLE = (DEPLOY / "rootmail.env.example").read_text()
# The doctor reads some settings again, where the settings themselves cannot be read: by names that these have.
ANY_NAME = ROOT / "rootmail" / "doctor" / "places.py"
_LINE = re.compile(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", re.M)
_VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::([-?])([^}]*))?\}")


def settings_in_example() -> dict[str, str]:
    """Return what the file names, with the value that stands there."""
    return dict(_LINE.findall(EXAMPLE))


@cache
def reads_of_environment() -> dict[str, ast.Call | ast.Subscript]:
    """Return every name that the code reads from the environment, with the place where it does."""
    sources = [*ROOT.glob("*.py"), *(path for room in ("rootmail", "integrations", "workflows") for path in
               (ROOT / room).rglob("*.py"))]  # fmt: skip
    trees = [ast.parse(path.read_text()) for path in sources if path != ANY_NAME]
    return {name: node for tree in trees for name, node in _reads(tree)}


def _reads(tree: ast.AST) -> Iterator[tuple[str, Any]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and _asks(ast.unparse(node.func)):
            word: ast.AST = node.args[0]
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            word = node.slice
        else:
            continue
        if isinstance(word, ast.Constant):  # else it looks whether one is set that is read elsewhere
            yield str(word.value), node


def _asks(function: str) -> bool:
    return bool(re.fullmatch(r"(?:rootmail\.settings\.)?env\.\w+|env|os\.getenv|os\.environ\.get", function))


def default_of(node: ast.AST) -> object:
    """Return the default where it stands in the code as a value that needs no other, else None."""
    given = [word.value for word in getattr(node, "keywords", []) if word.arg == "default"]
    if not given or any(isinstance(part, ast.Name | ast.Call | ast.Attribute) for part in ast.walk(given[0])):
        return None
    default = eval(compile(ast.Expression(given[0]), "default", "eval"), {"__builtins__": {}})
    return ",".join(default) if isinstance(default, list) else default


def compose(name: str = "compose.yaml") -> dict[str, dict[str, Any]]:
    """Return the services, with the defaults of variables in place."""
    text = (DEPLOY / name).read_text()
    services: dict[str, dict[str, Any]] = yaml.safe_load(_VARIABLE.sub(_default, text))["services"]
    return services


def _default(found: re.Match[str]) -> str:
    return (found[3] or "") if found[2] == "-" else f"<{found[1]}>"


def own(services: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in services.items() if service["image"].startswith("rootmail:")}


def variables(text: str) -> dict[str, str]:
    """Return the variables of a compose file or unit, with '?' where it refuses to start without."""
    return {name: mark for name, mark, _ in _VARIABLE.findall(text)}


def exec_starts(unit: Path) -> list[list[str]]:
    text = unit.read_text().replace("\\\n", " ")
    return [shlex.split(line) for line in re.findall(r"^ExecStart=(.*)$", text, re.M)]
