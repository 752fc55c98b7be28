"""The connectors a gateway speaks, by the name that ranks register with; no other ranks are paired. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.connectors.connector import Connector
from gateway.connectors.nixl import Nixl

CONNECTORS: Mapping[str, Connector] = MappingProxyType({"nixl": Nixl()})
