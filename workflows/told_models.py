"""What was told of a mail after its acceptance, and whom nothing is sent to because of it."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q


class Told(models.Model):
    """One event that a provider told of one recipient. It never changes that the provider accepted the mail."""

    class Kind(models.TextChoices):
        """As integrations.feedback has them; the later one says more about how it ended."""

        PROCESSED = "processed", "processed"
        DEFERRED = "deferred", "deferred"
        DELIVERED = "delivered", "delivered"
        DROPPED = "dropped", "dropped"
        BLOCKED = "blocked", "blocked"
        BOUNCE = "bounce", "bounced"
        SPAM_REPORT = "spam_report", "reported as spam"

    LOST = (Kind.DROPPED, Kind.BLOCKED, Kind.BOUNCE)  # the recipient has not got it after all

    TROUBLE = (*LOST, Kind.SPAM_REPORT)

    recipient = models.ForeignKey("workflows.Recipient", on_delete=models.CASCADE, related_name="told")
    kind = models.CharField(max_length=11, choices=Kind.choices)
    at = models.DateTimeField()
    reason = models.TextField(blank=True)
    event_id = models.CharField(max_length=100, unique=True)

    class Meta:
        ordering = ["at", "pk"]

    def __str__(self) -> str:
        return f"{self.kind} {self.event_id}"

    @property
    def lost(self) -> bool:
        return self.kind in self.LOST


class Suppression(models.Model):
    """An address that nothing is sent to: mail to it came back for good, or its owner complained.

    In force until it expires or an Admin releases it. A released one is kept, so that an event which is told once more
    does not count again.
    """

    class Kind(models.TextChoices):
        """The later one counts more."""

        REFUSED = "refused", "refused"
        BOUNCE = "bounce", "bounced"
        COMPLAINT = "complaint", "reported as spam"

    address = models.CharField(max_length=320, unique=True)  # as recipients.canonical writes it
    kind = models.CharField(max_length=9, choices=Kind.choices)
    reason = models.TextField(blank=True)
    since = models.DateTimeField()
    told_by = models.CharField(max_length=20)  # a provider's name
    delivery = models.ForeignKey("workflows.Delivery", null=True, on_delete=models.SET_NULL, related_name="+")
    expires_at = models.DateTimeField(null=True)
    released_at = models.DateTimeField(null=True)
    released_by = models.CharField(max_length=150, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~Q(kind="complaint") | Q(expires_at__isnull=True), name="complaints_do_not_expire"
            ),
        ]
        indexes = [models.Index(F("since").desc(), F("id").desc(), name="suppression_newest")]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"
