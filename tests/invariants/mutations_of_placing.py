"""One-line changes of what prices, chooses and books; mutations.py says how a row reads."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

ADMIT = ("admit(KEYS[2], gateway, number)", "{count = 0, sum = 0}")
"""A call that does not follow the last one is applied all the same."""

PLACING: Mapping[str, tuple[tuple[int, str, str], ...]] = MappingProxyType(
    {
        "weights": (
            (1, "kind ~= 'd' and phase < 2", "phase < 2"),
            (1, "kind ~= 'd' and phase < 2", "kind ~= 'd' and phase < 1"),
            (1, "phase == 2 and prompt or 0", "phase >= 2 and prompt or 0"),
            (1, "phase == 2 and prompt or 0", "0"),
            (1, "phase == 1 and 1 or 0", "phase >= 1 and 1 or 0"),
            (1, "kind == 'm' and 1 or 2", "1"),
            (1, "if phase < 3 then", "if phase < 2 then"),
            (1, "sent, prompt + output, 0, 0, rank", "sent, prompt, 0, 0, rank"),
            (3, "floor(output / 2)", "output / 2"),
            (3, "(sum and sum[i] or 0) + sign * leg[i]", "(sum and sum[i] or 0) + leg[i]"),
            (3, "(sum and sum[i] or 0) + sign * leg[i]", "sign * leg[i]"),
        ),
        "book": (
            (
                1,
                "if (sum[2] < 0 and kept) or (sum[2] > 0 and prompts == '0') then",
                "if sum[2] > 0 and prompts == '0' then",
            ),
            (1, "(sum[2] < 0 and kept)", "sum[2] < 0"),
            (1, "(sum[2] > 0 and prompts == '0')", "sum[2] > 0"),
            (2, "if sum[4] ~= 0 or sum[6] ~= 0 then page", "if sum[4] ~= 0 then page"),
            (2, "if sum[4] ~= 0 or sum[6] ~= 0 then page", "if sum[6] ~= 0 then page"),
            (2, "if page.sent then remember(", "if false then remember("),
            (5, "requests + in_engine == 0", "requests + in_engine < 0"),
            (6, "redis.call('ZADD', k.change, unpack(changed))", ""),
            (1, "pages[life] = pages[life] or {", "pages[life] = {"),
            (1, "local page = pages[life] or turn_to(", "local page = turn_to("),
            (1, "(groups[name] or 0) + more", "more"),
            (1, "n = sum[3]", "n = sum[2]"),
            (1, "k = sum[5] + sum[6] + sum[7]", "k = sum[5] + sum[6]"),
            (3, "if old then weigh(moved, old, -1) end", ""),
            (3, "elseif old then redis.call('HDEL', live_key, id) end", "end"),
            (3, "(new and 1 or 0) - (old and 1 or 0)", "new and 1 or 0"),
        ),
        "loads": (
            (2, "(FORGOTTEN_MS - FRESH_MS)", "FORGOTTEN_MS"),
            (2, "if age_ms > FRESH_MS then", "if age_ms > 0 then"),
            (2, "if age_ms > FRESH_MS then", "if age_ms > FORGOTTEN_MS then"),
            (2, "trust = math.max(0, ", "trust = math.max(-1e9, "),
            (1, "math.min((ms - since) / 1000 * rate, queued / prompts)", "(ms - since) / 1000 * rate"),
            (1, "rate, queued / prompts)", "rate, queued)"),
            (2, "requests + trust * foreign, kv", "trust * foreign, kv"),
            (2, "requests + trust * foreign, kv", "math.max(requests, trust * foreign), kv"),
            (2, "kv > 0 and kv or 0", "kv"),
            (2, "unseen + in_engine + growth + trust", "in_engine + growth + trust"),
            (2, "in_engine + growth + trust * foreign_kv", "in_engine + growth + foreign_kv"),
            (5, "rank .. ' ' .. incarnation ~= life", "false"),
            (6, "if not incarnation or", "if incarnation and"),
            (6, "match(seen or '', PRICED)", "match(seen or (string.match(life, '%S+$') .. ' up 0 0 0 0 1 '), PRICED)"),
            (2, "ms - sampled, 1, 0", "0, 1, 0"),
            (
                6,
                "if not queued then return nil end",
                "if not queued then queued, prompts, requests, unseen, in_engine, growth = 0, '0', 0, 0, 0, 0 end",
            ),
        ),
        "price": (
            (1, "cap >= 0 and load > cap", "load > cap"),
            (1, "cap >= 0 and load > cap", "cap >= 0 and load >= cap"),
            (1, "if full and requests > 0 then", "if full then"),
            (1, "local q, n, kv = ask.per_group_queued_token_s[i]", "local q, n, kv = ask.per_queued_token_s[i]"),
            (1, "top.cost <= cost", "top.cost >= cost"),
            (1, "costs[i] <= top.cost + tie_s", "costs[i] < top.cost"),
            (1, "top.cost + tie_s", "top.cost + 9"),
        ),
        "choice": (
            (1, "top.cost < chosen.cost", "top.cost > chosen.cost"),
            (1, "spread - floor(spread)", "chance"),
            (1, "ask.lives[i] .. ' ' .. group_of(ask, i)", "ask.lives[i] .. ' -'"),
        ),
        "place": (
            (1, *ADMIT),
            (3, "row.count + 1, (row.sum + id)", "row.count, (row.sum + id)"),
            (3, "(row.sum + id) % ID_MODULUS", "row.sum + id"),
            (1, "  post(", "  local _ = ("),
            (1, "redis.call('HSET', KEYS[3], id, record)", ""),
            (1, "write_book(call)", ""),
            (1, "ask.singles, ask.tie_s, call.ms", "ask.singles, EXACT_S, call.ms"),
            (1, "first_d - 1, ask.tie_s", "first_d - 1, EXACT_S"),
            (1, "#ask.ranks, EXACT_S", "#ask.ranks, ask.tie_s"),
            (1, "  applied(KEYS[2], gateway, number, row)", ""),
            (1, "d and (not cost or p.cost + d.cost + seconds < cost)", "d and (not cost or p.cost + d.cost < cost)"),
            (1, "local d = d_tops[d_class]", "local d = d_tops[p_class]"),
            (1, " and not ask.spill", ""),
            (1, "'0 %d %d %d', uncached, prompt", "'0 %d %d %d', prompt, uncached"),
            (1, "0, uncached, prompt, output", "0, prompt, uncached, output"),
            (1, "ask.uncached_tokens[legs[1]]", "ask.uncached_tokens[1]"),
            (1, "if uncached < 0 then", "if false then"),
        ),
        "rebind": (
            (3, *ADMIT),
            (3, "if not old then return {'resync'} end", "if not row then return {'resync'} end"),
            (1, "settle(KEYS[3], id, old, record, call)", "settle(KEYS[3], id, false, record, call)"),
            (1, "settle(KEYS[3], id, old, record, call)", "if top then settle(KEYS[3], id, old, record, call) end"),
            (3, "applied(KEYS[2], gateway, number, row)", ""),
            (1, "'^(.+) d %S+ %S+ %S+$'", "'^(.+)$'"),
            (1, "draw(top, ask.tie_break)", "draw(top, 0)"),
            (1, "write_book(call)", ""),
        ),
    }
)
