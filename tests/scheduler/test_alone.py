"""Where requests go while the store is gone."""

from __future__ import annotations

from collections import Counter

import msgspec

from scheduler.alone import cheapest, choose_alone, preferred
from scheduler.decision import LegKind
from scheduler.loads import Loads
from tests.samples import ask, leg, single
from tests.scheduler.samples import rank

IDLE = Loads(0, 0, 0)


class TestAlone:
    def choose(self, names: str, key: str, loads: dict[str, Loads] | None = None) -> str:
        candidates = [single(each.card.rank, per_request_s=1.0) for each in preferred(map(rank, names), key)]
        return choose_alone(ask(*candidates), loads or dict.fromkeys(names, IDLE))[0].rank

    def test_equal_prompts_go_to_the_same_two_ranks(self) -> None:
        names = "abcdefgh"
        for key in map(str, range(30)):
            first = self.choose(names, key)
            second = self.choose(names, key, {name: Loads(0, float(name == first), 0) for name in names})
            assert first != second
            busy = {name: Loads(0, 0.0 if name not in {first, second} else 5.0, 0) for name in names}
            assert self.choose(names, key, busy) in {first, second}, "prefixes outweigh loads"

    def test_the_cheaper_of_the_two_is_taken(self) -> None:
        first = self.choose("ab", "k")
        other = "b" if first == "a" else "a"
        assert self.choose("ab", "k", {first: Loads(0, 2, 0), other: Loads(0, 1, 0)}) == other

    def test_the_order_of_the_candidates_does_not_matter(self) -> None:
        assert self.choose("abcdef", "k") == self.choose("fedcba", "k")

    def test_prompts_spread_over_all_ranks(self) -> None:
        taken = Counter(self.choose("abcd", str(key)) for key in range(400))
        assert min(taken.values()) > 60

    def test_a_rank_that_leaves_moves_only_its_own_prompts(self) -> None:
        keys = [str(key) for key in range(200)]
        before = {key: self.choose("abcde", key) for key in keys}
        after = {key: self.choose("abcd", key) for key in keys}
        assert all(after[key] == before[key] for key in keys if before[key] != "e")

    def test_a_rank_that_starts_slowly_and_has_its_part_is_taken_only_where_the_other_has_too(self) -> None:
        slow, other = single("a", cap_requests=0.5, cap_queued_tokens=900), single("b", 1.0, per_request_s=1.0)
        busy = Loads(0, 9, 0)
        for loads, taken in ((Loads(0, 1, 0), "b"), (Loads(901, 0.1, 0), "b"), (Loads(900, 0.5, 0), "a"), (IDLE, "a")):
            assert choose_alone(ask(slow, other), {"a": loads, "b": busy})[0].rank == taken
            assert cheapest((slow, other), {"a": loads, "b": busy}).rank == taken
        full = msgspec.structs.replace(other, cap_requests=1)
        assert choose_alone(ask(slow, full), {"a": Loads(0, 1, 0), "b": busy})[0].rank == "a"

    def test_one_rank_is_enough(self) -> None:
        assert self.choose("a", "k") == "a"

    def test_the_cheapest_pair_of_all_that_go_together_is_taken(self) -> None:
        asked = ask(
            single("m", 9.0),
            prefills=(leg(LegKind.PREFILL, "p1", place_class="0"), leg(LegKind.PREFILL, "p2", 2.0, place_class="1")),
            decodes=(leg(LegKind.DECODE, "d1", 5.0, place_class="0"), leg(LegKind.DECODE, "d2", place_class="1")),
            transfer_s={"0": {"0": 0.0}, "1": {"1": 1.0}},
        )
        loads = dict.fromkeys(("m", "p1", "p2", "d1", "d2"), IDLE)
        assert [each.rank for each in choose_alone(asked, loads)] == ["p2", "d2"]

    def test_a_single_rank_is_taken_where_it_is_cheaper_than_a_pair(self) -> None:
        asked = ask(
            single("m", 1.0),
            prefills=(leg(LegKind.PREFILL, "p", place_class="0"),),
            decodes=(leg(LegKind.DECODE, "d", place_class="0"),),
            transfer_s={"0": {"0": 2.0}},
        )
        assert [each.rank for each in choose_alone(asked, dict.fromkeys("mpd", IDLE))] == ["m"]
