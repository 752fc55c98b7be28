"""Which arguments a template takes, read from its text."""

import pytest

from agent.errors import LaunchError
from agent.launch.template_text import argument_set, read_text
from tests.agent.launch.samples import DENSE, MAIN, V091


def test_the_templates_of_both_launchers_are_told_apart() -> None:
    assert (read_text(MAIN).takes, read_text(V091).takes) == ("main", "0.9.1")


@pytest.mark.parametrize(
    ("line", "takes"),
    [
        ('vllm serve m --port "$2"', "main"),
        ("vllm serve m --port=${2}", "main"),
        ("vllm serve m --port ${2:-9000}", "main"),
        ("PORT=$2\nvllm serve m --port $PORT", "main"),
        ("export PORT=${6}\nvllm serve m --port ${PORT}", "0.9.1"),
        ("vllm serve m -dp $3 -dpn $4", "main"),
        ("vllm serve m --data_parallel_rank $5", "0.9.1"),
        ("vllm serve m \\\n  --port \\\n  $6", "0.9.1"),
        ("HIP_VISIBLE_DEVICES=$1 vllm serve m", "main"),
        ("VLLM_DP_RANK=$5 vllm serve m", "0.9.1"),
    ],
)
def test_one_argument_in_its_place_is_enough(line: str, takes: str) -> None:
    assert read_text(line).takes == takes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "vllm serve m --port 8000",
        'exec ./inner.sh "$@"',
        "# vllm serve m --port $2",
        "vllm serve m --port $2 --data-parallel-size $1",
    ],
)
def test_a_template_that_does_not_tell_is_refused_unless_the_user_does(text: str) -> None:
    facts = read_text(text)
    with pytest.raises(LaunchError, match=r"template run\.sh: .*give --template-args main or 0\.9\.1"):
        argument_set(facts, "auto", "run.sh")
    assert argument_set(facts, "0.9.1", "run.sh") == "0.9.1"


def test_what_the_user_says_of_a_template_beats_what_it_looks_like() -> None:
    assert argument_set(read_text(MAIN), "0.9.1", "run.sh") == "0.9.1"


def test_a_template_without_data_parallel_flags_starts_independent_ranks() -> None:
    assert [read_text(text).passes_dp for text in (MAIN, V091, DENSE, "vllm serve m -dp 4 --port $2")] == [
        True,
        True,
        False,
        True,
    ]
    assert not read_text(DENSE + "# not --data-parallel-size $3: the model is dense\n").passes_dp


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        (MAIN, False),
        (MAIN + 'if [ "$3" -gt 1 ]; then :; fi', True),
        (MAIN + "size=$3\nif [[ $size -gt 1 ]]; then :; fi", True),
        (MAIN + "if (($3 > 1)); then :; fi", True),
        (MAIN + 'if [ "$4" = 0 ]; then :; fi', False),
        (V091 + 'if [ "$1" -gt 1 ]; then :; fi', True),
    ],
)
def test_a_template_that_asks_for_the_dp_size_may_leave_flags_out(text: str, asks: bool) -> None:
    assert read_text(text).asks_dp_size is asks


def test_a_template_that_sets_its_devices_is_known() -> None:
    assert [read_text(text).sets_devices for text in (MAIN, DENSE, V091)] == [True, True, False]
