"""The compose files and the image: valid by the specification, and what they are meant to be."""

import json
import re
import tomllib
from typing import Any

import click
import jsonschema
import pytest

from forebay.main import main
from gateway.settings import GatewaySettings
from tests import compose_file, house_rules
from tests.compose_file import ROOT

USERS = {"REDIS_USERS": "./users.acl", "GATEWAY_PASSWORD": "g", "AGENT_PASSWORD": "a"}
KEYS = {"KEYS": "./keys", "KEYS_USER": "1000"}
TLS = {"TLS": "./tls", "TLS_USER": "1000"}
NODE = {"NODE_ADDRESS": "192.0.2.10", "FOREBAY_MODEL": "some-model", "REDIS_PASSWORD": "s3cret"}


def schema() -> dict[str, Any]:
    """The compose specification's, as packaged with check-jsonschema 0.39.0; its licence lies beside it."""
    loaded: dict[str, Any] = json.loads((ROOT / "tests/data/compose-spec.json").read_text())
    return loaded


@pytest.mark.parametrize(
    "paths",
    [("compose.yaml",), ("deploy/compose.vllm.yaml",), ("compose.yaml", "deploy/compose.vllm.yaml")],
    ids=["base", "override-alone", "override-applied"],
)
def test_the_files_are_valid_by_the_compose_specification(paths: tuple[str, ...]) -> None:
    jsonschema.validate(compose_file.load(*paths, variables=NODE), schema())


def test_with_users_each_service_has_its_own() -> None:
    file = compose_file.load("compose.yaml", "deploy/compose.users.yaml", variables=USERS)
    jsonschema.validate(file, schema())
    services = file["services"]
    assert services["gateway"]["environment"]["FOREBAY_REDIS"] == "redis://gateway:g@redis:6379/0"
    assert services["agent"]["environment"]["FOREBAY_REDIS"] == "redis://agent:a@redis:6379/0"
    redis, plain = services["redis"], compose_file.load("compose.yaml", variables={})["services"]["redis"]
    assert redis["volumes"] == ["./users.acl:/users.acl:ro"]
    assert "--requirepass" not in redis["command"]
    password = plain["command"].index("--requirepass")
    bare = [*plain["command"][:password], *plain["command"][password + 2 :]]
    users = redis["command"].index("--aclfile")
    assert [*redis["command"][:users], *redis["command"][users + 2 :]] == bare


def test_users_and_real_nodes_go_together() -> None:
    paths = ("compose.yaml", "deploy/compose.vllm.yaml", "deploy/compose.users.yaml")
    file = compose_file.load(*paths, variables=NODE | USERS | {"REDIS_HOST": "127.0.0.1"})
    jsonschema.validate(file, schema())
    agent = file["services"]["agent"]
    assert agent["network_mode"] == "host"
    assert agent["environment"]["FOREBAY_REDIS"] == "redis://agent:a@127.0.0.1:6379/0"


@pytest.mark.parametrize(
    ("name", "variables", "folder"), [("keys", KEYS, "./keys:/keys:ro"), ("tls", TLS, "./tls:/tls:ro")]
)
def test_gateways_read_secrets_from_a_folder_as_its_owner(name: str, variables: dict[str, str], folder: str) -> None:
    file = compose_file.load("compose.yaml", f"deploy/compose.{name}.yaml", variables=variables)
    jsonschema.validate(file, schema())
    gateway = file["services"]["gateway"]
    assert (gateway["user"], gateway["volumes"]) == ("1000", [folder])
    files = [value for value in gateway["environment"].values() if value and str(value).startswith("/")]
    assert files
    assert all(file.startswith(folder.split(":")[1] + "/") for file in files)


@pytest.mark.parametrize(
    ("name", "needed", "missing"),
    [(name, needed, each) for name, needed in {"users": USERS, "keys": KEYS, "tls": TLS}.items() for each in needed],
)
def test_an_override_insists_on_what_has_no_default(name: str, needed: dict[str, str], missing: str) -> None:
    given = {variable: value for variable, value in needed.items() if variable != missing}
    with pytest.raises(compose_file.MissingVariableError, match=rf"^{missing}:"):
        compose_file.load("compose.yaml", f"deploy/compose.{name}.yaml", variables=given)


def test_the_schema_refuses_a_misspelt_key() -> None:
    file = compose_file.load("compose.yaml", variables={})
    file["services"]["gateway"]["enviroment"] = {}
    with pytest.raises(jsonschema.ValidationError, match="enviroment"):
        jsonschema.validate(file, schema())


def test_the_base_file_needs_no_variable_and_takes_each() -> None:
    plain = compose_file.load("compose.yaml", variables={})["services"]
    assert plain["gateway"]["environment"]["FOREBAY_REDIS"] == "redis://:forebay@redis:6379/0"
    given = compose_file.load("compose.yaml", variables={"REDIS_PASSWORD": "s3cret", "GATEWAY_PORTS": "7000-7003"})
    services = given["services"]
    assert services["gateway"]["environment"]["FOREBAY_REDIS"] == "redis://:s3cret@redis:6379/0"
    assert services["agent"]["environment"]["FOREBAY_REDIS"] == "redis://:s3cret@redis:6379/0"
    assert services["gateway"]["ports"] == ["127.0.0.1:7000-7003:8000"]


def test_gateways_scale_without_a_balancer() -> None:
    gateway = compose_file.load("compose.yaml", variables={})["services"]["gateway"]
    first, last = re.fullmatch(r"127\.0\.0\.1:(\d+)-(\d+):8000", gateway["ports"][0]).groups()  # type: ignore[union-attr]
    assert int(last) - int(first) + 1 >= 4
    assert "container_name" not in gateway


