"""`make check` asks which known vulnerabilities the installed packages have: pip-audit, and what its answer means.

A known vulnerability fails. Where the advisories of no package can be had (no network, or a mirror without them) that
is said in one line, and passes: what nobody could look up is no fault of the change at hand.
"""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

import msgspec

WITHIN_S = 120
COMMAND = (
    *(sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--progress-spinner", "off"),
    *("--vulnerability-service", "pypi", "--timeout", "10", "--format", "json", "--desc", "off"),
)


class Vulnerability(msgspec.Struct, frozen=True):
    """One advisory."""

    id: str
    fix_versions: tuple[str, ...] = ()


class Package(msgspec.Struct, frozen=True):
    """One that is installed; with a `skip_reason` nobody knows."""

    name: str
    version: str = ""
    vulns: tuple[Vulnerability, ...] = ()
    skip_reason: str = ""


class Report(msgspec.Struct, frozen=True):
    """What pip-audit prints with `--format json`."""

    dependencies: tuple[Package, ...]


class Verdict(NamedTuple):
    """What to print, and whether it passes."""

    lines: tuple[str, ...]
    passes: bool


def verdict(printed: bytes, complaint: str) -> Verdict:
    """The meaning of what pip-audit has printed; `complaint` is what it said beside it."""
    try:
        report = msgspec.json.decode(printed, type=Report)
    except msgspec.DecodeError:
        if complaint.rstrip().endswith("No module named pip_audit"):
            return Verdict(("dependency audit: pip-audit is not installed; make check installs it",), passes=False)
        why = (complaint.strip().splitlines() or ["no word of why"])[-1]
        return Verdict((f"dependency audit: not done, the advisories cannot be reached ({why[:200]})",), passes=True)
    unknown = [package for package in report.dependencies if package.skip_reason]
    known = len(report.dependencies) - len(unknown)
    if not known:
        why = unknown[0].skip_reason if unknown else "nothing is installed"
        return Verdict((f"dependency audit: not done, the advisories cannot be reached ({why[:200]})",), passes=True)
    found = [
        f"{package.name} {package.version}: {each.id}, mended in {', '.join(each.fix_versions) or 'no version yet'}"
        for package in report.dependencies
        for each in package.vulns
    ]
    total = f"dependency audit: {known} packages, {len(found)} known vulnerabilities"
    left_out = f"; not known: {', '.join(package.name for package in unknown)}" if unknown else ""
    return Verdict((*found, total + left_out), passes=not found)


def main() -> int:
    """Audit this environment; the exit status."""
    try:
        done = subprocess.run(COMMAND, capture_output=True, timeout=WITHIN_S, check=False)
    except subprocess.TimeoutExpired:
        printed, complaint = b"", f"no answer within {WITHIN_S} s"
    else:
        printed, complaint = done.stdout, done.stderr.decode(errors="replace")
    said = verdict(printed, complaint)
    sys.stdout.write("\n".join((*said.lines, "")))
    return 0 if said.passes else 1


if __name__ == "__main__":
    sys.exit(main())
