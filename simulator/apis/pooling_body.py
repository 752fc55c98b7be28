"""The bytes of answers without text, key for key as vLLM 0.32 writes them. Those of /classify nobody captured."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import msgspec

from simulator.answer_body import AnswerBody, Stamp
from simulator.api_errors import ApiError
from simulator.apis.vectors import likeness, packed, probabilities, vector
from simulator.choice import Choice
from simulator.generation import Generation
from simulator.usage import Usage

_encode = msgspec.json.encode


class WholeBody(AnswerBody):
    """An answer that is never streamed: `content` is what it says."""

    def __init__(self, generation: Generation, stamp: Stamp) -> None:
        self._asked = generation.repeats
        self._stamp = stamp

    @abstractmethod
    def content(self, choices: list[Choice], usage: Usage) -> dict[str, Any]:
        """The answer."""

    def delta(self, choice: Choice, text: str, ids: list[int]) -> Sequence[bytes]:
        """Nothing: there is no stream."""
        del choice, text, ids
        return ()

    def ending(self, choices: list[Choice], usage: Usage) -> Sequence[bytes]:
        """Nothing: there is no stream."""
        del choices, usage
        return ()

    def failure(self, error: ApiError) -> Sequence[bytes]:
        """Nothing: there is no stream."""
        del error
        return ()

    def whole(self, choices: list[Choice], usage: Usage) -> bytes:
        """The answer."""
        return _encode(self.content(choices, usage))

    def _listed(self, data: list[dict[str, Any]], usage: Usage) -> dict[str, Any]:
        stamp = self._stamp
        head = {"id": stamp.answer_id, "object": "list", "created": stamp.created_s, "model": stamp.model}
        return {**head, "data": data, "usage": usage.shown()}


class EmbeddingsBody(WholeBody):
    """Of /v1/embeddings: a vector of each prompt."""

    kind, name = "embedding", "embedding"

    def content(self, choices: list[Choice], usage: Usage) -> dict[str, Any]:
        """The list of them."""
        data = [{"index": each.index, "object": self.kind, self.name: self._value(each.prompt.ids)} for each in choices]
        return self._listed(data, usage)

    def _value(self, ids: list[int]) -> list[float] | str:
        values = vector(ids) if self._asked["task"] == "embed" else probabilities(ids)
        return packed(values) if self._asked["encoding"] == "base64" else values


class PoolingBody(EmbeddingsBody):
    """Of /pooling: a vector, or probabilities, of each prompt."""

    kind, name = "pooling", "data"


class ClassificationBody(WholeBody):
    """Of /classify: two classes."""

    def content(self, choices: list[Choice], usage: Usage) -> dict[str, Any]:
        """The more probable one, and the probabilities."""
        data = []
        for each in choices:
            probs = probabilities(each.prompt.ids)
            label = f"LABEL_{probs.index(max(probs))}"
            data.append({"index": each.index, "label": label, "probs": probs, "num_classes": len(probs)})
        return self._listed(data, usage)


class CohereEmbeddingsBody(WholeBody):
    """Of /v2/embed: vectors by the kinds they were asked for in."""

    def content(self, choices: list[Choice], usage: Usage) -> dict[str, Any]:
        """The vectors of all prompts, and the texts if they came as such."""
        vectors = [vector(each.prompt.ids) for each in choices]
        found: dict[str, Any] = {"float": vectors, "base64": list(map(packed, vectors))}
        texts = self._asked["texts"]
        units = {"input_tokens": usage.prompt_tokens, "image_tokens": 0}
        return {
            "id": self._stamp.answer_id,
            "embeddings": {kind: found[kind] for kind in self._asked["kinds"]},
            **({} if texts is None else {"texts": texts}),
            "meta": {"api_version": {"version": "2"}, "billed_units": units},
            "response_type": "embeddings_by_type",
        }


class ScoreBody(WholeBody):
    """Of /score: how like each other the texts of a pair are."""

    def content(self, choices: list[Choice], usage: Usage) -> dict[str, Any]:
        """The list of scores."""
        data = [{"index": at, "object": "score", "score": score} for at, score in enumerate(self._scores(choices))]
        return self._listed(data, usage)

    def _scores(self, choices: list[Choice]) -> list[float]:
        ones, others = choices[: self._asked["queries"]], choices[self._asked["queries"] :]
        ones = ones * len(others) if len(ones) == 1 else ones
        return [likeness(a.prompt.ids, b.prompt.ids) for a, b in zip(ones, others, strict=True)]


class RerankBody(ScoreBody):
    """Of /rerank: documents by how like the query they are."""

    def content(self, choices: list[Choice], usage: Usage) -> dict[str, Any]:
        """The best of them."""
        scores = self._scores(choices)
        documents = self._asked["documents"]
        results = [
            {"index": at, "document": {"text": documents[at], "multi_modal": None}, "relevance_score": scores[at]}
            for at in sorted(range(len(documents)), key=lambda at: -scores[at])
        ]
        return {
            "id": self._stamp.answer_id,
            "model": self._stamp.model,
            "usage": {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens},
            "results": results[: self._asked["most"]],
        }


class GenerativeScoreBody(WholeBody):
    """Of /generative_scoring: how probable the first label is behind each item."""

    def content(self, choices: list[Choice], usage: Usage) -> dict[str, Any]:
        """The list of scores."""
        scores = [probabilities(each.prompt.ids)[0] for each in choices]
        data = [{"index": at, "object": "score", "score": score} for at, score in enumerate(scores)]
        return self._listed(data, usage)
