
import django.core.validators
import django.db.models.deletion
import integrations.fields
import workflows.ids
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('workflows', '0009_repeats'),
    ]

    operations = [
        migrations.CreateModel(
            name='WebhookEndpoint',
            fields=[
                ('id', models.UUIDField(default=workflows.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=100, unique=True)),
                ('kind', models.CharField(max_length=20)),
                ('scheme', models.CharField(max_length=20)),
                ('digest', models.CharField(editable=False, max_length=64, unique=True)),
                ('digest_before', models.CharField(editable=False, max_length=64, null=True, unique=True)),
                ('secret', integrations.fields.EncryptedTextField(blank=True)),
                ('secret_before', integrations.fields.EncryptedTextField(blank=True)),
                ('options', models.JSONField(blank=True, default=dict)),
                ('posts_per_minute', models.PositiveIntegerField(default=120, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(100000)])),
                ('events_per_minute', models.PositiveIntegerField(default=300, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(100000)])),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('retired_at', models.DateTimeField(editable=False, null=True)),
                ('minute', models.DateTimeField(editable=False, null=True)),
                ('posts', models.PositiveIntegerField(default=0, editable=False)),
                ('events', models.PositiveIntegerField(default=0, editable=False)),
            ],
        ),
        migrations.CreateModel(
            name='WebhookKey',
            fields=[
                ('id', models.UUIDField(default=workflows.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('key', models.CharField(max_length=200)),
                ('endpoint', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='keys', to='workflows.webhookendpoint')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('endpoint', 'key'), name='one_webhook_key')],
            },
        ),
        migrations.CreateModel(
            name='WebhookReceipt',
            fields=[
                ('id', models.UUIDField(default=workflows.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('at', models.DateTimeField()),
                ('outcome', models.CharField(choices=[('stored', 'Stored'), ('duplicate', 'Duplicate'), ('ignored', 'Ignored'), ('test', 'Test'), ('refused', 'Refused')], max_length=9)),
                ('status', models.PositiveSmallIntegerField()),
                ('reason', models.TextField(blank=True)),
                ('made', models.JSONField(default=list)),
                ('body', models.TextField(blank=True)),
                ('times', models.PositiveIntegerField(default=1)),
                ('endpoint', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='receipts', to='workflows.webhookendpoint')),
            ],
            options={
                'indexes': [models.Index(fields=['endpoint', '-id'], name='webhook_receipt_by_endpoint')],
            },
        ),
        migrations.CreateModel(
            name='WebhookSubject',
            fields=[
                ('id', models.UUIDField(default=workflows.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('subject', models.CharField(max_length=200)),
                ('state', models.CharField(blank=True, max_length=200)),
                ('ended', models.BooleanField(default=False)),
                ('data', models.JSONField(default=dict)),
                ('seen_at', models.DateTimeField()),
                ('endpoint', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='subjects', to='workflows.webhookendpoint')),
            ],
            options={
                'indexes': [models.Index(fields=['seen_at'], name='webhook_subject_seen')],
                'constraints': [models.UniqueConstraint(fields=('endpoint', 'subject'), name='one_webhook_subject')],
            },
        ),
    ]
