"""What to send, when, and did the relay accept it."""

from __future__ import annotations

from collections.abc import Iterable

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, URLValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower

from . import counting_models, told_models, webhook_models  # noqa: F401 (Django looks for models here)
from .ids import new_id
from .validators import (
    validate_addresses,
    validate_body,
    validate_conditions,
    validate_days,
    validate_deadline,
    validate_length,
    validate_repeat,
    validate_repeating,
    validate_slug,
    validate_template,
    validate_templates,
    validate_time_zone,
    validate_triggers,
    validate_visible_sender,
    validate_wait,
)


class Workflow(models.Model):
    """When something happens that fits, its actions are carried out."""

    class Join(models.TextChoices):
        ALL = "ALL"
        ANY = "ANY"
        NONE = "NONE"

    class OnUnknown(models.TextChoices):
        """What to do where the relay may have taken a mail, and its answer was not heard."""

        RETRY = "retry"
        HOLD = "hold"

    slug = models.CharField(max_length=100, unique=True, validators=[validate_slug])
    name = models.CharField(max_length=200)
    enabled = models.BooleanField(default=True)
    trigger_type = models.CharField(max_length=20)
    triggers = models.JSONField(default=list, blank=True)  # `clean` says what is missing
    condition = models.CharField(max_length=4, choices=Join.choices, default=Join.ALL)
    conditions = models.JSONField(default=list, blank=True, validators=[validate_conditions])
    wait = models.CharField(max_length=50, blank=True, validators=[validate_wait])
    repeat_every_duration = models.CharField(max_length=50, blank=True, validators=[validate_repeat])
    repeat_on = models.JSONField(default=list, blank=True, validators=[validate_days])  # letters of SMTWRFU
    repeat_condition_duration_since_first_run = models.CharField(
        max_length=50, blank=True, validators=[validate_length]
    )
    repeat_condition_number_of_repeats = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)]
    )
    continuously_repeat = models.BooleanField(default=False)
    run_once_per_resource = models.BooleanField(default=False)
    time_zone = models.CharField(max_length=64, blank=True, validators=[validate_time_zone])  # blank: TIME_ZONE
    locked = models.BooleanField(default=False)  # for Admins alone to change
    give_up_after = models.CharField(max_length=50, blank=True, validators=[validate_deadline])
    on_unknown = models.CharField(max_length=5, choices=OnUnknown.choices, default=OnUnknown.RETRY)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        validate_triggers(self.trigger_type, self.triggers)
        validate_repeating(self)


class Action(models.Model):
    """One Send an Email step of a workflow. Its texts are Liquid templates, its body is Markdown besides."""

    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="actions")
    position = models.PositiveIntegerField(validators=[MinValueValidator(1)])
    name = models.CharField(max_length=200)
    enabled = models.BooleanField(default=True)
    skip_on_failure = models.BooleanField(default=False)
    to = models.JSONField(default=list, validators=[validate_templates])
    cc = models.JSONField(default=list, blank=True, validators=[validate_templates])
    bcc = models.JSONField(default=list, blank=True, validators=[validate_templates])
    sender = models.CharField(max_length=500, blank=True, validators=[validate_visible_sender])
    reply_to = models.CharField(max_length=500, blank=True, validators=[validate_template])
    subject = models.TextField(validators=[validate_template])
    preheader = models.TextField(blank=True, validators=[validate_template])
    body = models.TextField(validators=[validate_body])
    include_header = models.BooleanField(default=True)
    include_footer = models.BooleanField(default=True)
    custom_logo_url = models.CharField(
        max_length=2000, blank=True, validators=[URLValidator(schemes=["http", "https"])]
    )

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["workflow", "position"], name="one_action_per_position"),
            models.CheckConstraint(condition=Q(position__gte=1), name="position_from_one"),
        ]

    def __str__(self) -> str:
        return f"{self.workflow} · {self.name}"

    def clean(self) -> None:
        try:
            validate_addresses(self.reply_to)
        except ValidationError as error:
            raise ValidationError({"reply_to": error.messages}) from error


