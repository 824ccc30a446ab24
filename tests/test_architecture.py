"""The import rules of the design, read from the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("rootmail", "integrations", "workflows")
DOORS = ("transports.base", "transports.machine", "senders", "audit", "tokens", "clock", "fields", "feedback")
PURE = (
    "rendering",
    "conditions",
    "schedule",
    "retry",
    "events",
    "mime",
    "markdown",
    "bare_links",
    "plaintext",
    "htmltext",
    "sanitiser",
    "recipients",
    "explain",
    "causes",
    "liquid",
    "words",
    "variables",
    "filter_sheet",
    "webhooks",
)
OUTSIDE = ("django.db", "django.conf", "django.utils.timezone", "httpx", "smtplib", "socket", "celery")
CLOCKS = ("time.time(", "datetime.now(", "timezone.now(", "utcnow(")  # `time.monotonic` only measures a limit


def modules(*folders: str) -> Iterator[tuple[str, Path]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "migrations" not in path.parts:
                yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path


def imports(name: str, path: Path) -> set[str]:
    """Return every module that a file imports, with the names taken from it, as absolute dotted paths."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            found |= {f"{module}.{alias.name}" for alias in node.names} | {module}
    return found


def within(imported: str, module: str) -> bool:
    return imported == module or imported.startswith(f"{module}.")


@pytest.mark.parametrize(("name", "path"), list(modules("integrations")))
def test_integrations_never_import_workflows(name: str, path: Path) -> None:
    assert [found for found in imports(name, path) if within(found, "workflows")] == []


@pytest.mark.parametrize(("name", "path"), list(modules("workflows")))
def test_workflows_use_only_the_doors_of_integrations(name: str, path: Path) -> None:
    allowed = tuple(f"integrations.{door}" for door in DOORS)
    foreign = {found for found in imports(name, path) if within(found, "integrations")} - {"integrations"}
    foreign -= {"integrations.transports"}
    assert [found for found in foreign if not any(within(found, door) for door in allowed)] == []


@pytest.mark.parametrize(("name", "path"), list(modules("integrations/transports")))
def test_transports_know_no_model_no_request_and_no_settings(name: str, path: Path) -> None:
    found = imports(name, path)
    assert [one for one in found if within(one, "django")] == []
    assert [one for one in found if within(one, "integrations") and not within(one, "integrations.transports")] in (
        [],
        ["integrations"],
    )


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_touch_nothing(name: str) -> None:
    files = [(full, path) for full, path in modules("workflows") if within(full, f"workflows.{name}")]
    assert files, f"workflows.{name} is gone: change the list"
    for full, path in files:
        found = imports(full, path)
        assert [one for one in found if any(within(one, outside) for outside in OUTSIDE)] == [], full
        assert not found & {"workflows.models", "integrations.models"}, full
        assert [clock for clock in CLOCKS if clock in path.read_text()] == [], full


VIEWS = [name for name, _ in modules(*ROOMS) if re.search(r"[._](?:views|api)$", name)]


def test_only_urls_import_views_and_only_services_errands_and_people_import_tasks() -> None:
    views, tasks = set(), set()
    for name, path in modules(*ROOMS):
        for found in imports(name, path):
            if found in VIEWS:
                views.add(name)
            if within(found, "workflows.tasks") or within(found, "integrations.tasks"):
                tasks.add(name)
    assert [name for name in views if not re.search(r"[._]urls$", name)] == []
    assert len(VIEWS) >= 7
    assert tasks == {"workflows.services", "integrations.errands", "integrations.people"}


def test_nobody_imports_rootmail_but_its_wiring() -> None:
    """`rootmail.http`, `rootmail.output`, `rootmail.banners` and `rootmail.state` serve entrances, nothing deeper."""
    users = {
        name
        for name, path in modules("integrations", "workflows")
        if any(within(found, "rootmail") for found in imports(name, path))
    }
    entrances = {name for name in users if ".management.commands." in name or name in VIEWS}
    assert users - entrances == set()
