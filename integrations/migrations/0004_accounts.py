"""Roles as groups, and an audit log that the database itself keeps append-only."""

from django.db import migrations, models

ROLES = ("Admin", "Editor", "Viewer")
REFUSAL = "The audit log is append-only."

GUARD = {
    "sqlite": [
        f"""CREATE TRIGGER audit_append_only_{verb.lower()} BEFORE {verb} ON integrations_auditevent
            BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"""
        for verb in ("UPDATE", "DELETE")
    ]
    + [  # REPLACE deletes without a DELETE trigger
        """CREATE TRIGGER audit_append_only_insert BEFORE INSERT ON integrations_auditevent
            WHEN EXISTS (SELECT 1 FROM integrations_auditevent WHERE id = NEW.id)
            BEGIN SELECT RAISE(ABORT, 'The audit log is append-only.'); END"""
    ],
    "postgresql": [
        f"""CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$""",
        """CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON integrations_auditevent
            FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()""",
    ],
}
UNGUARD = {
    "sqlite": [f"DROP TRIGGER IF EXISTS audit_append_only_{verb}" for verb in ("update", "delete", "insert")],
    "postgresql": [
        "DROP TRIGGER IF EXISTS audit_append_only ON integrations_auditevent",
        "DROP FUNCTION IF EXISTS audit_append_only()",
    ],
}


def guard(apps, schema_editor):
    for statement in GUARD.get(schema_editor.connection.vendor, []):
        schema_editor.execute(statement)


def unguard(apps, schema_editor):
    for statement in UNGUARD.get(schema_editor.connection.vendor, []):
        schema_editor.execute(statement)


def make_roles(apps, schema_editor):
    """Permissions are made after all migrations, so the one that is needed here is made here."""
    kind, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="integrations", model="smtpintegration"
    )
    manage, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=kind, codename="manage_integrations", defaults={"name": "Can set up integrations"}
    )
    for name in ROLES:
        group, _ = apps.get_model("auth", "Group").objects.get_or_create(name=name)
        if name == "Admin":
            group.permissions.add(manage)
    take_direct_rights(apps, manage)


def take_direct_rights(apps, manage):
    """Whoever could set up integrations by a right of their own would be more than that now: an Admin gives the role."""
    for person in apps.get_model("auth", "User").objects.filter(user_permissions=manage, is_superuser=False):
        person.user_permissions.remove(manage)
        apps.get_model("integrations", "AuditEvent").objects.create(
            actor="upgrade", action="direct permission removed", details={"name": person.username}
        )


class Migration(migrations.Migration):
    dependencies = [
        ("integrations", "0003_pages"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["actor", "-at"], name="audit_by_actor"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["action", "-at"], name="audit_by_action"),
        ),
        migrations.RunPython(guard, unguard),
        migrations.RunPython(make_roles, migrations.RunPython.noop),
    ]
