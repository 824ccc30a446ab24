"""Fetch what the pages take from others into static/vendor: `make vendor`. Needs npm, nothing else.

A new icon is a new name in ICONS. The files are committed, so nobody else needs npm.
"""

from __future__ import annotations

import hashlib
import re
import subprocess  # nosec B404 # each call says why it is safe
import tarfile
import tempfile
from pathlib import Path

VENDOR = Path(__file__).resolve().parent / "static" / "vendor"
PACKAGES = {"@tabler/core": "1.6.1", "@tabler/icons": "3.52.0", "htmx.org": "2.0.11"}
ICONS = [
    *("alert-circle", "alert-triangle", "bolt", "check", "circle-check", "clock"),
    *("device-desktop", "history", "info-circle", "key", "lock", "logout", "menu-2", "moon", "player-play"),
    *("plug-connected", "route", "send", "sun", "users", "webhook", "x"),
]
SVG = '<svg xmlns="http://www.w3.org/2000/svg">\n{}\n</svg>\n'
STROKES = 'fill="none" stroke="currentColor" stroke-linecap="round" stroke-linejoin="round"'
README = """# Made by others

Written by `make vendor` (`rootmail/vendor.py`); do not edit.

| Package or file | Version or SHA-256 |
|---|---|
{}
"""


def main() -> None:
    """Write every file, and a README with their versions and sums."""
    VENDOR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        core, icons, htmx = (_fetch(name, version, Path(folder)) for name, version in PACKAGES.items())
        styles = (core / "dist/css/tabler.min.css").read_text()
        mit = (icons / "LICENSE").read_text()
        files = {
            "tabler.min.css": re.sub(r"\s*/\*# sourceMappingURL=.*?\*/", "", styles) + "\n",
            "tabler.LICENSE": _licence_of_tabler(styles, mit),
            "icons.svg": SVG.format("\n".join(_symbol(icons, name) for name in sorted(ICONS))),
            "icons.LICENSE": mit,
            "htmx.min.js": (htmx / "dist/htmx.min.js").read_text(),
            "htmx.LICENSE": (htmx / "LICENSE").read_text(),
        }
    for name, text in files.items():
        (VENDOR / name).write_text(text)
    sums = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
    rows = [f"| {name} | {value} |" for name, value in (PACKAGES | sums).items()]
    (VENDOR / "README.md").write_text(README.format("\n".join(rows)))


def _fetch(name: str, version: str, folder: Path) -> Path:
    """Return the folder of an unpacked npm package."""
    target = folder / name.replace("/", "-")
    target.mkdir()
    command = ["npm", "pack", "--silent", f"{name}@{version}"]
    # Names and versions of our own, and no shell.
    done = subprocess.run(command, cwd=target, check=True, capture_output=True, text=True)  # noqa: S603 # nosec B603
    with tarfile.open(target / done.stdout.split()[-1]) as archive:
        archive.extractall(target, filter="data")
    return target / "package"


def _symbol(icons: Path, name: str) -> str:
    paths = re.findall(r'<path d="[^"]*" />', (icons / f"icons/outline/{name}.svg").read_text())
    return f'<symbol id="{name}" viewBox="0 0 24 24" {STROKES}>{"".join(paths)}</symbol>'


def _licence_of_tabler(styles: str, mit: str) -> str:
    """Return the MIT licence with the names in the stylesheet's head: the package carries no licence file."""
    owners = "\n".join(re.findall(r"^ \* (Copyright .*)$", styles, re.M))
    return re.sub(r"^Copyright .*$", lambda _: owners, mit, count=1, flags=re.M)


if __name__ == "__main__":
    main()
