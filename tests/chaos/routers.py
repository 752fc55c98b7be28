"""How routers are started before ranks that fail, each with what it has against that turned on. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tests.chaos.fleet import AGENT, GATEWAY
from tests.chaos.settings import MODEL
from tests.ports import HOST

CONFIG = "{config}"
"""In a command, stands for the path of the configuration file."""
FOLDER = "{folder}"
"""And this for that of a folder of its own."""
PORTS = 3
"""A router listens on the first; the others are for what it brings with it."""

OURS = "forebay"

Ports = Sequence[int]


class Recipe(NamedTuple):
    """Commands in the order in which they are started, the router itself last, with what its configuration file holds.

    `turned_on` is what matters here of both, as its page shows it; `lacks` what it could not be asked for.
    """

    commands: tuple[tuple[str, ...], ...]
    turned_on: tuple[str, ...]
    lacks: str
    config: str = ""


def recipe(name: str, program: str, ports: Ports, ranks: Sequence[str]) -> Recipe:
    """How the router `name` is started before `ranks` (HOST:PORT). `program` is its own; ours is this interpreter's."""
    return ROUTERS[name](program, ports, ranks)


def _forebay(program: str, ports: Ports, ranks: Sequence[str]) -> Recipe:
    port, redis_port, _ = ports
    url = f"redis://{HOST}:{redis_port}/0"
    run = (program, "-m", "forebay", "--log-level", "warning")
    words = ("--model", MODEL, "--role", "mixed", "--node", "peers", "--ranks", ",".join(ranks))
    return Recipe(
        commands=(
            (*run, "local-redis", "--port", str(redis_port)),
            (*run, "agent", "--redis", url, *words, *AGENT),
            (*run, "gateway", "--redis", url, "--port", str(port), *GATEWAY),
        ),
        turned_on=("forebay agent " + " ".join(AGENT), "forebay gateway " + " ".join(GATEWAY)),
        lacks="",
    )


def _nginx(program: str, ports: Ports, ranks: Sequence[str]) -> Recipe:
    turned_on = (
        "proxy_next_upstream error timeout invalid_header http_500 http_502 http_503 http_504 non_idempotent;",
        "proxy_next_upstream_tries 3;",
        "proxy_connect_timeout 1s;",
        "proxy_read_timeout 6s;",
        "proxy_buffering off;",
    )
    servers = "\n".join(f"    server {rank};" for rank in ranks)
    lines = "\n".join(f"      {line}" for line in turned_on)
    config = f"""daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_max_body_size 32m;
  client_body_buffer_size 512k;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  upstream ranks {{
    least_conn;
{servers}
    keepalive 64;
    keepalive_timeout 3s;
  }}
  server {{
    listen {HOST}:{ports[0]};
    location / {{
      proxy_pass http://ranks;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
{lines}
    }}
  }}
}}
"""
    return Recipe(
        commands=((program, "-e", "stderr", "-p", FOLDER, "-c", CONFIG),),
        turned_on=("least_conn;", *turned_on),
        lacks="checks of a server's health, which nginx without Plus does not make: a server that failed once is left "
        "out for 10 s (its default), and then asked by clients' requests; an error inside a stream that has begun",
        config=config,
    )


def _haproxy(program: str, ports: Ports, ranks: Sequence[str]) -> Recipe:
    turned_on = (
        "balance leastconn",
        "timeout connect 1s",
        "timeout server 6s",
        "retries 3",
        "option redispatch 1",
        "retry-on all-retryable-errors",
        "option httpchk GET /health",
        "default-server check inter 1s fall 2 rise 1 observe layer7 error-limit 3 on-error mark-down",
        "tune.bufsize 65536",
    )
    in_backend = "\n".join(f"  {line}" for line in turned_on[:-1])
    servers = "\n".join(f"  server rank{number} {rank}" for number, rank in enumerate(ranks))
    config = f"""global
  maxconn 8192
  {turned_on[-1]}
defaults
  mode http
  timeout client 600s
frontend clients
  bind {HOST}:{ports[0]}
  default_backend ranks
backend ranks
  option http-no-delay
{in_backend}
{servers}
"""
    return Recipe(
        commands=((program, "-db", "-f", CONFIG),),
        turned_on=turned_on,
        lacks="an error inside a stream that has begun",
        config=config,
    )


def _vllm_router(program: str, ports: Ports, ranks: Sequence[str]) -> Recipe:
    listening = _listening(ports, "warning")
    return Recipe(
        commands=((program, *listening, *CHECKS, *_urls(ranks)),),
        turned_on=(" ".join(CHECKS),),
        lacks=f"{NO_DEADLINES}; an error inside a stream that has begun",
    )


def _smg(program: str, ports: Ports, ranks: Sequence[str]) -> Recipe:
    listening = (*_listening(ports, "warn"), "--backend", "vllm", "--disable-tokenizer-autoload")
    return Recipe(
        commands=((program, "launch", *listening, *CHECKS, *_urls(ranks)),),
        turned_on=(" ".join(CHECKS),),
        lacks=NO_DEADLINES,
    )


NO_DEADLINES = "deadlines to connect and for the first byte: its only one is for all of a request, 10 s here"
CHECKS = (
    *("--health-check-interval-secs", "1", "--health-check-timeout-secs", "1", "--health-failure-threshold", "2"),
    *("--health-success-threshold", "1", "--request-timeout-secs", "10"),
)


def _listening(ports: Ports, log_level: str) -> tuple[str, ...]:
    port, metrics_port, _ = ports
    return (
        *("--host", HOST, "--port", str(port), "--log-level", log_level, "--worker-startup-check-interval", "1"),
        *("--prometheus-host", HOST, "--prometheus-port", str(metrics_port)),
    )


def _urls(ranks: Sequence[str]) -> tuple[str, ...]:
    return ("--worker-urls", *(f"http://{rank}" for rank in ranks))


ROUTERS: Mapping[str, Callable[[str, Ports, Sequence[str]], Recipe]] = {
    OURS: _forebay,
    "nginx": _nginx,
    "haproxy": _haproxy,
    "vllm-router": _vllm_router,
    "smg": _smg,
}