class Event(models.Model):
    """Something happened, as a client told us. `key` is the client's idempotency key, `resource` what it is about.

    `skipped`: {"workflow": its slug, "reason": why it did not run} for each that heard it; NULL: not known.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=100)
    key = models.CharField(max_length=200, null=True)  # noqa: DJ001 (NULL: no key, and not unique)
    resource = models.CharField(max_length=200, blank=True)
    data = models.JSONField(default=dict)
    received_at = models.DateTimeField()
    skipped = models.JSONField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["key"], condition=Q(key__isnull=False), name="one_event_per_key"),
        ]
        indexes = [
            models.Index(fields=["resource", "id"], condition=~Q(resource=""), name="event_by_resource"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.id}"


class Leased(models.Model):
    """A row that one worker at a time may work on: who holds the lease writes, nobody else."""

    lease = models.UUIDField(null=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        abstract = True


class Run(Leased):
    """One workflow carried out for one event. A repeat is a run of its own: `number` 1 and more, of its `first` run."""

    class Status(models.TextChoices):
        QUEUED = "queued"
        STARTED = "started"
        COMPLETED = "completed"
        COMPLETED_WITH_ERRORS = "completed_with_errors"
        FAILED = "failed"
        CANCELED = "canceled"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="runs", db_index=False)
    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="runs")
    status = models.CharField(max_length=21, choices=Status.choices, default=Status.QUEUED)
    triggered_by = models.CharField(max_length=10, default="system")
    manual = models.BooleanField(default=False)  # somebody asked for it: neither wait nor conditions
    first = models.ForeignKey("self", null=True, on_delete=models.CASCADE, related_name="repeats", db_index=False)
    number = models.PositiveIntegerField(default=0)
    stopped = models.BooleanField(default=False)  # of a first run: somebody wants no more repeats of it
    # Set while it is the one run of its workflow for a resource, where the workflow wants no more.
    once_key = models.CharField(max_length=200, null=True)  # noqa: DJ001 (NULL: not bound, and not unique)
    checks = models.JSONField(default=list)  # what each look at the conditions saw
    tries = models.PositiveSmallIntegerField(default=0)
    status_message = models.TextField(blank=True)
    due_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workflow", "event"],
                condition=Q(number=0, manual=False),
                name="one_run_per_workflow_and_event",
            ),
            models.UniqueConstraint(
                fields=["first", "number"], condition=Q(first__isnull=False), name="one_run_per_repeat"
            ),
            models.UniqueConstraint(
                fields=["workflow", "once_key"], condition=Q(once_key__isnull=False), name="one_run_per_resource"
            ),
            models.CheckConstraint(
                condition=Q(first__isnull=True, number=0) | Q(first__isnull=False, number__gte=1),
                name="repeats_have_a_first_run",
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(status="queued"), name="run_due"),
            # By the lease, and by nothing else: sorted by id, SQLite would read all runs to find those of a batch.
            models.Index(fields=["lease"], condition=Q(lease__isnull=False), name="run_leased"),
            models.Index(fields=["finished_at"], condition=Q(finished_at__isnull=False), name="run_finished"),
            # The list's filters; ids sort by time.
            models.Index(fields=["workflow", "id"], name="run_by_workflow"),
            models.Index(fields=["status", "id"], name="run_by_status"),
        ]

    def __str__(self) -> str:
        return f"{self.workflow_id} {self.id}"


class Delivery(Leased):
    """One mail on its way: the rendered bytes, the state, and when it is due. This row is the truth."""

    class State(models.TextChoices):
        QUEUED = "queued"
        SENDING = "sending"
        ACCEPTED = "accepted"
        DEFERRED = "deferred"
        FAILED = "failed"
        UNKNOWN = "unknown"
        HELD = "held"
        CANCELLED = "cancelled"

    DUE = (State.QUEUED, State.DEFERRED, State.UNKNOWN)
    FINAL = (State.ACCEPTED, State.FAILED, State.CANCELLED)
    WAITING = (State.QUEUED, State.DEFERRED, State.UNKNOWN, State.HELD)  # in nobody's hands

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    action = models.ForeignKey(Action, null=True, on_delete=models.SET_NULL, related_name="deliveries")
    action_name = models.CharField(max_length=200)
    position = models.PositiveIntegerField()
    optional = models.BooleanField(default=False)
    state = models.CharField(max_length=9, choices=State.choices, default=State.QUEUED)
    reason = models.TextField(blank=True)
    message_id = models.CharField(max_length=200, blank=True)
    requested_from = models.TextField(blank=True)
    sent_from = models.TextField(blank=True)
    provider = models.CharField(max_length=20, blank=True)
    provider_id = models.CharField(max_length=100, blank=True)  # the provider's own number for the mail
    subject = models.TextField(blank=True)
    content = models.BinaryField(default=b"")
    warnings = models.JSONField(default=list)
    triggered_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    bounced_at = models.DateTimeField(null=True)  # since when it is known that a recipient has not got it after all
    next_attempt_at = models.DateTimeField(null=True)
    give_up_at = models.DateTimeField()
    hold_unknown = models.BooleanField(default=False)
    tries = models.PositiveIntegerField(default=0)
    purged_at = models.DateTimeField(
        null=True
    )  # when content and transcripts were erased: bodies are not kept for ever

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(fields=["run", "position"], name="one_delivery_per_run_and_action"),
            models.CheckConstraint(
                condition=Q(lease__isnull=False, state="sending") | Q(lease__isnull=True) & ~Q(state="sending"),
                name="delivery_leased_while_sending",
            ),
        ]
        indexes = [
            models.Index(fields=["next_attempt_at"], condition=Q(next_attempt_at__isnull=False), name="delivery_due"),
            models.Index(fields=["lease"], condition=Q(lease__isnull=False), name="delivery_leased"),
            # PostgreSQL and SQLite use a partial index only for a condition that they can prove from the query's own.
            models.Index(
                fields=["give_up_at"],
                condition=Q(state__in=["queued", "deferred", "unknown", "held"]),
                name="delivery_overdue",
            ),
            models.Index(fields=["id"], condition=Q(purged_at__isnull=True), name="delivery_not_purged"),
            models.Index(fields=["provider_id"], condition=~Q(provider_id=""), name="delivery_by_provider_id"),
            # The list's filters; ids sort by time.
            models.Index(fields=["-id"], condition=Q(bounced_at__isnull=False), name="delivery_bounced"),
            models.Index(fields=["state", "id"], name="delivery_by_state"),
            models.Index(fields=["provider", "id"], name="delivery_by_provider"),
            models.Index(fields=["workflow", "id"], name="delivery_by_workflow"),
        ]

    def __str__(self) -> str:
        return f"{self.action_name} {self.id}"

    @property
    def people(self) -> Iterable[Recipient]:
        """Its recipients, as they were prefetched: a manager and a query set for each look cost more than the look."""
        held: Iterable[Recipient] | None = getattr(self, "_prefetched_objects_cache", {}).get("recipients")
        return self.recipients.all() if held is None else held


class Recipient(models.Model):
    """One address of one mail, and what the relay said about it."""

    class Kind(models.TextChoices):
        TO = "to"
        CC = "cc"
        BCC = "bcc"

    class State(models.TextChoices):
        QUEUED = "queued"
        ACCEPTED = "accepted"
        DEFERRED = "deferred"
        REFUSED = "refused"
        FAILED = "failed"
        CANCELLED = "cancelled"
        SUPPRESSED = "suppressed"

    OPEN = (State.QUEUED, State.DEFERRED)
    NOT_NAMED = Q(code=None, enhanced_code="4.5.3")  # one too many for the last transaction, as we found ourselves

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="recipients", db_index=False)
    address = models.CharField(max_length=320)
    kind = models.CharField(max_length=3, choices=Kind.choices)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    code = models.PositiveSmallIntegerField(null=True)
    enhanced_code = models.CharField(max_length=11, blank=True)
    reply = models.TextField(blank=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["delivery", "address"], name="one_recipient_per_address"),
        ]
        indexes = [models.Index(Lower("address"), F("delivery").desc(), name="recipient_by_address")]

    def __str__(self) -> str:
        return f"{self.kind} {self.state}"

    @property
    def comes_next(self) -> bool:
        """Say whether the others merely came first; see `NOT_NAMED`."""
        return self.state == self.State.DEFERRED and self.code is None and self.enhanced_code == "4.5.3"

    @property
    def said(self) -> str:
        """The server's words about this recipient, with its codes."""
        return " ".join(str(part) for part in (self.code, self.enhanced_code, self.reply) if part)


