"""Devices and precisions: what is there is taken, what is not is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import engine.device
from engine.device import explain_memory, free_bytes, resolve_device, resolve_precision
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


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Linux that has 3 MiB to give, in a container without a limit."""
    (tmp_path / "meminfo").write_text("MemTotal: 8192 kB\nMemAvailable:    3072 kB\n")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1024\n")
    monkeypatch.setattr(engine.device, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(engine.device, "CGROUP", tmp_path)
    return tmp_path


def test_free_memory_is_what_the_system_calls_available(host: Path) -> None:
    assert free_bytes(CPU) == 3 << 20


def test_a_container_gives_what_its_limit_leaves(host: Path) -> None:
    (host / "memory.max").write_text("2048\n")
    assert free_bytes(CPU) == 1024


@pytest.mark.parametrize("text", ["", "MemAvailable:\n", "MemAvailable: much kB\n"])
def test_a_system_that_does_not_say_is_not_guessed_at(host: Path, text: str) -> None:
    (host / "memory.max").unlink()
    (host / "meminfo").write_text(text)
    assert free_bytes(CPU) is None
