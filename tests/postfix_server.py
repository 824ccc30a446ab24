"""A real Postfix with Cyrus SASL for tests: one instance, many ports, and its own Maildir as the ledger.

    with Postfix("/usr/sbin/postfix") as postfix:
        ...  # talk to localhost, port postfix.ports["clear"]
        assert postfix.arrived() == [...]

Only root can start it. Everything lies in a temporary folder, it listens on 127.0.0.1 only and sends nothing
anywhere: mail for `x.test` is delivered into the Maildir, other mail (a bounce, say) is thrown away.
"""

from __future__ import annotations

import datetime
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .fake_relay import authority, authority_pem, certificate
from .installation import wait_until

USER, PASSWORD = "rootmail", "s3cret-pass"
MAILBOXES = ("desk@x.test", "colleague@x.test")
SMALL_LIMIT = 20_000  # bytes, on the port "small"
PRIVATE_CA, SELF_SIGNED, EXPIRED, WRONG_HOST = "private CA", "self-signed", "expired", "wrong host"

Options = Mapping[str, str]
OPTIONAL: Options = {"smtpd_tls_security_level": "may"}
WRAPPED: Options = {"smtpd_tls_wrappermode": "yes"}
NO_AUTH: Options = {
    "smtpd_sasl_auth_enable": "no",
    "mynetworks": "127.0.0.0/8",
    "smtpd_relay_restrictions": "permit_mynetworks,reject",
}


@dataclass(frozen=True)
class Service:
    """One port: what a client finds there, and the options of its smtpd."""

    offers: str
    options: Options = field(default_factory=dict)
    certificate: str = ""


SERVICES: dict[str, Service] = {
    "clear": Service("no TLS"),
    "starttls": Service("STARTTLS", OPTIONAL, PRIVATE_CA),
    "auth after tls": Service("STARTTLS, AUTH only after it", OPTIONAL | {"smtpd_tls_auth_only": "yes"}, PRIVATE_CA),
    "tls required": Service("STARTTLS, nothing without it", {"smtpd_tls_security_level": "encrypt"}, PRIVATE_CA),
    "smtps": Service("TLS from the first byte", WRAPPED, PRIVATE_CA),
    "no auth": Service("STARTTLS, no AUTH", OPTIONAL | NO_AUTH, PRIVATE_CA),
    **{f"starttls {name}": Service("STARTTLS", OPTIONAL, name) for name in (SELF_SIGNED, EXPIRED, WRONG_HOST)},
    **{
        f"smtps {name}": Service("TLS from the first byte", WRAPPED, name)
        for name in (SELF_SIGNED, EXPIRED, WRONG_HOST)
    },
    "small": Service("no TLS", {"message_size_limit": str(SMALL_LIMIT)}),
}

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
multi_instance_name = postfix-{name}
mail_owner = postfix
setgid_group = postdrop

myhostname = postfix.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 192.0.2.1
mydestination =
alias_maps =
local_recipient_maps =
local_header_rewrite_clients =
default_transport = discard
notify_classes =
smtpd_peername_lookup = no
smtputf8_enable = yes
in_flow_delay = 0

virtual_mailbox_domains = x.test
virtual_mailbox_maps = inline:{{ {mailboxes} }}
virtual_mailbox_base = {folder}/mail
virtual_uid_maps = static:{user}
virtual_gid_maps = static:{group}

smtpd_relay_restrictions = permit_sasl_authenticated,reject
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
smtpd_sasl_local_domain = x.test
smtpd_sasl_security_options = noanonymous
cyrus_sasl_config_path = {folder}/etc/sasl
smtpd_tls_auth_only = no
smtpd_tls_security_level = none
smtpd_tls_received_header = yes
"""

SASL = """
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: {folder}/sasldb
mech_list: PLAIN LOGIN CRAM-MD5
"""

# name, type, private, unprivileged, in a chroot, wake-up, limit, program
MASTER = """
postlog unix-dgram n - n - 1 postlogd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
anvil unix - - n - 1 anvil
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
"""

# What Postfix writes in front of a mail; then comes what it was given.
_TRACE = re.compile(
    rb"Return-Path: <(?P<sender>.*)>\nX-Original-To: (?P<recipient>.*)\nDelivered-To: .*\n"
    rb"Received: (?P<received>.*\n(?:[ \t].*\n)*)"
)


@dataclass(frozen=True, order=True)
class Arrived:
    """A mail as it lies in the Maildir. `tls` is Postfix's own word for how it came in."""

    content: bytes
    sender: str
    recipient: str
    tls: str = ""


