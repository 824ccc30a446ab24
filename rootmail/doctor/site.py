"""The settings, and where the site is."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core import checks
from django.db import connection
from django.http.request import validate_host

from .findings import Area, Check, Finding, ok, problem, warning
from .places import set_to

LOOPBACK = ("127.0.0.1", "localhost", "::1")
KEYS = ("SECRET_KEY", "FERNET_KEYS")
LONG_ENOUGH = 32


def look_at_keys() -> Iterator[Finding]:
    """Several machines share PostgreSQL: a key that one of them has generated is not known to the others."""
    keys, generated = settings.FERNET_KEYS, [name for name in KEYS if not set_to(name)]
    if not all(keys) or settings.SECRET_KEY in keys:
        yield problem("FERNET_KEYS holds a blank one, or SECRET_KEY", "Set it to long random texts: docs/settings.md.")
    elif generated and connection.vendor != "sqlite":
        yield warning(
            f"{' and '.join(generated)} generated on this machine",
            "With more than one machine, set them to the same ones everywhere; the present ones are in "
            f"{settings.ROOTMAIL_VAR}.",
        )
    elif short := [
        name for name, key in (("SECRET_KEY", settings.SECRET_KEY), ("FERNET_KEYS", keys[0])) if len(key) < LONG_ENOUGH
    ]:
        yield warning(
            f"{' and '.join(short)} shorter than {LONG_ENOUGH} characters", "Make long random ones: docs/settings.md."
        )
    else:
        yield ok(f"{len(keys)} for encryption" + ("" if len(keys) == 1 else ", the first one writes"))


def look_at_debug() -> Iterator[Finding]:
    if settings.DEBUG:
        yield problem(
            "DEBUG is on: error pages show settings to anybody", "Take DEBUG out of the environment and restart."
        )
    else:
        yield ok("off")


def look_at_address() -> Iterator[Finding]:
    """Compare SITE_URL with what goes with it."""
    host = urlsplit(settings.SITE_URL).hostname or ""
    if not host:
        yield problem(f"SITE_URL names no host: {settings.SITE_URL}", "Set it to the address of the site, https://...")
    elif not validate_host(host, settings.ALLOWED_HOSTS):
        yield problem(f"ALLOWED_HOSTS does not hold {host}, the host of SITE_URL", f"Add {host} to ALLOWED_HOSTS.")
    elif "*" in settings.ALLOWED_HOSTS:
        yield warning(
            "ALLOWED_HOSTS allows every name", "Name the site's own names: links in mails are made from them."
        )
    else:
        yield _of_https(host)


def _of_https(host: str) -> Finding:
    address = settings.SITE_URL
    if not settings.HTTPS and host not in LOOPBACK:
        return warning(
            f"{address} without https: passwords cross the network in clear", "Put a proxy with TLS in front."
        )
    if not settings.HTTPS:
        return warning(f"{address} is for this machine alone", "Set SITE_URL to the address that people use.")
    if settings.SECURE_SSL_REDIRECT and not settings.BEHIND_PROXY:
        return warning(
            f"{address}, and BEHIND_PROXY is off",
            "Behind a proxy that speaks TLS set BEHIND_PROXY=1: without it, every page leads to itself.",
        )
    return ok(address)


def look_at_monitoring() -> Iterator[Finding]:
    """Ask who may read /metrics."""
    token, networks = settings.METRICS_TOKEN, settings.METRICS_NETWORKS
    if any(network.prefixlen == 0 for network in networks):
        yield warning(
            "METRICS_NETWORKS lets everybody read /metrics", "Name the network of your monitoring, or a token."
        )
    elif token and len(token) < LONG_ENOUGH:
        yield warning(
            f"METRICS_TOKEN shorter than {LONG_ENOUGH} characters", "Make a long random one: docs/settings.md."
        )
    else:
        who = [*(["whoever has METRICS_TOKEN"] if token else []), *map(str, networks)]
        yield ok(f"/metrics is for {', '.join(who) or 'nobody'}")


def look_at_static_files() -> Iterator[Finding]:
    """A page that names a file which nobody collected is an error, and an upgrade may bring such files."""
    noted, _ = staticfiles_storage.load_manifest()  # type: ignore[attr-defined]
    missing = sorted({name for finder in get_finders() for name, _ in finder.list([])} - set(noted))
    if missing:
        yield warning(
            f"{len(missing)} are not collected: {missing[0]}",
            "Where web processes run on this machine: manage.py collectstatic --noinput, then restart them.",
        )
    else:
        yield ok("all collected")


def look_by_django() -> Iterator[Finding]:
    """Run the checks of `manage.py check --deploy`."""
    found = [one for one in checks.run_checks(include_deployment_checks=True) if not one.is_silenced()]
    serious = [one for one in found if one.is_serious()]
    todo = "manage.py check --deploy explains each."
    if serious:
        yield problem("; ".join(f"{one.id}: {one.msg}" for one in serious), str(serious[0].hint or todo))
    elif found:
        hint = "" if settings.HTTPS else " Most come from a SITE_URL without https."
        yield warning(", ".join(sorted(str(one.id) for one in found)), todo + hint)
    else:
        yield ok("nothing to say")


SITE = Area(
    "Settings",
    (
        Check("keys", look_at_keys),
        Check("debug", look_at_debug),
        Check("address", look_at_address),
        Check("monitoring", look_at_monitoring),
        Check("static files", look_at_static_files),
        Check("deployment", look_by_django, seconds=15),
    ),
)
