"""What a load test sends and when: drawn by a seed, from conversations, or from a trace."""

import json
from itertools import islice, pairwise
from pathlib import Path

import pytest

from forebay.load_test.prompts import TokenScale, token_scale
from forebay.load_test.settings import LoadTestSettings
from forebay.load_test.workload import Planned, arrivals_s, warm_up, workload
from simulator.cluster.workloads.errors import TraceError


def planned(scale: TokenScale | None = None, **options: object) -> list[Planned]:
    return list(workload(LoadTestSettings(**options)).planned(scale or TokenScale()))  # type: ignore[arg-type]


def text(each: Planned) -> str:
    return each.messages[-1]["content"]


def test_arrivals_are_a_poisson_process_of_the_rate_and_the_same_for_the_same_seed() -> None:
    settings = LoadTestSettings(request_rate=28.0)
    times = list(islice(arrivals_s(settings), 20_001))
    gaps = [later - sooner for sooner, later in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert mean == pytest.approx(1 / 28, rel=0.03)
    assert variance == pytest.approx(mean**2, rel=0.1)
    assert list(islice(arrivals_s(settings), 9)) == times[:9]
    assert list(islice(arrivals_s(LoadTestSettings(request_rate=28.0, seed=1)), 9)) != times[:9]


def test_random_prompts_have_the_length_asked_for_and_differ() -> None:
    found = planned(TokenScale(fixed=10, per_word=2), num_prompts=5, input_tokens=110, output_tokens=7)
    assert [len(text(each).split()) for each in found] == [50] * 5
    assert len({text(each) for each in found}) == 5
    assert {each.output_tokens for each in found} == {7}
    assert found == planned(TokenScale(fixed=10, per_word=2), num_prompts=5, input_tokens=110, output_tokens=7)


def test_a_warm_up_has_other_prompts_than_the_test() -> None:
    settings = LoadTestSettings(num_prompts=5, warmup=5)
    tested = {text(each) for each in workload(settings).planned(TokenScale())}
    warming = warm_up(settings, TokenScale())
    assert len(warming) == 5
    assert not any(known.startswith(text(each)[:30]) for each in warming for known in tested)


@pytest.mark.parametrize(("few", "many", "scale"), [(60, 460, TokenScale(10, 1)), (50, 50, TokenScale())])
def test_the_scale_is_learned_from_two_counts(few: int, many: int, scale: TokenScale) -> None:
    assert token_scale(few, many) == scale


TURNS = (("human", "Hi"), ("gpt", "w" * 40), ("human", "?"))
SHAREGPT = {"id": "x", "conversations": [{"from": who, "value": said} for who, said in TURNS]}
CHAT = {"messages": [{"role": "system", "content": "Be"}, {"role": "user", "content": "Hi"}]}
PROMPT = {"prompt": "Hi", "output_tokens": 9}


@pytest.mark.parametrize("as_array", [False, True])
def test_conversations_are_sent_up_to_what_the_model_is_to_answer(tmp_path: Path, as_array: bool) -> None:
    file = tmp_path / "conversations"
    records = [SHAREGPT, CHAT, PROMPT]
    file.write_text(json.dumps(records) if as_array else "\n".join(map(json.dumps, records)))
    found = planned(dataset=str(file))
    assert [each.messages for each in found] == [
        [{"role": "user", "content": "Hi"}],
        CHAT["messages"],
        [{"role": "user", "content": "Hi"}],
    ]
    assert [each.output_tokens for each in found] == [10, 128, 9]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"prompt": "a"}\n{"prompt": 3}', "line 2: Expected `str"),
        ('{"prompt": "a"}\n{"text": "b"}', "line 2: expected `conversations`, `messages` or `prompt`"),
        ('{"prompt": "a", "output_tokens": -5}', "line 1: Expected `int` >= 0"),
        ('{"prompt": "a", "output_tokens": 99999999999}', "line 1: Expected `int` <= 10000000"),
        ('{"prompt"', "line 1: Input data was truncated"),
        ("[]", "there is no conversation in it"),
        ("[1]", "Expected `object`, got `int`"),
        ("hello", "line 1: neither a JSON object, as of Mooncake, nor"),
        ("", "the trace has no requests"),
    ],
)
def test_a_dataset_that_cannot_be_read_is_named_with_its_line(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "data"
    file.write_text(content)
    with pytest.raises(TraceError) as refused:
        planned(dataset=str(file))
    assert str(file) in str(refused.value)
    assert said in str(refused.value)


def test_a_trace_keeps_its_times_its_lengths_and_what_its_prompts_share(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    records = [(3000, 1100, [1, 2, 3]), (6000, 1500, [1, 2, 4]), (9000, 512, [9])]
    file.write_text(
        "".join(
            json.dumps({"timestamp": at, "input_length": tokens, "output_length": 5, "hash_ids": blocks}) + "\n"
            for at, tokens, blocks in records
        )
    )
    one, two, three = planned(dataset=str(file))
    assert [len(text(each).split()) for each in (one, two, three)] == [1100, 1500, 512]
    assert text(one).split()[:1024] == text(two).split()[:1024]
    assert text(one).split()[1024:1034] != text(two).split()[1024:1034]
    assert one.due_s == 0
    assert 0 < two.due_s < three.due_s
    assert planned(dataset=str(file), request_rate=5.0)[1].due_s != two.due_s
