from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("workflows", "0010_webhooks")]

    operations = [
        migrations.AddField(
            model_name="delivery",
            name="provider_id",
            field=models.CharField(blank=True, max_length=100),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("provider_id", ""), _negated=True),
                fields=["provider_id"],
                name="delivery_by_provider_id",
            ),
        ),
    ]
