"""What a provider's reply means, in plain words, and what to do about it. Pure.

A table, read from the top: the first row that fits decides, so what says more stands before what says less.
Enhanced status codes: RFC 3463 and the registry of RFC 5248. Reply codes: RFC 5321, section 4.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from integrations.transports.base import QUOTA_WORDS, STOPPED_WORDS


@dataclass(frozen=True, slots=True)
class Cause:
    """What a reply means. `stages` empty: at any. `codes`: reply codes or enhanced ones, '*' for any rest; empty: any.

    `words`: a pattern that must be found in what the relay says, whatever its capitals. `again`: once the advice was
    followed, the same mail may get through. `bare`: only where the relay gives no enhanced code.
    """

    sentence: str
    advice: str
    codes: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    words: str = ""
    again: bool = True
    bare: bool = False

    def fits(self, *, stage: str, codes: tuple[str, str], said: str) -> bool:
        return (
            (not self.stages or stage in self.stages)
            and (not self.codes or any(_fits(code, pattern) for code in codes for pattern in self.codes))
            and not (self.bare and codes[1])
            and (not self.words or re.search(self.words, said, re.IGNORECASE) is not None)
        )


def _fits(code: str, pattern: str) -> bool:
    return code.startswith(pattern[:-1]) if pattern.endswith("*") else bool(code) and code == pattern


_SETTINGS = "in Configuration → Integrations, where Check names the field"
_LIST = "Correct the address where it comes from: the action of the workflow, or the event's data."
_MACHINE = (
    "Whoever runs the relay allows it. Where its words name HELO, an Admin corrects Domain in Configuration → "
    "Integrations; where the host name, our address needs one in DNS; where a blocklist, it has to come off that."
)
_RELAYING_DENIED = (
    r"(?<!the )relay (?:access denied|not permitted)|unable to relay|relaying"  # 'the relay': redaction's
    r"|I cannot deliver mail for"
)
CAUSES = (
    # who we are
    Cause(
        "The relay cannot check username and password just now.",
        "It usually passes; where it lasts, ask whoever runs the relay.",
        codes=("4*",),
        stages=("auth",),
    ),
    Cause("The provider refused the username or password.", f"An Admin corrects them {_SETTINGS}.", stages=("auth",)),
    Cause(
        "The provider refused the username or password.",
        f"An Admin corrects them {_SETTINGS}.",
        codes=("534", "535", "5.7.8", "5.7.139"),
    ),
    Cause(
        "SendGrid refused the API key.", f"An Admin enters a valid one {_SETTINGS}.", codes=("401",), stages=("http",)
    ),
    Cause(
        "The relay wants an encrypted connection.",
        f"An Admin turns on STARTTLS {_SETTINGS}.",
        words=r"starttls is required|must issue a starttls|\btls (?:is )?required",
    ),
    Cause(
        "The relay wants a log-in.", f"An Admin fills in username and password {_SETTINGS}.", codes=("530", "5.7.57")
    ),
    Cause(
        "The relay wants a log-in.",
        f"An Admin fills in username and password {_SETTINGS}.",
        words="require basic authentication",
    ),
    Cause(
        "The relay wants a log-in.",
        f"An Admin fills in username and password {_SETTINGS}.",
        stages=("mail",),
        words="authentication required|must be authenticated",
    ),
    Cause(
        "SendGrid does not let us send this.",
        "Verify the From address or its domain at SendGrid, and see that the API key has the right 'Mail Send'.",
        codes=("403",),
        stages=("http",),
    ),
    # too much, too large
    Cause(
        "The mail is too large for the relay.",
        "Make it shorter or leave large tables out, then trigger it again: this one cannot get smaller.",
        codes=("552", "413", "5.3.4", "5.2.3"),
        stages=("mail", "data", "http"),
        again=False,
    ),
    Cause(
        "The provider's quota is used up.",
        "Wait until it begins anew, or ask for a larger one.",
        codes=("5.4.5", "5.1.90", "5.7.705", "5.7.708"),
    ),
    Cause("The provider's quota is used up.", "Wait until it begins anew, or ask for a larger one.", words=QUOTA_WORDS),
    Cause(
        "The provider has stopped this account's mail.",
        "Its words say why; whoever looks after the account there can get it going again.",
        words=STOPPED_WORDS,
    ),
    Cause("The provider finds that we send too much.", "Set a limit in Configuration → Integrations.", codes=("429",)),
    Cause(
        "The relay takes no more recipients in one mail.",
        "Where it does not get through later, spread the recipients over several actions.",
        codes=("4.5.3", "5.5.3"),
    ),
    Cause(
        "The relay takes no more recipients in one mail.",
        "Where it does not get through later, spread the recipients over several actions.",
        codes=("452", "552"),
        stages=("rcpt",),
        words="too many recipients",
    ),
    # the recipient
    Cause(
        "The relay cannot write letters beyond ASCII in an address (SMTPUTF8).",
        "Use an address of plain letters for this recipient.",
        codes=("5.6.7", "5.6.9"),
    ),
    Cause(
        "The relay lets unknown senders wait (greylisting).",
        "The next attempt usually gets through.",
        words="greylist",
    ),
    # who we are, told at RCPT: Postfix waits with what it has against client, HELO and sender until then
    Cause(
        "The relay does not send to this recipient for us (relaying denied).",
        "An Admin of the relay allows this server to relay, or username and password are missing.",
        words=_RELAYING_DENIED,
    ),
    Cause(
        "The relay does not send to this recipient for us (relaying denied).",
        "An Admin of the relay allows this server to relay, or username and password are missing.",
        codes=("5.7.54", "5.7.64"),
    ),
    Cause(
        "The relay does not let us send as this From.",
        "Use a From that the account may send as: Default From in Configuration → Integrations, or From in the action.",
        codes=("5.1.7", "5.1.8", "5.7.60", "5.7.68"),
    ),
    Cause(
        "The relay does not let us send as this From.",
        "Use a From that the account may send as: Default From in Configuration → Integrations, or From in the action.",
        words="sender address rejected",
    ),
    Cause("The relay does not let this machine send.", _MACHINE, codes=("4.7.25",)),
    Cause("The relay does not let this machine send.", _MACHINE, words=r"client host|helo command|in a black ?list"),
    Cause(
        "The relay's rules forbid it.",
        "Whoever runs it can tell which: of us, the From or the recipient.",
        stages=("mail", "rcpt"),
        words="administrative prohibition",
    ),
    # the recipient again
    Cause(
        "The relay lets unknown senders wait (greylisting).",
        "The next attempt usually gets through.",
        codes=("4.7.1",),
        stages=("rcpt", "data"),
    ),
    Cause(
        "The recipient's mailbox is full.",
        "The recipient has to make room; reach them in another way meanwhile.",
        codes=("4.2.2", "5.2.2"),
    ),
    Cause(
        "The recipient's mailbox is full.", "The recipient has to make room.", codes=("552", "452"), stages=("rcpt",)
    ),
    Cause("The recipient's mailbox is switched off.", _LIST, codes=("5.2.1",)),
    Cause(
        "The recipient's mailbox takes no mail at the moment.",
        "It usually does later; reach them in another way meanwhile.",
        codes=("4.2.1",),
    ),
    Cause("The relay does not know this user.", _LIST, codes=("5.1.1", "5.1.10", "5.1.6", "5.5.0", "524")),
    Cause("The recipient's domain does not exist or takes no mail.", _LIST, codes=("5.1.2", "5.1.10", "5.4.4", "556")),
    Cause("This is no address that the relay can use.", _LIST, codes=("5.1.3", "501", "553"), stages=("rcpt",)),
    Cause(
        "The recipient takes no mail from us.",
        "Ask whoever runs the recipient's mail system to let this sender in.",
        codes=("5.7.1", "5.7.0"),
        stages=("rcpt",),
    ),
    Cause("The relay does not know this user.", _LIST, codes=("5.1.*", "5.4.1"), stages=("rcpt",)),  # 5.4.1: Microsoft
    Cause("The relay does not know this user.", _LIST, codes=("550", "551"), stages=("rcpt",), bare=True),
    # the sender
    Cause(
        "The relay does not let us send as this From.",
        "Use a From that the account may send as: Default From in Configuration → Integrations, or From in the action.",
        codes=("5*",),
        stages=("mail",),
    ),
    Cause(
        "The sender could not be proved to be genuine (SPF, DKIM, DMARC).",
        "Whoever looks after the DNS of the From's domain adds the relay to its SPF record and its DKIM keys.",
        codes=("5.7.20", "5.7.21", "5.7.22", "5.7.23", "5.7.24", "5.7.25", "5.7.26", "5.7.27", "5.7.509", "5.7.9"),
    ),
    # the content
    Cause(
        "The relay found fault with the mail itself.",
        "Look at its source; the relay's words say what is wrong.",
        codes=("5.6*", "400"),
        stages=("data", "http"),
        again=False,
    ),
    Cause(
        "The relay takes the mail for spam, or its rules forbid it.",
        "Show the relay's words to whoever runs it, and look at the mail for what may have set its filter off.",
        codes=("5.7*", "554", "550"),
        stages=("data",),
    ),
    # the relay
    Cause(
        "The relay refused for now, and may take it later.",
        "It usually passes; where it lasts, show the relay's words to whoever runs it.",
        codes=("4.7.0",),
        stages=("rcpt",),
    ),
    Cause("The relay finds that we send too much.", "Set a limit in Configuration → Integrations.", codes=("4.7*",)),
    Cause(
        "The relay is overloaded or under repair.",
        "It usually passes; where it lasts, ask whoever runs the relay.",
        codes=("421", "450", "451", "452", "432", "4.3*", "5*", "4.2*"),
        stages=("connect", "ehlo", "tls", "http"),
    ),
    Cause(
        "The relay is overloaded, full or under repair.",
        "It usually passes; where it lasts, ask whoever runs the relay.",
        codes=("421", "4.3*", "432", "452"),
    ),
    # no code: nobody spoke
    Cause(
        "The provider's name could not be resolved.",
        f"An Admin corrects Address {_SETTINGS}; if it is right, the name server does not answer.",
        stages=("resolve",),
    ),
    Cause(
        "The provider could not be reached.",
        f"See whether it runs and the firewall lets us through. An Admin looks at address and port {_SETTINGS}.",
        stages=("connect",),
    ),
    Cause(
        "No encrypted connection came about.",
        f"An Admin looks at SSL, STARTTLS and the certificate {_SETTINGS}.",
        stages=("tls",),
    ),
    Cause("The relay did not greet us properly.", f"An Admin looks at port and TLS {_SETTINGS}.", stages=("ehlo",)),
    Cause(
        "The relay refused for now, and may take it later.",
        "It usually passes; where it lasts, show the relay's words to whoever runs it.",
        codes=("4*",),
    ),
    Cause(
        "The relay refused it for good.",
        "Its words say why; whoever runs it can tell more.",
        codes=("5*",),
    ),
)
_UNCLEAR = Cause("It was not accepted.", "What the provider said stands below.")


def cause(*, stage: str, code: int | None, enhanced: str = "", said: str = "") -> Cause:
    """Return what a reply at this stage means; without a code nobody spoke."""
    codes = (str(code or ""), enhanced)
    return next((one for one in CAUSES if one.fits(stage=stage, codes=codes, said=said)), _UNCLEAR)
