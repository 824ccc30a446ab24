"""What is taken from others: complete, unchanged, and asking nobody else for anything."""

from __future__ import annotations

import hashlib
import re

from rootmail.vendor import ICONS, PACKAGES, VENDOR
from tests.test_architecture import ROOT

MANIFEST = (VENDOR / "README.md").read_text()


def test_every_file_is_as_it_was_fetched() -> None:
    sums = dict(re.findall(r"\| (\S+) \| ([0-9a-f]{64}) \|", MANIFEST))
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir()}
    assert {name: value for name, value in files.items() if name != "README.md"} == sums


def test_the_manifest_names_the_versions_and_the_sprite_has_the_icons() -> None:
    assert [f"| {name} | {version} |" in MANIFEST for name, version in PACKAGES.items()] == [True] * 3
    assert re.findall(r'<symbol id="([^"]+)"', (VENDOR / "icons.svg").read_text()) == sorted(ICONS)


def test_every_icon_of_a_template_is_in_the_sprite() -> None:
    sources = [*(ROOT / "templates").rglob("*.html"), ROOT / "rootmail" / "frame.py"]
    used = re.findall(r'_icon\.html" with name="([^"]+)"|icon="([^"]+)"', "".join(path.read_text() for path in sources))
    assert {name for pair in used for name in pair if name} - set(ICONS) == set()


def test_the_stylesheet_loads_nothing() -> None:
    styles = (VENDOR / "tabler.min.css").read_text()
    assert "sourceMappingURL" not in styles
    assert "@import" not in styles
    assert [address for address in re.findall(r"url\(\"?([^)]{0,5})", styles) if address != "data:"] == []
