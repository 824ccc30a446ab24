"""One Django project for all peers; PEER says which one it is now. SQLite is set up as rootmail sets it up."""

from __future__ import annotations

import os
from pathlib import Path

import environ

PEER = os.environ["PEER"]
FOLDER = Path(os.environ["PEER_FOLDER"])
SECRET_KEY = "only for the benchmark"
USE_TZ = True
ROOT_URLCONF = ""
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
    }
]
INSTALLED_APPS = {
    "plain": ["bench.peers"],
    "celery-email": ["djcelery_email"],
    "mailer": ["mailer"],
    "post-office": ["post_office"],
}[PEER]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": environ.Env.db_url_config(os.environ["PEER_DATABASE_URL"])}
if "sqlite3" in DATABASES["default"]["ENGINE"]:
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
else:
    DATABASES["default"]["CONN_MAX_AGE"] = 60

SMTP = "django.core.mail.backends.smtp.EmailBackend"
EMAIL_BACKEND = {
    "plain": SMTP,
    "celery-email": "djcelery_email.backends.CeleryEmailBackend",
    "mailer": "mailer.backend.DbBackend",
    "post-office": "post_office.EmailBackend",
}[PEER]
CELERY_EMAIL_BACKEND = MAILER_EMAIL_BACKEND = SMTP
POST_OFFICE = {"BACKENDS": {"default": SMTP}, "BATCH_SIZE": 1000}
# Its file lock lets one process send. Without it, PostgreSQL's row locks share the queue out among several.
MAILER_USE_FILE_LOCK = "sqlite3" in DATABASES["default"]["ENGINE"]
MAILER_LOCK_PATH = str(FOLDER / "mailer")
MAILER_PROCESSES = 1 if MAILER_USE_FILE_LOCK else 2
EMAIL_HOST = "127.0.0.1"
EMAIL_PORT = int(os.environ["PEER_PORT"])
EMAIL_HOST_USER = os.environ["PEER_USER"]
EMAIL_HOST_PASSWORD = os.environ["PEER_PASSWORD"]
EMAIL_USE_TLS = bool(EMAIL_HOST_USER)

CELERY_BROKER_URL = os.environ["PEER_BROKER_URL"]
CELERY_TASK_DEFAULT_QUEUE = os.environ["PEER_QUEUE"]
CELERY_TASK_IGNORE_RESULT = True
