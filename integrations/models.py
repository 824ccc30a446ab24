"""Which relays we have, who changed what, and who may call the API."""

from __future__ import annotations

import uuid
from typing import Any, NoReturn

from django.contrib.auth.models import User
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from .fields import EncryptedTextField
from .validators import (
    validate_ca_certificates,
    validate_event_key,
    validate_host_name,
    validate_mailbox,
    validate_sendgrid_url,
)


class Integration(models.Model):
    """A stored connection. At most one of each kind is connected."""

    class RatePer(models.TextChoices):
        SECOND = "second"
        MINUTE = "minute"

    connected = models.BooleanField(default=False, editable=False)
    connected_at = models.DateTimeField(null=True, editable=False)
    connected_by = models.CharField(max_length=150, blank=True, editable=False)
    secret_set_at = models.DateTimeField(null=True, editable=False)
    next_check_at = models.DateTimeField(null=True, editable=False)  # the daily check by rootmail itself
    check_failed_at = models.DateTimeField(
        null=True, editable=False
    )  # NULL: the last check found nothing, or came none
    check_problem = models.TextField(blank=True, editable=False)  # without what is stored encrypted
    default_from = models.CharField(
        "Default From",
        max_length=320,
        blank=True,
        validators=[validate_mailbox],
        help_text="Used where an action leaves From blank, for example Incident Desk <incidents@example.com>. "
        "Without it such actions fail, unless the username is an address.",
    )
    rate_limit = models.PositiveIntegerField(
        "Mails at the most",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(100_000)],
        help_text="So many within the time below, evenly spread, by all workers together. Blank: no limit.",
    )
    rate_per = models.CharField("Within a", max_length=6, choices=RatePer.choices, default=RatePer.SECOND)
    session_limit = models.PositiveSmallIntegerField(
        "Simultaneous sessions",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text="So many connections at the most, of all workers together. Blank: one for each worker process.",
    )

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self._meta.verbose_name}, {'connected' if self.connected else 'not connected'}"


class SmtpIntegration(Integration):
    """The company's own relay. Field names are those of the documented form."""

    class Authentication(models.TextChoices):
        PLAIN = "plain", "plain"
        LOGIN = "login", "login"
        CRAM_MD5 = "cram_md5", "cram_md5"

    class VerifyMode(models.TextChoices):
        NONE = "none", "None"
        PEER = "peer", "Peer"

    address = EncryptedTextField(
        "Address",
        validators=[validate_host_name],
        help_text="Host name of your mail server, for example smtp.example.com.",
    )
    port = models.PositiveIntegerField(
        "Port",
        default=587,
        validators=[MinValueValidator(1), MaxValueValidator(65535)],
        help_text="Common ports: 587 (submission, STARTTLS), 465 (SMTPS), 25.",
    )
    domain = models.CharField(
        "Domain",
        max_length=253,
        blank=True,
        validators=[validate_host_name],
        help_text="The name we greet the server with (HELO/EHLO). Blank: this machine's own name.",
    )
    user_name = EncryptedTextField(
        "Username", blank=True, null=True, help_text="Only if the server wants authentication."
    )
    password = EncryptedTextField(
        "Password", blank=True, null=True, help_text="Only if the server wants authentication."
    )
    authentication = models.CharField(
        "Authentication",
        max_length=10,
        choices=Authentication.choices,
        default=Authentication.PLAIN,
        help_text="The SASL mechanism. Used only with a username.",
    )
    enable_starttls = models.BooleanField(
        "StartTLS", default=False, help_text="Force STARTTLS. If the server does not offer it, the connection fails."
    )
    enable_starttls_auto = models.BooleanField(
        "StartTLS Auto", default=True, help_text="Use STARTTLS if the server offers it, go on without it if not."
    )
    ssl = models.BooleanField("SSL", default=True, help_text="SMTPS: TLS from the first byte, usually on port 465.")
    openssl_verify_mode = models.CharField(
        "SSL Verify Mode",
        max_length=4,
        choices=VerifyMode.choices,
        default=VerifyMode.NONE,
        help_text="None: the certificate is not checked. Peer: it must come from a trusted CA and fit the address.",
    )
    ca_certificates = models.TextField(
        "CA certificates",
        blank=True,
        validators=[validate_ca_certificates],
        help_text="PEM. For an internal CA, with SSL Verify Mode Peer; trusted besides the public ones.",
    )
    allow_clear_text_auth = models.BooleanField(
        "Allow credentials without TLS",
        default=False,
        help_text="Lets plain and login send the password readable for everybody on the way. Avoid it.",
    )
    certificate_until = models.DateTimeField(null=True, editable=False)  # as the last check saw it

    class Meta:
        verbose_name = "SMTP"
        permissions = [("manage_integrations", "Can set up integrations")]
        constraints = [
            models.UniqueConstraint(fields=["connected"], condition=Q(connected=True), name="one_smtp_connected"),
            models.CheckConstraint(condition=Q(port__gte=1, port__lte=65535), name="smtp_port_in_range"),
            models.CheckConstraint(condition=~Q(ssl=True, enable_starttls=True), name="smtp_ssl_or_starttls"),
            models.CheckConstraint(
                condition=Q(connected=True) | Q(user_name__isnull=True, password__isnull=True),
                name="smtp_disconnected_holds_no_secret",
            ),
        ]


