"""The Celery application. What it does is in `workflows/tasks.py`."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rootmail.settings")

app = Celery("rootmail")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
