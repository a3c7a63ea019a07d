"""Numbers on their way between the CPU and a device, so that neither waits for the other."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor``, which lies on the CPU, on ``device``; on CUDA nobody waits for the work that is queued before it."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def read_later(tensor: Tensor) -> Callable[[], list[float]]:
    """The numbers of a tensor (n,), to be asked for later; on CUDA nobody waits then for what is queued after it."""
    if tensor.device.type != "cuda":
        return tensor.tolist
    copied = tensor.to("cpu", non_blocking=True)
    is_there = torch.cuda.Event()
    is_there.record(torch.cuda.current_stream(tensor.device))

    def read() -> list[float]:
        is_there.synchronize()
        found: list[float] = copied.tolist()
        return found

    return read
