"""The image as Docker builds it, and a small installation made of it that sends a mail.

`TEST_DOCKER` names docker's program. What deploy/Dockerfile begins with has to be there, or within its reach.
"""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from rootmail import state
from tests import deploy_files as deploy
from tests.installation import INCIDENT, LONG, from_environment, wait_until

pytestmark = [pytest.mark.processes, LONG]
FILE = "compose.small.yaml"


class Project:
    """The small installation under a name of its own, with its own tag, port and file of settings."""

    def __init__(self, docker: str, folder: Path) -> None:
        self.docker, self.folder = docker, folder
        self.name = f"rootmail-test-{secrets.token_hex(4)}"
        port = state.free_port()
        self.site = f"http://127.0.0.1:{port}"
        text = (deploy.DEPLOY / FILE).read_text().replace("context: ..", f"context: {deploy.ROOT}")
        (folder / FILE).write_text(text)
        own = f"\nSITE_URL={self.site}\nPORT={port}\nROOTMAIL_IMAGE_TAG={self.name}\n"  # the last of a name counts
        (folder / ".env").write_text(deploy.EXAMPLE + own)

    def compose(self, *words: str) -> str:
        return self.run("compose", "-f", FILE, "-p", self.name, *words)

    def inside(self, *words: str, ok: bool = True) -> str:
        return self.run("compose", "-f", FILE, "-p", self.name, "exec", "-T", "rootmail", *words, ok=ok)

    def run(self, *words: str, ok: bool = True) -> str:
        done = subprocess.run(
            [self.docker, *words], cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=600,
        )  # fmt: skip
        assert (done.returncode == 0) is ok, done.stderr
        return done.stdout + ("" if ok else done.stderr)

    def deliveries(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.inside("python", "manage.py", "deliveries", "--json"))
        return found

    def trigger(self, token: str) -> None:
        event = {"event": "incident_created", "data": INCIDENT}
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.post(f"{self.site}/v1/events", json=event, headers=headers, trust_env=False, timeout=30)
        assert answer.status_code == 202, answer.text


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(from_environment("TEST_DOCKER"), tmp_path)
    try:
        made.compose("up", "--detach", "--build", "--wait")
        yield made
    finally:
        made.compose("down", "--volumes", "--rmi", "all", "--timeout", "20")


def test_a_small_installation_of_the_image_sends_a_mail_and_stops_well(project: Project) -> None:
    assert project.inside("id", "-u") == "10001\n"
    assert "Read-only file system" in project.inside("touch", "/opt/rootmail/app/written", ok=False)
    project.inside("python", "manage.py", "workflow", "load", "workflows/examples/workflows.json")
    token = project.inside("python", "manage.py", "token", "create", "test", "--scope", "trigger").strip()
    project.trigger(token)
    wait_until(lambda: {mail["state"] for mail in project.deliveries()} == {"accepted"}, seconds=60, what="a mail")
    project.compose("stop")
    [container] = project.compose("ps", "--all", "--quiet").split()
    assert project.run("inspect", "--format", "{{.State.ExitCode}}", container) == "0\n"
    assert "Traceback" not in project.compose("logs")
