"""Every delivery names its workflow."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('workflows', '0004_promises'),
    ]

    operations = [
        migrations.AlterField(
            model_name='delivery',
            name='workflow',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='workflows.workflow'),
        ),
    ]
