"""What must not stand in a log."""

from __future__ import annotations

import logging
import re
from typing import Any

# The address of a webhook is its secret: whoever knows it may post.
_ADDRESS = re.compile(r"(/hooks/)[\w-]+")


class WithoutAddresses(logging.Filter):
    """Take the secret part out of the addresses of webhooks: Django logs the path of each request that is refused."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = _masked(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(_masked(value) for value in record.args)
        return True


def _masked(value: Any) -> Any:
    return _ADDRESS.sub(r"\1…", value) if isinstance(value, str) else value
