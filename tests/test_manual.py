"""Everything has its heading in the manual: settings, commands and their options, pages, keys of files and bodies.

What there is, is read from the code; so what is added without its heading fails here.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from django.core import management
from django.core.management import BaseCommand, find_commands, get_commands, load_command_class
from django.test import Client
from django.urls import get_resolver

from integrations import tokens
from tests import manual, test_access
from tests.manual import ROOT, Section
from tests.test_follow_api import failed
from workflows import delivery_documents, documents, events
from workflows.models import Attempt, Delivery, Recipient, Run
from workflows.told_models import Told

OURS = ("rootmail", "integrations", "workflows")


def named(name: str, *, document: str = "") -> list[Section]:
    """Return the sections whose heading has the name as code."""
    return [one for one in manual.every_section() if name in one.names and document in ("", one.document)]


def explained(name: str, *, document: str = "") -> Section:
    found = [one for one in named(name, document=document) if one.explains]
    assert found, f"{name} has no heading in docs/{document}, or nothing is said beneath it"
    return found[0]


# --- settings --------------------------------------------------------------------------------


@cache
def settings_read() -> dict[str, ast.expr | None]:
    """Return every environment variable that our code reads, with its default as it is written."""
    found: dict[str, ast.expr | None] = {}
    for folder in OURS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            found |= {name: default for name, default in reads(path.read_text()) if not found.get(name)}
    return found


def reads(source: str) -> Iterator[tuple[str, ast.expr | None]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            yield from ((one.value, None) for one in [node.slice] if isinstance(one, ast.Constant))
        if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)):
            continue
        if re.fullmatch(r"(settings\.)?env(\.\w+)?|os\.environ\.get|os\.getenv", ast.unparse(node.func)):
            given = {word.arg: word.value for word in node.keywords}
            yield str(node.args[0].value), given.get("default")


def in_words(default: ast.expr | None) -> str:
    """Return a default that is a plain value as the manual writes it; '' where it is none, or blank."""
    plain = default is not None and all(
        isinstance(one, ast.Constant | ast.BinOp | ast.operator) for one in ast.walk(default)
    )
    value = eval(compile(ast.Expression(default), "", "eval"), {}) if plain and default is not None else ""
    return as_written(value)


def as_written(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`" if value not in ("", None) else ""


@pytest.mark.parametrize("name", sorted(settings_read()))
def test_a_setting_has_its_heading_and_its_default(name: str) -> None:
    told = explained(name).default
    assert told, f"{name}: a line 'Default: …' is missing"
    assert told.startswith(in_words(settings_read()[name]))


def test_the_manual_names_no_setting_that_nobody_reads() -> None:
    told = {name for one in manual.every_section() if one.document == "settings.md" for name in one.names}
    assert told - set(settings_read()) == set()


def test_settings_are_found_however_they_are_read() -> None:
    source = "env.int('A', default=24 * 2)\nos.environ.get('B')\nos.environ['C']\nenv('D', default=HTTPS)\nx.get('E')"
    assert {name: in_words(default) for name, default in reads(source)} == {"A": "`48`", "B": "", "C": "", "D": ""}
    assert {"DATABASE_URL", "TRACEBACK"} <= set(settings_read())


# --- commands --------------------------------------------------------------------------------


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of our commands and of their sub-commands, those that have none beneath them, and roots."""
    found: dict[str, argparse.ArgumentParser] = {}
    for name, app in sorted(get_commands().items()):
        if app in OURS:
            parser = load_command_class(app, name).create_parser("manage.py", name)
            found |= {name: parser} | dict(_leaves(name, parser))
    return found