class SendGridIntegration(Integration):
    """SendGrid's v3 API."""

    api_key = EncryptedTextField(
        "API key", null=True, help_text="Starts with SG. A restricted key with 'Mail Send' is enough, and best."
    )
    base_url = models.URLField(
        "API address",
        default="https://api.sendgrid.com",
        validators=[validate_sendgrid_url],
        help_text="https://api.sendgrid.com, or https://api.eu.sendgrid.com for a subuser in the EU.",
    )
    click_tracking = models.BooleanField(
        "Click tracking",
        default=False,
        help_text="Lets SendGrid lead every link of the HTML part through its own server. Off also where the account "
        "has it on.",
    )
    open_tracking = models.BooleanField(
        "Open tracking",
        default=False,
        help_text="Lets SendGrid add an invisible picture that tells when a mail was opened. Off also where the "
        "account has it on.",
    )
    event_key = models.CharField(
        "Verification key of the Event Webhook",
        max_length=200,
        blank=True,
        validators=[validate_event_key],
        help_text="A public key: it proves that events come from SendGrid. Blank: events are refused.",
    )
    event_heard_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = "SendGrid"
        constraints = [
            models.UniqueConstraint(fields=["connected"], condition=Q(connected=True), name="one_sendgrid_connected"),
            models.CheckConstraint(
                condition=Q(connected=True) | Q(api_key__isnull=True), name="sendgrid_disconnected_holds_no_secret"
            ),
        ]


KINDS: dict[str, type[SmtpIntegration] | type[SendGridIntegration]] = {
    "smtp": SmtpIntegration,
    "sendgrid": SendGridIntegration,
}


class ProviderState(models.Model):
    """What all workers know of a way out: whether it is paused, and when its next mail may leave.

    Without a row, or with `paused_at` NULL, mail leaves. A paused provider is tried again by one mail, the probe, from
    `next_try_at` on; where that is NULL, only new settings or a person end the pause. While a probe is under way,
    `probe_until` lies ahead.
    """

    name = models.CharField(primary_key=True, max_length=20)
    paused_at = models.DateTimeField(null=True)
    next_try_at = models.DateTimeField(null=True)
    probe_until = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(default=0)  # in a row; 0 while paused: it was connected without a check
    reason = models.TextField(blank=True)
    version = models.PositiveIntegerField(default=0)  # of the settings: what failed under others pauses nothing
    told_at = models.DateTimeField(null=True)  # when admins were last told by mail
    next_turn_at = models.DateTimeField(null=True)  # under a rate limit

    def __str__(self) -> str:
        return f"{self.name}, {'paused' if self.paused_at else 'open'}"