class Attempt(models.Model):
    """One try to hand a mail over: through whom, how far it came, what was said."""

    class Outcome(models.TextChoices):
        ACCEPTED = "accepted"
        DEFERRED = "deferred"
        FAILED = "failed"
        UNKNOWN = "unknown"

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="attempts", db_index=False)
    at = models.DateTimeField()
    provider = models.CharField(max_length=20, blank=True)
    stage = models.CharField(max_length=10)
    outcome = models.CharField(max_length=8, choices=Outcome.choices)
    code = models.PositiveSmallIntegerField(null=True)
    enhanced_code = models.CharField(max_length=11, blank=True)
    reply = models.TextField(blank=True)
    tls = models.CharField(max_length=10, blank=True)
    milliseconds = models.PositiveIntegerField(default=0)
    transcript = models.TextField(blank=True)
    # Of an acceptance that was noted by itself: what follows from it for the mail (see acceptance.py).
    lease = models.UUIDField(null=True, editable=False)
    sent_from = models.TextField(blank=True, default="", db_default="")
    provider_id = models.CharField(max_length=100, blank=True, default="", db_default="")

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["delivery", "lease"], name="one_note_per_lease"),
        ]
        indexes = [models.Index(fields=["provider", "at"], name="attempt_by_provider")]

    def __str__(self) -> str:
        return f"{self.outcome} at {self.stage}"


class Heartbeat(models.Model):
    """When a worker was last heard of: one row."""

    ONLY = 1

    at = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="one_heartbeat")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S}"
