"""Read by gunicorn itself where it is started in this folder: with LOG_FORMAT=json its lines are JSON as well."""

from rootmail import logs
from rootmail.environment import Env

env = Env()

if env.str("LOG_FORMAT", default="") == logs.JSON:
    logconfig_dict = logs.configuration(form=logs.JSON, level=env.str("LOG_LEVEL", default="INFO").upper())
