"""The files that containers and services are made of: what can be proved without Docker."""

from __future__ import annotations

import http.server
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rootmail import state
from rootmail.management.commands import up
from tests import deploy_files as deploy

COMPOSE_FILES = ("compose.yaml", "compose.small.yaml")
KEYS = ("SECRET_KEY", "FERNET_KEYS", "SITE_URL", "POSTGRES_PASSWORD")
WITHOUT_UP = {"--umask=0o077"}  # `up` has its own umask
# `up` counts its starts, to have old and new side by side; a container has a host name of its own, a unit a number.
DIFFERS = ("--bind=", "--hostname=")


def text_of(name: str) -> str:
    return (deploy.DEPLOY / name).read_text()


# --- the file of settings ----------------------------------------------------------------------


def test_the_example_names_every_setting_and_nothing_else() -> None:
    files = [text_of(name) for name in COMPOSE_FILES] + [unit.read_text() for unit in deploy.UNITS]
    of_files = {name for text in files for name in deploy.variables(text)}
    read = set(deploy.reads_of_environment())
    assert len(read) > 25
    assert set(deploy.settings_in_example()) == read | of_files


def test_the_example_shows_the_defaults() -> None:
    shown, wrong = deploy.settings_in_example(), {}
    for name, node in deploy.reads_of_environment().items():
        default = deploy.default_of(node)
        text = {True: "on", False: "off"}[default] if isinstance(default, bool) else str(default)
        if default and shown[name] != text:  # an empty one stands for something that is worked out
            wrong[name] = (shown[name], text)
    assert wrong == {}


def test_the_example_explains_every_setting() -> None:
    for paragraph in deploy.EXAMPLE.split("\n\n"):
        lines = paragraph.splitlines()
        settings = [line for line in lines if re.match(r"#?[A-Z][A-Z0-9_]*=", line)]
        assert len(settings) <= 1, settings
        assert not settings or lines[0].startswith("# "), settings


def test_compose_and_systemd_read_the_same_values_in_the_example() -> None:
    odd = {name: value for name, value in deploy.settings_in_example().items() if re.search(r"[\"'$#\\]", value)}
    assert odd == {}


# --- compose -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_compose_sets_only_settings_of_ours(name: str) -> None:
    services = deploy.own(deploy.compose(name))
    assert services
    for service in services.values():
        assert set(service["environment"]) <= set(deploy.reads_of_environment())
        assert service["env_file"] == ".env"


def test_the_projects_of_compose_have_names_of_their_own() -> None:
    """Their default is the folder's name, `deploy`: any other project in such a folder would have the same volumes."""
    names = [re.findall(r"^name: (\S+)$", text_of(name), re.M) for name in COMPOSE_FILES]
    assert names == [["rootmail"], ["rootmail-small"]]


def test_git_leaves_the_file_with_the_keys_alone() -> None:
    assert "/deploy/.env" in (deploy.ROOT / ".gitignore").read_text().splitlines()


