"""A proxy's command line means the same here as there; what cannot be meant is refused in one line."""

import pytest

from forebay.proxy.notes import notes_on
from tests.forebay.proxy.documented import DOCUMENTED, EXTERNAL_DP, LARGE_SCALE_EP, PD_PULL, Documented
from tests.forebay.proxy.reading import Reading, words_of


@pytest.mark.parametrize("documented", DOCUMENTED.values(), ids=DOCUMENTED)
def test_a_documented_command_line_means_the_same_ranks(documented: Documented) -> None:
    reading = Reading(words_of(documented.text))
    assert reading.settings.serves_as == documented.mode
    assert reading.ranks == documented.ranks


@pytest.mark.parametrize("name", [name for name in DOCUMENTED if "layerwise" not in name])
def test_without_the_scripts_name_the_ranks_tell_the_mode(name: str) -> None:
    documented = DOCUMENTED[name]
    reading = Reading(words_of(documented.text)[1:])
    assert reading.settings.serves_as == documented.mode
    assert reading.ranks == documented.ranks


def test_layerwise_without_the_scripts_name_is_told_by_mode() -> None:
    documented = DOCUMENTED["layerwise"]
    reading = Reading(["--mode", "layerwise", *words_of(documented.text)[1:]])
    assert reading.settings.serves_as == "layerwise"
    assert reading.ranks == documented.ranks


def test_a_script_is_known_by_its_name_in_any_folder() -> None:
    words = words_of(EXTERNAL_DP)
    assert Reading([f"/opt/vllm-ascend/examples/{words[0]}", *words[1:]]).settings.serves_as == "dp"


def test_options_of_ours_may_stand_before_the_script() -> None:
    reading = Reading(["--admin-key", "k", *words_of(EXTERNAL_DP)])
    assert (reading.settings.admin_key, reading.ranks) == ("k", DOCUMENTED["external-dp"].ranks)


def test_a_blank_word_as_a_backslash_before_a_blank_makes_it_is_nothing() -> None:
    reading = Reading(words_of(LARGE_SCALE_EP.replace("\\\n", "\\ \n")))
    assert reading.ranks == DOCUMENTED["large-scale-ep"].ranks


def test_an_empty_word_is_a_value_and_moves_no_other() -> None:
    assert "'--host'" in Reading(["--host", "", *words_of(EXTERNAL_DP)[3:]]).refusal
    assert "an item of the list is empty" in Reading(["--dp-hosts", "", "--dp-ports", "9000"]).refusal


def test_a_value_may_follow_an_equals_sign() -> None:
    reading = Reading(["--dp-hosts=10.0.0.1", "--dp-ports=9000", "--port=8001", "--host", "0.0.0.0"])
    assert reading.ranks == {"mixed": ["10.0.0.1:9000"]}
    assert (reading.settings.host, reading.settings.port) == ("0.0.0.0", 8001)


def test_the_defaults_are_theirs() -> None:
    settings = Reading(["load_balance_proxy_server_example.py"]).settings
    assert (settings.host, settings.port) == ("localhost", 8000)
    assert (settings.max_retries, settings.retry_delay, settings.workers) == (3, 0.001, 1)
    assert (settings.max_waiting_retries, settings.waiting_retry_interval) == (3, 10)
    assert Reading(["load_balance_proxy_server_example.py"]).ranks == {
        "prefill": ["localhost:8001"],
        "decode": ["localhost:8002"],
    }
    assert Reading(["dp_load_balance_proxy_server.py"]).ranks == {"mixed": ["localhost:8001"]}
    assert Reading(["hybrid_proxy_server.py"]).ranks == {"mixed": ["localhost:8001"]}


def test_counts_may_stand_beside_lists_that_are_whole() -> None:
    words = (
        "--prefiller-hosts a b --prefiller-hosts-num 2 1 --prefiller-ports 1 2 3 --decoder-hosts c --decoder-ports 4"
    )
    assert Reading(words.split()).ranks == {"prefill": ["a:1", "a:2", "b:3"], "decode": ["c:4"]}


def test_an_ipv6_host_needs_no_brackets_in_a_list_and_may_have_them() -> None:
    reading = Reading(["--dp-hosts", "fd00::7", "[fd00::8]", "--dp-ports", "9000", "9000"])
    assert reading.ranks == {"mixed": ["[fd00::7]:9000", "[fd00::8]:9000"]}


def test_the_address_of_all_is_this_machine() -> None:
    assert Reading(["--dp-hosts", "0.0.0.0", "--dp-ports", "9000"]).ranks == {"mixed": ["127.0.0.1:9000"]}


