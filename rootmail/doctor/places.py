"""Where things are, without the settings: the doctor is asked when these are broken."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent


def set_to(name: str) -> str:
    """Return what a setting is set to, in the environment or in the file that NAME_FILE names; '' where it is not."""
    file = os.environ.get(f"{name}_FILE")
    return text_of(Path(file)) if file else os.environ.get(name, "")


def text_of(path: Path) -> str:
    """Return what stands in a file, '' where it cannot be read."""
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text().strip()
    return ""


def state_folder() -> Path:
    """Return the folder that the settings take."""
    return Path(set_to("ROOTMAIL_VAR") or PROJECT / "var").resolve()