def test_compose_does_not_start_without_keys() -> None:
    marks = deploy.variables(text_of("compose.yaml"))
    assert {name for name, mark in marks.items() if mark == "?"} == set(KEYS)
    for name, service in deploy.own(deploy.compose()).items():
        assert {"SECRET_KEY", "FERNET_KEYS", "SITE_URL"} <= set(service["environment"]), name


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_our_containers_may_write_nowhere_but_to_state_and_tmp(name: str) -> None:
    for service in deploy.own(deploy.compose(name)).values():
        assert service["read_only"] is True
        assert service["tmpfs"] == ["/tmp"]
        assert service["volumes"] == ["state:/var/lib/rootmail"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_only_the_site_is_published_and_only_on_loopback(name: str) -> None:
    ports = [port for service in deploy.compose(name).values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:8000:8000"]


def test_the_image_is_built_once_and_for_all_containers() -> None:
    services = deploy.own(deploy.compose())
    assert [name for name, service in services.items() if "build" in service] == ["migrate"]
    policies = {(service["image"], service["pull_policy"]) for service in services.values()}
    assert policies == {("rootmail:local", "never")}


def test_one_container_migrates_and_the_others_wait_for_it() -> None:
    services = deploy.own(deploy.compose())
    assert [name for name, service in services.items() if "migrate" in service["command"]] == ["migrate"]
    assert services["migrate"]["restart"] == "on-failure:5", "`up` waits for it without a word"
    for name in ("web", "worker", "beat"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert services[name]["restart"] == "always"


def test_workers_get_the_time_to_finish_the_mail_in_hand() -> None:
    small = deploy.compose("compose.small.yaml")["rootmail"]
    graces = [deploy.compose()["worker"]["stop_grace_period"], small["stop_grace_period"]]
    for unit in ("rootmail-worker@.service", "rootmail-all.service"):
        graces += re.findall(r"^TimeoutStopSec=(.*)$", text_of(f"systemd/{unit}"), re.M)
    assert len(graces) == 4
    assert all(int(grace.removesuffix("s")) >= 170 for grace in graces)


# --- the same commands as `up` -------------------------------------------------------------------


@pytest.fixture
def of_up(monkeypatch: pytest.MonkeyPatch, settings: Any) -> dict[str, list[str]]:
    """Return what `up` would start, by name."""
    started: dict[str, list[str]] = {}

    class Recorder:
        def start(self, name: str, command: list[str], **_: object) -> None:
            started[name] = what_counts(command)

        def wait_until(self, *_: object, **__: object) -> None: ...

    settings.EMBEDDED_BROKER, settings.LOG_LEVEL = False, "INFO"
    monkeypatch.setattr(up, "call_command", lambda *_, **__: None)
    monkeypatch.setattr(up.lost_keys, "warning", str)  # asks the database
    with up._listen("127.0.0.1:0") as site:
        up.Command()._start(Recorder(), site=site, workers=2)  # type: ignore[arg-type]
    return started


def what_counts(command: list[str]) -> list[str]:
    return [word for word in command[1:] if not word.startswith(DIFFERS) and word not in WITHOUT_UP]


def test_containers_start_what_up_starts(of_up: dict[str, list[str]]) -> None:
    services = deploy.own(deploy.compose())
    assert set(of_up) == {"web", "worker", "beat"}
    for name, command in of_up.items():
        assert what_counts(services[name]["command"]) == command


def test_units_start_what_up_starts(of_up: dict[str, list[str]]) -> None:
    values = {"${WORKERS}": "2", "${LOG_LEVEL}": "INFO"}
    for unit, kind in (("web", "web"), ("worker@", "worker"), ("beat", "beat")):
        [command] = deploy.exec_starts(deploy.DEPLOY / "systemd" / f"rootmail-{unit}.service")
        words = [re.sub(r"\$\{\w+\}", lambda found: values[found[0]], word) for word in command]
        assert what_counts(words) == of_up[kind]


def test_a_small_installation_runs_everything_under_up() -> None:
    [of_unit] = deploy.exec_starts(deploy.DEPLOY / "systemd" / "rootmail-all.service")
    of_container = deploy.compose("compose.small.yaml")["rootmail"]["command"]
    for command, host in ((of_unit, "127.0.0.1"), (of_container, "0.0.0.0")):
        assert command[1:3] == ["manage.py", "up"]
        words = [word.replace("${WORKERS}", "2") for word in command[3:]]
        options = up.Command().create_parser("manage.py", "up").parse_args(words)
        assert (options.bind, options.workers) == (f"{host}:8000", 2)


# --- health checks ------------------------------------------------------------------------------


def command_of(check: dict[str, Any], **instead: str) -> list[str]:
    """Return what the container would run, in our own Python."""
    kind, *words = [word.replace("$$", "$") for word in check["test"]]
    for old, new in instead.items():
        words = [word.replace({"port": "8000", "file": "/tmp/worker-alive"}[old], new) for word in words]
    if kind == "CMD-SHELL":
        return ["/bin/sh", "-c", *words]
    assert kind == "CMD"
    return [sys.executable, *words[1:]] if words[0] == "python" else words


@contextmanager
def site_that_answers(status: int) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def failed(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, timeout=10).returncode != 0


@pytest.mark.parametrize(("file", "service"), [("compose.yaml", "web"), ("compose.small.yaml", "rootmail")])
def test_the_site_is_healthy_where_it_says_so(file: str, service: str) -> None:
    check = deploy.compose(file)[service]["healthcheck"]
    with site_that_answers(200) as port:
        assert not failed(command_of(check, port=str(port)))
    with site_that_answers(500) as port:
        assert failed(command_of(check, port=str(port)))
    assert failed(command_of(check, port=str(state.free_port())))


def test_a_worker_is_healthy_while_its_file_is_young(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    said = deploy.compose()["worker"]["healthcheck"]
    assert said["retries"] == 1, "or it would be unhealthy only minutes later"
    check = command_of(said, file=str(file))
    assert failed(check)
    file.touch()
    assert not failed(check)
    subprocess.run(["touch", "-d", "90 seconds ago", file], check=True)
    assert failed(check)


# --- the image ----------------------------------------------------------------------------------

FILES_OF_THE_IMAGE = {"requirements.lock", "requirements.txt", "*.py"}  # the doctor compares with the second


def test_the_image_has_what_the_code_needs_and_nothing_else_reaches_its_builder() -> None:
    copied = {word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text_of("Dockerfile"), re.M)
              for word in line.split()}  # fmt: skip
    let_in = {line[1:] for line in text_of("Dockerfile.dockerignore").splitlines() if line.startswith("!")}
    assert copied == let_in
    assert let_in - {"rootmail", "integrations", "workflows", "templates"} == FILES_OF_THE_IMAGE


def test_the_image_runs_as_somebody_else_than_root_from_the_lock() -> None:
    text = text_of("Dockerfile")
    last = text.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", last, re.M)
    assert "--require-hashes --only-binary=:all:" in text


def test_the_site_finds_the_static_files_that_the_image_holds() -> None:
    [collected] = re.findall(r"STATIC_ROOT=(\S+)", text_of("Dockerfile"))
    assert {service["environment"]["STATIC_ROOT"] for service in deploy.own(deploy.compose()).values()} == {collected}
    # `up` collects them anew, so it must be able to write there.
    assert "STATIC_ROOT" not in deploy.compose("compose.small.yaml")["rootmail"]["environment"]


def test_the_settings_that_collect_the_image_s_static_files_are_taken(tmp_path: Path) -> None:
    [command] = re.findall(r"^RUN (ROOTMAIL_VAR=.*?) \\\n +&&", text_of("Dockerfile"), re.M | re.S)
    here = command.replace("\\\n", "").replace("/tmp", str(tmp_path)).replace("/opt/rootmail", str(tmp_path))
    done = subprocess.run(
        ["sh", "-c", here.replace("python", sys.executable)], cwd=deploy.ROOT, env={}, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "static" / "staticfiles.json").exists()
    assert not list(tmp_path.rglob("*key")), "or all who have the image would have them"
