"""One-line changes of the scripts, each of which breaks an invariant; `make mutants` demands that a test notices.

A row: the invariant, and what becomes what in the part it stands under.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tests.invariants.mutation import Mutation
from tests.invariants.mutations_of_groups import GROUPS
from tests.invariants.mutations_of_keys import KEYS
from tests.invariants.mutations_of_placing import ADMIT, PLACING

_ROWS: Mapping[str, tuple[tuple[int, str, str], ...]] = MappingProxyType(
    {
        "clock": (
            (3, "if now_epoch ~= epoch then", "if not now_epoch then"),
            (4, "floor(lease_ms / 4)", "floor(lease_ms * 4)"),
            (4, "step < 0 or step > tonumber(lease_ms)", "step > tonumber(lease_ms)"),
            (4, "step < 0 or step > tonumber(lease_ms)", "step < 0"),
            (4, "math.max(0, math.min(step, longest))", "math.max(0, step)"),
            (4, "math.max(0, math.min(step, longest))", "math.min(step, longest)"),
            (6, "version = format('%d', version + 1)", "version = version"),
        ),
        "gateways": (
            (3, "tonumber(last) ~= number - 1", "tonumber(last) > number - 1"),
            (3, "tonumber(last) ~= number - 1", "tonumber(last) < number - 1"),
            (3, "number, row.count, row.sum))", "number, row.count, 0))"),
        ),
        "leases": (
            (3, "gateway, FENCED, {count = 0, sum = 0})", "gateway, 0, {count = 0, sum = 0})"),
            (4, "if call.jumped then return {} end", ""),
            (4, "'(%d'", "'%d'"),
            (4, "'LIMIT', 0, 100)", "'LIMIT', 0, 1)"),
        ),
        "rows": (
            (2, "up 0 (%d+) (%d+) (%-?%d+) ", "up 0 (%d+) (%d+) (%d+) "),
            (2, "(%-?%d+) (%d+%.?%d*e?[+-]?%d*) '", "(%-?%d+) (%d+) '"),
            (1, "(%d+) %d+ (%d+) (%d+) (%d+)$'", "%d+ (%d+) (%d+) (%d+) (%d+)$'"),
            (6, "PRICED = '^(%S+) up 0 ", "PRICED = '^(%S+) up %d "),
            (6, "PRICED = '^(%S+) up 0 ", "PRICED = '^(%S+) %S+ 0 "),
            (6, "'^%S+ %S+ %d %d+ %d+ %-?%d+ %S+ %S+ %d+ (%d+)'", "'^%S+ %S+ %d %d+ %d+ %d+ %S+ %S+ %d+ (%d+)'"),
            (3, "local FENCED = -9", "local FENCED = 0"),
        ),
        "past": (
            (2, "ms - at < 20 then", "ms - at < 200 then"),
            (2, "then ms, recent = at, string.sub(recent, rest) end", "then recent = string.sub(recent, rest) end"),
            (2, "1, 2048)", "1, 512)"),
            (2, "string.sub(recent .. older, 1, 2048)", "older"),
            (2, "string.sub(recent .. older, 1, 2048)", "recent"),
            (2, "    recent = ''", ""),
            (2, "redis.call('HGET', k.hist, life .. OLDER) or ''", "''"),
            (5, "redis.call('HDEL', k.hist, life)", ""),
            (5, "redis.call('HDEL', k.hist, life .. OLDER)", ""),
        ),
        "samples": (
            (2, "ipairs({life, life .. OLDER})", "ipairs({life})"),
            (2, "if tonumber(at) <= ms then return", "if tonumber(at) < ms then return"),
            (2, "if tonumber(at) <= ms then return sent, in_engine end", ""),
            (2, "at + window_ms >= ms and", "at + 2 * window_ms >= ms and"),
            (2, "at + window_ms >= ms and", "at + window_ms < ms and"),
            (2, "tonumber(old) < value", "tonumber(old) > value"),
            (2, "'(%d+):(%-?%d+)'", "'(%d+):(%d+)'"),
            (2, "match(kept[1], ':(.+)$')", "value"),
        ),
        "reap": (
            (4, "tonumber(ends) >= call.ms", "tonumber(ends) > call.ms"),
            (4, " or call.jumped then", " then"),
            (4, "if not ends or", "if ends and"),
            (4, "fence(KEYS[2], ARGV[3])", ""),
            (3, "settle(KEYS[3], held[i], held[i + 1], false, call)", "redis.call('HDEL', KEYS[3], held[i])"),
            (4, "if left == 0 then", "if left >= 0 then"),
            (4, "redis.call('ZREM', KEYS[9], ARGV[3])", ""),
            (4, "redis.call('HDEL', KEYS[2], ARGV[3])", ""),
            (3, "write_book(call)", ""),
        ),
        "release": (
            (3, *ADMIT),
            (3, "write_book(call)", ""),
        ),
        "advance": (
            (3, *ADMIT),
            (3, "more * id", "id"),
            (1, "redis.call('HGET', KEYS[3], id), record", "false, record"),
            (1, "write_book(call)", ""),
        ),
        "renew": (
            (3, "row.count ~= tonumber(ARGV[5]) or ", ""),
            (3, "row.sum ~= tonumber(ARGV[6])", "false"),
            (3, *ADMIT),
            (4, "call.ms + ARGV[2] or 0", "call.ms + 1 or 0"),
            (4, "ARGV[7] == 'stay' and call.ms + ARGV[2] or 0", "call.ms + ARGV[2]"),
            (4, "ARGV[7] == 'stay' and number or FENCED", "number"),
            (4, "ended(KEYS[3], call)", "{}"),
        ),
        "resync": (
            (3, "fence(KEYS[2], former)", ""),
            (3, "redis.call('ZADD', KEYS[9], 0, former)", ""),
            (3, "tonumber(its_statement) > tonumber(statement)", "false"),
            (3, "its_stem == stem and its_statement ~= statement", "false"),
            (4, "its_stem == stem and its_statement ~= statement", "its_statement ~= statement"),
            (3, "redis.call('HSETNX', KEYS[2], gateway", "redis.call('HSET', KEYS[2], gateway"),
            (4, "redis.call('ZADD', KEYS[9], call.ms + ARGV[2], gateway)", ""),
            (3, "for former = 10, #KEYS do", "for former = 11, #KEYS do"),
            (3, "redis.call('HDEL', KEYS[former], id)", ""),
            (3, "settle(KEYS[3], id, moved, record, call)", "settle(KEYS[3], id, false, record, call)"),
            (3, "row.count + 1, (row.sum + id)", "row.count + 1, (row.sum + 0 * id)"),
            (3, "write_book(call)", ""),
        ),
        "report": (
            (2, "math.max(0, call.ms - age)", "call.ms"),
            (2, "recall(life, sampled)", "recall(life, call.ms)"),
            (5, "old.incarnation == incarnation and old.queue or ''", "old.queue or ''"),
            (2, "requests - sent, FRESH_MS)", "requests, FRESH_MS)"),
            (2, "requests - sent, FRESH_MS)", "requests - sent, 200)"),
            (2, "math.max(0, foreign)", "math.abs(foreign)"),
            (2, "kv - in_engine", "kv"),
            (6, "count % 2, sampled", "0, sampled"),
            (8, "math.max(stored, known)", "stored"),
            (8, "math.max(stored, known)", "known"),
            (5, "if old.incarnation and old.incarnation ~= incarnation then tidy", "if false then tidy"),
            (3, "if load and (not match(load, READABLE_LOAD) or string.find(load, BEYOND)) then end_epoch() end", ""),
            (5, "call.ms - old.heard < tonumber(ARGV[4])", "false"),
            (5, "call.ms - old.heard < tonumber(ARGV[4])", "call.ms - old.heard <= tonumber(ARGV[4])"),
            (6, "old.incarnation == incarnation and has_card(", "has_card("),
            (6, "redis.call('HDEL', k.seen, rank)", ""),
            (5, "put_card(KEYS[3], rank)", ""),
            (5, "if old.incarnation then tidy(rank, old.incarnation) end", "tidy(rank, incarnation)"),
            (6, "redis.call('ZADD', k.change, call.version, rank)", ""),
            (4, "ended(KEYS[2], call)", "{}"),
        ),
        "claims": ((5, "return redis.call('HDEL', cards, rank)", "return"),),
        "drains": ((8, "redis.call('HGET', key, rank) or ''", "''"),),
        "drain": (
            (3, "if not call then return {'resync'} end", "call = call or {version = 0}"),
            (6, "(string.gsub(seen, DRAINED, '%1 ' .. ARGV[4]))", "seen"),
            (8, "count % 2 ~= tonumber(ARGV[4])", "false"),
            (8, "count + 1", "ARGV[4]"),
            (6, "if not seen then return {'unknown'} end", "seen = seen or ''"),
        ),
        "breaker": (
            (11, "if not call then return {'resync'} end", "call = call or {version = 0}"),
            (11, "lives and row == read", "lives"),
            (11, "lives and row == read", "row == read"),
            (11, "if new == '' then", "if false then"),
            (11, "redis.call('ZADD', KEYS[4], call.version, rank)", ""),
            (11, "row, written = new, 1", "written = 1"),
            (11, "row, written = new, 1", "row = new"),
            (11, "for i = 3, #ARGV, 4 do", "for i = 3, 6, 4 do"),
            (11, "redis.call('HLEN', KEYS[3]) > redis.call('HLEN', KEYS[2])", "false"),
            (11, "if redis.call('HEXISTS', KEYS[2], rank) == 0 then", "if true then"),
        ),
        "prefix_look": (
            (9, "if not holders or #holders > LONGEST then return found end", "holders = holders or ''"),
            (9, "if not holders or #holders > LONGEST then return found end", "if not holders then return found end"),
            (9, "local first = #found + 1", "local first = 1"),
            (9, "math.min(first + most - 1, #KEYS)", "first + most"),
            (9, "holders == before and '' or holders", "before and '' or holders"),
            (9, "    before = holders", ""),
        ),
        "prefix_touch": (
            (9, "named[string.match(ARGV[i], '^%x+')] = true", ""),
            (9, "#words < MOST", "true"),
            (9, "local MOST = 64", "local MOST = 16"),
            (9, "words[#words + 1] = ARGV[i]", "words[1] = ARGV[i]"),
            (9, "if holders ~= before then", "if not before then"),
            (9, "if not holders or #holders > LONGEST then holders = '' end", "holders = ''"),
            (9, "if not holders or #holders > LONGEST then holders = '' end", "holders = holders or ''"),
            (9, "SET', KEYS[i]", "SET', KEYS[1]"),
            (9, ", 'PX', ARGV[1])", ")"),
        ),
        "prefix_believed": (
            (9, "(#old == per_life and old[n] or 0)", "(old[n] or 0)"),
            (9, "(#old == per_life and old[n] or 0)", "0"),
            (9, "ARGV[1 + (i - 1) * per_life + n]", "ARGV[1 + n]"),
            (9, "string.format('%d', sum)", "sum"),
            (9, "redis.call('MGET', key)[1] or ''", "''"),
            (9, "redis.call('MGET', key)[1] or ''", "redis.call('GET', key) or ''"),
            (9, "not string.find(row, NO_SUM) and ", ""),
            (9, " and not string.find(row, BEYOND)", ""),
            (9, ", 'PX', ARGV[1])", ")"),
            (9, "    sums[#sums + 1] = sum", "    sums[n] = sum"),
        ),
        "receipt_add": (
            (10, "'MAXLEN', '~', ARGV[1]", "'MAXLEN', '~', 10 * ARGV[1]"),
            (10, "for i = 2, #ARGV, 3 do", "for i = 2, 4, 3 do"),
            (10, "'request', ARGV[i],", "'request', ARGV[2],"),
            (10, "'digest', ARGV[i + 1]", "'digest', ARGV[3]"),
            (10, "'receipt', ARGV[i + 2])", "'receipt', ARGV[4])"),
            (10, "written = written + 1", "written = 1"),
        ),
        "receipt_find": (
            (10, "ARGV[2], '-', 'COUNT', ARGV[3])", "'+', '-', 'COUNT', ARGV[3])"),
            (10, "#entries == tonumber(ARGV[3])", "#entries > tonumber(ARGV[3])"),
            (10, "entries[#entries][1]", "entries[1][1]"),
            (10, "for i = 1, #entry[2], 2 do", "for i = 3, #entry[2], 2 do"),
            (10, "if fields.request == ARGV[1] then", "if fields.request then"),
            (10, "if fields.request == ARGV[1] then", "if fields.request == ARGV[1] or fields.digest == ARGV[1] then"),
            (10, "reply[2] = reply[2] + 1", "reply[2] = 1"),
            (10, "if not fields.request then", "if fields.request ~= ARGV[1] then"),
            (10, "    reply[#reply + 1] = fields.digest or ''", "    reply[#reply + 1] = ''"),
            (10, "    reply[#reply + 1] = fields.receipt or ''", "    reply[#reply + 1] = fields.receipt"),
        ),
        "open": (
            (3, "if epoch and epoch ~= ARGV[2] then return epoch end", ""),
            (3, "redis.call('DEL', key)", ""),
        ),
        "roster": (
            (2, "if read_seen(rank).incarnation == incarnation then return end", ""),
            (3, "if requests and requests + in_engine > 0 then return end", ""),
            (5, "  forget(life)", ""),
        ),
        "snapshot": (
            (6, "epoch == ARGV[2] and tonumber(ARGV[3]) or -1", "tonumber(ARGV[3])"),
            (6, "if since > tonumber(version) then since = -1 end", ""),
            (6, "format('(%d', since), version)", "format('(%d', since), '+inf')"),
            (6, "local is_littered = since < 0 and", "local is_littered ="),
            (6, "2 * redis.call('HLEN', KEYS[4]) + LITTER", "math.huge"),
            (6, "card_version > since and cards[i] or ''", "''"),
            (6, "card_version > since and cards[i] or ''", "cards[i] or ''"),
            (11, "breaker_rows[i] or ''", "''"),
            (11, "breaker_rows[i] or ''", "breaker_rows[1] or ''"),
            (2, "math.max(0, math.min(step, floor(ARGV[1] / 4)))", "step"),
            (6, "math.min(first + 999, #ranks)", "math.min(first + 998, #ranks)"),
        ),
    }
)

MUTATIONS = tuple(
    Mutation(invariant, part, old, new)
    for part, rows in {**_ROWS, **PLACING, **KEYS, **GROUPS}.items()
    for invariant, old, new in rows
)
