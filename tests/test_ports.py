"""Test processes that run side by side are never given the same port."""

import json
import subprocess
import sys
from pathlib import Path

from tests.ports import PORTS, SHARES, free_ports, free_row

GIVEN = "import json; from tests.ports import free_ports, free_row; print(json.dumps([free_ports(200), free_row(50)]))"


def test_another_test_process_is_given_other_ports() -> None:
    ports, row = free_ports(200), free_row(50)
    root = Path(__file__).parents[1]
    other = subprocess.run([sys.executable, "-c", GIVEN], cwd=root, check=True, capture_output=True, timeout=60)
    other_ports, other_row = json.loads(other.stdout)
    assert not set(ports) & set(other_ports)
    assert not set(range(row, row + 50)) & set(range(other_row, other_row + 50))


def test_no_port_is_given_twice_before_all_others() -> None:
    ports = [port for _ in range(len(PORTS) // len(SHARES) // 10) for port in free_ports(5)]
    assert len(set(ports)) == len(ports)
    assert free_row(50) != free_row(50)
