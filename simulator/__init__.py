"""A simulated vLLM rank: vLLM 0.32's HTTP and metrics over a timing model, with no model behind it.

`settings` is every option; `server.serve` runs one rank. Below it, from the pure inside to the thin outside:

- `tokens`, `chat_template`, `model`: text to ids, ids to a state, a state to the next id. Pure.
- `timing`, `kv_cache`, `engine`, `engine_stats` and what they are made of: one engine's scheduler, step by step, in
  given time. Pure.
- `kv_taint`, `held_kv`, `kv_fetch`, `transfer_params`: the KV it keeps for, and gets from, other ranks. Pure.
- `runner`: steps an engine at absolute deadlines of the event loop's clock.
- `kv_exchange`, `kv_pull`, `kv_peer`, `side_channel`: moves KV between engines, over TCP.
- `api_errors`, `field_types`, `validation`, `prompt`, `generation`: a request's body to a `Generation`, or the error
  vLLM gives. Pure.
- `detokenizer`, `logprobs`, `completion_body`, `chat_body`: ids to the bytes of an answer. Pure.
- `choice`, `answer`: one HTTP answer in the making. `exchange`, `http`: the server's protocol.
- `rank`: the engines and the requests in them. `routes`, `sim_routes`: which path does what.
- `misuse`, `leg_audit`, `kv_audit`: what a strict rank counts. Pure.
- `metric_families`, `metric_families_nixl`, `cache_config`, `metrics`: the `/metrics` page.
- `faults`, `wrong_answer`: misbehaviour on demand, for tests.

Apart from the rank stand `redis_commands` and `store`: the ledger's scripts in virtual time, without Redis.
"""
