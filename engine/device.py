"""Where and in what precision to compute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from engine.errors import DeviceError, MemoryExhaustedError
from engine.hardware import missing, refuse_fp16
from engine.recipe import Precision

DTYPES: Mapping[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


MEMINFO = Path("/proc/meminfo")
CGROUP, CGROUP_FILES = Path("/sys/fs/cgroup"), ("memory.max", "memory.current")
# How the allocators of CUDA, mps, Linux and Windows say it where the class of the error does not.
NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def resolve_device(name: str, *, rank: int = 0) -> torch.device:
    """The device called ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Args:
        name: of the device.
        rank: of this process among those that share the machine: ``auto`` gives each a CUDA device of its own.

    Raises:
        DeviceError: it is not here.
    """
    if name == "auto":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        name = f"cuda:{rank % count}" if rank and count else "cuda" if count else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(
            f"no device is called {name!r}", hint="auto, cpu, cuda, cuda:N or mps"
        ) from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise missing(name, f"{torch.cuda.device_count()} CUDA devices are visible")
    if device.type == "cuda" and ":" not in name:
        return torch.device("cuda", torch.cuda.current_device())
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise missing(name, "torch does not see it")
    return device


def maker_name(device: torch.device) -> str:
    """What its maker calls a CUDA device; "" of any other."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""


def resolve_precision(precision: Precision, device: torch.device) -> Precision:
    """``auto`` becomes bf16 where the device computes it natively, else fp32.

    Raises:
        DeviceError: the device does not compute in the precision asked for.
    """
    if precision == "auto":
        native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if native else "fp32"
    if precision == "fp16" and device.type == "cpu":
        raise refuse_fp16()
    return precision


def use_threads(threads: int) -> int:
    """Compute with ``threads`` CPU threads, 0 leaving torch's choice; returns the number in use."""
    if threads:
        torch.set_num_threads(threads)
    return torch.get_num_threads()


def free_bytes(device: torch.device) -> int | None:
    """Memory that a device could still give this process; None where the system does not say."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return _free_on_host()


def _free_on_host() -> int | None:
    """What Linux calls available, and at most what a container has left."""
    try:
        lines = MEMINFO.read_text("ascii").splitlines()
        found = [int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):
        return None
    with suppress(OSError, ValueError):  # no container, or one without a limit
        limit, used = (int((CGROUP / name).read_text("ascii")) for name in CGROUP_FILES)
        found.append(limit - used)
    return min(found, default=None)


@contextmanager
def explain_memory(doing: str) -> Iterator[None]:
    """Turn a device's out-of-memory while ``doing`` something into one clear error.

    Raises:
        MemoryExhaustedError: in its place.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        told = str(error).lower()
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and not any(
            words in told for words in NO_MEMORY
        ):
            raise
        raise MemoryExhaustedError(
            f"out of memory while {doing}",
            hint="smaller: --frames, --batch or --size; or --precision bf16",
        ) from error
