"""One-line changes of the scripts about API keys (mutations.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

KEYS: Mapping[str, tuple[tuple[int, str, str], ...]] = MappingProxyType(
    {
        "limit": (
            (12, "last and max(0, now - last) or 0", "last and now - last or 0"),
            (12, "ms = (ms or 0) + step", "ms = (ms or 0)"),
            (12, "max(0, levels[i] - limits[i] * step) + ARGV[6 + i]", "levels[i] - limits[i] * step + ARGV[6 + i]"),
            (12, "max(0, levels[i] - limits[i] * step) + ARGV[6 + i]", "levels[i] + ARGV[6 + i]"),
            (12, "limits[i] * step) + ARGV[6 + i]", "limits[i] * step)"),
            (12, "ARGV[6 + i]", "ARGV[7]"),
            (12, "min(left, limits[i] * SPAN * MOST_MINUTES)", "left"),
            (12, "max(0, min(left, limits[i] * SPAN * MOST_MINUTES))", "min(left, limits[i] * SPAN * MOST_MINUTES)"),
            (12, "MOST_MINUTES, KEPT_MS = 60000, 60,", "MOST_MINUTES, KEPT_MS = 60000, 1,"),
            (12, "name ~= gateway and ", ""),
            (12, "left >= 0", "left > 0"),
            (12, " and left >= 0", ""),
            (12, " and left <= SPAN", ""),
            (12, "running = running + count", "running = running + 1"),
            (12, "format(' %s=%s/%s', name, ends, count)", "format(' %s=%s/%s', name, ms, count)"),
            (12, "kept[#kept + 1] = format(' %s=%s/%s', name", "kept[1] = format(' %s=%s/%s', name"),
            (12, "levels[i] > 0 and levels[i] + more", "levels[i] + more"),
            (12, "levels[i] + more > limits[i]", "levels[i] + more >= limits[i]"),
            (12, "levels[i] + more > limits[i]", "levels[i] > limits[i]"),
            (12, "at_once > 0 and ", ""),
            (12, "running >= at_once", "running > at_once"),
            (12, "running >= at_once", "own >= at_once"),
            (12, "is_over(1, SPAN)", "is_over(2, SPAN)"),
            (12, "cost > 0 and is_over(2, cost)", "is_over(2, cost)"),
            (12, "cost > 0 and is_over(2, cost)", "cost > 0 and is_over(2, SPAN)"),
            (12, "own, running = own + 1, running + 1", "running = running + 1"),
            (12, "own, running = own + 1, running + 1", "own = own + 1"),
            (12, "if limits[1] > 0 then levels[1] = levels[1] + SPAN end", ""),
            (12, "if limits[1] > 0 then levels[1] = levels[1] + SPAN end", "levels[1] = levels[1] + SPAN"),
            (12, "if limits[2] > 0 then levels[2] = levels[2] + cost end", ""),
            (12, "if limits[2] > 0 then levels[2] = levels[2] + cost end", "levels[2] = levels[2] + cost"),
            (12, "ms + lease, own)", "ms, own)"),
            (12, ".. table.concat(kept)", ""),
            (12, "redis.call('MGET', KEYS[1])[1]", "redis.call('GET', KEYS[1])"),
            (12, ", 'PX', KEPT_MS)", ")"),
            (12, "redis.call('SET', KEYS[1], used, 'PX', KEPT_MS)", ""),
        ),
        "api_key_put": (
            (12, "if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return {'changed'} end", ""),
            (12, "or '') ~= ARGV[2]", "or ARGV[2]) ~= ARGV[2]"),
            (12, "if ARGV[3] == '' then", "if ARGV[2] == '' then"),
            (12, "redis.call('HDEL', KEYS[1], ARGV[1])", "redis.call('HSET', KEYS[1], ARGV[1], '')"),
            (12, "redis.call('SET', KEYS[2], ARGV[4])", ""),
        ),
        "api_keys_read": (
            (12, "if version == ARGV[1] then return {version} end", ""),
            (12, "if version == ARGV[1] then", "if ARGV[1] ~= '' then"),
            (12, "table.insert(reply, 1, version)", ""),
            (12, "redis.call('GET', KEYS[2]) or ''", "redis.call('GET', KEYS[2])"),
        ),
    }
)
