"""The stat logger that vLLM loads by its entry point. Nothing else here needs vLLM."""

from __future__ import annotations

import logging
from typing import Any

from forebay_stat_logger.pushing import Pushing
from forebay_stat_logger.sender import Sender, socket_path

try:
    from vllm.v1.metrics.loggers import AggregateStatLoggerBase
except ModuleNotFoundError:  # no vLLM at all; one without this class leaves out the plugin, and goes on
    AggregateStatLoggerBase = object

_logger = logging.getLogger("vllm.forebay_stat_logger")
"""Below vLLM's own, whose logging is set up."""
_UNEXPECTED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What comes of stats that another vLLM shapes otherwise: they are no stable interface."""
_GIVEN_UP = "forebay: this vLLM reports other things than the stat logger knows; it pushes no more"


class ForebayStatLogger(AggregateStatLoggerBase):  # type: ignore[misc]
    """One per API server process, for all engines behind it, so that it hears of sleep as well as of steps.

    vLLM calls it in the loop that sends tokens, and an error there ends every request: so an error in here ends the
    pushes and nothing else. The agent goes back to `/metrics` then. For the same reason it takes arguments that it
    does not know.
    """

    def __init__(self, vllm_config: Any, engine_indexes: list[int], **_unknown: Any) -> None:
        self._pushing: Pushing | None = None
        try:
            parallel = vllm_config.parallel_config
            api_index = max(0, getattr(parallel, "_api_process_rank", 0))
            path = socket_path()
            self._pushing = Pushing(engine_indexes, Sender(path), api_index, getattr(parallel, "_api_process_count", 1))
        except _UNEXPECTED:
            _logger.exception(_GIVEN_UP)
        else:
            _logger.info("forebay: engines %s are pushed to %s", engine_indexes, path)

    def record(
        self,
        scheduler_stats: Any,
        iteration_stats: Any,
        mm_cache_stats: Any = None,
        engine_idx: int = 0,
        **_unknown: Any,
    ) -> None:
        """Push what one step reports."""
        del mm_cache_stats  # of no use to placement
        try:
            if self._pushing is not None:
                self._pushing.record(scheduler_stats, iteration_stats, engine_idx)
        except _UNEXPECTED:
            _logger.exception(_GIVEN_UP)
            self.close()

    def record_sleep_state(self, sleep: int = 0, level: int = 0, **_unknown: Any) -> None:
        """Push that the engines fell asleep (1) or woke up (0), whatever the level."""
        del level
        try:
            if self._pushing is not None:
                self._pushing.set_awake(awake=not sleep)
        except _UNEXPECTED:
            _logger.exception(_GIVEN_UP)
            self.close()

    def record_admission_rejection(self, *_unknown: Any, **_more: Any) -> None:
        """Nothing: it changes no load."""

    def log(self) -> None:
        """Push the last state again; vLLM calls it every ten seconds."""
        try:
            if self._pushing is not None:
                self._pushing.restate()
        except _UNEXPECTED:
            _logger.exception(_GIVEN_UP)
            self.close()

    def log_engine_initialized(self) -> None:
        """Push the first state."""
        self.log()

    def close(self) -> None:
        """Push no more."""
        if self._pushing is not None:
            self._pushing.close()
            self._pushing = None


ForebayStatLogger.__abstractmethods__ = frozenset()
"""What a newer vLLM wants of a logger beside all this, its base class does: or else no server would start."""