def test_lists_may_come_from_the_environment() -> None:
    reading = Reading([], FOREBAY_DP_HOSTS="a,b", FOREBAY_DP_PORTS="1,2")
    assert reading.ranks == {"mixed": ["a:1", "b:2"]}


PAIR = "--prefiller-hosts a --prefiller-ports 1 --decoder-hosts b --decoder-ports 2"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        pytest.param("--dp-hosts a b --dp-ports 1", "--dp-ports' (env var: 'FOREBAY_DP_PORTS'): 1 for 2", id="lengths"),
        pytest.param(
            f"{PAIR} --decoder-hosts-num 2 2", "--decoder-hosts-num' (env var: 'FOREBAY", id="counts-of-hosts"
        ),
        pytest.param(f"{PAIR} --prefiller-ports-inc 2 2", "2 numbers for 1 ports", id="counts-of-ports"),
        pytest.param(f"{PAIR} --prefiller-ports-inc 2", "--prefiller-ports' (env var", id="more-ports-than-hosts"),
        pytest.param("--dp-hosts a --dp-ports 70000", "'--dp-ports'", id="port-too-large"),
        pytest.param("--dp-hosts a --dp-ports x", "'--dp-ports'", id="port-no-number"),
        pytest.param(
            f"{PAIR.replace('2', '65535')} --decoder-hosts-num 2 --decoder-ports-inc 2", "port 65536", id="port-beyond"
        ),
        pytest.param("--dp-hosts a a --dp-ports 1 1", "a:1 is given twice", id="twice"),
        pytest.param("--dp-hosts localhost 127.0.0.1 --dp-ports 1 1", "are one rank", id="twice-by-another-name"),
        pytest.param(PAIR.replace("b", "a").replace("2", "1"), "a:1 is given twice", id="in-both-roles"),
        pytest.param("--prefiller-hosts a --prefiller-ports 1", "there is no decoder", id="no-decoder"),
        pytest.param("--decoder-hosts a --decoder-ports 1", "there is no prefiller", id="no-prefiller"),
        pytest.param(
            f"{PAIR} --decoder-hosts-num 0 --decoder-ports-inc 0", "there is no decoder left", id="decoders-count-0"
        ),
        pytest.param("--dp-hosts 10.0.0 --dp-ports 1", "host of digits that is no IPv4", id="bad-host"),
        pytest.param("--port 8000", "Error: There are no ranks: give them by", id="no-ranks"),
        pytest.param(f"{PAIR} --dp-hosts a", "they are ranks of mode pd, and this is mode dp", id="two-modes"),
        pytest.param(f"hybrid_proxy_server.py {PAIR}", "ranks of mode pd, and this is mode bucket", id="others-ranks"),
        pytest.param("--dp-hosts --dp-ports 1", "Option '--dp-hosts' requires an argument.", id="empty-list"),
        pytest.param("--dp-hosts a --dp-ports 1 --dp-hosts b", "Option '--dp-hosts' is given twice", id="list-twice"),
        pytest.param("my_proxy.py --dp-hosts a", "my_proxy.py is no script that can be stood in for", id="script"),
        pytest.param("examples/disagg_epd_proxy.py --port 1", "ranks that only encode (EPD) are not served", id="epd"),
        pytest.param("--encoder-hosts a --pd-hosts b", "ranks that only encode (EPD) are not served", id="epd-flags"),
        pytest.param(f"{PAIR} --decode-order up", "No such option '--decode-order'", id="unknown-option"),
        pytest.param(f"{PAIR} --policy magic", "'--policy' (env var: 'FOREBAY_POLICY')", id="policy"),
        pytest.param(f"{PAIR} --redis redis://h --one-process", "'--one-process'", id="shared-and-own"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(words: str, named: str) -> None:
    assert named in Reading(words.split()).refusal


def test_what_is_accepted_and_not_needed_is_said_so() -> None:
    def notes(words: list[str]) -> list[str]:
        return notes_on(Reading(words).settings)

    assert notes(words_of(PD_PULL)) == []
    (buckets,) = notes(words_of(DOCUMENTED["bucket"].text))
    assert buckets.startswith("--enable-dynamic-bucket: not needed here; no buckets by length")
    assert notes(["hybrid_proxy_server.py"])[0].startswith("hybrid_proxy_server.py: not needed here; no buckets")
    retries = notes([*words_of(EXTERNAL_DP), "--max-retries", "5", "--retry-delay", "0.1"])
    assert retries[0].startswith("--max-retries, --retry-delay: not needed")
    waiting = notes([*words_of(PD_PULL), "--max-waiting-retries", "5", "--waiting-retry-interval", "2.5"])
    assert waiting[0].startswith("--max-waiting-retries, --waiting-retry-interval: not needed")
