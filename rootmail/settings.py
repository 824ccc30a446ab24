"""Every setting, from the environment where an operator may change it.

Without any configuration: SQLite, an embedded broker and generated keys, all under `var/`.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from datetime import timedelta
from email.utils import parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
from csp.constants import NONE, SELF
from django.contrib.messages import constants as message_levels

from rootmail import logs, state
from rootmail.environment import Env

env = Env()  # SECRET_KEY_FILE names a file that holds SECRET_KEY, and so with every setting
BASE_DIR = Path(__file__).resolve().parent.parent

# Where the state lives: SQLite file, keys, embedded broker, outbox.
ROOTMAIL_VAR = Path(env.str("ROOTMAIL_VAR", default="") or BASE_DIR / "var").resolve()

# --- keys ------------------------------------------------------------------------------------
SECRET_KEY = env.str("SECRET_KEY", default="") or state.stored(ROOTMAIL_VAR / "secret_key", state.new_key)
# The first key encrypts, all of them decrypt; separated by commas.
FERNET_KEYS = env.list("FERNET_KEYS", default=[]) or [state.stored(ROOTMAIL_VAR / "fernet_key", state.new_key)]

# --- the site --------------------------------------------------------------------------------
DEBUG = env.bool("DEBUG", default=False)
SITE_URL = env.str("SITE_URL", default="http://127.0.0.1:8000").rstrip("/")
ALLOWED_HOSTS = env.list(
    "ALLOWED_HOSTS", default=[urlsplit(SITE_URL).hostname or "", "localhost", "127.0.0.1", "[::1]"]
)
CSRF_TRUSTED_ORIGINS = [SITE_URL]
ROOT_URLCONF = "rootmail.urls"
WSGI_APPLICATION = "rootmail.wsgi.application"

INSTALLED_APPS = [
    "axes",  # counts failed log-ins before our own receivers hear of them
    "rootmail",
    "integrations",
    "workflows",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "csp",
]
MIDDLEWARE = [
    "rootmail.requests.Numbered",
    "rootmail.probes.AnswerProbes",  # before anything asks which host was meant: load balancers name an address
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "rootmail.spare_thread.SpareThread",  # before anything asks the database
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",  # the last: it replaces the answer to a log-in that is locked
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "rootmail.frame.frame",
                "rootmail.banners.banners",
            ],
        },
    },
]
MESSAGE_TAGS = {message_levels.ERROR: "danger"}  # as the stylesheet calls it
LANGUAGE_CODE = "en"
TIME_ZONE = env.time_zone("TIME_ZONE", default="UTC")
USE_TZ = True
STATIC_URL = "static/"
# Where `collectstatic` puts what browsers fetch: a container may have it in its image.
STATIC_ROOT = Path(env.str("STATIC_ROOT", default="") or ROOTMAIL_VAR / "static")
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
WHITENOISE_MAX_AGE = 3600

# --- security --------------------------------------------------------------------------------
HTTPS = SITE_URL.startswith("https://")
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=HTTPS)
# A redirect loses what services post: they are answered 403 there. Who scrapes the metrics is close by.
SECURE_REDIRECT_EXEMPT = [r"^v1/", r"^hooks/", r"^events/", r"^metrics$"]
BEHIND_PROXY = env.bool("BEHIND_PROXY", default=False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
SECURE_HSTS_SECONDS = env.whole("SECURE_HSTS_SECONDS", default=31_536_000 if HTTPS else 0, least=0)
# For this host alone: what else its owner runs below it is not ours to decide about, least of all for years.
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = False
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = env.whole("SESSION_HOURS", default=12) * 3600
PASSWORD_RESET_TIMEOUT = env.whole("PASSWORD_LINK_HOURS", default=72) * 3600
FORGOTTEN_LINK_TIMEOUT = env.whole("FORGOTTEN_LINK_HOURS", default=2) * 3600
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "style-src": [SELF],
        "script-src": [SELF],
        "img-src": [SELF, "data:"],  # the stylesheet draws ticks and arrows with them; an image runs nothing
        "font-src": [SELF],
        "connect-src": [SELF],
        "frame-src": [SELF],  # how a mail looks, which has a policy of its own
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    },
}
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"
# After so many failures, a name is locked for the address that they came from.
AXES_FAILURE_LIMIT = env.whole("LOGIN_FAILURES", default=5)
AXES_COOLOFF_TIME = timedelta(minutes=env.whole("LOGIN_LOCK_MINUTES", default=15))
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # or the page could not say when it ends
AXES_CLIENT_IP_CALLABLE = "integrations.sign_in.counted_address"
AXES_USERNAME_CALLABLE = "integrations.sign_in.counted_name"
AXES_LOCKOUT_CALLABLE = "integrations.sign_in_views.locked_out"
AXES_DISABLE_ACCESS_LOG = True  # the audit log has it
AXES_SENSITIVE_PARAMETERS = [  # it keeps the other fields of a form that failed
    *("username", "email", "password", "old_password", "new_password1", "new_password2", "csrfmiddlewaretoken"),
]
AXES_ENABLE_ADMIN = AXES_VERBOSE = False

# --- database --------------------------------------------------------------------------------
SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(ROOTMAIL_VAR / "rootmail.sqlite3")}
DATABASES: dict[str, dict[str, Any]] = {"default": SQLITE}
if env.str("DATABASE_URL", default=""):
    DATABASES["default"] = env.database("DATABASE_URL")
DATABASES["default"].setdefault("CONN_MAX_AGE", 60)
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
if DATABASES["default"]["ENGINE"] == SQLITE["ENGINE"]:
    DATABASES["default"]["ENGINE"] = "rootmail.sqlite"
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",  # a transaction that will write says so at once, or it fails as busy later
        "timeout": 20,
        # FULL: what was answered with 202 survives a power cut, too.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
elif DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    DATABASES["default"]["ENGINE"] = "rootmail.postgresql"
    # A process that is frozen, or whose machine is gone, in the middle of a transaction would keep its locks for
    # hours, and every sweeper would wait for them.
    options = DATABASES["default"].setdefault("OPTIONS", {})
    options.setdefault("options", "-c idle_in_transaction_session_timeout=30000")
    options.setdefault("server_side_binding", True)  # only such statements can be prepared
    # A firewall that has forgotten a connection drops what is said there, in silence. Who waits for an answer would do
    # so for two hours, the kernel's own patience, and web servers have no other thread by then.
    options.setdefault("connect_timeout", 10)
    options |= {"keepalives_idle": 20, "keepalives_interval": 5, "keepalives_count": 4} | options
    options.setdefault("tcp_user_timeout", 10_000)  # milliseconds until what was said has to be acknowledged

# --- broker: only the doorbell, the database is the queue ----------------------------------------
EMBEDDED_BROKER_FILE = ROOTMAIL_VAR / "broker_url"
EMBEDDED_BROKER = not env.broker("BROKER_URL")
CELERY_BROKER_URL = env.broker("BROKER_URL") or state.stored(EMBEDDED_BROKER_FILE, state.new_broker_url)
CELERY_TASK_DEFAULT_QUEUE = env.str("QUEUE", default="rootmail")
CELERY_CONTROL_EXCHANGE = CELERY_TASK_DEFAULT_QUEUE  # or workers of another installation would answer our ping
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_TIME_LIMIT = 600  # shorter than the visibility timeout, or a slow task would run twice
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_TIMEOUT = 2
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # a worker waits for its broker as long as it takes
# Who rings does not wait for a broker that is down: one try, no pauses. Workers have their own patience.
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, object] = {"max_retries": 1, "interval_start": 0, "interval_step": 0}
if CELERY_BROKER_URL.startswith("redis"):
    CELERY_BROKER_TRANSPORT_OPTIONS |= {
        "visibility_timeout": 900,
        # Without these two, the task of a dead worker comes back only after minutes.
        "unacked_restore_interval": 2,
        "unacked_restore_throttle": 1,
        # Without these four, a half-open connection leaves a worker deaf.
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }
else:
    # Without these, a worker or beat whose connection was lost on the way is deaf for minutes. Seconds, milliseconds.
    CELERY_BROKER_HEARTBEAT = 10
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        CELERY_BROKER_TRANSPORT_OPTIONS["socket_settings"] = {socket.TCP_USER_TIMEOUT: 10_000}
# A queue of its own that RabbitMQ believes to be in use would keep such a worker out, when it comes back.
CELERY_CONTROL_QUEUE_EXCLUSIVE = False
CELERY_WORKER_ALIVE_FILE = env.str("WORKER_ALIVE_FILE", default="")  # a worker touches it: its sign of life
SWEEP_SECONDS = env.seconds("SWEEP_SECONDS", default=5.0)
# One that nobody took is worth nothing: the next one does the same. But a worker goes by its own machine's clock here,
# and where that is ahead by more than this, it throws all of them away.
LATE = {"expires": 3600}
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "workflows.tasks.sweep", "schedule": SWEEP_SECONDS, "options": LATE},
    "count new": {"task": "workflows.tasks.count_new", "schedule": 10.0, "options": LATE},
    "tell admins": {"task": "integrations.tasks.tell_admins", "schedule": 60.0, "options": LATE},
    "forget old": {"task": "workflows.tasks.forget_old", "schedule": 120.0, "options": LATE},
    "recheck": {"task": "integrations.tasks.recheck_integrations", "schedule": 300.0, "options": LATE},
    "forget sessions": {"task": "integrations.tasks.forget_sessions", "schedule": 3600.0, "options": LATE},
    "forget errands": {"task": "integrations.tasks.forget_errands", "schedule": 60.0, "options": LATE},
}
CELERY_BEAT_SCHEDULER = "rootmail.beat:Scheduler"

# --- mail ------------------------------------------------------------------------------------
EMAIL_ROUTER = "integrations.backends.EmailBackend"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": EMAIL_ROUTER}}  # beside it, any EMAIL_* setting of Django raises
else:
    EMAIL_BACKEND = EMAIL_ROUTER
DEFAULT_FROM_EMAIL = env.str("DEFAULT_SENDER", default="Rootmail workflows <workflows@rootmail.localhost>")
DEFAULT_SENDER_URL = env.str("DEFAULT_SENDER_URL", default=(ROOTMAIL_VAR / "outbox").as_uri())
RESERVED_SENDER_DOMAINS = env.list(
    "RESERVED_SENDER_DOMAINS", default=[parseaddr(DEFAULT_FROM_EMAIL)[1].rpartition("@")[2]]
)
SMTP_ALLOW_PRIVATE_NETWORKS = env.bool("SMTP_ALLOW_PRIVATE_NETWORKS", default=True)

# --- how long things are kept; 0: for ever ------------------------------------------------------
KEEP_BODIES_DAYS = env.int("KEEP_BODIES_DAYS", default=30)
KEEP_DELIVERIES_DAYS = env.int("KEEP_DELIVERIES_DAYS", default=400)

# --- addresses that bounced; 0: for ever -----------------------------------------------------
SUPPRESSION_DAYS = env.int("SUPPRESSION_DAYS", default=180)

# --- the API ---------------------------------------------------------------------------------
MAX_EVENT_BYTES = env.whole("MAX_EVENT_BYTES", default=1024 * 1024)
DATA_UPLOAD_MAX_MEMORY_SIZE = max(MAX_EVENT_BYTES, 2_621_440)

# --- monitoring ------------------------------------------------------------------------------
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
METRICS_NETWORKS = [
    ipaddress.ip_network(text.strip()) for text in env.list("METRICS_NETWORKS", default=["127.0.0.0/8", "::1/128"])
]

# --- logs: ids and outcomes, no addresses, no content --------------------------------------------
LOG_LEVEL = env.one_of("LOG_LEVEL", logs.LEVELS, default="INFO")
LOG_FORMAT = env.one_of("LOG_FORMAT", (logs.LINE, logs.JSON), default=logs.LINE)
LOGGING = logs.configuration(form=LOG_FORMAT, level=LOG_LEVEL)
logging.captureWarnings(LOG_FORMAT == logs.JSON)  # as lines like the others
