"""Statements are prepared where PostgreSQL itself is spoken to, and nowhere else.

`TEST_PGBOUNCER` names the program of a real PgBouncer.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
import pytest
from django.db import OperationalError, ProgrammingError, transaction

from rootmail import state
from rootmail.postgresql.base import DatabaseWrapper
from tests.fake_relay import FakeRelay
from tests.installation import EXAMPLES, Installation, fresh_postgres, from_environment, wait_until
from workflows import inserting

ALIAS = "of its own"


@contextmanager
def connected(url: str) -> Iterator[DatabaseWrapper]:
    """A connection to this database, not to the tests' own."""
    from django.db import connections

    at = urlsplit(url)
    place = {"HOST": at.hostname, "PORT": at.port, "USER": at.username, "PASSWORD": unquote(at.password or "")}
    settings: dict[str, Any] = connections["default"].settings_dict | place
    settings |= {"ENGINE": "rootmail.postgresql", "NAME": at.path.strip("/"), "OPTIONS": {"server_side_binding": True}}
    connections[ALIAS] = made = DatabaseWrapper(settings, ALIAS)
    try:
        yield made
    finally:
        made.close()
        del connections[ALIAS]


@contextmanager
def pgbouncer(url: str, folder: Path) -> Iterator[str]:
    """Put a PgBouncer in front of a database, which gives another server to each transaction; return its address."""
    program, port, at = from_environment("TEST_PGBOUNCER"), state.free_port(), urlsplit(url)
    user = f"user={at.username}" + (f" password='{unquote(at.password)}'" if at.password else "")
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\nhere = host={at.hostname} port={at.port} dbname={at.path.strip('/')} {user}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\npool_mode = transaction\n"
        "default_pool_size = 3\nserver_round_robin = 1\nignore_startup_parameters = options\nunix_socket_dir =\n"
    )
    folder.chmod(0o755)
    as_another = ["-u", "nobody"] if os.getuid() == 0 else []  # it refuses to be root
    process = subprocess.Popen([program, *as_another, str(settings)], stderr=subprocess.DEVNULL)
    try:
        yield f"postgres://anybody@127.0.0.1:{port}/here"
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture
def direct(django_db_blocker: Any) -> Iterator[DatabaseWrapper]:
    with fresh_postgres() as url, django_db_blocker.unblock(), connected(url) as connection:
        yield connection


def prepared(connection: DatabaseWrapper) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return [statement for (statement,) in cursor.fetchall()]


def test_what_is_asked_directly_is_prepared_and_nothing_of_the_orm(direct: DatabaseWrapper) -> None:
    for _ in range(20):
        assert direct.ask("SELECT 7 AS asked") == [(7,)]
        assert direct.write_alone("SELECT %(n)s AS written", {"n": 1}, wait=True) == 1
        with direct.cursor() as cursor:
            cursor.execute("SELECT %s AS by_the_orm", [7])
    assert prepared(direct) == ["SELECT 7 AS asked", "SELECT $1 AS written"]


def test_a_statement_alone_is_a_transaction_of_its_own_and_a_part_of_one_that_is_open(direct: DatabaseWrapper) -> None:
    with direct.cursor() as cursor:
        cursor.execute("CREATE TABLE t (n int)")
    insert = "INSERT INTO t SELECT %(n)s FROM generate_series(1, 3)"
    assert direct.write_alone(insert, {"n": 1}, wait=True) == 3
    with transaction.atomic(using=ALIAS):
        direct.write_alone(insert, {"n": 2}, wait=False)
        transaction.set_rollback(True, using=ALIAS)
    assert direct.ask("SELECT count(*), max(n) FROM t") == [(3, 1)]


def test_a_connection_that_has_died_is_replaced_as_django_does_before_a_task(direct: DatabaseWrapper) -> None:
    for act in (lambda: direct.ask("SELECT 1"), lambda: direct.write_alone("SELECT %(n)s", {"n": 1}, wait=True)):
        ((server,),) = direct.ask("SELECT pg_backend_pid()")
        with psycopg.connect(from_environment("TEST_POSTGRES_URL")) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [server])
        direct.health_check_enabled, direct.health_check_done = True, False
        assert act()


