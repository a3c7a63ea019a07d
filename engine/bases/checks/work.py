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


def count_operations(base: BaseLocation, work: Work) -> int:
    """Operations of one pass on the meta device, two for a multiplication with an addition."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from engine.bases import open_base
    from engine.bases.protocol import Text

    meta = torch.device("meta")
    hollow = open_base(base, device=meta, dtype=torch.float32)
    geometry = hollow.geometry
    _, *shape = hollow.latent_shape(work.frames, work.height_px, work.width_px)
    latents = torch.empty(work.batch, *shape, device=meta)
    text = torch.empty(work.batch, geometry.text_length, geometry.text_width, device=meta)
    times = torch.zeros(work.batch, dtype=torch.long, device=meta)
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