def _leaves(name: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for group in groups:
        for verb, sub in group.choices.items():
            yield from _leaves(f"{name} {verb}", sub)
    if not groups:
        yield name, parser


def djangos(name: str) -> set[str]:
    """Return the options that Django has already: each command of it, and the one that ours of this name extends."""
    theirs = name in find_commands(management.__path__[0])
    command = load_command_class("django.core", name) if theirs else BaseCommand()
    return {action.dest for action in command.create_parser("manage.py", name)._actions}


PARSERS = parsers()
ACTIONS = [
    (name, action)
    for name, parser in PARSERS.items()
    for action in parser._actions
    if action.dest not in djangos(name) and not isinstance(action, argparse._SubParsersAction)
]


def label_of(value: object) -> str:
    return "/".join(getattr(value, "option_strings", [])) or str(getattr(value, "dest", value)).replace(" ", "-")


@pytest.mark.parametrize("name", PARSERS)
def test_a_command_has_its_heading(name: str) -> None:
    explained(f"manage.py {name}")


@pytest.mark.parametrize(("name", "action"), ACTIONS, ids=label_of)
def test_an_option_stands_beneath_its_command_with_its_values_and_its_default(
    name: str, action: argparse.Action
) -> None:
    said = "\n".join(one.body for one in named(f"manage.py {name}"))
    options = {option for line in said.splitlines() if line.startswith("- ") for option in OPTION.findall(line)}
    assert set(action.option_strings) <= options
    assert [value for value in action.choices or () if not re.search(rf"\b{value}\b", said)] == []
    if isinstance(action.default, int | str) and not isinstance(action.default, bool):
        assert f"`{action.default}`" in said


OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
CALL = re.compile(r"^\s*(?:\$ )?(?:[A-Z_]+=(?:\$\(|\S+ ))*(?:\.venv/bin/python )?manage\.py ([^`\n]*)", re.MULTILINE)


def calls(text: str) -> list[str]:
    """Return what the document shows to be typed after manage.py."""
    return [call.strip() for call in CALL.findall(manual.typed(text))]


def wrong(call: str) -> str:
    """Return what of a call there is not: the command, or an option that it does not have; '' where all is right."""
    words = re.findall(r"[a-z][a-z_]*", re.split(r"[^a-z_ ]", call)[0])
    known = next((" ".join(words[:length]) for length in (3, 2, 1) if " ".join(words[:length]) in PARSERS), "")
    if not known:
        return "" if words and words[0] in get_commands() else call
    below = [name for name in PARSERS if name == known or name.startswith(f"{known} ")]
    if len(below) > 1 and len(words) > 1 and not any(name.startswith(" ".join(words[:2])) for name in below):
        return call
    has = {option for name in below for option in PARSERS[name]._option_string_actions}
    return " ".join(option for option in OPTION.findall(call.replace("[no-]", "")) if option not in has)


@pytest.mark.parametrize("path", manual.documents(), ids=lambda path: path.name)
def test_commands_that_are_shown_exist_with_their_options(path: Any) -> None:
    shown = [call for call in calls(path.read_text()) if call and call != "…"]
    assert {call: wrong(call) for call in shown if wrong(call)} == {}


def test_a_command_that_is_not_there_is_found() -> None:
    page = "`manage.py workflow load F --prune` `manage.py workflow burn F`\n\n    manage.py deliveries --statuses x\n"
    page += "```sh\n.venv/bin/python manage.py sing \\\n  --loud\n```\n`manage.py migrate`\n"
    assert [wrong(call) for call in calls(page)] == ["", "workflow burn F", "", "sing --loud", "--statuses"]


@pytest.mark.parametrize("path", manual.documents(), ids=lambda path: path.name)
def test_targets_of_make_that_are_shown_exist(path: Any) -> None:
    shown = re.findall(r"^\s*(?:\$ )?make (?:[A-Z]+=\S+ )*([a-z][a-z-]*)", manual.typed(path.read_text()), re.MULTILINE)
    assert set(shown) - set(targets()) == set()


def targets() -> list[str]:
    told = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert told
    return told[1].split()


@pytest.mark.parametrize("target", targets())
def test_a_target_of_make_has_its_heading(target: str) -> None:
    explained(f"make {target}")


# --- keys of workflow files, of events and answers -----------------------------------------------

KEYS = {"workflows", *documents._WORKFLOW, *documents._TRIGGER, *documents._CONDITION, *documents._TASK}
KEYS |= documents._PARAMS


@pytest.mark.parametrize("key", sorted(KEYS))
def test_a_key_of_workflow_files_has_its_heading(key: str) -> None:
    explained(key, document="workflows.md")


def keys_of_an_event() -> set[str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(events._read_event)))
    sets = [ast.literal_eval(node) for node in ast.walk(tree) if isinstance(node, ast.Set)]
    return {"events", *sets[0]}


