"""Admins and Editors may send deliveries again, cancel them, and consider them delivered."""

from django.db import migrations


def grant(apps, schema_editor):
    kind, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="workflows", model="delivery"
    )
    permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=kind, codename="change_delivery", defaults={"name": "Can change delivery"}
    )
    for group in apps.get_model("auth", "Group").objects.filter(name__in=["Admin", "Editor"]):
        group.permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [("workflows", "0005_workflow_of_delivery")]

    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]
