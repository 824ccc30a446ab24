"""Why a workflow that heard an event did not run: NULL where that was not kept yet."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('workflows', '0017_fewer_indexes'),
    ]

    operations = [
        migrations.AddField(
            model_name='event',
            name='skipped',
            field=models.JSONField(null=True),
        ),
    ]
