import msgspec
import pytest

from agent.settings import AgentSettings
from scheduler.messages import Role
from tests.agent.samples import settings

GIVEN = {"redis": "redis://r", "model": "m", "role": "prefill", "ranks": "h:9000-9001"}


def test_text_values_are_read_as_the_types_they_stand_for() -> None:
    read = msgspec.convert({**GIVEN, "max_num_seqs": "8", "warmup": "2"}, AgentSettings, strict=False)
    assert (read.role, read.max_num_seqs, read.warmup) == (Role.PREFILL, 8, 2)
    assert [target.port for target in read.targets] == [9000, 9001]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ranks", "9000"),
        ("ranks", "localhost:9000,127.0.0.1:9000"),
        ("role", "both"),
        ("max_num_seqs", "0"),
        ("heartbeat_ms", "soon"),
        ("heartbeat_ms", "501"),
        ("node", "two words"),
        ("prefill_tokens_per_s", "0"),
        ("rank_api_key", "schl\u00fcssel"),
        ("rank_api_key", "two\nlines"),
        ("no_such_option", "1"),
    ],
)
def test_a_bad_value_is_refused_with_the_options_name(field: str, value: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert({**GIVEN, field: value}, AgentSettings, strict=False)


def test_the_default_name_tells_agents_of_one_host_apart() -> None:
    first, second = (settings(node="", ranks=ranks).node_name for ranks in ("h:9000-9003", "h:9004"))
    assert first != second
    assert first.endswith("-9000")


@pytest.mark.parametrize(
    ("role", "given", "registered"),
    [
        ("mixed", "auto", ""),
        ("prefill", "auto", "nixl"),
        ("decode", "auto", "nixl"),
        ("mixed", "nixl", "nixl"),
    ],
)
def test_ranks_of_a_pair_have_the_nixl_connector_unless_told_otherwise(role: str, given: str, registered: str) -> None:
    assert settings(role=Role(role), connector=given).kv_connector == registered


def test_pages_on_ports_of_their_own_are_found_in_the_ranks_order() -> None:
    assert settings(ranks="https://h:9000-9001").metrics_urls == {}
    given = settings(ranks="h:9000-9001,[2001:db8::1]:9000", metrics_ports="3101, 3201-3202")
    pages = ("http://h:3101", "http://h:3201", "http://[2001:db8::1]:3202")
    assert given.metrics_urls == dict(zip(given.targets, pages, strict=True))


@pytest.mark.parametrize(
    ("ports", "why"),
    [
        ("3101", "1 ports are given for 2 ranks"),
        ("3101-3103", "3 ports are given for 2 ranks"),
        ("3101,x", "'x' is not PORT or PORT-PORT"),
        ("3101,", "'' is not PORT or PORT-PORT"),
        ("h:3101-3102", "'h:3101-3102' is not PORT or PORT-PORT"),
        ("3102-3101", "'3102-3101' is a range that ends before it starts"),
        ("0-1", "'0-1' has a port outside 1-65535"),
    ],
)
def test_ports_of_pages_that_make_no_sense_are_refused(ports: str, why: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=f"metrics_ports: {why}"):
        msgspec.convert({**GIVEN, "metrics_ports": ports}, AgentSettings)


@pytest.mark.parametrize("connector", ["mooncake_pull", "pull", "store"])
def test_a_connector_that_is_named_is_registered(connector: str) -> None:
    assert settings(role=Role.DECODE, connector=connector).kv_connector == connector
