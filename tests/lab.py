"""The fault lab: real workers, a real broker, a real database, and a relay whose ledger is believed.

with Lab(folder) as lab:
    lab.faults.arm("smtp.reply", "kill")
    lab.trigger(3)
    lab.wait_for_the_end()
    lab.assert_invariants()
"""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import kombu
import psycopg
import redis

from rootmail import broker, state
from tests import lab_invariants, lab_places
from tests.fake_relay import FakeRelay, authority_pem
from tests.fake_sendgrid import authority_file
from tests.installation import wait_until
from tests.lab_faults import FREEZE, HANG, KILL, Faults
from tests.lab_invariants import Story
from tests.lab_programs import Program, is_stopped

NOBODY = str(uuid.UUID(int=0))
USER_NAME, PASSWORD = "mailer-0815", "correct-horse-0815"
AWAY = ("OperationalError", "InterfaceError", "InternalError")
PATIENCE = 60.0  # seconds; a desk that is silent for longer is replaced
AT_MOST = 10  # times as long as nothing may move, something may
ENDED = (*lab_invariants.FINAL, "held")
TROUBLE = (HANG, KILL, FREEZE)  # after these a lease runs out
IN_FLIGHT = ("record", "accept", "record.error")  # a defect here loses what the relay answered


class Lab:
    """`database_url` and `broker_url` empty: SQLite, and a Valkey of our own, which may be wiped."""

    def __init__(
        self, folder: Path, *, database_url: str = "", broker_url: str = "", workers: int = 2, tls: str = "",
        extensions: tuple[str, ...] = ("8BITMIME", "ENHANCEDSTATUSCODES"),
    ) -> None:  # fmt: skip
        self.folder, self.database_url, self.outer_broker = folder, database_url, broker_url
        self.broker_url = broker_url or state.stored(folder / "broker_url", state.new_broker_url)
        self.queue = f"rootmail-lab-{secrets.token_hex(4)}"
        self.relay = FakeRelay(user=USER_NAME, password=PASSWORD, tls=tls, extensions=extensions)
        self.faults = Faults(folder)
        self.programs: dict[str, Program] = {}
        self.worker_names = [f"worker{number}" for number in range(1, workers + 1)]
        # Where many others want the processors, an honest worker must not lose its lease for that alone.
        self.scale = min(max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1) / 3), 3.0)
        self.mails_of_a_run = 0
        self.begin()

    def begin(self) -> None:
        """From here on, deliveries and mails count for the invariants."""
        self._struck, self.ledger_from, self.killed = len(self.faults.struck()), len(self.relay.ledger), 0
        self._gave_up_before = self._gave_up()
        self.since = self.ask("last_run") if "desk" in self.programs else NOBODY

    @property
    def environment(self) -> dict[str, str]:
        own = {"ROOTMAIL_VAR": str(self.folder), "LOG_LEVEL": "DEBUG", "SWEEP_SECONDS": "0.2", "QUEUE": self.queue}
        own |= {"DEFAULT_SENDER": "workflows@rootmail.example", "SSL_CERT_FILE": authority_file()}
        # A transaction of a frozen process ends before its lease does, as with the real times.
        options = f"?options=-c%20idle_in_transaction_session_timeout%3D{round(600 * self.scale)}"
        own |= {"DATABASE_URL": self.database_url + options} if self.database_url else {}
        own |= {"BROKER_URL": self.outer_broker} if self.outer_broker else {}
        own |= {"LAB_SCALE": os.environ.get("LAB_SCALE", f"{self.scale:.2f}")}
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder)} | own

    # Beginning and ending

    def __enter__(self) -> Self:
        self.relay.__enter__()
        try:
            self.start_broker()
            self.start_desk()
            self.ask("migrate")
            self.connect()
            for name in self.worker_names:
                self.start_worker(name)
            self.start_beat()
            self.wait_until_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for name in sorted(self.programs, key="broker".__eq__):  # the broker last
            self.programs[name].kill()
        self.relay.__exit__()
        if self.outer_broker:
            with suppress(Exception), kombu.Connection(self.outer_broker) as connection:
                connection.default_channel.queue_delete(self.queue)

    def start_broker(self) -> None:
        if not self.outer_broker:
            command = broker.command(self.broker_url, folder=self.folder / "broker")
            self._start("broker", [*command, "--appendonly", "yes"])  # for `lab_places`
            wait_until(lambda: broker.answers(self.broker_url), what="the broker")

    def start_desk(self) -> None:
        self._start("desk", self._python("desk"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def start_worker(self, name: str, **environment: str) -> None:
        options = ["--concurrency=3", "--loglevel=DEBUG", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        self._start(name, [*self._python("worker"), *options, f"--hostname={name}@lab"], **environment)

    def replace_workers(self, **environment: str) -> None:
        """Stop every worker, and start it with another environment."""
        for name in self.worker_names:
            self.programs[name].process.terminate()
        for name in self.worker_names:
            self.programs[name].stop()
            self.start_worker(name, **environment)
        self.wait_until_ready()

    def start_beat(self, name: str = "beat") -> None:
        self._start(name, [*self._python("beat"), "--loglevel=INFO", "--pidfile="])

    def wait_until_ready(self) -> None:
        wait_until(self.all_ready, seconds=60, what="the workers")

    def all_ready(self) -> bool:
        return all(f"{name}@lab ready" in self.programs[name].output for name in self.worker_names)

    def _python(self, role: str) -> list[str]:
        return [sys.executable, "-m", "tests.lab_worker", role]

    def _start(self, name: str, arguments: list[str], *, stdin: int | None = None, stdout: int | None = None,
               **more: str) -> None:  # fmt: skip
        pipes = {"stdin": stdin or subprocess.DEVNULL} | ({"stdout": stdout} if stdout else {})
        log = self.folder / f"{name}.log"
        self.programs[name] = Program(name, arguments, environment=self.environment | more, log=log, **pipes)

    # What an operator and a client do

    def ask(self, wish: str, **options: Any) -> Any:
        """Have the desk do something. Where it or its database is away, it is asked again, as a client would."""
        line = json.dumps({"name": wish, "with": options}) + "\n"
        end = time.monotonic() + PATIENCE * self.scale
        while True:
            answer = json.loads(self._say_to_the_desk(line) or b"{}")
            if "done" in answer:
                return answer["done"]
            if not answer:
                self.programs["desk"].kill()
                self.start_desk()
            assert not answer or answer["failed"].startswith(AWAY), answer
            assert time.monotonic() < end, f"the desk cannot do it: {wish} {answer}"

    def _say_to_the_desk(self, line: str) -> bytes:
        desk = self.programs["desk"].process
        assert desk.stdin
        assert desk.stdout
        with suppress(BrokenPipeError):
            desk.stdin.write(line.encode())
            desk.stdin.flush()
        # It answers by whole lines, one for each wish: what can be read is a whole one, or the end.
        can_be_read = select.select([desk.stdout], [], [], PATIENCE * self.scale)[0]
        return bytes(desk.stdout.readline()) if can_be_read else b""

    def connect(self, relay: FakeRelay | None = None, *, proven: bool = True, **values: Any) -> None:
        relay = relay or self.relay
        given = {"address": "localhost", "port": relay.port, "user_name": USER_NAME, "password": PASSWORD}
        given |= {"ssl": relay.tls == "implicit", "enable_starttls": relay.tls == "starttls"}
        given |= {"enable_starttls_auto": False, "allow_clear_text_auth": not relay.tls}
        given |= {"openssl_verify_mode": "peer", "ca_certificates": authority_pem()} if relay.tls else {}
        given |= {"default_from": "Desk <desk@example.com>"}
        self.ask("connect", values=given | values, proven=proven)

    def load(self, *, hold: bool = False, actions: int = 2, recipients: int = 2, give_up_after: str = "") -> None:
        """Load the one workflow of the lab."""
        to = [f"person{number}@example.org" for number in range(1, recipients + 1)]
        tasks = [
            {"name": f"Mail {number}", "position": number, "skip_on_failure": True, "task_params":
                {"task_type": "send_email", "to": to, "subject": "{{ incident.title }}", "body": f"Action {number}"}}
            for number in range(1, actions + 1)
        ]  # fmt: skip
        workflow = {"slug": "lab", "name": "Lab", "enabled": True, "tasks": tasks}
        workflow |= {"trigger_params": {"trigger_type": "incident", "triggers": ["incident_created"]}}
        workflow |= {"on_unknown": "hold" if hold else "retry"}
        workflow |= {"give_up_after": give_up_after} if give_up_after else {}
        self.ask("load", document={"workflows": [workflow]})
        self.mails_of_a_run = actions

    def trigger(self, number: int = 1) -> None:
        """Let so many events happen."""
        for _ in range(number):
            key = secrets.token_hex(8)  # asked twice, it is one event all the same
            self.ask("trigger_event", data={"incident": {"title": f"Incident {key}"}}, key=key)

    def trigger_until_all_struck(self, *, at_least: int, again: Callable[[Lab], object], seconds: float = 60.0) -> None:
        """Let events happen until every fault that is armed now has struck; `again` brings about what it takes."""
        wanted = self.faults.armed()
        again(self)
        self.trigger(at_least)
        seconds *= self.scale
        began = looked = time.monotonic()
        while set(wanted) & set(self.faults.armed()):
            if time.monotonic() > began + seconds:
                told = f"not struck: {self.faults.disarm()}"
                raise AssertionError(f"{told}, {self._states()}, {self.ask('provider')}, {self.faults.struck()[-3:]}")
            time.sleep(0.1)
            if time.monotonic() > looked + 1.0:
                looked = time.monotonic()
                self._restart_the_dead()
                again(self)
                self.trigger()
        self.faults.disarm()

    def recover(self) -> None:
        """Make ready for the next scenario: no faults, a willing relay, everybody alive."""
        self.faults.disarm()
        self.thaw()
        self.relay.replies, self.relay.lies = {}, False
        self.relay.drop = self.relay.hang = ()
        self.relay.slow = {}
        for name in [name for name, program in self.programs.items() if not program.alive]:
            self.restart(name)
        with suppress(AssertionError):
            self.wait_for_the_end(seconds=10)  # what a failed scenario has left must not disturb the next one

    def restart(self, name: str) -> None:
        starts = {"broker": self.start_broker, "desk": self.start_desk}
        if name.startswith("worker"):
            self.start_worker(name)
        elif name.startswith("beat"):
            self.start_beat(name)
        else:
            starts[name]()

    # What happens to the machines

    def wipe_broker(self) -> None:
        assert not self.outer_broker, "others use it, too"
        with redis.Redis.from_url(self.broker_url) as client:
            client.flushall()

    def kill_broker(self) -> None:
        self.programs["broker"].kill()

    def kill_worker(self, name: str) -> None:
        """Kill the whole worker: its main process and its pool."""
        self.killed += len(self.programs[name].pids()) - 1
        self.programs[name].kill()

    def cut_database(self) -> int:
        """End every connection to the database (PostgreSQL only); return how many there were."""
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            return len(connection.execute(f"{query} AND pid <> pg_backend_pid()").fetchall())

    def freeze(self, name: str) -> None:
        """Stop a whole worker; `thaw` lets it go on."""
        self.killed += len(self.programs[name].pids()) - 1
        self.programs[name].signal(signal.SIGSTOP)

    def wait_until_frozen(self) -> None:
        """Wait until the process that a fault struck has stopped: let go on before that, it would stop for good."""
        frozen = [one.pid for one in self.faults.struck()[self._struck :] if one.mode == FREEZE]
        wait_until(lambda: all(map(is_stopped, frozen)), what="the freeze")

    def thaw(self) -> None:
        """Let every frozen process go on."""
        for program in self.programs.values():
            program.signal(signal.SIGCONT)

    def wait_for_faults(self, *, seconds: float = 30.0) -> None:
        try:
            wait_until(lambda: not self.faults.armed(), seconds=seconds * self.scale, what="the fault")
        except AssertionError as error:
            raise AssertionError(f"not struck: {self.faults.disarm()}") from error

    def wait_for_the_end(self, *, seconds: float = 45.0) -> None:
        """Wait until every delivery is in a final state, or held, and every run has ended that has none held.

        Others may come to want the processors: it fails where nothing has moved for so long, or after AT_MOST times it.
        """
        quiet, moved, furthest = seconds * self.scale, 0.0, float("-inf")
        end = time.monotonic() + AT_MOST * quiet
        while not self._is_over(found := self._states()):
            if (progress := self._progress(found)) > furthest:
                moved, furthest = time.monotonic(), progress
            still = time.monotonic() > moved + quiet
            assert not still, f"not over, and nothing has moved for {quiet:g} s: {found}, {self.ask('provider')}"
            assert time.monotonic() < end, f"not over after {AT_MOST * quiet:g} s: {found}, {self.ask('provider')}"
            time.sleep(0.05)

    def _states(self) -> dict[str, int]:
        self._restart_the_dead()
        found: dict[str, int] = self.ask("states", since=self.since)
        return found

    def _is_over(self, found: dict[str, int]) -> bool:
        return set(found) <= {*ENDED, "open runs"} and not found["open runs"]

    def _progress(self, found: dict[str, int]) -> int:
        """Return what grows as mails are made, handed over and ended, and as runs end."""
        made = sum(number for state, number in found.items() if state != "open runs")
        return made + sum(found.get(state, 0) for state in ENDED) + len(self.relay.ledger) - found["open runs"]

    def _restart_the_dead(self) -> None:
        """Do what a supervisor does: Celery ends a worker by itself, now and then, when its broker goes away."""
        for name in self.worker_names:
            if not self.programs[name].alive:
                self.killed += 3  # its pool
                self.start_worker(name)

    # What is believed

    def story(self, **options: Any) -> Story:
        struck = self.faults.struck()[self._struck :]
        lost = self.killed + sum(one.mode in TROUBLE or one.step in IN_FLIGHT for one in struck)
        lost += self._gave_up() - self._gave_up_before
        told = {"mails_of_a_run": self.mails_of_a_run, "lost_workers": lost} | options
        rows = {name: self.ask(name, since=self.since) for name in ("deliveries", "runs")}
        rows["envelopes"] = self.ask("envelopes")
        return Story(**rows, **({"ledger": self.relay.ledger[self.ledger_from :]} | told))

    def _gave_up(self) -> int:
        """Count where living workers lost a lease, or the database for too long, by their own word.

        On a busy machine, that happens without a fault.
        """
        logs = [path.read_bytes() for path in self.folder.glob("worker*.log")]
        return sum(log.count(word) for log in logs for word in (b"the lease was lost", b"raised unexpected"))

    def assert_invariants(self, **options: Any) -> Story:
        """Look at what is believed; a worker that was held up may say so a little later."""
        end = time.monotonic() + 3.0 * self.scale
        while broken := lab_invariants.broken(story := self.story(**options)):
            if time.monotonic() < end:
                time.sleep(0.2)
                continue
            struck = [f"{one.step} {one.mode} by {one.pid}" for one in self.faults.struck()[self._struck :]]
            raise AssertionError("\n".join([*broken, "after:", *struck]))
        return story

    def assert_no_late_copies(self) -> None:
        """Look at all scenarios once more: a worker may have woken up after its own."""
        self.since, self.ledger_from = NOBODY, 0
        broken = lab_invariants.no_copy_without_unknown(self.story(lied=True))
        assert not broken, broken

    def assert_no_secret_anywhere(self) -> None:
        """(7) No credential byte before TLS unless allowed, none in logs, in the database, in task arguments."""
        assert lab_places.left_in(self.folder, database_url=self.database_url, secrets=[USER_NAME, PASSWORD]) == []
        assert not (self.relay.tls and self.relay.clear_auths)
