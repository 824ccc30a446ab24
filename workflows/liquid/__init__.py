"""Liquid in a sandbox. `engine` is the way in; the other files hold what it knows."""

from .engine import SECONDS, Filled, TemplateError, check, compiled, fill
from .nodes import Kind

__all__ = ["SECONDS", "Filled", "Kind", "TemplateError", "check", "compiled", "fill"]