class SessionSlot(models.Model):
    """The right to keep one session open, where an integration limits them. Free when `until` has passed."""

    provider = models.CharField(max_length=20)
    number = models.PositiveSmallIntegerField()
    holder = models.UUIDField(null=True)
    until = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["provider", "number"], name="one_slot_per_number")]

    def __str__(self) -> str:
        return f"{self.provider} {self.number}"


class Errand(models.Model):
    """Something that a worker does while a person waits for it, since only a worker's answer proves the real path.

    `request` and `report` are JSON, encrypted because they name servers and may hold a password that is not stored
    anywhere yet. The request is erased when the errand ends. Whoever updates a row under `taken_at=None` has it.
    """

    class Job(models.TextChoices):
        CHECK = "check"
        DETECT = "detect"
        TEST_MAIL = "test_mail"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    job = models.CharField(max_length=10, choices=Job.choices)
    asked_by = models.CharField(max_length=150)
    asked_at = models.DateTimeField()
    taken_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    seal = models.CharField(max_length=64, blank=True)  # of the request: it proves later what was asked
    request = EncryptedTextField(null=True)
    report = EncryptedTextField(null=True)

    class Meta:
        indexes = [models.Index(fields=["job", "asked_at"])]
        constraints = [
            models.CheckConstraint(
                condition=Q(finished_at__isnull=True) | Q(request__isnull=True), name="finished_errand_holds_no_secret"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.job}, asked by {self.asked_by}"


class AppendOnly(models.QuerySet["AuditEvent"]):
    """Rows that are written once."""

    def update(self, **_: Any) -> NoReturn:
        raise TypeError("The audit log is append-only.")

    def delete(self) -> NoReturn:
        raise TypeError("The audit log is append-only.")


class AuditEvent(models.Model):
    """Who did what to the configuration, and when. Holds no secret.

    Triggers in the database refuse UPDATE and DELETE, too. A migration that rebuilds the table must make them again.
    """

    at = models.DateTimeField(auto_now_add=True)
    actor = models.CharField(max_length=150)
    action = models.CharField(max_length=60)
    details = models.JSONField(default=dict)

    objects = AppendOnly.as_manager()

    class Meta:
        ordering = ["-at", "-pk"]
        indexes = [
            models.Index(fields=["-at"]),
            models.Index(fields=["actor", "-at"], name="audit_by_actor"),
            models.Index(fields=["action", "-at"], name="audit_by_action"),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.actor} {self.action}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk:
            raise TypeError("The audit log is append-only.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("The audit log is append-only.")


class ApiToken(models.Model):
    """A bearer token. Only its SHA-256 is kept: it has 256 random bits, so a slow hash would add nothing."""

    class Scope(models.TextChoices):
        TRIGGER = "trigger"
        READ = "read"
        WRITE = "write"

    name = models.CharField(max_length=100, unique=True)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)

    def __str__(self) -> str:
        return self.name


class PasswordLink(models.Model):
    """The one link with which a person may set a password. A newer one takes its place, using it deletes it.

    The link itself is not kept: it follows from the stamp, the person's row and SECRET_KEY.
    """

    person = models.OneToOneField(User, on_delete=models.CASCADE, primary_key=True, related_name="+")
    stamp = models.UUIDField(default=uuid.uuid4, editable=False)
    good_until = models.DateTimeField()
    mailed_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"for person {self.person_id}, until {self.good_until:%Y-%m-%d %H:%M:%S}"


class LinkRequest(models.Model):
    """Somebody asked for a link to set a password, from this address. It is deleted when it counts no more."""

    address = models.CharField(max_length=45)
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["address", "at"], name="link_request_by_address")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S}"
