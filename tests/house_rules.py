"""The house rules as tables: what may import what, what decides, how long a thing may be."""

PACKAGES = ("scheduler", "gateway", "agent", "simulator", "forebay")
"""The product; tests stand outside the rules."""

OWN_DISTRIBUTIONS = ("vllm_plugin/forebay_stat_logger",)
"""Packages of what is built and installed by itself, elsewhere; the rules hold there too."""

MAY_IMPORT = {
    "scheduler": set[str](),
    "gateway": {"scheduler"},
    "agent": {"scheduler"},
    "simulator": {"scheduler"},
    "forebay": {"scheduler", "gateway", "agent", "simulator"},
    "vllm_plugin": set[str](),
}

HTTP_LIBRARIES = {
    "aiohttp", "fastapi", "h11", "http", "httpcore", "httptools", "httpx", "requests", "starlette", "urllib3",
    "uvicorn", "websockets",
}  # fmt: skip

ONLY_IN = {
    "redis": ("scheduler/store.py",),
    "fakeredis": ("forebay/",),
    "lupa": ("simulator/",),
    "forebay_stat_logger": ("simulator/stat_pushing.py", "vllm_plugin/"),
    "vllm": ("vllm_plugin/",),
}
"""Libraries with one home: a file, or a folder when the name ends in a slash."""

SANS_IO_LIBRARIES = {"httptools"}
"""Of these those that only read bytes they are given: what decides may use them."""

PURE = "Pure."
"""Ends the first paragraph of the docstring of a module that decides: time, chance and the world come as arguments."""

PURE_FOLDERS = ("gateway/connectors/", "scheduler/policies/")
"""What lies here decides, whether it says so or not."""

MERE_VALUES = {
    "agent.settings.AgentSettings",
    "agent.settings.ConnectorName",
    "forebay.explain.Explanation",
    "forebay.explain.Judged",
    "forebay.ports.LOOPBACK",
    "gateway.placing.Pools",
    "scheduler.admin.GatewayStatus",
    "scheduler.admin.RankStatus",
    "scheduler.admin.Status",
    "scheduler.lua.Script",
    "scheduler.pending.StoreAnswer",
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
