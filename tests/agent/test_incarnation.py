import pytest

from agent.incarnation import UNSTAMPED, Incarnation, next_incarnation, stamp
from agent.metrics_page import EngineSample
from tests.agent.samples import engine

USED = engine(steps=5.0, prompt_tokens=50.0, generation_tokens=9.0)


@pytest.mark.parametrize(
    ("process_start_s", "created_s", "text"),
    [
        pytest.param(1795303710.53, 1795303757.9301214, "p1795303710530-e1795303757930122", id="both"),
        pytest.param(1795303710.53, None, "p1795303710530", id="no created series"),
        pytest.param(None, 1795303757.9301214, "e1795303757930122", id="no process families"),
        pytest.param(None, None, UNSTAMPED, id="several API servers"),
    ],
)
def test_the_page_names_the_incarnation(process_start_s: float | None, created_s: float | None, text: str) -> None:
    assert stamp(process_start_s, created_s) == text


@pytest.mark.parametrize(
    ("before", "after", "page_stamp", "text"),
    [
        pytest.param(USED, USED, "p1", "p1", id="nothing happened"),
        pytest.param(
            USED, engine(steps=6.0, prompt_tokens=50.0, generation_tokens=10.0), "p1", "p1", id="work went on"
        ),
        pytest.param(
            USED, engine(steps=99.0, prompt_tokens=990.0, generation_tokens=99.0), "p2", "p2", id="a new stamp"
        ),
        pytest.param(USED, engine(), "p1", "p1+aa", id="counters began anew"),
        pytest.param(USED, engine(steps=1.0, prompt_tokens=60.0, generation_tokens=9.0), "p1", "p1+aa", id="one fell"),
    ],
)
def test_a_restart_and_nothing_else_changes_the_incarnation(
    before: EngineSample, after: EngineSample, page_stamp: str, text: str
) -> None:
    assert next_incarnation(Incarnation("p1"), before, after, page_stamp, "aa", was_refused=False).text == text


def test_a_suffix_holds_until_the_next_restart() -> None:
    suffixed = Incarnation(UNSTAMPED, "aa")
    assert next_incarnation(suffixed, engine(), USED, UNSTAMPED, "bb", was_refused=False) == suffixed
    assert next_incarnation(suffixed, USED, engine(), UNSTAMPED, "bb", was_refused=False).text == "unstamped+bb"


@pytest.mark.parametrize(
    ("page_stamp", "text"),
    [
        pytest.param(UNSTAMPED, "unstamped+bb", id="no stamp: the server was away, so it restarted"),
        pytest.param("p1-e2", "p1-e2", id="the stamp says that it did not restart"),
        pytest.param("p1", "p1", id="half a stamp says so too"),
    ],
)
def test_a_refused_connection_is_a_restart_where_the_page_does_not_tell(page_stamp: str, text: str) -> None:
    assert next_incarnation(Incarnation(page_stamp), USED, USED, page_stamp, "bb", was_refused=True).text == text
