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
