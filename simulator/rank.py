"""One simulated rank: its engines, and the requests in them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from functools import partial
from itertools import count
from zlib import crc32

from simulator.answer import Answer
from simulator.answer_body import AnswerBody, Stamp
from simulator.api_errors import bad_request, engine_dead, internal_error, too_busy
from simulator.apis.kept_responses import KeptResponses
from simulator.choice import Choice
from simulator.exchange import Exchange
from simulator.faults import FaultBoard
from simulator.generation import Generation
from simulator.http import Connections
from simulator.joint_audit import JointAudit
from simulator.leg_names import kv_name, named_layers, named_pull
from simulator.metrics import registry_of
from simulator.misuse import MisuseBoard
from simulator.model import prompt_states
from simulator.runner import EngineRunner
from simulator.sequence import EngineRequest
from simulator.settings import RankSettings
from simulator.shared_kv import shared_kv
from simulator.transfer_params import RemoteKv
from simulator.wrong_answer import answer_wrongly

VLLM_VERSION = "0.32.0"
Writer = Callable[[Generation, Stamp], AnswerBody]
"""How an API's answers are written."""


class Rank:
    """The state behind the routes. Counters are since the start; `in_flight` is what GET /load shows.

    `adapters` are paths by names; `sleep_level` is None while it is awake. `ended` is set when the server is to end, by
    an engine's death for one: then there is a `crash_reason`.
    """

    def __init__(self, settings: RankSettings) -> None:
        self.settings = settings
        self.misuse = MisuseBoard(strict=settings.strict)
        self.shared = shared_kv(settings)
        self.joint_audit = JointAudit(settings)
        self.runners = [EngineRunner(settings, self.misuse, self.shared, self._crash) for _ in range(settings.engines)]
        self.faults = FaultBoard()
        self.kept_responses = KeptResponses()
        for runner in self.runners:
            runner.kv.puller.loses = runner.layers.loses = lambda: self.faults.take("lose_kv") is not None
        self.connections = Connections(settings.keep_alive_s)
        self.started_at_s = wall_clock_s()
        self.ended = asyncio.Event()
        self.crash_reason = ""
        self.in_flight = 0
        self.adapters: dict[str, str] = {}
        self.paused = False
        self.sleep_level: int | None = None
        self.served = 0
        self.aborted = 0
        self.rejected = 0
        self.registry = registry_of(self)
        self._ids = count()
        self._engine_ids: dict[int, str] = {}
        self._loop = asyncio.get_running_loop()
        group = f"dp{settings.engines}-" if settings.engines > 1 else ""
        self._fingerprint = f"vllm-{VLLM_VERSION}-{group}{crc32(repr(settings.model).encode()):08x}"

    def generate(
        self, generation: Generation, write: Writer, name: str, exchange: Exchange, headers: Mapping[str, str]
    ) -> None:
        """Admit a request and answer it as its tokens come; raises ApiError where it is not admitted.

        `name` is what is its own in its ids.
        """
        if self.crash_reason:
            raise engine_dead()
        runner = self._engine_for(headers)
        limit = self.settings.max_num_queued_reqs
        wanted = len(generation.prompts) * generation.n
        if limit and sum(other.in_flight for other in self.runners) + wanted > limit:
            self.rejected += 1
            raise too_busy()
        ids = [next(self._ids) for _ in range(wanted)]

        def end(abandoned: bool) -> None:
            self.in_flight -= 1
            if abandoned:
                self.aborted += 1
            else:
                self.served += 1
            runner.abort(ids)
            runner.kv.meetings.forget(generation.kv_key)
            for request_id in ids:
                self._engine_ids.pop(request_id, None)

        self.in_flight += 1
        fault = self.faults.take("drop_after_chunks")
        wrong = self.faults.take("prefill_params") if generation.keeps_kv and not generation.stream else None
        answer = Answer(
            generation,
            write(generation, self._stamp(generation.id_prefix + name)),
            exchange,
            drop_after_chunks=fault.chunks if fault else None,
            respond=partial(answer_wrongly, wrong) if wrong else _respond,
            on_end=end,
        )
        for request, choice in zip(self._requests(generation, ids, name), answer.choices, strict=True):
            self._begin(runner, request, choice)
        if generation.spare is not None and generation.spare.block_ids:
            runner.kv.puller.free(generation.spare)

    def _begin(self, runner: EngineRunner, request: EngineRequest, choice: Choice) -> None:
        """Work on a request; a prefill rank of SGLang does when somebody has come for what it is to compute."""
        if self.settings.connector != "sglang" or not request.kv_request_id:
            runner.submit(request, choice)
            if (leg := request.layers) and (target := leg.target):
                runner.layers.audit.asked(leg, target)
                if not target.whole:
                    runner.die("a prefill leg's kv_transfer_params lack remote_cached_tokens")
            return
        key, meetings = request.kv_request_id, runner.kv.meetings

        def give_up() -> None:
            if meetings.forget(key):
                choice.fail(internal_error())

        timer = self._loop.call_later(self.settings.kv_wait_ms / 1000, give_up)

        def submit() -> None:
            timer.cancel()
            runner.submit(request, choice)

        meetings.when_claimed(key, submit)

    def free_remote_kv(self, remote: RemoteKv) -> None:
        """A request was refused: the KV it names is needed no longer. Params that lack a key kill the engine."""
        if remote.whole:
            self.runners[0].kv.puller.free(remote)
        else:
            self.runners[0].die("a refused request's kv_transfer_params lack a key")

    def pause(self, *, abort: bool) -> None:
        """Work on nothing until `resume`; what is here ends as it is, or waits."""
        if abort:
            self.cut(set(self._engine_ids.values()))
        self.paused = True
        for runner in self.runners:
            runner.pause(True)

    def resume(self) -> None:
        """Go on."""
        self.paused = False
        for runner in self.runners:
            runner.pause(False)

    def cut(self, engine_ids: AbstractSet[str]) -> None:
        """End requests as they are, by the ids that engines know them by."""
        found = [request_id for request_id, name in self._engine_ids.items() if name in engine_ids]
        for runner in self.runners:
            runner.cut(found)

    def forget_prefixes(self) -> bool:
        """Empty the prefix caches; False where one cannot be."""
        done = [runner.forget_prefixes() for runner in self.runners]
        return all(done)

    def _crash(self, why: str) -> None:
        self.crash_reason = why
        self.ended.set()
        for runner in self.runners:
            runner.fail_all(engine_dead())

    def hang(self) -> None:
        """Step no more, as a rank whose group has lost another; /health stays 200."""
        for runner in self.runners:
            runner.freeze(True)

    def abort_all(self) -> None:
        """End every engine as it ends on SIGTERM: what is streamed is cut short, what is not stays unanswered."""
        for runner in self.runners:
            runner.abort_all()

    def close(self) -> None:
        """Stop the engines and close every connection."""
        for runner in self.runners:
            runner.close()
        self.connections.abort_all()

    def _engine_for(self, headers: Mapping[str, str]) -> EngineRunner:
        """The engine X-data-parallel-rank names (what is no number is ignored, as in vLLM), else the least busy."""
        try:
            index = int(headers["x-data-parallel-rank"])
        except (KeyError, ValueError):
            return min(self.runners, key=lambda runner: runner.in_flight)
        if not 0 <= index < len(self.runners):
            raise bad_request(f"data_parallel_rank {index} is out of range [0, {len(self.runners)}).")
        return self.runners[index]

    def _stamp(self, answer_id: str) -> Stamp:
        return Stamp(answer_id, int(wall_clock_s()), self.settings.model, self._fingerprint)

    def _requests(self, generation: Generation, ids: list[int], name: str) -> list[EngineRequest]:
        now_s = self._loop.time()
        requests: list[EngineRequest] = []
        # A prefill server of SGLang limits itself, whatever it is asked for.
        most = 1 if generation.keeps_kv and self.settings.connector == "sglang" else self.settings.max_model_len
        for at, (prompt, max_tokens) in enumerate(zip(generation.prompts, generation.max_tokens, strict=True)):
            engine_id = f"{generation.id_prefix}{name}{generation.id_suffix.format(at)}"
            self._engine_ids |= dict.fromkeys(ids[len(requests) : len(requests) + generation.n], engine_id)
            keys, state = prompt_states(prompt.ids, self.settings.block_size_tokens)
            requests += [
                EngineRequest(
                    request_id=ids[len(requests) + salt],
                    prompt_tokens=len(prompt.ids),
                    block_keys=tuple(keys),
                    state=state,
                    last_token=prompt.ids[-1],
                    max_tokens=min(max_tokens, most),
                    arrival_s=now_s,
                    salt=salt,
                    n=generation.n,
                    min_tokens=min(generation.min_tokens, most),
                    ignore_eos=generation.ignore_eos,
                    stop_token_ids=generation.stop_token_ids,
                    kv_request_id=kv_name(generation, engine_id, self.settings),
                    pull=named_pull(generation.pull, engine_id),
                    layers=named_layers(generation.layers, engine_id),
                )
                for salt in range(generation.n)
            ]
        return requests


def _respond(exchange: Exchange, body: bytes) -> None:
    exchange.respond(200, body)


def wall_clock_s() -> float:
    """Seconds since the epoch, for what is stamped and never compared."""
    return datetime.now(UTC).timestamp()
