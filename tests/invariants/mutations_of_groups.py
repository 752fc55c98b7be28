"""One-line changes of the script about DP groups (mutations.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

GROUPS: Mapping[str, tuple[tuple[int, str, str], ...]] = MappingProxyType(
    {
        "dp_group": (
            (13, "if not call then return {'resync'} end", "call = call or {ms = 0, version = 0}"),
            (13, "number and mark or '0', failures or '-'", "'0', failures or '-'"),
            (13, "number + 1, new_mark", "number, new_mark"),
            (13, "number + 1, new_mark", "number + 1, mark"),
            (13, "new_mark, call.ms, new_why", "new_mark, 0, new_why"),
            (13, "if known > number then", "if false then"),
            (13, "if known > number then", "if known ~= number then"),
            (13, "known, ARGV[6], 0,", "known, ARGV[4], 0,"),
            (13, "known, ARGV[6], 0,", "known, ARGV[6], call.ms,"),
            (13, "elseif known == number and mark ~= ARGV[6] then", "elseif false then"),
            (13, "elseif known == number and cause ~= '' then", "elseif cause ~= '' then"),
            (13, "if cause == 'failed' then failures", "if false then failures"),
            (13, "if cause == 'failed' then failures", "if true then failures"),
            (13, "if cause == 'asked' then failures = '-' end", ""),
            (13, "name ~= '' and other", "other"),
            (13, "(other == name or of", "(of"),
            (13, " or of ~= size", ""),
            (13, "first + 0 < ARGV[15] + ranks and ", ""),
            (13, "first + 0 < ARGV[15] + ranks", "first + 0 <= ARGV[15] + ranks"),
            (13, " and ARGV[15] + 0 < first + count", ""),
            (13, "ARGV[15] + 0 < first + count", "ARGV[15] + 0 <= first + count"),
            (13, "if other and not meets then", "if not meets then"),
            (13, "other == name and instance == ARGV[11]", "other == name"),
            (13, "other == name and instance == ARGV[11]", "instance == ARGV[11] and false"),
            (13, "if at == ARGV[12] and at_mark == ARGV[13] then", "if true then"),
            (13, "if at == ARGV[12] and at_mark == ARGV[13] then", "if at == ARGV[12] then"),
            (13, "confirmed = since end", "end"),
            (13, "age_ms >= 0 and ", ""),
            (13, " and age_ms < tonumber(ARGV[9])", ""),
            (13, "age_ms < tonumber(ARGV[9])", "age_ms <= tonumber(ARGV[9])"),
            (13, "and ARGV[14] ~= 'left' then", "then"),
            (13, "confirmed, call.version}", "confirmed, confirmed}"),
            (13, "#kept < KEPT_FAILURES and each or nil", "each"),
            (13, "redis.call('HSET', KEYS[2], ARGV[3], value)", ""),
            (13, "if #rows == 0 and failures == '-' then", "if false then"),
            (13, "#rows == 0 and failures == '-'", "#rows == 0"),
            (13, "#rows == 0 and failures == '-'", "failures == '-'"),
        ),
    }
)
