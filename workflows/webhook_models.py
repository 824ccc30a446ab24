"""Where other systems post what happens there, and what was made of it."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from integrations.fields import EncryptedTextField

from .ids import new_id

LIMITS = [MinValueValidator(1), MaxValueValidator(100_000)]


class WebhookEndpoint(models.Model):
    """One address that one sender posts to.

    The address holds 256 random bits, of which only the SHA-256 is kept. While address or secret are exchanged at
    the sender, the ones of before are valid besides.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=20)  # a key of webhooks.SENDERS
    scheme = models.CharField(max_length=20)  # how the sender proves who it is: a key of webhooks.signatures.SCHEMES
    digest = models.CharField(max_length=64, unique=True, editable=False)
    digest_before = models.CharField(max_length=64, null=True, unique=True, editable=False)  # noqa: DJ001 (NULL: none)
    secret: models.TextField[str | None, str | None] = EncryptedTextField(null=True, blank=True)
    secret_before: models.TextField[str | None, str | None] = EncryptedTextField(null=True, blank=True)
    options = models.JSONField(default=dict, blank=True)
    posts_per_minute = models.PositiveIntegerField(default=120, validators=LIMITS)
    events_per_minute = models.PositiveIntegerField(default=300, validators=LIMITS)
    created_at = models.DateTimeField(auto_now_add=True)
    retired_at = models.DateTimeField(null=True, editable=False)
    # What was taken within the current minute.
    minute = models.DateTimeField(null=True, editable=False)
    posts = models.PositiveIntegerField(default=0, editable=False)
    events = models.PositiveIntegerField(default=0, editable=False)

    def __str__(self) -> str:
        return self.name

    @property
    def secrets(self) -> list[str]:
        """The secrets in force, in clear."""
        return [secret for secret in (self.secret, self.secret_before) if secret]


class WebhookKey(models.Model):
    """Something that was told once already: the sender's repeat of it makes nothing."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="keys")
    key = models.CharField(max_length=200)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["endpoint", "key"], name="one_webhook_key")]

    def __str__(self) -> str:
        return self.key


class WebhookSubject(models.Model):
    """What has a state that its sender repeats, an alert say: the state, and the last whole data about it.

    `ended`: its last event came. What is told of it next counts as the first, unless it only repeats that state.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="subjects")
    subject = models.CharField(max_length=200)
    state = models.CharField(max_length=200, blank=True)
    ended = models.BooleanField(default=False)
    data = models.JSONField(default=dict)
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["endpoint", "subject"], name="one_webhook_subject")]
        indexes = [models.Index(fields=["seen_at"], name="webhook_subject_seen")]

    def __str__(self) -> str:
        return f"{self.subject} {self.state}"


class WebhookReceipt(models.Model):
    """What one POST led to, for people to read. Holds neither headers nor a secret.

    `made` tells of each event: {"name", "event": its id or null, "repeat": whether it was known already}.
    `times`: a refusal that is repeated at once is counted, so that nobody can push the others out of the list.
    """

    class Outcome(models.TextChoices):
        STORED = "stored"
        DUPLICATE = "duplicate"
        IGNORED = "ignored"
        TEST = "test"
        REFUSED = "refused"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="receipts", db_index=False)
    at = models.DateTimeField()
    outcome = models.CharField(max_length=9, choices=Outcome.choices)
    status = models.PositiveSmallIntegerField()
    reason = models.TextField(blank=True)
    made = models.JSONField(default=list)
    body = models.TextField(blank=True)
    times = models.PositiveIntegerField(default=1)

    class Meta:
        indexes = [models.Index(fields=["endpoint", "-id"], name="webhook_receipt_by_endpoint")]

    def __str__(self) -> str:
        return f"{self.outcome} {self.at:%Y-%m-%d %H:%M:%S}"
