"""What a crash of PostgreSQL empties; see `workflows/starts.py`. SQLite's machine tells its starts itself."""

from typing import Any

from django.db import migrations

MAKE = """
CREATE UNLOGGED TABLE workflows_databasestart (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    mark integer NOT NULL CHECK (mark > 0),
    begun timestamptz NOT NULL DEFAULT now()
);
INSERT INTO workflows_databasestart (mark) VALUES (1 + floor(random() * 1073741823)::integer);
"""


def make(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(MAKE)


def unmake(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP TABLE workflows_databasestart")


class Migration(migrations.Migration):
    dependencies = [("workflows", "0014_noted_acceptances")]
    operations = [migrations.RunPython(make, unmake)]
