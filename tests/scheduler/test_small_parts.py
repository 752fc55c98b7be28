"""Tally, estimates, reservations, keys and the scripts' text."""

from __future__ import annotations

import re

import pytest

from scheduler.decision import LegKind
from scheduler.estimates import FIRST_BYTES_PER_TOKEN, FIRST_OUTPUT_TOKENS, TokenEstimator
from scheduler.keys import PoolKeys
from scheduler.loads import Loads
from scheduler.lua import Script, digest, source
from scheduler.messages import Phase
from scheduler.reservation import Reservation, ReservedLeg, reserve
from scheduler.tally import believed, tally_of
from tests.samples import ask, card, single


def held(kind: LegKind, phase: Phase, rank: str = "a") -> Reservation:
    leg = ReservedLeg(kind, rank, "i1", "-")
    return Reservation(phase=phase, uncached_tokens=60, prompt_tokens=100, output_tokens=10, legs=(leg,))


class TestTally:
    @pytest.mark.parametrize(
        ("kind", "phase", "queued"),
        [
            (LegKind.WHOLE, Phase.PLACED, 60),
            (LegKind.WHOLE, Phase.DISPATCHED, 60),
            (LegKind.WHOLE, Phase.PREFILL_DONE, 0),
            (LegKind.WHOLE, Phase.FIRST_TOKEN, 0),
            (LegKind.PREFILL, Phase.DISPATCHED, 60),
            (LegKind.DECODE, Phase.DISPATCHED, 0),
        ],
    )
    def test_a_reservation_queues_its_uncached_tokens_until_they_are_prefilled(
        self, kind: LegKind, phase: Phase, queued: int
    ) -> None:
        assert tally_of([held(kind, phase)]) == {"a": Loads(queued, 1, 110)}

    def test_reservations_on_one_rank_add_up(self) -> None:
        both = [held(LegKind.WHOLE, Phase.PLACED), held(LegKind.WHOLE, Phase.FIRST_TOKEN)]
        assert tally_of([*both, held(LegKind.WHOLE, Phase.PLACED, "b")]) == {
            "a": Loads(60, 2, 220),
            "b": Loads(60, 1, 110),
        }

    def test_what_was_placed_since_is_added_and_what_ended_since_taken_off(self) -> None:
        read = {"a": Loads(500, 5, 5_000), "b": Loads(0, 0, 0)}
        then, now = {"a": Loads(200, 2, 200)}, {"a": Loads(100, 1, 100), "b": Loads(60, 1, 110)}
        assert believed(read, then, now) == {"a": Loads(400, 4, 4_900), "b": Loads(60, 1, 110)}

    def test_loads_are_never_believed_negative(self) -> None:
        assert believed({"a": Loads(1, 1, 1)}, {"a": Loads(9, 9, 9)}, {}) == {"a": Loads(0, 0, 0)}


class TestEstimates:
    def test_prompt_tokens_begin_with_a_guess_and_are_learned(self) -> None:
        estimator = TokenEstimator()
        assert estimator.prompt_tokens(400) == 400 / FIRST_BYTES_PER_TOKEN
        for _ in range(400):
            estimator.observe("chat", 200, 100, 10)
        assert estimator.prompt_tokens(400) == pytest.approx(200, abs=2)

    @pytest.mark.parametrize("text_bytes", [0, 1])
    def test_a_prompt_has_at_least_one_token(self, text_bytes: int) -> None:
        assert TokenEstimator().prompt_tokens(text_bytes) == 1

    @pytest.mark.parametrize(
        ("api", "max_tokens", "observed", "expected"),
        [
            pytest.param("completions", 16, None, 16, id="a limit below the first guess"),
            pytest.param("chat", None, None, FIRST_OUTPUT_TOKENS, id="chat begins with a guess"),
            pytest.param("chat", None, 90, 90, id="chat is learned"),
            pytest.param("chat", 2_000, 90, 90, id="a high limit says nothing"),
            pytest.param("chat", 20, 90, 20, id="a low limit says all"),
            pytest.param("chat", 5_000, None, FIRST_OUTPUT_TOKENS, id="a high limit before anything is learned"),
        ],
    )
    def test_output_tokens_are(self, api: str, max_tokens: int | None, observed: int | None, expected: int) -> None:
        estimator = TokenEstimator()
        if observed is not None:
            estimator.observe(api, 100, 25, observed)
        assert estimator.output_tokens(api, max_tokens) == expected

    def test_apis_are_learned_apart(self) -> None:
        estimator = TokenEstimator()
        estimator.observe("completions", 100, 25, 7)
        assert estimator.output_tokens("chat", None) == FIRST_OUTPUT_TOKENS

    @pytest.mark.parametrize("usage", [(0, 0, 0), (0, 10, 0), (10, 0, 0)])
    def test_nothing_is_learned_from_an_answer_without_usage(self, usage: tuple[int, int, int]) -> None:
        estimator = TokenEstimator()
        estimator.observe("chat", *usage)
        assert estimator.bytes_per_token == FIRST_BYTES_PER_TOKEN
        assert estimator.output_tokens("chat", None) == FIRST_OUTPUT_TOKENS

    def test_one_odd_answer_moves_little(self) -> None:
        estimator = TokenEstimator()
        estimator.observe("chat", 100, 25, 100)
        estimator.observe("chat", 100, 25, 10_000)
        assert estimator.output_tokens("chat", None) < 300


