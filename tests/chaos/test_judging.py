"""What is thought of an answer: each way in which one can be wrong must be seen."""

import json
from typing import Any

import pytest

from tests.chaos.judging import Ending, Observed, Verdict, judge
from tests.chaos.workload import Asked, request

SEED = 5


def asked(*, stream: bool, chat: bool, ids: bool = True) -> Asked:
    """The first request of this kind in the run."""
    path = "/v1/chat/completions" if chat else "/v1/completions"
    found = (request(SEED, number, "sim") for number in range(1_000))
    return next(
        each
        for each in found
        if (each.stream, each.path, each.has_ids, each.wants_usage) == (stream, path, ids, stream)
        and each.leaves_after_bytes is None
        and each.expected.finish_reason == "length"
        and len(each.expected.ids) > 8
    )


CHAT, TEXT = asked(stream=True, chat=True), asked(stream=True, chat=False)
WHOLE_CHAT, WHOLE_TEXT = asked(stream=False, chat=True), asked(stream=False, chat=False)


def usage_of(each: Asked) -> dict[str, int]:
    return {"prompt_tokens": each.expected.prompt_tokens, "completion_tokens": len(each.expected.ids)}


def documents(each: Asked, ids: tuple[int, ...], text: str) -> list[dict[str, Any]]:
    """A stream in two events, the second with the reason of its end; then the usage."""
    chat = "chat" in each.path
    halves = (
        (text[: len(text) // 2], ids[: len(ids) // 2], None),
        (text[len(text) // 2 :], ids[len(ids) // 2 :], "length"),
    )
    found: list[dict[str, Any]] = [
        {
            "choices": [
                {
                    **({"delta": {"content": part}} if chat else {"text": part}),
                    "token_ids": list(some),
                    "finish_reason": reason,
                }
            ]
        }
        for part, some, reason in halves
    ]
    return [*found, {"choices": [], "usage": usage_of(each)}]


def seen(body: bytes, ending: Ending = "complete", status: int = 200) -> Observed:
    return Observed(status, body, ending, 0.0, 1.0)


def streamed(found: list[dict[str, Any]], *, done: bool = True) -> bytes:
    events = [b"data: " + json.dumps(each).encode() + b"\n\n" for each in found]
    return b"".join(events) + (b"data: [DONE]\n\n" if done else b"")


def right(each: Asked) -> list[dict[str, Any]]:
    return documents(each, each.expected.ids, each.expected.text)


def whole(each: Asked, **changes: Any) -> dict[str, Any]:
    text, ids = each.expected.text, list(each.expected.ids)
    said = {"message": {"content": text}} if "chat" in each.path else {"text": text}
    choice = {**said, "token_ids": ids, "finish_reason": "length"}
    return {"choices": [choice | {k: v for k, v in changes.items() if k in choice}], "usage": usage_of(each)} | {
        name: value for name, value in changes.items() if name not in choice
    }


@pytest.mark.parametrize("each", [CHAT, TEXT])
def test_a_right_stream_is_whole(each: Asked) -> None:
    assert judge(each, seen(streamed(right(each)))).judgment == "whole"


@pytest.mark.parametrize("each", [WHOLE_CHAT, WHOLE_TEXT])
def test_a_right_answer_that_is_not_streamed_is_whole(each: Asked) -> None:
    assert judge(each, seen(json.dumps(whole(each)).encode())) == Verdict("whole", tokens=1)


@pytest.mark.parametrize("each", [CHAT, TEXT])
def test_a_token_that_comes_twice_is_seen(each: Asked) -> None:
    ids = each.expected.ids
    verdict = judge(each, seen(streamed(documents(each, (*ids[:3], *ids[2:]), each.expected.text))))
    assert (verdict.judgment, verdict.why) == ("wrong", "token 3 came twice")


def test_a_token_that_is_missing_is_seen() -> None:
    ids = CHAT.expected.ids
    verdict = judge(CHAT, seen(streamed(documents(CHAT, (*ids[:3], *ids[4:]), CHAT.expected.text))))
    assert (verdict.judgment, verdict.why) == ("wrong", "token 3 is missing")


def test_a_token_too_many_is_seen() -> None:
    verdict = judge(CHAT, seen(streamed(documents(CHAT, (*CHAT.expected.ids, 17), CHAT.expected.text))))
    assert (verdict.judgment, verdict.why) == ("wrong", "1 tokens too many")


def test_text_that_comes_twice_is_seen_without_ids() -> None:
    text = CHAT.expected.text
    each = CHAT._replace(has_ids=False)
    assert judge(each, seen(streamed(documents(each, (), text[:5] + text)))).judgment == "wrong"


def test_missing_text_is_seen_though_the_stream_says_it_is_done() -> None:
    each = CHAT._replace(has_ids=False)
    verdict = judge(each, seen(streamed(documents(each, (), each.expected.text[:-2]))))
    assert (verdict.judgment, verdict.why) == ("wrong", "2 characters are missing")


@pytest.mark.parametrize("ending", ["closed", "reset"])
def test_a_stream_that_is_cut_is_silent_whatever_had_come(ending: Ending) -> None:
    for documents_seen in range(4):
        body = streamed(right(CHAT)[:documents_seen], done=False)
        assert judge(CHAT, seen(body, ending)).judgment == "silent"


def test_a_stream_that_ends_in_order_without_done_is_silent() -> None:
    assert judge(CHAT, seen(streamed(right(CHAT), done=False))).judgment == "silent"


def test_an_empty_answer_with_status_200_is_no_answer() -> None:
    assert judge(CHAT, seen(b"")).judgment == "silent"
    assert judge(WHOLE_CHAT, seen(b"")).judgment == "wrong"


def test_half_an_event_at_the_end_is_silent() -> None:
    assert judge(CHAT, seen(streamed(right(CHAT))[:-9])).judgment == "silent"


ERROR = {"error": {"code": 502, "type": "Bad Gateway", "message": "The rank broke off"}}


def test_a_beginning_and_an_error_is_a_clear_end() -> None:
    body = streamed([*right(CHAT)[:1], ERROR], done=False)
    assert judge(CHAT, seen(body)) == Verdict("ended", "502 Bad Gateway: The rank broke off", 1)


def test_an_error_behind_a_wrong_beginning_is_wrong() -> None:
    ids = CHAT.expected.ids
    body = streamed([*documents(CHAT, (ids[0], *ids), CHAT.expected.text)[:1], ERROR], done=False)
    assert judge(CHAT, seen(body)).judgment == "wrong"


def test_an_error_after_nothing_but_a_head_is_a_lost_request() -> None:
    assert judge(CHAT, seen(streamed([ERROR], done=False))).judgment == "lost"


def test_anything_after_an_error_or_the_end_is_wrong() -> None:
    assert judge(CHAT, seen(streamed([*right(CHAT)[:1], ERROR, *right(CHAT)[1:]]))).judgment == "wrong"
    assert judge(CHAT, seen(streamed(right(CHAT)) + streamed(right(CHAT)))).judgment == "wrong"


@pytest.mark.parametrize("status", [400, 429, 500, 502, 503, 504])
def test_any_other_status_is_a_lost_request(status: int) -> None:
    verdict = judge(WHOLE_CHAT, seen(json.dumps(ERROR).encode(), status=status))
    assert verdict.judgment == "lost"
    assert verdict.why.startswith(str(status))


@pytest.mark.parametrize("ending", ["refused", "reset", "closed"])
def test_a_connection_without_an_answer_is_a_lost_request(ending: Ending) -> None:
    assert judge(CHAT, seen(b"", ending, status=0)) == Verdict("lost", f"connection {ending}")


def test_who_waits_too_long_hangs() -> None:
    assert judge(CHAT, seen(b"", "timeout", status=0)).judgment == "hung"
    assert judge(CHAT, seen(streamed(right(CHAT)[:1], done=False), "timeout")).judgment == "hung"
    assert judge(WHOLE_CHAT, seen(b"{", "timeout")).judgment == "hung"


def test_a_body_that_is_cut_is_silent() -> None:
    assert judge(WHOLE_CHAT, seen(json.dumps(whole(WHOLE_CHAT)).encode()[:40], "closed")).judgment == "silent"


def test_a_client_that_left_has_nothing_to_complain_of_but_wrong_tokens() -> None:
    ids = CHAT.expected.ids
    assert judge(CHAT, seen(streamed(right(CHAT)[:1], done=False), "left")).judgment == "left"
    wrong = streamed(documents(CHAT, (ids[0], *ids), CHAT.expected.text)[:1], done=False)
    assert judge(CHAT, seen(wrong, "left")).judgment == "wrong"


@pytest.mark.parametrize("prompt_tokens", [0, 1])
def test_a_wrong_usage_is_seen(prompt_tokens: int) -> None:
    told = {"prompt_tokens": prompt_tokens, "completion_tokens": len(CHAT.expected.ids)}
    body = streamed([*right(CHAT)[:-1], {"choices": [], "usage": told}])
    assert judge(CHAT, seen(body)).why.startswith("usage ")
    assert judge(WHOLE_TEXT, seen(json.dumps(whole(WHOLE_TEXT, usage=told)).encode())).why.startswith("usage ")


def test_a_usage_that_is_missing_or_was_not_asked_for_is_seen() -> None:
    assert judge(CHAT, seen(streamed(right(CHAT)[:-1]))).why == "no usage"
    assert judge(CHAT._replace(wants_usage=False), seen(streamed(right(CHAT)))).why == "a usage that was not asked for"


def test_a_wrong_finish_reason_is_seen() -> None:
    assert judge(WHOLE_CHAT, seen(json.dumps(whole(WHOLE_CHAT, finish_reason="stop")).encode())).judgment == "wrong"


def test_an_answer_that_its_rank_aborts_has_ended() -> None:
    found = right(CHAT)
    found[1]["choices"][0] |= {"finish_reason": "abort", "delta": {"content": ""}, "token_ids": []}
    assert judge(CHAT, seen(streamed(found))).judgment == "ended"


@pytest.mark.parametrize("body", [b"data: {\n\n", b"banana\n\n", b'data: {"choices": 1}\n\n', b"data: [1]\n\n"])
def test_garbage_is_wrong(body: bytes) -> None:
    assert judge(CHAT, seen(body)).judgment == "wrong"
