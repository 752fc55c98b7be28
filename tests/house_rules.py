"""The house rules as tables: what may import what, what decides, how long a thing may be."""

PACKAGES = ("scheduler", "gateway", "agent", "simulator", "forebay")
"""The product; tests stand outside the rules."""

MAY_IMPORT = {
    "scheduler": set[str](),
    "gateway": {"scheduler"},
    "agent": {"scheduler"},
    "simulator": {"scheduler"},
    "forebay": {"scheduler", "gateway", "agent", "simulator"},
}

HTTP_LIBRARIES = {
    "aiohttp", "fastapi", "h11", "http", "httpcore", "httptools", "httpx", "requests", "starlette", "urllib3",
    "uvicorn", "websockets",
}  # fmt: skip

ONLY_IN = {
    "redis": ("scheduler/store.py",),
    "fakeredis": ("forebay/",),
    "lupa": ("simulator/",),
}
"""Libraries with one home: a file, or a folder when the name ends in a slash."""

PURE = (
    "agent/discovery.py", "agent/errors.py", "agent/evidence.py", "agent/health.py", "agent/incarnation.py",
    "agent/metrics_page.py", "agent/node_report.py", "agent/port_state.py", "agent/prefill_rate.py",
    "agent/progress.py", "agent/rank_state.py", "agent/report_timing.py", "agent/targets.py",
    "forebay/announcement.py", "forebay/fleet.py", "forebay/settings.py", "forebay/status_tables.py",
    "gateway/bounds.py", "gateway/connectors/", "gateway/edits.py", "gateway/engine_words.py", "gateway/errors.py",
    "gateway/event_editor.py",
    "gateway/headers.py", "gateway/leg_bodies.py", "gateway/models.py", "gateway/opening.py", "gateway/outcome.py",
    "gateway/pairable.py", "gateway/prefill_answer.py", "gateway/prompt.py", "gateway/retry.py",
    "gateway/settings.py", "gateway/shape.py", "gateway/sse.py", "gateway/stream_end.py",
    "gateway/transfer_params.py", "gateway/usage.py", "gateway/wire.py",
    "scheduler/alone.py", "scheduler/calls.py", "scheduler/choice.py", "scheduler/decision.py",
    "scheduler/error_replies.py", "scheduler/errors.py",
    "scheduler/estimates.py", "scheduler/gateway_name.py", "scheduler/groups.py", "scheduler/keys.py",
    "scheduler/loads.py", "scheduler/messages.py", "scheduler/pace.py", "scheduler/placeable.py",
    "scheduler/pairing.py", "scheduler/picks.py", "scheduler/planning.py", "scheduler/policies/",
    "scheduler/rank_view.py", "scheduler/rebinding.py", "scheduler/reservation.py", "scheduler/rows.py",
    "scheduler/settings.py", "scheduler/shortlist.py", "scheduler/store_url.py", "scheduler/tally.py",
    "scheduler/view.py",
    "simulator/api_errors.py", "simulator/batch.py", "simulator/chat_template.py", "simulator/detokenizer.py",
    "simulator/engine.py", "simulator/engine_stats.py", "simulator/field_types.py", "simulator/generation.py",
    "simulator/held_kv.py", "simulator/histogram.py", "simulator/kv_audit.py", "simulator/kv_cache.py",
    "simulator/kv_fetch.py", "simulator/kv_taint.py", "simulator/leg_audit.py", "simulator/misuse.py",
    "simulator/model.py", "simulator/prompt.py", "simulator/sampling.py", "simulator/sequence.py",
    "simulator/settings.py", "simulator/side_channel_frames.py", "simulator/step.py", "simulator/timing.py",
    "simulator/tokens.py", "simulator/transfer_params.py", "simulator/transfer_stats.py", "simulator/validation.py",
)  # fmt: skip
"""Modules that decide, by file or folder: time, chance and the world come to them as arguments."""

MERE_VALUES = {
    "agent.settings.AgentSettings",
    "forebay.ports.LOOPBACK",
    "gateway.placing.Pools",
    "scheduler.admin.GatewayStatus",
    "scheduler.admin.RankStatus",
    "scheduler.admin.Status",
    "scheduler.lua.Script",
}
"""Types and constants that what decides may name, though they live beside what does."""

IMPURE_LIBRARIES = {
    "anyio", "asyncio", "datetime", "io", "logging", "os", "pathlib", "random", "secrets", "select", "shutil",
    "signal", "socket", "subprocess", "sys", "tempfile", "threading", "time", "uuid",
}  # fmt: skip

IMPURE_CALLS = {"Random", "input", "open", "print"}

CHANCE_AS_ARGUMENT = "random.Random"
"""The type of a request's own chance: to name it is pure, to make one is not."""

MUTABLE_MAKERS = {
    "Counter",
    "OrderedDict",
    "WeakValueDictionary",
    "defaultdict",
    "deque",
    "dict",
    "list",
    "set",
}

MAX_FILE_LINES = 250
MAX_FUNCTION_LINES = 50
MAX_SCRIPT_LINES = 60

LONG_FILES: dict[str, str] = {}
"""Files allowed to be longer, each with its reason."""
