"""Everything that is looked at, in the order in which it is told. Needs settings that can be read."""

from __future__ import annotations

from .database import DATABASE
from .machine import MACHINE
from .mail import MAIL
from .people import PEOPLE
from .site import SITE
from .workers import WORKERS

AREAS = (MACHINE, SITE, DATABASE, WORKERS, MAIL, PEOPLE)
