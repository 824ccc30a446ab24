"""The database: it answers, it is whole, and it fits this code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseTrouble
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from .findings import Area, Check, Finding, ok, problem, warning

CLOCK_SECONDS = 5
LARGE_WAL = 256 * 1024**2
TRIGGERS = {
    "sqlite": ("audit_append_only_update", "audit_append_only_delete", "audit_append_only_insert"),
    "postgresql": ("audit_append_only",),
}
TRIGGERS_OF = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'integrations_auditevent'",
    "postgresql": "SELECT tgname FROM pg_trigger "
    "WHERE tgrelid = 'integrations_auditevent'::regclass AND tgenabled <> 'D' AND NOT tgisinternal",
}
CONNECTIONS = (
    "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), "
    "current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
)


def rows_of(query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def look_at_database() -> Iterator[Finding]:
    """Ask for its version. What the driver says when it does not answer names no password."""
    try:
        [(version,)] = rows_of("SELECT sqlite_version()" if connection.vendor == "sqlite" else "SELECT version()")
    except DatabaseTrouble as error:
        yield problem(f"{_place()} does not answer: {str(error).splitlines()[0]}", _how_to_mend())
        return
    if connection.vendor == "sqlite":
        yield ok(f"SQLite {version}, {settings.DATABASES['default']['NAME']}")
    elif connection.vendor == "postgresql":
        way = "" if connection.is_direct else ", through a pooler: no statements are prepared"  # type: ignore[attr-defined]
        yield ok(f"{' '.join(str(version).split()[:2])}, {_place()}{way}")
    else:
        yield problem(f"{connection.vendor} is not supported", "Use PostgreSQL, or take DATABASE_URL out for SQLite.")


def _how_to_mend() -> str:
    if connection.vendor == "sqlite":
        return (
            "May this account write to the file and its folder, and is there space? If it is damaged, stop everything "
            "and restore the last backup into an empty folder: docs/backup.md."
        )
    return "Start it, or set DATABASE_URL right. No mail leaves meanwhile, and none is lost."


def _place() -> str:
    """Return where it is, without who we are there."""
    named = settings.DATABASES["default"]
    host, port = named.get("HOST") or "", named.get("PORT") or ""
    return f"{host}{f':{port}' if port else ''}/{named['NAME']}" if host else str(named["NAME"])


def look_at_clock() -> Iterator[Finding]:
    """PostgreSQL's clock counts for deadlines; ours for certificates, logs and signed webhooks."""
    if connection.vendor != "postgresql":
        yield ok("the database has this machine's clock")
        return
    before = timezone.now()
    [(there,)] = rows_of("SELECT clock_timestamp()")
    middle = before + (timezone.now() - before) / 2
    seconds = abs((there - middle).total_seconds())
    if seconds > CLOCK_SECONDS:
        yield warning(
            f"this machine and PostgreSQL differ by {seconds:.0f} seconds",
            "Set both clocks right (NTP): PostgreSQL's counts for deadlines, this one for certificates and webhooks.",
        )
    else:
        yield ok(f"{seconds:.1f} seconds from PostgreSQL's")


def look_at_migrations() -> Iterator[Finding]:
    executor = MigrationExecutor(connection)
    pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    rooms = {app for app, _ in executor.loader.disk_migrations}
    newer = sorted(
        f"{app}.{name}"
        for app, name in executor.loader.applied_migrations
        if app in rooms
        and (app, name) not in executor.loader.disk_migrations
        and (app, name) not in executor.loader.replacements
    )
    if pending:
        names = ", ".join(f"{one.app_label}.{one.name}" for one, _ in pending[:3])
        yield problem(f"{len(pending)} not carried out: {names}", "manage.py migrate, then restart web and workers.")
    elif newer:
        yield warning(
            f"the database is newer than this code: {', '.join(newer[:3])}",
            "Install the newer release here as well. To stay with this one is possible for a while: docs/upgrading.md.",
        )
    else:
        yield ok("all carried out")


def look_at_audit_log() -> Iterator[Finding]:
    found = {name for (name,) in rows_of(TRIGGERS_OF[connection.vendor])}
    missing = [name for name in TRIGGERS[connection.vendor] if name not in found]
    if missing:
        yield problem(
            f"not guarded: without the trigger {', '.join(missing)}, entries can be changed",
            "Find out who dropped it, then make it again as integrations/migrations/0004_accounts.py does.",
        )
    else:
        yield ok("guarded against changes")


def look_at_integrity() -> Iterator[Finding]:
    if connection.vendor != "sqlite":
        yield ok("PostgreSQL's own business")
        return
    found = [str(text) for (text,) in rows_of("PRAGMA quick_check(3)")]
    [(journal,)] = rows_of("PRAGMA journal_mode")
    log = Path(f"{settings.DATABASES['default']['NAME']}-wal")
    size = log.stat().st_size if log.exists() else 0
    if found != ["ok"]:
        yield problem(f"damaged: {'; '.join(found)}", "Stop everything, and restore the last backup: docs/backup.md.")
    elif journal != "wal":
        yield problem(
            f"journal mode {journal} instead of wal", "Is the file system a network's? Move the folder to a local disk."
        )
    elif size > LARGE_WAL:
        yield warning(
            f"the write-ahead log has grown to {size // 1024**2} MB", "Something reads for ever: restart everything."
        )
    else:
        yield ok("whole, write-ahead log in use")


def look_at_encoding() -> Iterator[Finding]:
    if connection.vendor != "postgresql":
        yield ok("SQLite takes every letter")
        return
    [(encoding,)] = rows_of("SHOW server_encoding")
    if encoding == "UTF8":
        yield ok("UTF8")
    else:
        yield problem(
            f"{encoding} instead of UTF8: an event or a mail with a letter that it lacks is refused",
            "Back it up, and restore it into one that createdb made with --encoding=UTF8 --template=template0: "
            "docs/backup.md.",
        )


def look_at_connections() -> Iterator[Finding]:
    if connection.vendor != "postgresql":
        yield ok("SQLite has no limit")
        return
    [(used, limit)] = rows_of(CONNECTIONS)
    said = f"{used} of {limit} in use"
    if used > 0.8 * limit:
        yield warning(said, "Each worker process and each web thread keeps one: raise max_connections, or run fewer.")
    else:
        yield ok(said)


DATABASE = Area(
    "Database",
    (
        Check("database", look_at_database),
        Check("migrations", look_at_migrations, needs=("database",), seconds=15),
        Check("clock", look_at_clock, needs=("database",)),
        Check("audit log", look_at_audit_log, needs=("database", "migrations")),
        Check("encoding", look_at_encoding, needs=("database",)),
        Check("integrity", look_at_integrity, needs=("database",), seconds=60),
        Check("connections", look_at_connections, needs=("database",)),
    ),
)
