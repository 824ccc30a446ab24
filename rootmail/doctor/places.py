"""Where things are, without the settings: the doctor is asked when these are broken."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent


def state_folder() -> Path:
    """Return the folder that the settings take."""
    return Path(os.environ.get("ROOTMAIL_VAR", "") or PROJECT / "var").resolve()
