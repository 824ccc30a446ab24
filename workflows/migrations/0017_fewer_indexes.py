"""Each index costs with every mail: none that another one begins with, and none of rows that have no value there.

Ids stand in their own order, so that new rows come last. SQLite copies the tables for this.
"""

import django.db.models.deletion
from django.db import migrations, models

from workflows.migrating import TakeTables


class Migration(migrations.Migration):

    dependencies = [
        ('workflows', '0016_resources_of_own_events'),
    ]

    operations = [
        TakeTables('attempt', 'delivery', 'event', 'recipient', 'run'),
        migrations.RemoveConstraint(
            model_name='attempt',
            name='one_note_per_lease',
        ),
        migrations.RemoveConstraint(
            model_name='run',
            name='one_run_per_repeat',
        ),
        migrations.RemoveConstraint(
            model_name='run',
            name='one_run_per_resource',
        ),
        migrations.RemoveIndex(
            model_name='delivery',
            name='delivery_by_state',
        ),
        migrations.RemoveIndex(
            model_name='delivery',
            name='delivery_by_provider',
        ),
        migrations.RemoveIndex(
            model_name='delivery',
            name='delivery_by_workflow',
        ),
        migrations.RemoveIndex(
            model_name='event',
            name='event_by_resource',
        ),
        migrations.RemoveIndex(
            model_name='run',
            name='run_finished',
        ),
        migrations.RemoveIndex(
            model_name='run',
            name='run_by_workflow',
        ),
        migrations.RemoveIndex(
            model_name='run',
            name='run_by_status',
        ),
        migrations.AlterField(
            model_name='attempt',
            name='delivery',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='attempts', to='workflows.delivery'),
        ),
        migrations.AlterField(
            model_name='delivery',
            name='run',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='workflows.run'),
        ),
        migrations.AlterField(
            model_name='event',
            name='key',
            field=models.CharField(max_length=200, null=True),
        ),
        migrations.AlterField(
            model_name='recipient',
            name='delivery',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='recipients', to='workflows.delivery'),
        ),
        migrations.AlterField(
            model_name='run',
            name='first',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='repeats', to='workflows.run'),
        ),
        migrations.AlterField(
            model_name='run',
            name='workflow',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='runs', to='workflows.workflow'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(fields=['state', 'id'], name='delivery_by_state'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(fields=['provider', 'id'], name='delivery_by_provider'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(fields=['workflow', 'id'], name='delivery_by_workflow'),
        ),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(condition=models.Q(('resource', ''), _negated=True), fields=['resource', 'id'], name='event_by_resource'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('finished_at__isnull', False)), fields=['finished_at'], name='run_finished'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(fields=['workflow', 'id'], name='run_by_workflow'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(fields=['status', 'id'], name='run_by_status'),
        ),
        migrations.AddConstraint(
            model_name='attempt',
            constraint=models.UniqueConstraint(fields=('delivery', 'lease'), name='one_note_per_lease'),
        ),
        migrations.AddConstraint(
            model_name='event',
            constraint=models.UniqueConstraint(condition=models.Q(('key__isnull', False)), fields=('key',), name='one_event_per_key'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.UniqueConstraint(condition=models.Q(('first__isnull', False)), fields=('first', 'number'), name='one_run_per_repeat'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.UniqueConstraint(condition=models.Q(('once_key__isnull', False)), fields=('workflow', 'once_key'), name='one_run_per_resource'),
        ),
    ]
