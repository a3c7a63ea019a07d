"""What to do when a step runs out of memory: each measure makes it cheaper in memory, and none changes its draws."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch

from engine.bases.protocol import Base
from engine.blocks import recompute_blocks
from engine.errors import MemoryExhaustedError


class MemoryFallback:
    """The measures that a run can still take, from the one that costs least time to the one that costs most.

    Attributes:
        checkpointing: whether blocks are computed again in the backward pass.
    """

    def __init__(
        self,
        base: Base | None = None,
        *,
        checkpointing: bool = False,
        need: Callable[[], str] | None = None,
    ) -> None:
        """Start with nothing done; without a ``base`` only batches can be made smaller.

        ``need`` says how much memory would be enough, for the error when nothing is left to do.
        """
        self.checkpointing = checkpointing or base is None
        self._base = base
        self._need = need

    def next(self, batch: int, accumulate: int) -> tuple[str, int] | None:
        """Take the next measure: its description for people, and into how many parts a batch is split from now on.

        None when no measure is left.
        """
        collect()
        if not self.checkpointing:
            self.recompute()
            return "blocks are computed again in the backward pass instead of kept", accumulate
        finer = next((n for n in range(accumulate + 1, batch + 1) if batch % n == 0), None)
        if finer is not None:
            return f"a batch of {batch} is computed in {finer} parts", finer
        return None

    def exhausted(self, failure: MemoryExhaustedError) -> MemoryExhaustedError:
        """The error when no measure is left; it says how much memory would be enough."""
        told = self._need() if self._need else ""
        need = f"; {told}" if told else ""
        return MemoryExhaustedError(
            f"{failure.message}, with everything done that needs less{need}",
            hint="a device with more memory, --precision bf16, or a smaller --frames or --size",
        )

    def recompute(self) -> None:
        """Recompute the blocks in the backward pass from now on."""
        if not self.checkpointing and self._base is not None:
            recompute_blocks(self._base)
        self.checkpointing = True


def collect() -> None:
    """Free what a failed step has left behind."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
