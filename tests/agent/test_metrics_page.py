import pytest

from agent.errors import PageError
from agent.metrics_page import EngineSample, parse_metrics
from tests.agent.samples import page_bytes


def only(page: bytes) -> EngineSample:
    (engine,) = parse_metrics(page).engines
    return engine


def test_a_real_idle_page_is_read() -> None:
    page = parse_metrics(page_bytes("idle"))
    assert page.process_start_s == 1795303710.53
    (engine,) = page.engines
    assert (engine.engine, engine.running, engine.waiting, engine.kv_usage) == ("0", 0, 0, 0.0)
    assert (engine.steps, engine.prompt_tokens, engine.generation_tokens) == (235, 470, 263)
    assert (engine.prefill_requests, engine.prefill_tokens) == (32, 458)
    assert engine.prefill_s == pytest.approx(26.75053902100001)
    assert engine.created_s == 1795303757.9301214
    assert engine.awake
    assert engine.cache is not None
    assert (engine.cache.capacity_tokens, engine.cache.block_size, engine.cache.dtype) == (1048576, 32, "auto")


def test_a_real_page_under_load_is_read() -> None:
    engine = only(page_bytes("under_load"))
    assert (engine.running, engine.waiting) == (8, 12)
    assert engine.kv_usage == pytest.approx(0.01098666341135901)


def test_an_engine_behind_several_servers_that_had_no_step_yet_is_idle() -> None:
    page = page_bytes("servers_fresh")
    assert b"num_requests_running{" not in page
    assert parse_metrics(page).process_start_s is None
    engine = only(page)
    assert (engine.running, engine.waiting, engine.kv_usage, engine.steps, engine.awake) == (0, 0, 0.0, 0.0, True)
    assert engine.cache is not None
    assert engine.cache.capacity_tokens == 65_536


def test_an_engine_that_had_steps_and_does_not_tell_its_load_is_none() -> None:
    page = page_bytes("idle").replace(b"vllm:num_requests_running", b"vllm:other")
    with pytest.raises(PageError, match="num_requests_running"):
        parse_metrics(page)


@pytest.mark.parametrize(
    ("name", "computed_tokens"),
    [
        pytest.param("prefill_nixl", 2907, id="the prefill side computed all"),
        pytest.param("decode_nixl", 0, id="the decode side pulled all"),
    ],
)
def test_computed_prompt_tokens_leave_out_transferred_ones(name: str, computed_tokens: int) -> None:
    engine = only(page_bytes(name))
    assert engine.prefill_requests == 5
    assert engine.prefill_tokens == computed_tokens
    assert (engine.prompt_tokens, engine.local_tokens) == (2907, computed_tokens)
    assert engine.external_hits == 2907 - computed_tokens


def test_first_tokens_and_how_long_they_were_waited_for_are_read() -> None:
    engine = only(page_bytes("decode_nixl"))
    assert (engine.first_tokens, engine.first_token_s) == (5, 3.6259679794311523)


def test_a_page_that_does_not_tell_where_prompts_came_from_is_read() -> None:
    page = page_bytes("decode_nixl").replace(b"prompt_tokens_by_source", b"prompt_tokens_by_other")
    assert only(page).local_tokens is None


def test_engines_behind_one_port_are_read_apart_and_sorted_as_numbers() -> None:
    first = page_bytes("idle")
    parts = [first.replace(b'engine="0"', f'engine="{label}"'.encode()) for label in (10, 9, 8)]
    parts[1] = parts[1].replace(
        b'vllm:num_requests_running{engine="9",model_name="tiny"} 0.0',
        b'vllm:num_requests_running{engine="9",model_name="tiny"} 7.0',
    )
    engines = parse_metrics(b"".join(parts)).engines
    assert [(engine.engine, engine.running) for engine in engines] == [("8", 0), ("9", 7), ("10", 0)]
    assert all(engine.cache and engine.cache.capacity_tokens == 1048576 for engine in engines)


def test_labels_may_come_in_any_order() -> None:
    page = b'vllm:num_requests_running{model_name="m",engine="3"} 2\nvllm:num_requests_waiting{engine="3"} 1.0 17\n'
    engine = only(page)
    assert (engine.engine, engine.running, engine.waiting) == ("3", 2, 1)


@pytest.mark.parametrize("suffix", [b"", b"_total"])
def test_counters_are_read_with_and_without_total(suffix: bytes) -> None:
    page = b"".join(
        b'vllm:%s{engine="0"} %d\n' % (name, number)
        for name, number in (
            (b"num_requests_running", 1),
            (b"prompt_tokens" + suffix, 30),
            (b"generation_tokens" + suffix, 40),
            (b"request_prompt_tokens_sum", 30),
            (b"gpu_prefix_cache_hits" + suffix, 16),
        )
    )
    engine = only(page)
    assert (engine.prompt_tokens, engine.generation_tokens) == (30, 40)
    assert engine.prefill_tokens == 14


