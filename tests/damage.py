"""What happens to an installation whose keys were lost."""

from __future__ import annotations

from cryptography.fernet import Fernet
from django.db import connection, models


def lose_key_of(row: models.Model, *names: str) -> None:
    """Store values that were encrypted with a key nobody has any more."""
    for name in names:
        token = Fernet(Fernet.generate_key()).encrypt(b"lost")
        pk = row._meta.pk.get_db_prep_value(row.pk, connection)
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {row._meta.db_table} SET {name} = %s WHERE id = %s", [token, pk])
