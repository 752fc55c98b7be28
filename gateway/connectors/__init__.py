"""The connectors a gateway speaks, by the name that ranks register with; no other ranks are paired. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.connectors.connector import Connector
from gateway.connectors.mooncake import Mooncake
from gateway.connectors.mooncake_layerwise import MooncakeLayerwise
from gateway.connectors.mooncake_pull import MooncakePull
from gateway.connectors.nixl import Nixl
from gateway.connectors.nixl_push import NixlPush
from gateway.connectors.pull import Pull
from gateway.connectors.sglang import SGLang
from gateway.connectors.store import Store

CONNECTORS: Mapping[str, Connector] = MappingProxyType(
    {
        "nixl": Nixl(),
        "nixl_push": NixlPush(),
        "mooncake_pull": MooncakePull(),
        "mooncake": Mooncake(),
        "mooncake_layerwise": MooncakeLayerwise(),
        "sglang": SGLang(),
        "pull": Pull(),
        "store": Store(),
    }
)
