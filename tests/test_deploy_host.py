"""The units and the nginx example, by the programs that read them."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import trustme
from django.conf import settings

from rootmail import state
from tests import deploy_files as deploy
from tests.installation import wait_until

EXPOSURE = 2.0  # of ten; what `systemd-analyze security` calls OK


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


# --- systemd -------------------------------------------------------------------------------------


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Copy the units, with a Python that exists here instead of the one that an operator installs."""
    folder = tmp_path / "units"
    shutil.copytree(deploy.DEPLOY / "systemd", folder)
    for unit in folder.glob("*.service"):
        unit.write_text(unit.read_text().replace("/opt/rootmail/venv/bin/python", sys.executable))
    return folder


def analyze(units: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "SYSTEMD_UNIT_PATH": f"{units}:"}
    command = [program("systemd-analyze"), *arguments]
    return subprocess.run(command, env=environment, cwd=units, capture_output=True, text=True, timeout=30)


def test_systemd_finds_nothing_wrong_with_the_units(units: Path) -> None:
    names = [unit.name.replace("@.", "@1.") for unit in units.glob("*.service")]
    assert len(names) == 5
    done = analyze(units, "verify", "--man=no", *names)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_would_find_what_is_wrong(units: Path) -> None:
    """Or the test above would prove nothing: also in what the units have in common."""
    common = units / "rootmail-.service.d" / "common.conf"
    common.write_text(common.read_text().replace("KillMode=mixed", "KillMode=mostly"))
    assert "kill mode" in analyze(units, "verify", "--man=no", "rootmail-web.service").stderr


def test_the_units_are_exposed_to_little(units: Path) -> None:
    for unit in units.glob("*.service"):
        said = analyze(units, "security", "--offline=true", "--no-pager", unit.name).stdout
        found = re.search(r"exposure level for \S+: ([\d.]+)", said)
        assert found, said
        assert float(found[1]) <= EXPOSURE, unit.name


def test_what_dies_is_started_again_and_keeps_to_itself() -> None:
    common = (deploy.DEPLOY / "systemd" / "rootmail-.service.d" / "common.conf").read_text()
    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "PrivateTmp=yes", "CapabilityBoundingSet=",
                 "StateDirectory=rootmail", "UMask=0077", "StartLimitIntervalSec=0"):  # fmt: skip
        assert f"\n{line}\n" in common
    for unit in deploy.UNITS:
        oneshot = "Type=oneshot" in unit.read_text()
        assert f"\nRestart={'on-failure' if oneshot else 'always'}\n" in unit.read_text()


def test_one_unit_migrates_and_the_others_wait_until_it_is_done() -> None:
    migrating = [unit.name for unit in deploy.UNITS if any("migrate" in words for words in deploy.exec_starts(unit))]
    assert migrating == ["rootmail-migrate.service"]
    for name in ("rootmail-web.service", "rootmail-worker@.service"):
        text = (deploy.DEPLOY / "systemd" / name).read_text()
        assert "ExecStartPre=/opt/rootmail/venv/bin/python manage.py migrate --check" in text


def test_the_two_sizes_never_run_side_by_side() -> None:
    """A worker that is left over stops rootmail-all when it is started again: it wants what conflicts with that."""
    small, worker = (text_of(f"rootmail-{name}.service") for name in ("all", "worker@"))
    assert "\nConflicts=rootmail-migrate.service rootmail-web.service rootmail-beat.service\n" in small
    assert "\nConflicts=rootmail-all.service\n" in worker


@pytest.mark.parametrize(
    ("page", "command"), [("deployment", "git clone"), ("upgrading", "git -C /opt/rootmail/app pull")]
)
def test_the_code_that_root_fetches_can_be_read_by_others(page: str, command: str) -> None:
    """A backup wants `umask 077`, and sudo keeps it."""
    before, found, _ = (deploy.ROOT / "docs" / f"{page}.md").read_text().partition(f"    sudo {command}")
    assert found
    assert before.rpartition("\n\n")[2].startswith("    umask 022 ")


def text_of(unit: str) -> str:
    return (deploy.DEPLOY / "systemd" / unit).read_text()


# --- nginx ---------------------------------------------------------------------------------------


class Upstream(http.server.BaseHTTPRequestHandler):
    """Stands for the site: says what it was asked."""

    def do_GET(self) -> None:
        length = self.headers.get("Content-Length")
        self.rfile.read(int(length or 0))
        told = {name: self.headers.get(name) for name in ("Host", "X-Forwarded-For", "X-Forwarded-Proto")}
        body = repr([self.path, length, told]).encode() + b" " * 2000
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None: ...