def test_the_old_name_of_kv_use_is_read_and_the_new_one_wins() -> None:
    old = b'vllm:num_requests_running{model_name="m"} 1.0\nvllm:gpu_cache_usage_perc{model_name="m"} 0.25\n'
    assert only(old).kv_usage == 0.25
    assert only(old + b'vllm:kv_cache_usage_perc{model_name="m"} 0.5\n').kv_usage == 0.5


def test_blocks_are_shared_by_the_engines_where_the_page_has_no_tokens_per_engine() -> None:
    page = b"".join(
        b'vllm:num_requests_running{engine="%d"} 0\n'
        b'vllm:cache_config_info{block_size="16",engine="%d",kv_cache_size_tokens="None",num_gpu_blocks="200"} 1.0\n'
        % (index, index)
        for index in range(2)
    )
    assert [engine.cache and engine.cache.capacity_tokens for engine in parse_metrics(page).engines] == [1600, 1600]


def test_an_info_series_without_an_engine_label_holds_for_all() -> None:
    page = b'vllm:cache_config_info{block_size="16",num_gpu_blocks="10"} 1.0\nvllm:num_requests_running{engine="0"} 0\n'
    cache = only(page).cache
    assert cache is not None
    assert cache.capacity_tokens == 160


def test_a_capacity_beyond_any_memory_is_not_known() -> None:
    digits = b"9" * 15
    page = b'vllm:cache_config_info{block_size="%s",num_gpu_blocks="%s"} 1.0\nvllm:num_requests_running 0\n' % (
        digits,
        digits,
    )
    cache = only(page).cache
    assert cache is not None
    assert cache.capacity_tokens == 0


def test_a_page_without_process_families_is_read() -> None:
    assert parse_metrics(page_bytes("under_load")).process_start_s is None
    assert only(page_bytes("under_load")).created_s is None


def test_label_values_may_hold_braces_quotes_and_commas() -> None:
    name = rb"a}\"b,engine=\"9\",\\"
    page = b'vllm:num_requests_running{model_name="%s",engine="1"} 4.0\n' % name
    engine = only(page)
    assert (engine.engine, engine.running) == ("1", 4)


def test_a_sleeping_engine_is_not_awake() -> None:
    page = page_bytes("idle").replace(b'sleep_state="awake"} 1.0', b'sleep_state="awake"} 0.0')
    assert not only(page).awake


def test_names_that_only_begin_alike_are_not_read() -> None:
    page = (
        b'vllm:num_requests_running{engine="0"} 3\nvllm:num_requests_running_max{engine="0"} 9\n'
        b"# HELP vllm:num_requests_running 8\nmy_vllm:num_requests_running 7\n"
    )
    assert only(page).running == 3


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>404</html>", id="another server"),
        pytest.param(b"process_start_time_seconds 1.0\nvllm:num_requests_waiting 0\n", id="no running requests"),
        pytest.param(b'vllm:num_requests_running{engine="0"} NaN\n', id="a gauge nobody set"),
        pytest.param(b'vllm:num_requests_running{engine="0"} many\n', id="not a number"),
        pytest.param(b'vllm:num_requests_running{engine="0', id="cut off"),
        pytest.param(b'vllm:num_requests_running{engine="0' * 5000, id="cut off often"),
        pytest.param(b"vllm:num_requests_running{" + b"a" * 100_000, id="cut off in a long label"),
        pytest.param(b"\xff\xfe\x00", id="not text"),
    ],
)
def test_a_page_without_load_is_refused_not_read_as_idle(page: bytes) -> None:
    with pytest.raises(PageError, match="num_requests_running"):
        parse_metrics(page)


@pytest.mark.parametrize(
    ("page", "named"),
    [
        pytest.param(
            b"".join(b'vllm:num_requests_running{engine="%d"} 0\n' % index for index in range(33_000)),
            "more than 32768 series of engines",
            id="an engine on each line",
        ),
        pytest.param(
            b"vllm:prompt_tokens 1\n" * 33_000, "more than 32768 series of engines", id="one series again and again"
        ),
        pytest.param(
            b"vllm:num_requests_running{%s} 1\n" % b",".join(b'l%d=""' % index for index in range(10_000)),
            "labels longer than 16384 bytes",
            id="labels without end",
        ),
    ],
)
def test_a_page_of_too_much_is_refused(page: bytes, named: str) -> None:
    with pytest.raises(PageError, match=named):
        parse_metrics(page)


def test_a_page_of_as_many_engines_as_a_large_dp_group_has_is_read() -> None:
    page = b"".join(page_bytes("idle").replace(b'engine="0"', b'engine="%d"' % index) for index in range(320))
    assert len(parse_metrics(page).engines) == 320