class TestReservation:
    def test_it_is_spelt_as_the_ledger_reads_it(self) -> None:
        legs = (ReservedLeg(LegKind.PREFILL, "a", "i1", "-"), ReservedLeg(LegKind.DECODE, "b", "i2", "g"))
        pair = Reservation(phase=Phase.DISPATCHED, uncached_tokens=60, prompt_tokens=100, output_tokens=10, legs=legs)
        assert pair.record() == "1 60 100 10 p a i1 - d b i2 g"

    def test_a_phase_only_moves_on(self) -> None:
        reservation = held(LegKind.WHOLE, Phase.DISPATCHED)
        assert reservation.at(Phase.FIRST_TOKEN).phase is Phase.FIRST_TOKEN
        assert reservation.at(Phase.PLACED) is reservation

    def test_placing_an_ask_makes_a_placed_reservation(self) -> None:
        assert reserve(ask(), (single("a"),)).record() == "0 100 100 10 m a i1 -"


class TestCard:
    def test_ranks_pair_by_connector_version_and_geometry(self) -> None:
        one = card("a", connector="nixl", engine_version="0.32.0", kv_geometry="h8")
        assert one.pair_class == "nixl/0.32.0/h8"


class TestKeys:
    @pytest.mark.parametrize(
        "pool", ["m", "meta-llama/Llama-3.1-8B", "a {b} c", "}{", "modèle", "a:b", "100%", "a\nb", "{}", ""]
    )
    def test_all_keys_of_a_pool_are_in_one_slot(self, pool: str) -> None:
        keys = PoolKeys(pool)
        every = {*keys.of_the_epoch(), keys.drain, *keys.book(keys.live("g@host:1.1"))}
        tags = {re.match(r"forebay:\{([^{}]*)\}:[a-z]+", key) for key in every}
        assert None not in tags
        assert len({tag[1] for tag in tags if tag}) == 1

    def test_pools_do_not_share_keys(self) -> None:
        names = ["a", "a ", "a%20", "a/b", "a%2Fb", "{a}", "ä", "a:b"]
        assert len({PoolKeys(name).head for name in names}) == len(names)

    def test_gateways_do_not_share_live_sets(self) -> None:
        keys = PoolKeys("m")
        assert keys.live("g.1") != keys.live("g.2")


class TestScripts:
    @pytest.mark.parametrize("script", Script)
    def test_a_script_s_name_is_the_digest_of_its_text(self, script: Script) -> None:
        assert re.fullmatch("[0-9a-f]{40}", digest(script))
        assert len({digest(each) for each in Script}) == len(Script)

    @pytest.mark.parametrize("script", Script)
    def test_a_script_ends_with_its_own_file(self, script: Script) -> None:
        assert f"-- {script.value}: " in source(script)

    @pytest.mark.parametrize("script", Script)
    def test_no_script_asks_for_what_managed_servers_forbid(self, script: Script) -> None:
        assert not re.findall(r"'(?:KEYS|SCAN|HSCAN|INFO|CONFIG|SELECT|EVAL)'", source(script))

    @pytest.mark.parametrize("script", Script)
    def test_keys_come_in_KEYS_only(self, script: Script) -> None:  # noqa: N802 - Redis spells it so
        assert "forebay" not in source(script)
