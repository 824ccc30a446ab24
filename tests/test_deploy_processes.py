"""The commands of compose.yaml as processes, with PostgreSQL and Redis, and nothing to write to but state and /tmp.

`TEST_BWRAP` names bubblewrap's program, which makes the rest of the file system read-only and the user another one than
root. Without it, the same commands run with an open file system.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import kombu
import pytest

from tests import deploy_files as deploy
from tests.effort import LONG
from tests.installation import EXAMPLES, Installation, fresh_postgres, from_environment, wait_until
from tests.test_deploy import command_of, failed

pytestmark = [pytest.mark.processes, LONG]
SERVICES = deploy.own(deploy.compose())
WALLS = os.environ.get("TEST_BWRAP", "")


@dataclass
class Containers:
    """Stands for Docker."""

    inside: Installation  # not started by itself: it knows the settings, and speaks to the site
    folder: Path

    def __post_init__(self) -> None:
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()
        self.alive = self.temporary / "worker-alive"
        # What the image and compose.yaml set besides.
        self.inside.environment |= {"STATIC_ROOT": str(self.folder / "static"), "TMPDIR": str(self.temporary)}
        self.inside.environment |= {"HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}
        self.inside.environment |= {"SECRET_KEY": "a key for signing", "FERNET_KEYS": "a key for encrypting"}
        self.inside.environment |= {"BEHIND_PROXY": "on", "WORKER_ALIVE_FILE": str(self.alive)}

    def command(self, words: list[str]) -> list[str]:
        told = [word.replace("0.0.0.0:8000", self.inside.bind) for word in words]
        return [*self._walls(), *(sys.executable if word == "python" else word for word in told)]

    def _walls(self) -> list[str]:
        if not WALLS:
            return []
        writable = [word for path in (self.inside.folder, self.temporary) for word in ("--bind", str(path), str(path))]
        user = ["--unshare-user", "--uid", "10001", "--gid", "10001", "--cap-drop", "ALL", "--die-with-parent"]
        return [WALLS, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", *writable, *user]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(list(words)), cwd=deploy.ROOT, env=self.inside.environment, capture_output=True, text=True,
            timeout=60,
        )  # fmt: skip

    @contextmanager
    def up(self, name: str) -> Iterator[None]:
        """Run a service; it must end by itself, and well, when it is told to."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                self.command(SERVICES[name]["command"]), cwd=deploy.ROOT, env=self.inside.environment,
                stdout=log, stderr=log,
            )  # fmt: skip
        try:
            yield
            os.kill(_innermost(process.pid), signal.SIGTERM)
            assert process.wait(timeout=30) == 0, self.said(name)
        finally:
            process.kill()
            process.wait()

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")


def _innermost(pid: int) -> int:
    """Return the process that bubblewrap has started: it passes no signal on."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]) if WALLS else pid


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[Containers]:
    """Collect the static files as the image does, and migrate as compose does: the rest is ready to start."""
    broker = from_environment("TEST_REDIS_URL")
    (tmp_path / "state").mkdir()
    with fresh_postgres() as database:
        inside = Installation(tmp_path / "state", database_url=database, broker_url=broker)
        inside.environment["LOG_LEVEL"] = "INFO"
        made = Containers(inside, tmp_path)
        inside.manage("collectstatic", "--noinput")
        migrated = made.run(*SERVICES["migrate"]["command"])
        assert migrated.returncode == 0, migrated.stderr
        yield made
    with kombu.Connection(broker) as connection:
        connection.default_channel.queue_delete(inside.environment["QUEUE"])


def test_the_containers_send_a_mail_and_stop_well(containers: Containers) -> None:
    look_at_the_walls(containers)
    inside = containers.inside
    with containers.up("web"), containers.up("worker"), containers.up("beat"):
        inside.manage("workflow", "load", str(EXAMPLES / "workflows.json"))
        inside.manage("workflow", "trigger", "incident_created", str(EXAMPLES / "incident.json"))
        wait_until(lambda: list((inside.folder / "outbox").glob("*.eml")), seconds=60, what="a mail")
        wait_until(lambda: status(inside, "/login/") in (200, 302), seconds=60, what="the site")
        assert status(inside, f"/static/{a_static_file(containers)}") == 200
        look_at_the_health(containers)
    for name in ("web", "worker", "beat"):
        assert not re.search("Traceback|Read-only|Permission", containers.said(name)), containers.said(name)


def look_at_the_walls(containers: Containers) -> None:
    """Or the test would prove nothing."""
    if WALLS:
        assert "Read-only file system" in containers.run("touch", str(deploy.ROOT / "written")).stderr
        assert containers.run("id", "-u").stdout == "10001\n"
    assert containers.run("touch", str(containers.inside.folder / "written")).returncode == 0


def look_at_the_health(containers: Containers) -> None:
    of_web = command_of(SERVICES["web"]["healthcheck"], port=containers.inside.bind.rpartition(":")[2])
    assert failed(of_web) is (status(containers.inside, "/healthz") != 200)
    wait_until(containers.alive.exists, what="the worker's sign of life")
    assert not failed(command_of(SERVICES["worker"]["healthcheck"], file=str(containers.alive)))


def a_static_file(containers: Containers) -> str:
    manifest = json.loads((containers.folder / "static" / "staticfiles.json").read_text())
    return str(manifest["paths"]["rootmail.css"])


def status(inside: Installation, path: str) -> int:
    try:
        return httpx.get(inside.site + path, trust_env=False).status_code
    except httpx.TransportError:
        return 0
