"""One command that runs it all: web, worker, beat and, where no other is named, the embedded broker."""

from __future__ import annotations

import fcntl
import http.client
import ipaddress
import logging
import os
import socket
import sys
from contextlib import suppress
from typing import IO, Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from rootmail import broker, first_start, logs, lost_keys
from rootmail.supervisor import StartFailed, Supervisor


class Command(BaseCommand):
    help = "Run web, worker, beat and, if BROKER_URL is not set, the embedded broker. Ctrl-C stops them all."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--bind", default="127.0.0.1:8000", help="where the site listens (127.0.0.1:8000)")
        parser.add_argument("--workers", type=int, default=2, help="worker processes that send mail (2)")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["workers"] < 1:
            raise CommandError("--workers: without a worker no mail leaves. Name 1 or more.")
        with _only_one(), _listen(options["bind"]) as site:
            environment = _environment(f"http://{options['bind']}")
            supervisor = Supervisor(say=self._say, environment=environment, folder=settings.BASE_DIR)
            supervisor.listen_for_signals()
            try:
                self._start(supervisor, site=site, workers=options["workers"])
                if not supervisor.stopping:
                    self._tell_how_to_begin(supervisor.environment["SITE_URL"])
                    self._say(f"rootmail runs at {supervisor.environment['SITE_URL']} (Ctrl-C stops it)")
                supervisor.run()
            except (StartFailed, broker.NoBroker) as error:
                raise CommandError(str(error)) from error
            finally:
                supervisor.stop()

    def _start(self, supervisor: Supervisor, *, site: socket.socket, workers: int) -> None:
        if settings.EMBEDDED_BROKER:
            self._start_broker(supervisor)
        call_command("migrate", verbosity=0)
        if told := lost_keys.warning():  # before anybody encrypts anything with the key of now
            logging.getLogger("rootmail.up").error(told)
        call_command("collectstatic", verbosity=0, interactive=False)
        celery = [sys.executable, "-m", "celery", "-A", "rootmail", "--quiet"]  # no banner: it is no line of a log
        level = f"--loglevel={settings.LOG_LEVEL}"
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        supervisor.start(
            "worker", [*celery, "worker", "--hostname=up{start}@%h", f"--concurrency={workers}", level, *quiet]
        )
        supervisor.start("beat", [*celery, "beat", level, "--pidfile="])
        supervisor.start("web", _web(site), files=[site.fileno()])
        supervisor.wait_until(lambda: _answers(site), seconds=60, what="The site")

    def _start_broker(self, supervisor: Supervisor) -> None:
        url = broker.usable_url(settings.CELERY_BROKER_URL, file=settings.EMBEDDED_BROKER_FILE)
        command = broker.command(url, folder=settings.ROOTMAIL_VAR / "broker")
        supervisor.start("broker", command, replaceable=False)
        supervisor.wait_until(lambda: broker.answers(url), seconds=15, what="The embedded broker")

    def _tell_how_to_begin(self, site: str) -> None:
        """A new installation has nobody who could log in."""
        if get_user_model()._default_manager.exists():
            left = settings.ROOTMAIL_VAR / "admin_password"  # of versions that made the first account themselves
            if left.exists():
                self._say(
                    f"{left} still holds the first password. Change it (the name above each page), delete the file."
                )
            return first_start.forget()
        token = first_start.token()
        return self._say(f"Make the first account at {site}/first-admin/ with the token {token}")

    def _say(self, text: str) -> None:
        if settings.LOG_FORMAT == logs.JSON:
            return logging.getLogger("rootmail.up").info(text)
        with suppress(OSError):  # the log's disk is full, or nobody reads any more: no reason to end
            self.stdout.write(text)
            self.stdout.flush()
        return None


def _environment(address: str) -> dict[str, str]:
    """What the children see: where no SITE_URL is set, links point to where the site listens.

    A line that the log could not take (its disk is full, its reader gone) must not stay in hand: Celery's pool flushes
    all before it forks, and the worker would end by that.
    """
    own = {"DJANGO_SETTINGS_MODULE": "rootmail.settings", "ROOTMAIL_VAR": str(settings.ROOTMAIL_VAR)}
    return {"SITE_URL": address, **os.environ, **own, "PYTHONUNBUFFERED": "1"}


def _listen(bind: str) -> socket.socket:
    """Take the port ourselves: a taken one is noticed at once, and a web process that dies does not lose it."""
    host, colon, port = bind.rpartition(":")
    try:
        if not colon:
            raise ValueError(bind)
        return socket.create_server((host.strip("[]"), int(port)), family=_family(host), backlog=1024)
    except ValueError as error:
        raise CommandError(f"--bind takes ADDRESS:PORT, for example 127.0.0.1:8000, not '{bind}'.") from error
    except (OSError, OverflowError) as error:
        raise CommandError(
            f"The site cannot listen on {bind} ({error}). Stop what uses it, or name another one with --bind."
        ) from error


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _web(site: socket.socket) -> list[str]:
    # Its control socket would stand in the home folder, one for all installations there, and nothing uses it.
    options = ["--workers=2", "--threads=4", "--graceful-timeout=10", "--log-level=warning", "--no-control-socket"]
    return [sys.executable, "-m", "gunicorn", "rootmail.wsgi", f"--bind=fd://{site.fileno()}", *options]


def _answers(site: socket.socket) -> bool:
    """Say whether the site speaks HTTP yet, whatever it says: it may expect another name, or https."""
    host, port = site.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/login/")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _only_one() -> IO[str]:
    """Hold a lock on the state folder: two `up` on one folder would start two brokers on its files."""
    lock = (settings.ROOTMAIL_VAR / "up.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise CommandError(
            f"rootmail runs already with the state in {settings.ROOTMAIL_VAR}. "
            "Stop it first, or set ROOTMAIL_VAR to another folder."
        ) from None
    return lock