class Postfix:
    """`ports` holds the port of each service."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.ports: dict[str, int] = {}

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="rootmail-postfix-")).resolve()
        try:
            self._configure()
            self._let_postfix_in()
            self._command("start")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def arrived(self) -> list[Arrived]:
        """Return every mail in the Maildir, once Postfix has none on the way any more."""
        wait_until(lambda: not self._queued(), what="the delivery of every mail")
        return sorted(_parsed(path.read_bytes()) for path in (self.folder / "mail/all/new").glob("*"))

    def log(self, service: str) -> list[str]:
        """Return what the smtpd of one port wrote so far, without time and process."""
        mark = f" {_syslog_name(service)}/smtpd["
        return [line.partition(mark)[2].partition("]: ")[2] for line in self.whole_log.splitlines() if mark in line]

    @property
    def whole_log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def conversations(self, service: str, *, count: int) -> list[str]:
        """Return the commands of each of `count` connections, as smtpd counted them: 'ehlo=1 auth=0/1 quit=1'."""
        wait_until(lambda: len(self._counts(service)) >= count, what="the end of every conversation")
        return self._counts(service)

    def _counts(self, service: str) -> list[str]:
        ends = [line for line in self.log(service) if line.startswith("disconnect from ")]
        return [line.partition("] ")[2].partition(" commands=")[0] for line in ends]

    def _queued(self) -> list[Path]:
        """Look in the order in which a mail moves, so that none slips through."""
        folders = [self.folder / "queue" / name for name in ("incoming", "active", "deferred")]
        return [path for folder in folders for path in folder.rglob("*") if path.is_file()]

    # Configuring

    def _configure(self) -> None:
        for name in ("etc", "etc/sasl", "queue", "data", "mail", "tls"):
            (self.folder / name).mkdir()
        shutil.chown(self.folder / "data", "postfix")
        shutil.chown(self.folder / "mail", "nobody", "nogroup")
        self.ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
        for name, chain in chains().items():
            self._chain(name).write_text(chain)
        self._write("etc/sasl/smtpd.conf", SASL)  # Debian's Postfix looks nowhere else
        self._write("etc/main.cf", MAIN)
        self._write("etc/master.cf", MASTER + "".join(self._smtpd(name) for name in SERVICES))
        self._make_user()

    def _write(self, name: str, text: str) -> None:
        owner = (self.folder / "mail").stat()
        mailboxes = ", ".join(f"{{ {address} = all/ }}" for address in MAILBOXES)
        values = {"folder": self.folder, "name": self.folder.name, "mailboxes": mailboxes}
        path = self.folder / name
        path.write_text(text.format(**values, user=owner.st_uid, group=owner.st_gid))
        os.utime(path, (0, 0))  # Postfix waits two seconds where somebody may still be editing

    def _chain(self, name: str) -> Path:
        return self.folder / "tls" / f"{name.replace(' ', '-')}.pem"

    def _smtpd(self, name: str) -> str:
        """Return the lines of master.cf for one port."""
        service = SERVICES[name]
        options = {"syslog_name": _syslog_name(name), **service.options}
        if service.certificate:
            options["smtpd_tls_chain_files"] = str(self._chain(service.certificate))
        lines = [
            f"127.0.0.1:{self.ports[name]} inet n - n - - smtpd",
            *(f"  -o {key}={options[key]}" for key in options),
        ]
        return "".join(f"{line}\n" for line in lines)

    def _let_postfix_in(self) -> None:
        """Its daemons give up root's rights; a folder made for a test is closed to everybody else."""
        for path in (self.folder, *self.folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)

    def _make_user(self) -> None:
        database = self.folder / "sasldb"
        program = shutil.which("saslpasswd2", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program, "saslpasswd2 is missing (on Debian: apt install sasl2-bin)"
        _run([program, "-p", "-c", "-u", "x.test", "-f", str(database), USER], stdin=PASSWORD)

    # Starting and ending

    def _command(self, name: str) -> None:
        try:
            _run([self.program, "-c", str(self.folder / "etc"), name])
        except AssertionError as error:
            raise AssertionError(f"{error}{self.whole_log}") from None

    def _end(self) -> None:
        """Stop every process, also after a start that failed, and leave nothing behind."""
        if self._running():
            with suppress(AssertionError):  # it says so even where it had to use force
                self._command("stop")
            wait_until(lambda: not self._running(), what="the end of Postfix")
        wait_until(self._is_removed, what="the removal of Postfix's folder")

    def _running(self) -> list[Path]:
        """Return our processes: each of Postfix's stands in its queue."""
        queue, found = self.folder / "queue", []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (entry / "cwd").readlink() == queue:
                    found.append(entry)
        return found

    def _is_removed(self) -> bool:
        shutil.rmtree(self.folder, ignore_errors=True)
        return not self.folder.exists()


def _run(command: list[str], *, stdin: str = "") -> None:
    """Through a pipe nobody could tell the end: the daemons keep it open. So the output goes to a file."""
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(command, input=stdin, stdout=output, stderr=output, text=True, timeout=60)
        output.seek(0)
        assert done.returncode == 0, f"{command[0]} failed: {output.read()}"


def _syslog_name(service: str) -> str:
    return f"postfix/{service.replace(' ', '-')}"


def _parsed(raw: bytes) -> Arrived:
    trace = _TRACE.match(raw)
    assert trace, raw
    tls = re.search(rb"using (\S+) with cipher", trace["received"])
    return Arrived(
        content=raw[trace.end() :].replace(b"\n", b"\r\n"),
        sender=trace["sender"].decode(),
        recipient=trace["recipient"].decode(),
        tls=tls[1].decode() if tls else "",
    )


def free_ports(count: int) -> range:
    """Return ports that nobody else will take: below those given out at random, and by our process id."""
    blocks = [range(start, start + count) for start in range(20_000, 32_000, 20)]
    first = os.getpid() % len(blocks)
    return next(block for block in blocks[first:] + blocks[:first] if all(map(_is_free, block)))


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # Postfix does the same
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


# Certificates


def chains() -> dict[str, str]:
    """Return what each certificate's server needs: key, certificate, issuers."""
    long_ago = datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)
    issued = {
        PRIVATE_CA: certificate("localhost"),
        EXPIRED: authority().issue_cert("localhost", not_after=long_ago),
        WRONG_HOST: certificate("mail.other.test"),
    }
    found = {name: leaf.private_key_and_cert_chain_pem.bytes().decode("ascii") for name, leaf in issued.items()}
    return found | {SELF_SIGNED: "".join(self_signed())}


def issuer_of(certificate_name: str) -> str:
    """Return what an admin would paste as CA certificate."""
    return self_signed()[1] if certificate_name == SELF_SIGNED else authority_pem()


@lru_cache(maxsize=1)
def self_signed() -> tuple[str, str]:
    """Return key and certificate, as a package makes them for localhost when it is installed."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=30))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return private.decode("ascii"), public.decode("ascii")
