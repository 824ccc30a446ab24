"""Read by gunicorn itself where it is started in this folder: with LOG_FORMAT=json its lines are JSON as well."""

import os

from rootmail import logs

if os.environ.get("LOG_FORMAT") == logs.JSON:
    logconfig_dict = logs.configuration(form=logs.JSON, level=os.environ.get("LOG_LEVEL", "INFO").upper())
