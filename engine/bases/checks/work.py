"""How long the CPU would take: operations of a pass, counted without weights, by what it multiplies in a moment."""

from __future__ import annotations

import time
from dataclasses import dataclass

from engine.bases.catalog import BaseLocation

# Of the rate at which large matrices are multiplied networks reach about a half.
EFFICIENCY = 0.5
SIDE, MOMENT_S = 1024, 0.2


@dataclass(frozen=True, slots=True)
class Work:
    """So many forward ``passes`` of the denoiser over ``batch`` videos at once; a photo is a video of one frame.

    A backward pass through a frozen network counts as one, and as one and a half more where attention is most of it.
    """

    batch: int
    frames: int
    height_px: int
    width_px: int
    passes: float


def expect_cpu_seconds(base: BaseLocation, work: Work) -> float:
    """What the work would take on this machine's CPU, roughly.

    Raises:
        BaseInvalidError, OSError, ValueError, RuntimeError: the base's configs do not tell.
    """
    return work.passes * count_operations(base, work) / (EFFICIENCY * measure_rate())


# By a base's fingerprint and the size of a sample.
_counted: dict[tuple[object, ...], int] = {}


def count_operations(base: BaseLocation, work: Work) -> int:
    """Operations of one pass, two for a multiplication with an addition; counted once for each size of a sample."""
    size = (work.frames, work.height_px, work.width_px)
    key = (base.fingerprint, *size)
    if key not in _counted:
        _counted[key] = _count_sample(base, *size)
    return work.batch * _counted[key]


def _count_sample(base: BaseLocation, frames: int, height_px: int, width_px: int) -> int:
    """Operations of a pass of one sample, on the meta device."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from engine.bases import open_base
    from engine.bases.protocol import Text

    meta = torch.device("meta")
    hollow = open_base(base, device=meta, dtype=torch.float32)
    geometry = hollow.geometry
    latents = torch.empty(*hollow.latent_shape(frames, height_px, width_px), device=meta)
    text = torch.empty(1, geometry.text_length, geometry.text_width, device=meta)
    times = torch.zeros(1, dtype=torch.long, device=meta)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        hollow.denoise(latents, times, Text(text))
    return int(counter.get_total_flops())


def measure_rate() -> float:
    """Operations a second at which this machine's CPU multiplies matrices in fp32, now."""
    import torch

    one = torch.ones(SIDE, SIDE)
    torch.mm(one, one)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < MOMENT_S:
        torch.mm(one, one)
        count += 1
    return 2 * SIDE**3 * count / (time.perf_counter() - started)
