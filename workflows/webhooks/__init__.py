"""Foreign webhooks: what they tell, as events of ours. Pure; `workflows/intake.py` receives them."""

from .base import Adapter, Foreign, Reading, Sender, Unreadable

__all__ = ["Adapter", "Foreign", "Reading", "Sender", "Unreadable"]
