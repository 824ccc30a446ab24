"""What became of a mail in plain words, and what to do. Pure: `causes` knows what a relay's words mean."""

from __future__ import annotations

from dataclasses import dataclass

from .causes import Cause, cause


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a delivery. Stage, code, enhanced, said and outcome are those of its last attempt;
    where recipients were refused, code, enhanced and said are the first of theirs.
    """

    state: str
    reason: str = ""
    rendered: bool = True  # the templates made a mail of it
    kept: bool = True  # its content has not been erased
    confirmed: bool = True  # for an accepted one: the relay said so
    without: int = 0  # recipients that have not been accepted
    recipients: int = 1
    suppressed: int = 0  # of those without it: an earlier mail told not to send there
    reachable: bool = True  # somebody of those without it is not suppressed by now
    bounced: int = 0  # of those accepted: the provider told later that they have not got it
    spam: int = 0  # of those accepted: they reported it as spam
    waits: bool = False  # for its provider, and not for a worker
    stage: str = ""
    outcome: str = ""
    code: int | None = None
    enhanced: str = ""
    said: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    sentence: str
    advice: str = ""


_LOST = "The relay may have taken the mail over: its answer was not heard."
_LATE = "Its time was over before it could be sent."
_STILL_WANTED = "Send it again where it is still wanted."
_LOOK = "Look for the Message-ID in the relay's log, or ask a recipient."

AS_IT_IS = {
    "queued": Explanation(
        "It waits for a worker.", "Workers take it within seconds; where none runs, every page says so at its top."
    ),
    "sending": Explanation(
        "A worker is handing it over right now.", "That takes seconds; with a slow server, minutes."
    ),
    "unknown": Explanation(
        f"{_LOST} It is sent once more by itself, so a recipient may get it twice.",
        f"{_LOOK} Where it is there, consider it delivered before the next attempt.",
    ),
    "held": Explanation(
        f"{_LOST} This workflow leaves what to do to a person.",
        f"{_LOOK} Where it is there, consider it delivered; where it is not, send it again.",
    ),
    "cancelled": Explanation(
        "A person cancelled it; nothing more is sent.", "Send it again where it is wanted after all."
    ),
}
ACCEPTED = Explanation(
    "The relay has taken it over for everybody.", "What happens to it from there, the relay's log says."
)
CONSIDERED = Explanation("The relay's answer was not heard; a person considers it delivered.")
NOT_RENDERED = Explanation(
    "No mail came of its templates.",
    "Correct the action or the event's data as the reason says, and trigger the event again. There is nothing to send.",
)
SUPPRESSED = Explanation(
    "Nobody is left to send it to: earlier mails to all its recipients bounced, were refused or reported as spam.",
    "Where an address works again, an Admin releases it under Suppressed addresses; then send it again.",
)
ERASED = "Its content has been erased, so it cannot be sent again; trigger the event anew where it is still wanted."
BLOCKED = f"Nobody is left to send it to again: who has not got it is suppressed. {SUPPRESSED.advice}"
NOT_YET = Explanation(
    "It waits for its provider: that failed with other mails, is paused or limited.",
    "Once the provider works, the mails leave by themselves. Its card in Integrations says how it is.",
)


def explain(facts: Facts) -> Explanation:
    """Return what became of a mail, and what to do."""
    found = _explain(facts)
    ended_without = facts.state in ("failed", "cancelled") or (facts.state == "accepted" and facts.without)
    if ended_without and not facts.kept:
        return Explanation(found.sentence, ERASED)
    return Explanation(found.sentence, BLOCKED) if ended_without and not facts.reachable else found


def _explain(facts: Facts) -> Explanation:
    if facts.state == "accepted":
        return _with_spam(_bounced(facts) if facts.bounced else _accepted(facts), facts)
    if not facts.rendered:
        return NOT_RENDERED
    if facts.state == "queued" and facts.waits:
        return NOT_YET
    if facts.state in AS_IT_IS:
        return AS_IT_IS[facts.state]
    return _deferred(facts) if facts.state == "deferred" else _failed(facts)


def _bounced(facts: Facts) -> Explanation:
    whom = _some(facts, facts.bounced)
    return Explanation(
        f"The provider has taken it over, and told later that it did not reach {whom}.",
        "What it told stands beside each recipient. Reach them in another way: it is not sent again.",
    )


def _with_spam(found: Explanation, facts: Facts) -> Explanation:
    if not facts.spam:
        return found
    whom = _some(facts, facts.spam)
    return Explanation(f"{found.sentence} {whom[0].upper()}{whom[1:]} reported it as spam.", found.advice)


def _some(facts: Facts, number: int) -> str:
    return f"{number} of {facts.recipients} recipients" if facts.recipients > 1 else "the recipient"


def _accepted(facts: Facts) -> Explanation:
    if not facts.without:
        return ACCEPTED if facts.confirmed else CONSIDERED
    missing = _some(facts, facts.without)
    if facts.without == facts.suppressed:
        taken = f"The relay has taken it over; to {missing} it was not sent, because of earlier mails."
        return Explanation(taken, SUPPRESSED.advice)
    found = _cause(facts)
    taken = f"The relay has taken it over, but not for {missing}. {found.sentence}"
    return Explanation(taken, f"{found.advice} Sending again reaches only those who have not got it.")


def _deferred(facts: Facts) -> Explanation:
    if facts.outcome == "accepted" and facts.stage != "rcpt":
        missing = _some(facts, facts.without)
        return Explanation(f"The relay has taken it over, but for {missing}: they come next, by themselves.")
    found = _cause(facts)
    return Explanation(f"{found.sentence} It is tried again by itself.", found.advice)


def _failed(facts: Facts) -> Explanation:
    if facts.without and facts.without == facts.suppressed:
        return SUPPRESSED
    if facts.outcome == "unknown":
        return Explanation(
            f"{_LOST} Its time was over before that became clear.",
            f"{_LOOK} Where it is there, consider it delivered; where it is not, send it again.",
        )
    if facts.outcome == "deferred":
        found = _cause(facts)
        return Explanation(f"{_LATE} {found.sentence}", f"{found.advice} {_STILL_WANTED}")
    if facts.reason.startswith("Given up") or not facts.outcome:
        return Explanation(_LATE, _STILL_WANTED)
    found = _cause(facts)
    return Explanation(found.sentence, f"{found.advice} Then send it again." if found.again else found.advice)


def _cause(facts: Facts) -> Cause:
    return cause(stage=facts.stage, code=facts.code, enhanced=facts.enhanced, said=facts.said)
