"""Which dialect the answers of an API are in. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.dialects.choices import Choices
from gateway.dialects.dialect import Dialect
from gateway.dialects.messages import Messages
from gateway.dialects.responses import Responses
from gateway.wire import Api

CHOICES = Choices()
DIALECTS: Mapping[Api, Dialect] = MappingProxyType({Api.MESSAGES: Messages(), Api.RESPONSES: Responses()})
"""Those that differ from `CHOICES`."""


def dialect_of(api: Api | None) -> Dialect:
    """The dialect of an API's answers; None stands for any that is not known in detail."""
    return CHOICES if api is None else DIALECTS.get(api, CHOICES)
