"""Wiring only: settings, URLs, Celery, and the commands `up`, `demo` and `doctor`."""

from .celery import app as celery_app

__all__ = ["celery_app"]
