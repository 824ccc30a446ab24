"""Numbers that only grow, for monitoring: they outlive the rows that they were counted from."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class Count(models.Model):
    """One number. What a series does not need is blank; `bound`: in seconds, of a histogram's bucket."""

    class Series(models.TextChoices):
        ATTEMPTS = "attempts"
        RUNS = "runs"
        RELAY = "relay"
        RELAY_SUM = "relay_sum"
        ACCEPTANCE = "acceptance"
        ACCEPTANCE_SUM = "acceptance_sum"

    series = models.CharField(max_length=20, choices=Series.choices)
    provider = models.CharField(max_length=20, blank=True)
    outcome = models.CharField(max_length=21, blank=True)
    code = models.CharField(max_length=11, blank=True)
    bound = models.CharField(max_length=10, blank=True)
    value = models.FloatField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["series", "provider", "outcome", "code", "bound"], name="one_count"),
        ]

    def __str__(self) -> str:
        return f"{self.series} {self.value}"


class CountMark(models.Model):
    """How far has been counted, and how far to go once the transactions that were `open_then` have ended: one row."""

    ONLY = 1

    attempts = models.BigIntegerField()  # primary keys up to this one
    runs = models.DateTimeField()  # what ended until then
    next_attempts = models.BigIntegerField()
    next_runs = models.DateTimeField()
    open_then = models.JSONField(default=list)  # PostgreSQL's names of them
    noted_at = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="one_count_mark")]

    def __str__(self) -> str:
        return f"attempts up to {self.attempts}"
