"""Devices and precisions: what is there is taken, what is not is refused by name."""

from __future__ import annotations

import pytest
import torch

from engine.device import explain_memory, resolve_device, resolve_precision
from engine.errors import DeviceError, MemoryExhaustedError

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["tpu", "cuda:99", "cuda:x"])
def test_a_device_that_is_not_here_is_named(name: str) -> None:
    with pytest.raises(DeviceError, match=name):
        resolve_device(name)


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_auto_is_fp32_on_the_cpu(precision: str) -> None:
    assert resolve_precision(precision, CPU) == "fp32"


@pytest.mark.parametrize(
    "told",
    [
        "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory",
        "MPS backend out of memory (MPS allocated: 17 GB)",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes",
    ],
)
def test_every_allocators_refusal_is_one_error(told: str) -> None:
    with pytest.raises(MemoryExhaustedError, match="while learning"), explain_memory("learning"):
        raise RuntimeError(told)


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"), explain_memory("learning"):
        raise RuntimeError("shapes differ")
