"""The image as Docker builds it, and a small installation made of it that sends a mail.

`TEST_DOCKER` names docker's program. What deploy/Dockerfile begins with has to be there, or within its reach.
"""

from __future__ import annotations

import json
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from rootmail import state
from tests import deploy_files as deploy
from tests.effort import LONG
from tests.installation import INCIDENT, from_environment, wait_until

pytestmark = [pytest.mark.processes, LONG]
FILE = "compose.small.yaml"
PAGE = (deploy.ROOT / "docs" / "backup.md").read_text()


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
        return self.run(self.docker, "compose", "-f", FILE, "-p", self.name, *words)

    def manage(self, *words: str) -> str:
        return self.compose("exec", "-T", "rootmail", "python", "manage.py", *words)

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def carry_out(self, commands: list[str]) -> None:
        for command in commands:
            self.run("sh", "-c", command.replace("docker compose", f"{self.docker} compose -p {self.name}"))

    def deliveries(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.manage("deliveries", "--json"))
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
    look_at_the_walls(project)
    send_mails(project)
    project.compose("stop")
    [container] = project.compose("ps", "--all", "--quiet").split()
    assert project.run(project.docker, "inspect", "--format", "{{.State.ExitCode}}", container) == "0\n"
    assert "Traceback" not in project.compose("logs")


def test_a_small_installation_comes_back_from_its_backup(project: Project) -> None:
    """By the commands of docs/backup.md: three that back up, and two that restore."""
    commands = re.findall(rf"^    (docker compose -f {FILE} .+)$", PAGE, re.M)
    assert len(commands) == 5
    send_mails(project)
    sent = project.deliveries()
    project.carry_out(commands)
    project.compose("up", "--detach", "--wait")
    assert project.deliveries() == sent
    send_mails(project)


def look_at_the_walls(project: Project) -> None:
    inside = "id -u; touch /opt/rootmail/app/written 2>&1 || touch /tmp/written /var/lib/rootmail/written"
    user, refused = project.compose("exec", "-T", "rootmail", "sh", "-c", inside).splitlines()
    assert user == "10001"
    assert "Read-only file system" in refused


def send_mails(project: Project) -> None:
    project.manage("workflow", "load", "workflows/examples/workflows.json")
    project.trigger(project.manage("token", "create", secrets.token_hex(4), "--scope", "trigger").strip())
    wait_until(lambda: {mail["state"] for mail in project.deliveries()} == {"accepted"}, seconds=60, what="a mail")
