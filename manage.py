#!/usr/bin/env python
"""Every command of the installation."""

import os
import sys

from rootmail.errors import for_people

if __name__ == "__main__":
    os.umask(0o077)  # what we store is for our own account alone
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rootmail.settings")
    with for_people():
        if sys.argv[1:2] == ["doctor"]:
            from rootmail.doctor.broken_settings import speak_if_broken

            speak_if_broken(sys.argv[2:])
        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)