def test_a_stopping_gateway_has_the_time_it_gives_its_requests() -> None:
    gateway = compose_file.load("compose.yaml", variables={})["services"]["gateway"]
    assert float(gateway["stop_grace_period"].removesuffix("s")) > GatewaySettings(redis="redis://r").drain_s


@pytest.mark.parametrize("override", ["vllm", "users", "keys", "tls"])
def test_every_variable_of_a_service_is_an_option_of_its_command(override: str) -> None:
    file = compose_file.load("compose.yaml", f"deploy/compose.{override}.yaml", variables=NODE | USERS | KEYS | TLS)
    for name, service in file["services"].items():
        given = {variable for variable in service.get("environment", {}) if variable.startswith("FOREBAY_")}
        if given:
            command = main.get_command(click.Context(main), service["command"][0])
            assert command is not None
            assert given <= {str(parameter.envvar) for parameter in command.params}, name


def test_gateways_may_be_told_what_reliability_and_security_need() -> None:
    handed_through = compose_file.load("compose.yaml", variables={})["services"]["gateway"]["environment"].keys()
    assert handed_through >= {"FOREBAY_RANK_WAIT_MS", "FOREBAY_HEDGE", "FOREBAY_ALLOW_RANKS", "FOREBAY_PREFIX_SECRET"}


def test_the_balancer_starts_only_when_asked_for() -> None:
    file = compose_file.load("compose.yaml", variables={})
    assert "balancer" not in compose_file.active_services(file)
    assert "balancer" in compose_file.active_services(file, "balancer")


def test_the_vllm_override_replaces_the_simulated_ranks() -> None:
    file = compose_file.load("compose.yaml", "deploy/compose.vllm.yaml", variables={**NODE, "VLLM_PORTS": "8100-8107"})
    services = compose_file.active_services(file)
    assert sorted(services) == ["agent", "gateway", "redis"]
    assert services["agent"]["network_mode"] == "host"
    assert services["agent"]["environment"]["FOREBAY_RANKS"] == "192.0.2.10:8100-8107"
    assert services["redis"]["ports"] == ["127.0.0.1:6379:6379"]


@pytest.mark.parametrize("missing", sorted(NODE))
def test_the_vllm_override_insists_on_what_has_no_safe_default(missing: str) -> None:
    given = {name: value for name, value in NODE.items() if name != missing}
    with pytest.raises(compose_file.MissingVariableError, match=missing):
        compose_file.load("compose.yaml", "deploy/compose.vllm.yaml", variables=given)


def test_where_redis_is_published_its_password_is_the_one_given() -> None:
    services = compose_file.load("compose.yaml", "deploy/compose.vllm.yaml", variables=NODE)["services"]
    command = services["redis"]["command"]
    assert command[command.index("--requirepass") + 1] == "s3cret"
    assert services["agent"]["environment"]["FOREBAY_REDIS"] == "redis://:s3cret@127.0.0.1:6379/0"
    assert "ports" not in compose_file.load("compose.yaml", variables={})["services"]["redis"]


def test_the_vllm_override_hands_through_what_real_ranks_may_need() -> None:
    services = compose_file.load("compose.yaml", "deploy/compose.vllm.yaml", variables=NODE)["services"]
    assert "FOREBAY_RANK_API_KEY" in services["gateway"]["environment"]
    needed = {"FOREBAY_RANK_API_KEY", "FOREBAY_CONNECTOR", "FOREBAY_DP_GROUP", "FOREBAY_LABEL", "FOREBAY_MAX_NUM_SEQS"}
    assert needed <= set(services["agent"]["environment"])


def test_nothing_is_published_beyond_this_machine_unless_asked_for() -> None:
    for variables, address in (({}, "127.0.0.1"), ({"GATEWAY_BIND": "0.0.0.0"}, "0.0.0.0")):
        services = compose_file.load("compose.yaml", variables=variables)["services"]
        published = [port for service in services.values() for port in service.get("ports", [])]
        assert len(published) == 2
        assert all(port.startswith(f"{address}:") for port in published)


def test_no_service_depends_on_one_that_may_be_absent() -> None:
    for paths in (("compose.yaml",), ("compose.yaml", "deploy/compose.vllm.yaml")):
        services = compose_file.active_services(compose_file.load(*paths, variables=NODE))
        for service in services.values():
            for needed, how in service.get("depends_on", {}).items():
                assert needed in services
                assert how["condition"] != "service_healthy" or "healthcheck" in services[needed]


def test_the_image_holds_every_package_and_every_script() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    for package in house_rules.PACKAGES:
        assert f"COPY {package} {package}\n" in dockerfile
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    scripts = [path for package in house_rules.PACKAGES for path in (ROOT / package).rglob("*.lua")]
    for script in scripts:
        folder = script.parent
        while not (folder / "__init__.py").exists():
            folder = folder.parent
        assert any(script in folder.glob(pattern) for pattern in patterns), f"{script} is not in package-data"


def test_the_image_runs_as_no_root_and_stops_on_sigterm() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert re.fullmatch(r"USER [1-9]\d*", next(line for line in reversed(lines) if line.startswith("USER")))
    assert "STOPSIGNAL SIGTERM" in lines
    assert 'ENTRYPOINT ["forebay"]' in lines


def test_the_balancer_passes_events_on_as_they_come() -> None:
    config = (ROOT / "deploy/nginx.conf").read_text()
    for directive in ("proxy_buffering off", "gzip off", "proxy_http_version 1.1", "proxy_read_timeout 1h"):
        assert f"{directive};" in config
    # A name in a variable is resolved again while nginx runs; a name in proxy_pass only when it starts.
    assert "resolver 127.0.0.11 " in config
    assert "proxy_pass http://$gateways;" in config
