"""The way of one request through the simulated cluster: placed, prefilled, moved, decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from simulator.cluster.clock import EventQueue
from simulator.cluster.outcome import Outcome
from simulator.cluster.placer import Placed, Placer
from simulator.cluster.request import SimRequest
from simulator.cluster.sequence import SimSequence
from simulator.cluster.site import Site


class Journey:
    """One request through one gateway, `hop_s` away from each rank; `end` gets the outcome.

    A pair's first leg is asked for one token, which nobody sees; its KV stays until the second has fetched it.
    """

    def __init__(
        self,
        queue: EventQueue,
        sites: Mapping[str, Site],
        placer: Placer,
        request: SimRequest,
        *,
        gateway: int,
        hop_s: float,
        end: Callable[[Outcome], None],
    ) -> None:
        self._queue, self._sites, self._placer, self._request = queue, sites, placer, request
        self._gateway, self._hop_s, self._end = gateway, hop_s, end
        self._placed: Placed | None = None
        self._prefilled: SimSequence | None = None
        self._decode_rank = ""
        self._placed_s = self._first_token_s = 0.0
        self._cached_tokens = 0

    def begin(self) -> None:
        """The request is at the gateway."""
        self._placer.place(self._request, self._take_placed)

    def reject(self) -> None:
        """No rank could ever hold the request."""
        self._end(self._outcome(rejected=True))

    def fetch_begins(self, sequence: SimSequence, tokens: int) -> None:
        """See Watcher."""
        transfer_s = self._sites[self._decode_rank].rank.shape.timing.kv_transfer_s(tokens)
        self._queue.after(transfer_s, partial(self._fetched, sequence))

    def first_token(self, sequence: SimSequence) -> None:
        """See Watcher."""
        if sequence.holds:
            return
        if not sequence.fetches:
            self._cached_tokens = sequence.cached_tokens
        self._first_token_s = self._queue.now_s + self._hop_s
        self._queue.after(self._hop_s, partial(self._placer.first_token, self._known))

    def finished(self, sequence: SimSequence) -> None:
        """See Watcher."""
        if sequence.holds:
            self._cached_tokens = sequence.cached_tokens
            self._prefilled = sequence
            self._queue.after(self._hop_s, self._ask_where_to_decode)
        else:
            self._queue.after(self._hop_s, self._finish)

    @property
    def _known(self) -> Placed:
        assert self._placed is not None
        return self._placed

    def _take_placed(self, placed: Placed | None) -> None:
        request, self._placed_s = self._request, self._queue.now_s
        if placed is None:
            self.reject()
            return
        self._placed, self._decode_rank = placed, placed.decode_rank
        self._placer.dispatched(placed)
        tokens = 1 if placed.is_pair else request.output_tokens
        self._send(placed.prefill_rank, SimSequence(request, tokens, self, holds=placed.is_pair))

    def _ask_where_to_decode(self) -> None:
        self._placer.prefill_done(self._known, self._decode_on)

    def _decode_on(self, rank: str) -> None:
        self._decode_rank = rank
        self._send(rank, SimSequence(self._request, self._request.output_tokens, self, fetches=True))

    def _send(self, rank: str, sequence: SimSequence) -> None:
        self._queue.after(self._hop_s, partial(self._sites[rank].submit, sequence))

    def _fetched(self, sequence: SimSequence) -> None:
        if self._prefilled:
            self._sites[self._known.prefill_rank].release(self._prefilled)
            self._prefilled = None
        self._sites[self._decode_rank].loaded(sequence)

    def _finish(self) -> None:
        self._placer.done(self._known, self._request)
        self._end(self._outcome(rejected=False))

    def _outcome(self, *, rejected: bool) -> Outcome:
        return Outcome(
            request=self._request,
            gateway=self._gateway,
            prefill_rank=self._placed.prefill_rank if self._placed else "",
            decode_rank=self._decode_rank,
            placed_s=self._placed_s,
            first_token_s=self._first_token_s,
            finished_s=self._queue.now_s,
            cached_tokens=self._cached_tokens,
            believed_cached_tokens=self._placed.believed_cached_tokens if self._placed else 0,
            rejected=rejected,
        )
