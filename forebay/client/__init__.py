"""A small client with the words of vLLM's offline inference: `from forebay.client import LLM, SamplingParams`."""

from forebay.client.errors import ClientError, RequestsFailedError
from forebay.client.llm import LLM
from forebay.client.outputs import CompletionOutput, RequestOutput
from forebay.client.sampling_params import SamplingParams

__all__ = ["LLM", "ClientError", "CompletionOutput", "RequestOutput", "RequestsFailedError", "SamplingParams"]
