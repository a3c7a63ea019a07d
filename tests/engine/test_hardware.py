"""A device that is not here is refused without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from engine import hardware
from engine.device import resolve_device
from engine.errors import DeviceError


@pytest.mark.parametrize("name", ["cpu", "auto", "cuda", "cuda:0", "cuda:99", "mps"])
def test_it_agrees_with_torch(name: str) -> None:
    def is_here(check) -> bool:
        try:
            check(name)
        except DeviceError:
            return False
        return True

    assert is_here(hardware.require_device) == is_here(resolve_device)


def test_it_knows_what_torch_was_built_for() -> None:
    built = {"cuda": torch.version.cuda, "hip": torch.version.hip}
    assert hardware._built_for() == {kind for kind, version in built.items() if version}


@pytest.mark.parametrize(("name", "is_here"), [("cuda", True), ("cuda:1", True), ("cuda:2", False)])
def test_devices_are_counted_from_zero(
    name: str, is_here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "_built_for", lambda: {"cuda"})
    monkeypatch.setattr(hardware, "_count_cuda", lambda: 2)
    if is_here:
        hardware.require_device(name)
    else:
        with pytest.raises(DeviceError, match="cuda:2 is not here: 2 CUDA devices are visible"):
            hardware.require_device(name)


def test_torch_stays_out() -> None:
    code = "import sys, engine.hardware as h; h._built_for(); h._count_cuda(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_learning_and_videos_tell_one_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    for has_gpu in (True, False):
        monkeypatch.setattr(hardware, "has_gpu", lambda has_gpu=has_gpu: has_gpu)
        assert hardware.expect_precision("auto", "auto") == ("bf16" if has_gpu else "fp32")
        assert hardware.expect_precision("auto", "cuda:1") == "bf16"
        assert hardware.expect_precision("auto", "cpu") == "fp32"
        assert hardware.expect_precision("fp16", "cuda") == "fp16"
    assert hardware.describe_precision("auto", "cpu") == "fp32"
    assert hardware.describe_precision("auto", "cuda").startswith("bf16; what is learned, losses,")