@dataclass
class Nginx:
    """The example as it stands, but for ports and certificate."""

    folder: Path
    http: int = field(default_factory=state.free_port)
    https: int = field(default_factory=state.free_port)
    upstream: int = 1

    def __post_init__(self) -> None:
        self.ca = trustme.CA()
        certificate = self.ca.issue_cert("rootmail.example.org")
        certificate.private_key_and_cert_chain_pem.write_to_path(self.folder / "both.pem")
        user = "user root;" if os.geteuid() == 0 else ""  # or its worker could not write into the test's own folder
        (self.folder / "nginx.conf").write_text(
            f"{user} pid {self.folder}/pid; error_log {self.folder}/error.log info; daemon off; worker_processes 1;\n"
            f"events {{}} http {{ access_log {self.folder}/access.log;\n{self._temporary()}\n{self._example()} }}\n"
        )

    def _temporary(self) -> str:
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        return " ".join(f"{kind}_temp_path {self.folder}/{kind};" for kind in kinds)

    def _example(self) -> str:
        text = (deploy.DEPLOY / "nginx" / "rootmail.conf").read_text()
        text = re.sub(r"/etc/ssl/rootmail/\w+\.pem", f"{self.folder}/both.pem", text)
        text = re.sub(r"listen \[::\]:\d+.*;", "", text)
        text = text.replace("listen 80;", f"listen 127.0.0.1:{self.http};")
        text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{self.https} ssl;")
        return text.replace("server 127.0.0.1:8000;", f"server 127.0.0.1:{self.upstream};")

    def command(self, *more: str) -> list[str]:
        return [program("nginx"), "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), *more]

    def ask(self, method: str, path: str, *, port: int, **more: object) -> httpx.Response:
        trust = ssl.create_default_context()
        self.ca.configure_trust(trust)
        scheme = "https" if port == self.https else "http"
        with httpx.Client(verify=trust, trust_env=False) as client:
            headers = {"Host": "rootmail.example.org", "X-Forwarded-For": "203.0.113.9"}
            extensions = {"sni_hostname": "rootmail.example.org"}
            url = f"{scheme}://127.0.0.1:{port}{path}"
            return client.request(method, url, headers=headers, extensions=extensions, **more)  # type: ignore[arg-type]

    def answers(self) -> bool:
        """Tell whether both ports are open: where one is taken for a moment, it closes the other and tries again."""
        return all(map(_listens, (self.http, self.https)))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    program("nginx")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as site:
        threading.Thread(target=site.serve_forever, args=(0.02,), daemon=True).start()
        made = Nginx(tmp_path, upstream=site.server_port)
        with (tmp_path / "said").open("wb") as said:
            process = subprocess.Popen(made.command(), stdout=said, stderr=said)
        wait_until(lambda: process.poll() is not None or made.answers(), seconds=20, what="nginx")
        yield made
        process.terminate()
        process.wait(timeout=10)
        site.shutdown()


def test_nginx_finds_nothing_wrong_with_the_example(tmp_path: Path) -> None:
    done = subprocess.run(Nginx(tmp_path).command("-t"), capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


def test_nginx_passes_on_who_asked_and_how_and_not_what_the_client_claims(nginx: Nginx) -> None:
    told = nginx.ask("GET", "/login/", port=nginx.https).text
    assert "'X-Forwarded-For': '127.0.0.1'" in told
    assert "'X-Forwarded-Proto': 'https'" in told
    assert "'Host': 'rootmail.example.org'" in told


def test_nginx_lets_events_of_the_full_size_through_and_says_how_long_they_are(nginx: Nginx) -> None:
    size = settings.MAX_EVENT_BYTES
    chunks = iter([b"x" * size])
    assert f"'{size}'" in nginx.ask("POST", "/v1/events", port=nginx.https, content=chunks).text
    assert nginx.ask("POST", "/v1/events", port=nginx.https, content=b"x" * 4 * size).status_code == 413


def test_nginx_keeps_the_addresses_of_webhooks_out_of_its_logs(nginx: Nginx) -> None:
    for port in (nginx.http, nginx.https):
        assert "/hooks/secret-address/" in nginx.ask("POST", "/hooks/secret-address/", port=port, content=b"{}").text
        nginx.ask("POST", "/hooks/secret-address/", port=port, content=b"x" * 4 * 1024 * 1024)  # worth an error line
        nginx.ask("GET", "/login/", port=port)
    logs = "".join(path.read_text() for path in nginx.folder.glob("*.log"))
    assert "/login/" in logs
    assert "secret-address" not in logs


@pytest.mark.parametrize("path", ["/v1/events", "/events/sendgrid"])
def test_nginx_lets_rootmail_refuse_an_event_over_http(nginx: Nginx, path: str) -> None:
    answer = nginx.ask("POST", path, port=nginx.http, content=b"{}")
    assert answer.status_code == 200
    assert "'X-Forwarded-Proto': 'http'" in answer.text


def test_nginx_sends_people_to_https_and_compresses_pages(nginx: Nginx) -> None:
    answer = nginx.ask("GET", "/deliveries/?q=1", port=nginx.http)
    assert (answer.status_code, answer.headers["Location"]) == (301, "https://rootmail.example.org/deliveries/?q=1")
    assert nginx.ask("GET", "/login/", port=nginx.https).headers["Content-Encoding"] == "gzip"
