"""The layerwise proxy's command before strict ranks: decode ranks call it, whichever worker they reach."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from forebay.main import main
from tests.e2e.proxy.asking import ask
from tests.e2e.proxy.proxy_process import Proxy, proxy_running
from tests.polling import until_now
from tests.simulator.rank_process import RankProcess, running_rank

PLUGIN = Path(__file__).parents[3] / "vllm_plugin"
REQUESTS = 24


class Site(NamedTuple):
    """A proxy of two workers before a prefill and a decode rank, which push their load to it."""

    proxy: Proxy
    prefill: RankProcess
    decode: RankProcess


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("layerwise")
    path = str(folder / "stats.sock")
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("PYTHONPATH", str(PLUGIN), prepend=":")
        options = ("--kv-connector", "mooncake_layerwise", "--strict", "--speed", "20", "--stat-socket", path)
        prefill, decode = (
            stack.enter_context(running_rank("--role", role, *options)) for role in ("prefill", "decode")
        )
        words = ["load_balance_proxy_layerwise_server_example.py", "--host", "127.0.0.1", "--workers", "2"]
        words += ["--prefiller-hosts", "127.0.0.1", "--prefiller-port", str(prefill.port)]
        words += ["--decoder-hosts", "127.0.0.1", "--decoder-port", str(decode.port), "--stat-socket", path]
        yield Site(stack.enter_context(proxy_running(folder, 0, *words)), prefill, decode)


async def test_pairs_serve_streams_and_whole_answers_through_any_worker(site: Site) -> None:
    answers = await ask(site.proxy.url, range(REQUESTS))
    assert all(answer.is_right for answer in answers)
    assert {answer.ranks for answer in answers} == {(f"127.0.0.1:{site.prefill.port}", f"127.0.0.1:{site.decode.port}")}
    calls = re.findall(r'metaserver_calls_total\{heard="(\w+)"\} (\S+)', site.proxy.http.get("/metrics").text)
    heard = {name: float(count) for name, count in calls}
    assert heard.pop("taken") == REQUESTS
    assert heard.keys() <= {"passed_on"}
    for rank in (site.prefill, site.decode):
        assert rank.get("/sim/misuse").json()["total"] == 0
    assert site.proxy.health() == {"status": "ok", "prefill_instances": 1, "decode_instances": 1}


def test_ranks_of_both_roles_are_known_by_what_they_push(site: Site) -> None:
    redis = re.search(r"redis-server on port (\d+)", site.proxy.said)
    assert redis, site.proxy.said

    def sources() -> dict[str, str]:
        shown = CliRunner().invoke(main, ["status", "--json", "--redis", f"redis://127.0.0.1:{redis[1]}/0"])
        return {rank["role"]: rank["source"] for rank in json.loads(shown.stdout)["ranks"]}

    assert site.proxy.complete().status_code == 200
    until_now(lambda: sources() == {"prefill": "push", "decode": "push"}, "both are known by their pushes")
