"""What the roles may do with workflows. The groups themselves are made by integrations."""

from django.db import migrations

EDITED = ("workflow", "action")
READ = ("run", "delivery")


def grant(apps, schema_editor):
    groups = {group.name: group for group in apps.get_model("auth", "Group").objects.all()}
    for model in EDITED + READ:
        for verb in ("view", "add", "change", "delete") if model in EDITED else ("view",):
            permission = _permission(apps, verb, model)
            for name in ("Admin", "Editor", "Viewer") if verb == "view" else ("Admin", "Editor"):
                groups[name].permissions.add(permission)


def _permission(apps, verb, model):
    """Permissions are made after all migrations, so those that are needed here are made here."""
    kind, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(app_label="workflows", model=model)
    permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=kind, codename=f"{verb}_{model}", defaults={"name": f"Can {verb} {model}"}
    )
    return permission


class Migration(migrations.Migration):
    dependencies = [
        ("workflows", "0002_pages"),
        ("integrations", "0004_accounts"),
    ]

    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]
