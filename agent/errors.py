"""What can go wrong between an agent and its ranks. Pure."""

from __future__ import annotations


class AgentError(Exception):
    """Base of all errors the agent raises."""


class TargetError(AgentError, ValueError):
    """A text of ranks or ports that cannot be understood; the message quotes the part."""


class PageError(AgentError):
    """A `/metrics` page that says nothing of an engine's load."""


class AnswerError(AgentError):
    """An answer over HTTP that is too long to read, or encoded though that was not asked for."""


class DiscoveryError(AgentError):
    """A rank answers, but not what its card needs; the message says what is missing."""


class NoSuchRouteError(DiscoveryError):
    """A rank does not have what it was asked for."""


class WarmUpError(AgentError):
    """A warm-up request failed; the message says how."""


class FoundServerError(AgentError):
    """A vLLM server of this node that cannot be attached to; the message says why."""


class PushError(AgentError):
    """A datagram on the stat socket that no stat logger writes."""


class StatSocketError(AgentError, OSError):
    """The stat socket cannot be had; the message says where and why."""


class LaunchError(AgentError):
    """Ranks that cannot be launched, or not be had or kept; the message says what and where."""


class RankClaimedError(LaunchError):
    """Another agent has ranks that this one awaits; the message names them and it."""


class GroupDownError(LaunchError):
    """The DP group of this node has failed too often and stays down; the message says how, and what to do."""


class GroupClaimedError(LaunchError):
    """Another agent has the ranks of this node, or a DP group of this name and another size."""
