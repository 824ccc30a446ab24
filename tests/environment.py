"""What the tests run in, set before Django reads its settings: a throw-away state folder, nothing of the caller's.

`TEST_DATABASE_URL` names a PostgreSQL to test against. `TESTS_MUST_NOT_SKIP=1` makes a skip a failure, as in CI.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from _pytest.nodeid import coerce_node_id

OURS = ("ROOTMAIL_VAR", "SECRET_KEY", "FERNET_KEYS", "SITE_URL", "ALLOWED_HOSTS", "DEFAULT_SENDER")
OURS += (
    "DEFAULT_SENDER_URL",
    "RESERVED_SENDER_DOMAINS",
    "SMTP_ALLOW_PRIVATE_NETWORKS",
    "BROKER_URL",
    "DATABASE_URL",
    "DEBUG",
    "LOG_LEVEL",
    "LOG_FORMAT",
    "METRICS_TOKEN",
    "METRICS_NETWORKS",
    "BEHIND_PROXY",
    "SESSION_HOURS",
    "PASSWORD_LINK_HOURS",
    "FORGOTTEN_LINK_HOURS",
    "LOGIN_FAILURES",
    "LOGIN_LOCK_MINUTES",
    "KEEP_BODIES_DAYS",
    "KEEP_DELIVERIES_DAYS",
    "SWEEP_SECONDS",
    "STATIC_ROOT",
    "WORKER_ALIVE_FILE",
)

for name in OURS:
    os.environ.pop(name, None)

_folder = tempfile.mkdtemp(prefix="rootmail-tests-")
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
(Path(_folder) / "static").mkdir()
os.environ["ROOTMAIL_VAR"] = _folder
os.environ["DEFAULT_SENDER"] = "Rootmail <workflows@rootmail.example>"
os.environ["FERNET_KEYS"] = "a key for the tests alone"
if "TEST_DATABASE_URL" in os.environ:
    os.environ["DATABASE_URL"] = os.environ["TEST_DATABASE_URL"]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with whole installations: they take longest, and at the end the last one would be waited for alone.

    And let `--dist loadgroup` see its groups: xdist 3.8 notes them in `_nodeid`, which pytest 9.2 reads no more.
    """
    items.sort(key=lambda item: not _has_a_database_of_its_own(item))
    for item in items:
        noted = item.__dict__.get("_nodeid", "")
        if "@" in noted.rpartition("]")[2]:
            item._id = coerce_node_id(noted)


def _has_a_database_of_its_own(item: pytest.Item) -> bool:
    """The others keep pytest-django's order: what empties the tests' database comes after what relies on its rows."""
    ours = {"db", "transactional_db", "live_server"} & set(getattr(item, "fixturenames", ()))
    return bool(item.get_closest_marker("processes") and not item.get_closest_marker("django_db") and not ours)


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run three at a time on two cores: tests of whole installations wait more than they reckon."""
    cores = os.cpu_count() or 1
    return cores + (cores + 1) // 2