@pytest.mark.django_db
def test_the_keys_of_the_api_have_their_headings(client: Client) -> None:
    bearer = {"authorization": f"Bearer {tokens.create('pager', scopes=['trigger'], actor='ada')}"}
    keys = keys_of_an_event()
    assert {"event", "data", "id", "events"} <= keys
    for body in ({"event": "incident_created"}, {}):
        keys |= client.post("/v1/events", body, content_type="application/json", headers=bearer).json().keys()
    assert {"event_id", "runs", "skipped", "repeat", "errors"} <= keys
    for key in keys:
        explained(key, document="api.md")


@pytest.mark.django_db
def test_the_keys_of_what_the_api_tells_stand_in_the_manual() -> None:
    run = delivery_documents.run(failed().run)
    [mail] = run["deliveries"]
    inner = {*mail["recipients"][0], *mail["recipients"][0]["told"][0], *mail["attempts"][0]}
    inner |= {*Recipient.State.values, *Attempt.Outcome.values, *Told.Kind.values}
    for title, keys, mentioned in (("A run", run.keys(), set()), ("A mail", mail.keys(), inner)):
        [section] = [one for one in manual.every_section() if (one.document, one.title) == ("api.md", title)]
        rows = re.findall(r"^\| (`.+?) \|", section.body, re.MULTILINE)
        assert sorted(manual.CODE.findall(" ".join(rows))) == sorted(keys)
        assert mentioned - set(manual.CODE.findall(section.body)) == set()


def test_every_event_has_its_name_in_the_manual() -> None:
    [catalogue] = [one for one in manual.every_section() if (one.document, one.title) == ("api.md", "Event names")]
    known = {name for spelled in manual.CODE.findall(catalogue.body) for name in spread(" ".join(spelled.split()))}
    assert set().union(*events.TRIGGERS.values()) - known == set()


def spread(text: str) -> list[str]:
    """Return what `{a, b}_{c, d}` stands for."""
    found = re.search(r"\{([^}]*)\}", text)
    if not found:
        return [text]
    options = [text[: found.start()] + one.strip() + text[found.end() :] for one in found[1].split(",")]
    return [name for option in options for name in spread(option)]


# --- pages -----------------------------------------------------------------------------------

# What programs ask stands in docs/api.md.
NO_PAGES = (test_access.NOBODY, test_access.UNPROVED)
PAGES = {name: statuses for name, (_, statuses, _) in test_access.TABLE.items() if statuses not in NO_PAGES}


def address_of(name: str) -> str:
    """Return the address of a page with … for what differs: /workflows/…/."""
    route = get_resolver().reverse_dict.getlist(name)[0][0][0][0]
    return "/" + re.sub(r"%\(\w+\)s", "…", route)


def readers(statuses: tuple[int, ...]) -> str:
    """Return who may open it, as the manual says so; '' where it is open to everybody, or there is more to it."""
    anonymous, viewer, editor, admin = statuses
    if anonymous != test_access.TO_LOGIN:
        return ""
    if viewer != 403:
        return "for everybody who has logged in"
    return "for the Admin" if editor == 403 and admin == 404 else "for Admins" if editor == 403 else "for Editors"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_its_heading_with_its_address_and_who_may_open_it(name: str) -> None:
    address = address_of(name)
    found = [
        one for one in manual.every_section() if f"`{address}`" in f"{one.title} {one.begins}" or address == one.title
    ]
    assert found, f"{name} has no heading with its address {address}"
    assert any(one.explains and readers(PAGES[name]) in one.begins for one in found)


# --- words -----------------------------------------------------------------------------------


def test_the_glossary_has_every_state_in_the_order_of_letters() -> None:
    terms = re.findall(r"^\| \*\*(.+?)\*\*", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    assert terms == sorted(terms, key=str.lower)
    states = {*Delivery.State.values, *Recipient.State.values, *Run.Status.values} - {"completed_with_errors"}
    assert states - set(terms) == set()
