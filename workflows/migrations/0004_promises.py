"""Deadlines, policies for unknown outcomes, retention, and what the deliveries pages look for."""

import django.db.models.deletion
import django.db.models.functions.text
import workflows.validators
from django.db import migrations, models


def fill_in_workflows(apps, schema_editor):
    runs = apps.get_model("workflows", "Run").objects.filter(pk=models.OuterRef("run_id")).values("workflow_id")[:1]
    apps.get_model("workflows", "Delivery").objects.update(workflow_id=models.Subquery(runs))


class Migration(migrations.Migration):

    dependencies = [
        ('workflows', '0003_roles'),
    ]

    operations = [
        migrations.AddField(
            model_name='attempt',
            name='transcript',
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name='delivery',
            name='hold_unknown',
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name='delivery',
            name='purged_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='delivery',
            name='workflow',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='workflows.workflow'),
        ),
        migrations.AddField(
            model_name='workflow',
            name='give_up_after',
            field=models.CharField(blank=True, max_length=50, validators=[workflows.validators.validate_deadline]),
        ),
        migrations.AddField(
            model_name='workflow',
            name='on_unknown',
            field=models.CharField(choices=[('retry', 'Retry'), ('hold', 'Hold')], default='retry', max_length=5),
        ),
        migrations.AlterField(
            model_name='recipient',
            name='state',
            field=models.CharField(choices=[('queued', 'Queued'), ('accepted', 'Accepted'), ('deferred', 'Deferred'), ('refused', 'Refused'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], default='queued', max_length=9),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('state__in', ['queued', 'deferred', 'unknown', 'held'])), fields=['give_up_at'], name='delivery_overdue'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('purged_at__isnull', True)), fields=['id'], name='delivery_not_purged'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(fields=['state', '-id'], name='delivery_by_state'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(fields=['provider', '-id'], name='delivery_by_provider'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(fields=['workflow', '-id'], name='delivery_by_workflow'),
        ),
        migrations.AddIndex(
            model_name='recipient',
            index=models.Index(django.db.models.functions.text.Lower('address'), models.OrderBy(models.F('delivery'), descending=True), name='recipient_by_address'),
        ),
        # The last: PostgreSQL alters no table that was written to in the same transaction. The next migration forbids NULL.
        migrations.RunPython(fill_in_workflows, migrations.RunPython.noop),
    ]
