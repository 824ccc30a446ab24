"""What gunicorn serves."""

import os

from django.core.wsgi import get_wsgi_application

from . import about
from .celery import app

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rootmail.settings")

application = get_wsgi_application()
about.at_start()  # before anything is upgraded under its feet; /readyz tells it
# Now, and not at the first ring: where that cannot load all of it (no more files may be open), it never tries again.
app.finalize()
