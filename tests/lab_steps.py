"""The steps of the road at which a fault may strike: which function, before or after it, and what can go wrong there.

The code under test knows nothing of them: they are put around its functions, in the process of a test's own worker.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import InterfaceError, OperationalError

from integrations import backends, pauses
from integrations.transports import sendgrid, smtp_session
from integrations.transports.base import Stage
from integrations.transports.smtp_line import Edge
from tests.lab_faults import DONE, Faults
from workflows import acceptance, deadlines, delivery, leases, mails, outcomes, runs, tasks

Error = Callable[[], BaseException]


def cut() -> BaseException:
    return OperationalError("the lab: server closed the connection unexpectedly")


def closed() -> BaseException:
    return InterfaceError("the lab: connection already closed")


def reset() -> BaseException:
    return ConnectionResetError(104, "the lab: connection reset by peer")


def defect() -> BaseException:
    return RuntimeError("the lab: a plain defect")


def memory() -> BaseException:
    return MemoryError("the lab")


@dataclass(frozen=True, slots=True)
class Step:
    """A function to watch. `before` and `after` are the names of the two steps around it; an empty one is none."""

    owner: Any
    function: str
    error: Error
    before: str = ""
    after: str = ""


STEPS = (
    Step(tasks.work, "apply_async", reset, before="ring", after="rung"),
    Step(runs, "_claim", cut, before="run.claim", after="run.claimed"),
    Step(mails.rendering, "render", memory, before="run.render"),
    Step(runs, "_store", cut, before="run.storing"),
    Step(runs, "_store_together", cut, before="run.store", after="run.stored"),
    Step(delivery, "why_waiting", cut, before="mailer.open"),
    Step(leases.Lease, "_take_due", cut, before="claim", after="claimed"),
    Step(leases.Lease, "_may_send", cut, before="may_send", after="may_send.said"),
    Step(backends.standing, "in_force", cut, before="look-up"),
    Step(backends.limits.Session, "take", cut, before="slot"),
    Step(backends, "hand_over", memory, before="hand_over", after="handed_over"),
    Step(sendgrid.SendGridTransport, "_request", memory, before="http.post", after="http.answered"),
    Step(pauses, "begin", closed, before="pause"),
    Step(pauses, "lift", closed, before="lift"),
    Step(delivery, "record_receipt", memory, before="record"),
    Step(acceptance, "note", memory, before="accept"),
    Step(acceptance, "_note", cut, before="accept.begin", after="accept.done"),
    Step(acceptance, "_end_runs", cut, before="settling"),
    Step(outcomes, "_write", cut, before="record.begin", after="record.done"),
    Step(outcomes, "_write_recipients", cut, before="recording"),
    Step(outcomes.run_ends, "settle", cut, before="settle", after="settled"),
    Step(leases.Lease, "_give_back", cut, before="give_back", after="gave_back"),
    Step(delivery, "free_expired_leases", cut, before="sweep", after="swept"),
    Step(runs, "free_expired_leases", cut, before="sweep.runs"),
    Step(leases.Lease, "take_over", cut, before="take_over", after="took_over"),
    Step(delivery, "_end_in_flight", cut, before="sweep.ending", after="sweep.ended"),
    Step(delivery, "record_error", defect, before="record.error"),
    Step(deadlines, "_end", cut, before="overdue", after="overdue.done"),
)
CAN_BE_DONE = {step.before for step in STEPS if step.before}  # and reported as failed all the same


def watch_all(faults: Faults) -> None:
    for step in STEPS:
        _wrap(step, faults)
    _watch_session(faults)


def _wrap(step: Step, faults: Faults) -> None:
    function = getattr(step.owner, step.function)

    @functools.wraps(function)
    def watched(*args: Any, **options: Any) -> Any:
        mode = faults.take(step.before) if step.before else ""
        if mode == DONE:
            function(*args, **options)
            raise step.error()
        faults.strike(mode, error=step.error)
        result = function(*args, **options)
        if step.after and (result or result is None):  # after a claim, say, that found something
            faults.strike(faults.take(step.after), error=step.error)
        return result

    setattr(step.owner, step.function, watched)


def _watch_session(faults: Faults) -> None:
    """Watch the SMTP session, where an error has to come from the socket, within the session's own edge."""
    session = smtp_session.SmtpSession

    def strike(self: Any, step: str, stage: Stage) -> None:
        mode = faults.take(step)
        if mode:
            with Edge(self, stage, to=step):
                faults.strike(mode, error=reset)

    def watch(name: str, step: Callable[..., tuple[str, Stage]]) -> None:
        function = getattr(session, name)

        def watched(self: Any, *args: Any, **options: Any) -> Any:
            strike(self, *step(*args, **options))
            return function(self, *args, **options)

        setattr(session, name, watched)

    watch("_connect", lambda: ("smtp.connect", Stage.CONNECT))
    watch("_ehlo", lambda: ("smtp.ehlo", Stage.EHLO))
    watch("confide", lambda line, shown: ("smtp.auth", Stage.AUTH))
    watch("tell", lambda *lines, stage, to: (f"smtp.{to.lower()}", stage))
    heard = {"the final dot": "smtp.reply", "MAIL": "smtp.mailed"}
    watch("hear", lambda stage, to: (heard.get(to, "smtp.other"), stage))
    session.tell_content = _watched_content(session.tell_content, faults)  # type: ignore[method-assign]


def _watched_content(tell_content: Callable[[Any, bytes], None], faults: Faults) -> Callable[[Any, bytes], None]:
    """Strike before the final dot, behind which the next mail's envelope may stand."""

    def watched(self: Any, content: bytes) -> None:
        mode = faults.take("smtp.dot")
        if not mode:
            return tell_content(self, content)
        before = content[: content.rindex(b"\r\n.\r\n") + 2]
        tell_content(self, before)
        with Edge(self, Stage.DATA, to="the content"):
            faults.strike(mode, error=reset)
        return tell_content(self, content[len(before) :])

    return watched
