"""Several machines in one: network namespaces on a bridge of their own, where packets may vanish.

`TEST_NETWORKS` names the program `ip`; only root can use it so, and `nft` and `ss` have to be there as well.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.installation import from_environment

NETWORK = "10.77.0.0/24"
CLONE_NEWNET = 0x40000000  # linux/sched.h
NFT = shutil.which("nft") or "/usr/sbin/nft"  # where Debian has it, and not all have a path to it
_system = ctypes.CDLL(None, use_errno=True)


class Machines:
    """with Machines(["web", "broker"]) as machines, machines.on("web"): connect to machines.address["broker"]"""

    def __init__(self, names: Sequence[str]) -> None:
        self._ip = from_environment("TEST_NETWORKS")
        self.address = {name: f"10.77.0.{number}" for number, name in enumerate(names, start=2)}
        self._switch = self._space("switch")

    def __enter__(self) -> Self:
        try:
            self._run("netns", "add", self._switch)
            self._run("-n", self._switch, "link", "add", "bridge", "type", "bridge")
            self._run("-n", self._switch, "link", "set", "bridge", "up")
            for name in self.address:
                self._plug_in(name)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for space in [self._switch, *map(self._space, self.address)]:
            subprocess.run([self._ip, "netns", "delete", space], capture_output=True, check=False)

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Let this thread open connections, and start processes, on that machine."""
        with Path("/proc/thread-self/ns/net").open() as here, Path(f"/run/netns/{self._space(name)}").open() as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(here.fileno())

    def forget(self, name: str, other: str) -> int:
        """Let the packets of all connections from one machine to another vanish from now on; new ones pass."""
        with self.on(name):
            listed = subprocess.run(
                ["ss", "-Htn", "state", "established", "dst", self.address[other]],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
        ports = {line.split()[2].rpartition(":")[2] for line in listed.stdout.splitlines()}
        for port in ports:
            self._drop(name, f"incoming ip saddr {self.address[other]} tcp dport {port}")
            self._drop(name, f"outgoing ip daddr {self.address[other]} tcp sport {port}")
        return len(ports)

    def lose(self, name: str) -> None:
        """Let a machine vanish: whatever it says, or is told, gets lost."""
        self._drop(name, "incoming iif eth0")
        self._drop(name, "outgoing oif eth0")

    def _plug_in(self, name: str) -> None:
        space = self._space(name)
        self._run("netns", "add", space)
        self._run("link", "add", "eth0", "netns", space, "type", "veth", "peer", "name", name, "netns", self._switch)
        self._run("-n", self._switch, "link", "set", name, "master", "bridge", "up")
        self._run("-n", space, "link", "set", "lo", "up")
        self._run("-n", space, "address", "add", f"{self.address[name]}/24", "dev", "eth0")
        self._run("-n", space, "link", "set", "eth0", "up")
        self._filter(name, "add table inet test")
        for chain, hook in (("incoming", "input"), ("outgoing", "output")):
            self._filter(name, f"add chain inet test {chain} {{ type filter hook {hook} priority 0; }}")

    def _drop(self, name: str, rule: str) -> None:
        self._filter(name, f"add rule inet test {rule} drop")

    def _filter(self, name: str, command: str) -> None:
        with self.on(name):
            subprocess.run([NFT, command], check=True)

    def _run(self, *words: str) -> None:
        subprocess.run([self._ip, *words], check=True)

    @staticmethod
    def _space(name: str) -> str:
        return f"rootmail-{os.getpid()}-{name}"


def _enter(space: int) -> None:
    if _system.setns(space, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
