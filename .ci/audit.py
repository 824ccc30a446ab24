"""Ask pip-audit for known vulnerabilities of what a lock file names: `audit.py PIP_AUDIT LOCK`.

Exits with 1 where one is known, and where pip-audit fails for another reason than that its data cannot be had. It says
'No known vulnerabilities found', and exits with 0, where a mirror knows none of the packages: we look closer.
"""

from __future__ import annotations

import json
import subprocess  # nosec B404 # the call says why it is safe
import sys
from typing import Any

NO_DATA = ("ConnectionError", "ServiceError", "ConnectTimeout", "ReadTimeout", "ProxyError")
OPTIONS = ("--require-hashes", "--disable-pip", "--format=json", "--progress-spinner=off")


def main(program: str, lock: str) -> int:
    # The Makefile names both, and there is no shell.
    done = subprocess.run(  # noqa: S603 # nosec B603
        [program, f"--requirement={lock}", *OPTIONS], capture_output=True, text=True
    )
    text, code = judge(done.stdout, done.stderr)
    sys.stdout.write(text + "\n")
    return code


def judge(answer: str, complaint: str) -> tuple[str, int]:
    """Return what to say, and the exit code."""
    if not answer.strip():
        last = complaint.strip().rpartition("\n")[2]
        if any(name in last for name in NO_DATA):
            return "Not audited: the data of known vulnerabilities cannot be had here.", 0
        return f"pip-audit failed:\n{complaint}", 1
    packages = json.loads(answer)["dependencies"]
    known = [_line(package, fault) for package in packages for fault in package.get("vulns", [])]
    if known:
        return "\n".join(["Known vulnerabilities:", *known]), 1
    return _coverage(packages), 0


def _line(package: dict[str, Any], fault: dict[str, Any]) -> str:
    mended = ", ".join(fault["fix_versions"]) or "no version yet"
    return f"  {package['name']} {package['version']}: {fault['id']}, mended in {mended}"


def _coverage(packages: list[dict[str, Any]]) -> str:
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    if len(unknown) == len(packages):
        return "Not audited: the index that is reached here has no data of known vulnerabilities."
    missing = f" Not audited, since the index does not know them: {', '.join(unknown)}." if unknown else ""
    return f"No known vulnerabilities in {len(packages) - len(unknown)} packages.{missing}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
