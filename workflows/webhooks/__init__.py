"""Foreign webhooks: what they tell, as events of ours. Pure; `workflows/intake.py` receives them."""

from .base import Adapter, Foreign, Reading, Sender, Unreadable
from .mapping import parse_mapping, parse_severities
from .senders import SENDERS

__all__ = ["SENDERS", "Adapter", "Foreign", "Reading", "Sender", "Unreadable", "parse_mapping", "parse_severities"]
