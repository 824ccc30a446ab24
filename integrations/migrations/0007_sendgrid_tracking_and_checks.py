"""Tracking by SendGrid as the admin wants it, and what the daily check of an integration found."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("integrations", "0006_links"),
    ]

    operations = [
        migrations.AddField(
            model_name="sendgridintegration",
            name="check_failed_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="sendgridintegration",
            name="check_problem",
            field=models.TextField(blank=True, editable=False),
        ),
        migrations.AddField(
            model_name="sendgridintegration",
            name="click_tracking",
            field=models.BooleanField(
                default=False,
                help_text="Lets SendGrid lead every link of the HTML part through its own server. Off also where the account has it on.",
                verbose_name="Click tracking",
            ),
        ),
        migrations.AddField(
            model_name="sendgridintegration",
            name="next_check_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="sendgridintegration",
            name="open_tracking",
            field=models.BooleanField(
                default=False,
                help_text="Lets SendGrid add an invisible picture that tells when a mail was opened. Off also where the account has it on.",
                verbose_name="Open tracking",
            ),
        ),
        migrations.AddField(
            model_name="smtpintegration",
            name="check_failed_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="smtpintegration",
            name="check_problem",
            field=models.TextField(blank=True, editable=False),
        ),
        migrations.AddField(
            model_name="smtpintegration",
            name="next_check_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
