"""What happens to an installation whose keys were lost."""

from __future__ import annotations

from cryptography.fernet import Fernet
from django.db import connection

from integrations.models import SendGridIntegration, SmtpIntegration


def lose_key_of(row: SmtpIntegration | SendGridIntegration, *names: str) -> None:
    """Store values that were encrypted with a key nobody has any more."""
    for name in names:
        token = Fernet(Fernet.generate_key()).encrypt(b"lost")
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {row._meta.db_table} SET {name} = %s WHERE id = %s", [token, row.pk])
