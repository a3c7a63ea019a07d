"""Random draws, each with a key of its own, so that a run repeats and goes on without any state of generators."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def keyed_generator(seed: int, step: int, sample: int, what: str) -> torch.Generator:
    """A CPU generator for one draw of one sample of one step.

    Because every draw has its own key, a run that is split into micro-batches draws the same numbers by construction.

    Args:
        seed: the recipe's.
        step: optimiser update, from 0.
        sample: place in the update's batch, from 0.
        what: name of the draw, such as ``noise``.
    """
    key = f"{seed}/{step}/{sample}/{what}".encode()
    number = int.from_bytes(hashlib.blake2b(key, digest_size=4).digest(), "little")
    return torch.Generator().manual_seed(number)


def draw_order(seed: int, position: int, count: int) -> int:
    """Index of the sample at ``position`` of an endless stream that shuffles ``count`` samples anew each round."""
    epoch, place = divmod(position, count)
    order = torch.randperm(count, generator=keyed_generator(seed, epoch, 0, "order"))
    return int(order[place])


def draw_noise(shape: tuple[int, ...], seed: int, step: int, sample: int) -> Tensor:
    """Standard normal noise of ``shape`` in fp32 on the CPU."""
    return torch.randn(shape, generator=keyed_generator(seed, step, sample, "noise"))


def draw_frame(count: int, seed: int, step: int, sample: int) -> int:
    """One of ``count`` frames, uniform."""
    generator = keyed_generator(seed, step, sample, "frame")
    return int(torch.randint(count, (), generator=generator))


def draw_chance(probability: float, seed: int, step: int, sample: int, what: str) -> bool:
    """True with ``probability``."""
    generator = keyed_generator(seed, step, sample, what)
    return bool(torch.rand((), generator=generator, dtype=torch.float64) < probability)
