"""Pauses and limits of providers."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('integrations', '0004_accounts'),
    ]

    operations = [
        migrations.CreateModel(
            name='ProviderState',
            fields=[
                ('name', models.CharField(max_length=20, primary_key=True, serialize=False)),
                ('paused_at', models.DateTimeField(null=True)),
                ('next_try_at', models.DateTimeField(null=True)),
                ('probe_until', models.DateTimeField(null=True)),
                ('failures', models.PositiveIntegerField(default=0)),
                ('reason', models.TextField(blank=True)),
                ('version', models.PositiveIntegerField(default=0)),
                ('told_at', models.DateTimeField(null=True)),
                ('next_turn_at', models.DateTimeField(null=True)),
            ],
        ),
        migrations.AddField(
            model_name='sendgridintegration',
            name='rate_limit',
            field=models.PositiveIntegerField(blank=True, help_text='So many within the time below, evenly spread, by all workers together. Blank: no limit.', null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(100000)], verbose_name='Mails at the most'),
        ),
        migrations.AddField(
            model_name='sendgridintegration',
            name='rate_per',
            field=models.CharField(choices=[('second', 'Second'), ('minute', 'Minute')], default='second', max_length=6, verbose_name='Within a'),
        ),
        migrations.AddField(
            model_name='sendgridintegration',
            name='session_limit',
            field=models.PositiveSmallIntegerField(blank=True, help_text='So many connections at the most, of all workers together. Blank: one for each worker process.', null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(1000)], verbose_name='Simultaneous sessions'),
        ),
        migrations.AddField(
            model_name='smtpintegration',
            name='rate_limit',
            field=models.PositiveIntegerField(blank=True, help_text='So many within the time below, evenly spread, by all workers together. Blank: no limit.', null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(100000)], verbose_name='Mails at the most'),
        ),
        migrations.AddField(
            model_name='smtpintegration',
            name='rate_per',
            field=models.CharField(choices=[('second', 'Second'), ('minute', 'Minute')], default='second', max_length=6, verbose_name='Within a'),
        ),
        migrations.AddField(
            model_name='smtpintegration',
            name='session_limit',
            field=models.PositiveSmallIntegerField(blank=True, help_text='So many connections at the most, of all workers together. Blank: one for each worker process.', null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(1000)], verbose_name='Simultaneous sessions'),
        ),
        migrations.CreateModel(
            name='SessionSlot',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('provider', models.CharField(max_length=20)),
                ('number', models.PositiveSmallIntegerField()),
                ('holder', models.UUIDField(null=True)),
                ('until', models.DateTimeField(null=True)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('provider', 'number'), name='one_slot_per_number')],
            },
        ),
    ]
