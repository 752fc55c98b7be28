"""`LLM`: vLLM's offline inference, answered by a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import anyio
import anyio.from_thread
import msgspec
from rich.console import Console

from forebay.batch.progress import Advance, progress
from forebay.causes import first_cause
from forebay.client.errors import ClientError, RequestsFailedError
from forebay.client.outputs import RequestOutput, output_of
from forebay.client.prompts import Asked, chat, chats_of, completion, params_for, prompts_of
from forebay.client.sampling_params import SamplingParams
from forebay.model_server.asker import Answered, Asker, Patience, Unanswered, asker
from forebay.model_server.errors import ServerError
from forebay.model_server.server import server_at

Params = SamplingParams | Sequence[SamplingParams] | None
LONGEST_REASON = 300


class LLM:
    """A model behind `url`, a gateway's or several; without `model` the only one there is.

    Calls wait for their answers, in any thread, also where an event loop is running, as in a notebook. `concurrency`:
    requests under way at once. `retries`: how often one that failed is tried again. `busy_timeout_s`: how long a
    server that is busy (429, 503) or not there is waited for. `token_ids`: answers carry them, by `return_token_ids`
    of vLLM. `ca`: PEM file by which an https server is verified, else the system's. Variables with proxies are not
    heeded. Raises ClientError for a URL that is none.
    """

    def __init__(  # noqa: PLR0913 - what a caller may say of a server, each by its name
        self,
        url: str | Sequence[str],
        model: str | None = None,
        api_key: str | None = None,
        *,
        concurrency: int = 64,
        retries: int = 3,
        busy_timeout_s: float = 600.0,
        token_ids: bool = False,
        ca: str = "",
    ) -> None:
        try:
            self._server = server_at([url] if isinstance(url, str) else url, api_key or "", ca)
        except (ValueError, OSError) as error:
            raise ClientError(str(error)) from error
        if concurrency < 1:
            raise ClientError("concurrency: expected 1 or more")
        self._model = model
        self._concurrency = concurrency
        self._patience = Patience(retries=retries, busy_s=busy_timeout_s)
        self._token_ids = token_ids

    def generate(self, prompts: Any, sampling_params: Params = None, *, use_tqdm: bool = True) -> list[RequestOutput]:
        """An output for each prompt, in their order.

        A prompt is a text, a list of token ids, `{"prompt": ...}` or `{"prompt_token_ids": ...}`. `use_tqdm`: a bar on
        standard error, where that is a terminal. Raises RequestsFailedError where prompts have no answer, ClientError
        where the server is not there.
        """
        given = prompts_of(prompts)
        params = params_for(len(given), sampling_params)
        return self._all([completion(*each) for each in zip(given, params, strict=True)], bar=use_tqdm)

    def chat(
        self, messages: Any, sampling_params: Params = None, *, use_tqdm: bool = True, **further: Any
    ) -> list[RequestOutput]:
        """The same for a chat, a list of messages, or a list of chats; `further` fields go into each request."""
        given = chats_of(messages)
        params = params_for(len(given), sampling_params)
        return self._all([chat(*each, further) for each in zip(given, params, strict=True)], bar=use_tqdm)

    def _all(self, asked: list[Asked], *, bar: bool) -> list[RequestOutput]:
        outputs: list[RequestOutput | None] = [None] * len(asked)
        failures: dict[int, str] = {}

        async def work(advance: Advance) -> None:
            async with asker(self._server, self._concurrency, self._patience) as asking:
                model = self._model or _only(await asking.models())
                places = iter(range(len(asked)))
                async with anyio.create_task_group() as tasks:
                    for _ in range(min(self._concurrency, len(asked))):
                        tasks.start_soon(one_after_another, asking, model, places, advance)

        async def one_after_another(asking: Asker, model: str, places: Iterator[int], advance: Advance) -> None:
            for place in places:
                found = await self._one(asking, model, asked[place])
                if isinstance(found, str):
                    failures[place] = found
                else:
                    outputs[place] = found
                advance(isinstance(found, str))

        console = Console(stderr=True)
        # Lines for a log are nothing that a library should write.
        console.quiet = not (bar and console.is_terminal)
        try:
            with progress(console, len(asked), 0) as advance, anyio.from_thread.start_blocking_portal() as portal:
                portal.call(work, advance)
        except (ServerError, ExceptionGroup) as error:
            cause = first_cause(error)
            if not isinstance(cause, ServerError):
                raise cause from error
            if not any(outputs):
                raise ClientError(str(cause)) from error
            failures.update({place: str(cause) for place, output in enumerate(outputs) if output is None})
        if failures:
            raise RequestsFailedError(dict(sorted(failures.items())), outputs)
        return [output for output in outputs if output is not None]

    async def _one(self, asking: Asker, model: str, asked: Asked) -> RequestOutput | str:
        """The answer to a request, or why there is none."""
        body = {"model": model, **asked.fields}
        if self._token_ids:
            body["return_token_ids"] = True
        found = await asking.ask(asked.path, msgspec.json.encode(body))
        match found:
            case Unanswered(code, message):
                return f"{code}: {message}"
            case Answered() if not found.is_ok:
                return f"status {found.status}: {bytes(found.body)[:LONGEST_REASON].decode(errors='replace')}"
            case Answered():
                try:
                    return output_of(found.body, asked.prompt, asked.prompt_token_ids)
                except msgspec.DecodeError as error:
                    return f"an answer that is no completion: {error}"


def _only(models: Sequence[str]) -> str:
    if len(models) != 1:
        raise ServerError(f"the server has {len(models)} models ({', '.join(models) or 'none'}): name one by model=")
    return models[0]