def test_a_statement_for_which_no_transaction_is_begun_leaves_no_dead_connection(
    direct: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever triggers without a request around it would have met the same dead connection for ever."""
    monkeypatch.setattr(inserting, "connection", direct)
    ((server,),) = direct.ask("SELECT pg_backend_pid()")
    with psycopg.connect(from_environment("TEST_POSTGRES_URL")) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [server])
    with pytest.raises(OperationalError):
        inserting._carry_out_alone([("SELECT %s", [1])])
    inserting._carry_out_alone([("SELECT %s", [1])])


def test_it_says_why_it_takes_nothing(direct: DatabaseWrapper) -> None:
    assert direct.why_it_takes_nothing() == ""
    direct.cursor().execute("SET default_transaction_read_only = on")  # as on a standby
    assert direct.why_it_takes_nothing() == "it can only be read"


def test_its_errors_are_those_of_django(direct: DatabaseWrapper) -> None:
    with pytest.raises(ProgrammingError, match="missing"):
        direct.ask("SELECT 1 FROM missing")
    with pytest.raises(ProgrammingError, match="missing"):
        direct.write_alone("DELETE FROM missing WHERE n = %(n)s", {"n": 1}, wait=True)
    assert direct.ask("SELECT 1") == [(1,)]


def test_what_was_prepared_before_a_column_was_changed_is_prepared_anew(direct: DatabaseWrapper) -> None:
    with direct.cursor() as cursor:
        cursor.execute("CREATE TABLE t (name varchar(5)); INSERT INTO t VALUES ('a')")
    assert direct.ask("SELECT name FROM t") == [("a",)]
    with psycopg.connect(**direct.get_connection_params()) as other:
        other.execute("ALTER TABLE t ALTER name TYPE varchar(50)")
    assert direct.ask("SELECT name FROM t") == [("a",)]
    assert prepared(direct) == ["SELECT name FROM t"]


def test_behind_a_pooler_nothing_is_prepared(tmp_path: Path, django_db_blocker: Any) -> None:
    with ExitStack() as stack:
        stack.enter_context(django_db_blocker.unblock())
        url = stack.enter_context(pgbouncer(stack.enter_context(fresh_postgres()), tmp_path))
        connection = stack.enter_context(connected(url))
        wait_until(lambda: answers(url), what="PgBouncer")
        for _ in range(10):
            assert connection.ask("SELECT 7") == [(7,)]
            assert connection.write_alone("SELECT %(n)s", {"n": 1}, wait=True) == 1
        assert prepared(connection) == []


def answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.processes
def test_the_whole_road_behind_a_pooler(tmp_path: Path) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(pgbouncer(stack.enter_context(fresh_postgres()), tmp_path))
        wait_until(lambda: answers(url), what="PgBouncer")
        relay = stack.enter_context(FakeRelay())
        here = stack.enter_context(Installation(tmp_path, database_url=url))
        here.manage("workflow", "load", str(EXAMPLES / "workflows.json"))
        options = ["--no-ssl", "--no-enable-starttls-auto", "--default-from", "desk@example.com", "--no-check"]
        here.manage("integration", "connect", "smtp", "--address", "localhost", "--port", str(relay.port), *options)
        token = here.token()
        for _ in range(10):
            assert {mail["state"] for mail in here.mails_of(here.post_event(token))} == {"accepted"}
        told = json.loads(here.manage("doctor", "--json", ok=False))  # nobody is an Admin yet
        assert "through a pooler: no statements are prepared" in str(told)
        assert "Traceback" not in here.output
        assert len(relay.ledger) == 2 * 10


def test_a_connection_that_a_firewall_has_forgotten_is_given_up(tmp_path: Path) -> None:
    """Workers and web servers waited for an answer for hours, one thread after the other."""
    asked = (
        "import socket; from django.db import connection; connection.ensure_connection();"
        "line = socket.socket(fileno=connection.connection.fileno());"
        "print([line.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in"
        " ('TCP_USER_TIMEOUT', 'TCP_KEEPIDLE', 'TCP_KEEPINTVL', 'TCP_KEEPCNT')]); line.detach()"
    )
    url = from_environment("TEST_POSTGRES_URL")
    here = Installation(tmp_path, database_url=f"{url}?keepalives_idle=9")
    assert here.manage("shell", "--verbosity", "0", "-c", asked).strip() == "[10000, 9, 5, 4]"
