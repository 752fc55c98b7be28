"""What of this node itself keeps ranks from serving: ports, proxy variables, ranges of its vLLM servers."""

from __future__ import annotations

import errno
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence

from forebay.preflight.finding import Finding, Level

PROXIES = ("http_proxy", "https_proxy", "all_proxy")
TOOL_WITHIN_S = 10.0


def port_findings(ports: Sequence[int], host: str) -> list[Finding]:
    """Ports that a rank is to listen on, and cannot."""
    change = "--vllm-start-port, --port, or end what has it"
    found = [Finding(Level.BAD, f"port {port}", why, change) for port in ports if (why := _taken(host, port))]
    return found or ([Finding(Level.OK, "ports", f"{len(ports)} are free")] if ports else [])


def _taken(host: str, port: int) -> str:
    """Why a port cannot be had; '' where it can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError as error:
            return "is in use" if error.errno == errno.EADDRINUSE else f"cannot be had: {error.strerror}"
    return ""


def proxy_findings(environment: Mapping[str, str], hosts: Sequence[str]) -> list[Finding]:
    """Variables by which tools would ask a proxy for these hosts; Forebay ignores them, curl does not. Pure."""
    lower = {name.lower(): value for name, value in environment.items()}
    given = [name for name in PROXIES if lower.get(name)]
    if not given:
        return [Finding(Level.OK, "proxy variables", "none is set")]
    if not hosts:
        told = f"{', '.join(given)}, and no rank is named that it could hide"
        return [Finding(Level.UNSEEN, "proxy variables", told)]
    excepted = {part.strip().lstrip(".") for part in lower.get("no_proxy", "").split(",")} - {""}
    hit = [
        host
        for host in hosts
        if "*" not in excepted and not any(host == one or host.endswith("." + one) for one in excepted)
    ]
    if not hit:
        return [Finding(Level.OK, "proxy variables", f"{', '.join(given)}, but no_proxy has all hosts")]
    told = f"{', '.join(given)} would send requests for {', '.join(sorted(set(hit))[:4])} to a proxy"
    return [Finding(Level.WARN, "proxy variables", told, f"unset {' '.join(given)}, or no_proxy")]


def run_tool(command: Sequence[str]) -> str | None:
    """What a tool says, on whichever stream; None where it is not installed."""
    if (path := shutil.which(command[0])) is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603
            [path, *command[1:]], capture_output=True, text=True, errors="replace", timeout=TOOL_WITHIN_S, check=False
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        return str(error)
    return done.stdout + done.stderr
