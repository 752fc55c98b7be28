"""How other proxies are started before the same backends. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from forebay.ports import LOOPBACK

CONFIG = "{config}"
"""In a command, stands for the path of the configuration file."""
MOST_CONNECTIONS = 8192


class Recipe(NamedTuple):
    """A command, and what its configuration file holds; empty where it needs none."""

    command: tuple[str, ...]
    config: str = ""


def recipe(name: str, path: str, port: int, metrics_port: int, backends: Sequence[str]) -> Recipe:
    """How the peer `name` is started: its program, the port to listen on, and the backends as HOST:PORT."""
    return RECIPES[name](path, port, metrics_port, backends)


def _nginx(path: str, port: int, _metrics_port: int, backends: Sequence[str]) -> Recipe:
    # One process, as one gateway is; without its master nothing of it can be left behind.
    servers = "\n".join(f"    server {backend};" for backend in backends)
    config = f"""daemon off;
master_process off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections {MOST_CONNECTIONS}; }}
http {{
  access_log off;
  client_max_body_size 32m;
  client_body_buffer_size 512k;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  keepalive_requests 1000000;
  upstream backends {{
{servers}
    keepalive 1024;
    keepalive_timeout 3s;
    keepalive_requests 1000000;
  }}
  server {{
    listen {LOOPBACK}:{port} backlog=4096;
    location / {{
      proxy_pass http://backends;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_buffering off;
      proxy_request_buffering on;
      proxy_read_timeout 600s;
    }}
  }}
}}
"""
    return Recipe((path, "-e", "stderr", "-p", ".", "-c", CONFIG), config)


def _haproxy(path: str, port: int, _metrics_port: int, backends: Sequence[str]) -> Recipe:
    servers = "\n".join(f"  server rank{index} {backend}" for index, backend in enumerate(backends))
    config = f"""global
  nbthread 1
  maxconn {MOST_CONNECTIONS}
defaults
  mode http
  option http-no-delay
  http-reuse always
  timeout connect 2s
  timeout client 600s
  timeout server 600s
frontend clients
  bind {LOOPBACK}:{port} backlog 4096
  default_backend ranks
backend ranks
  balance roundrobin
{servers}
"""
    return Recipe((path, "-db", "-f", CONFIG), config)


def _vllm_router(path: str, port: int, metrics_port: int, backends: Sequence[str]) -> Recipe:
    return Recipe((path, *_router_options(port, metrics_port, backends, "warning")))


def _smg(path: str, port: int, metrics_port: int, backends: Sequence[str]) -> Recipe:
    options = _router_options(port, metrics_port, backends, "warn")
    return Recipe((path, "launch", *options, "--backend", "vllm", "--disable-tokenizer-autoload"))


def _router_options(port: int, metrics_port: int, backends: Sequence[str], log_level: str) -> tuple[str, ...]:
    return (
        *("--host", LOOPBACK, "--port", str(port), "--policy", "round_robin", "--log-level", log_level),
        *("--prometheus-host", LOOPBACK, "--prometheus-port", str(metrics_port)),
        *("--worker-startup-check-interval", "1", "--max-concurrent-requests", str(MOST_CONNECTIONS)),
        *("--worker-urls", *(f"http://{backend}" for backend in backends)),
    )


RECIPES: Mapping[str, Callable[[str, int, int, Sequence[str]], Recipe]] = {
    "nginx": _nginx,
    "haproxy": _haproxy,
    "vllm-router": _vllm_router,
    "smg": _smg,
}
