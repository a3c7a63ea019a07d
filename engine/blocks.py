"""A denoiser's blocks while it learns: computed again in the backward pass, or compiled.

Both act only where gradients are wanted: previews and probes are made by the blocks as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from engine.bases.protocol import Base
from engine.errors import DeviceError
from engine.progress import Note, Progress, ignore

BACKEND = "inductor"
# Steps that are clocked before blocks are compiled and since, each after one that warms up.
CLOCKED = 5
# What is expected before anything is known: seconds until all are compiled, and the share of a step that it saves.
WARM_UP_S, SHARE = 120.0, 0.25


def recompute_blocks(base: Base) -> None:
    """Compute the denoiser's blocks again in the backward pass instead of keeping their activations.

    diffusers' own switch raises for some denoisers. Calling this again changes nothing.
    """
    for block in base.blocks().values():
        if not isinstance(block.forward, _Recomputed):
            block.forward = _Recomputed(block.forward)


def compile_blocks(base: Base) -> Callable[[], None]:
    """Compile the denoiser's blocks, each when it is first used; returns what makes them as they were.

    Of what is computed again the pass itself is compiled.
    """
    blocks = list(base.blocks().values())
    # A compiled pass belongs to the code of a class: every block of one class may need a pass of its own.
    config: Any = torch._dynamo.config  # noqa: SLF001
    config.recompile_limit = max(config.recompile_limit, 4 * len(blocks))
    for block in blocks:
        if isinstance(block.forward, _Recomputed):
            block.forward = _Recomputed(_Compiled(block.forward.inner))
        else:
            block.forward = _Compiled(block.forward)

    def restore() -> None:
        for block in blocks:
            own: Any = block.forward
            if isinstance(own, _Recomputed) and isinstance(own.inner, _Compiled):
                own.inner = own.inner.inner
            elif isinstance(own, _Compiled):
                block.forward = own.inner

    return restore


class _Recomputed:
    """A block's forward pass that keeps its inputs alone where gradients are wanted."""

    def __init__(self, inner: Callable[..., Any]) -> None:
        self.inner = inner

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return self.inner(*inputs, **named)
        return checkpoint(self.inner, *inputs, use_reentrant=False, **named)


class _Compiled:
    """A block's forward pass that is compiled where gradients are wanted; for the shapes it meets, and no others."""

    def __init__(self, inner: Callable[..., Any]) -> None:
        self.inner = inner
        self._compiled = torch.compile(inner, backend=BACKEND, dynamic=False)

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        return (self._compiled if torch.is_grad_enabled() else self.inner)(*inputs, **named)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Compiled:
        return _Compiled(copy.deepcopy(self.inner, memo))


class Compiler:
    """Compiles a base's blocks for one stage where that pays back, which its own clock tells.

    The first steps of a stage are clocked as they are, whatever is wanted, so that what was gained can be told.

    Attributes:
        is_on: whether blocks are compiled now; a save holds it, so that a stage goes on by the same kernels.
    """

    def __init__(
        self,
        base: Base | None = None,
        *,
        wanted: bool | None = False,
        progress: Progress = ignore,
    ) -> None:
        """Compile the blocks of ``base`` as ``wanted``; None: if as many steps are left as pay for it."""
        self.is_on = False
        self._base, self._wanted, self._progress = base, wanted, progress
        self._restore: Callable[[], None] = lambda: None
        self._clocked: list[float] = []
        self._usual_s: float | None = None
        self._is_judged = wanted is False

    def before_step(self, left: int) -> bool:
        """Compile from this step on where it is time to, so many steps being ``left``; whether that is so."""
        if self._is_judged or self.is_on or len(self._clocked) <= CLOCKED:
            return False
        self._usual_s = median(self._clocked[1:])
        self._is_judged = self._wanted is None and left * self._usual_s * SHARE < WARM_UP_S
        if not self._is_judged:
            self._progress(Note("compiling the base's blocks: the next step takes a while"))
            self.start()
        return self.is_on

    def start(self) -> None:
        """Compile from the next step on."""
        if self._base is None:
            return
        self._restore = compile_blocks(self._base)
        self.is_on = True
        self._clocked = []

    def after_step(self, seconds: float) -> None:
        """Clock a step; once enough were compiled, say what that brought, and take back what brought nothing."""
        if self._is_judged:
            return
        self._clocked.append(seconds)
        if not self.is_on or self._usual_s is None or len(self._clocked) <= CLOCKED:
            return
        self._is_judged = True
        now_s, usual_s = median(self._clocked[1:]), self._usual_s
        told = f"compiled in {self._clocked[0]:.0f} s: a step takes {now_s:.3g} s in place of {usual_s:.3g} s"
        if now_s < usual_s:
            steps = self._clocked[0] / (usual_s - now_s)
            self._progress(Note(f"{told}, paid back after {steps:.0f} steps"))
        elif self._wanted is None:
            self.close()
            self._progress(Note(f"{told}: compiled no more"))
        else:
            self._progress(Note(told))

    def is_to_blame(self, error: Exception) -> bool:
        """Whether a step failed because its blocks were to be compiled."""
        return self.is_on and isinstance(error, torch._dynamo.exc.TorchDynamoException)  # noqa: SLF001

    def give_up(self, error: Exception) -> None:
        """Go on without, because the blocks cannot be compiled here.

        Raises:
            DeviceError: they must be.
        """
        self.close()
        self._is_judged = True
        reason = " ".join(str(error).split())[:200]
        if self._wanted:
            raise DeviceError(
                f"the base's blocks cannot be compiled here: {reason}", hint="--compile off"
            ) from error
        self._progress(
            Note(f"the base's blocks cannot be compiled here, so they are not: {reason}")
        )

    def close(self) -> None:
        """Leave the blocks as they were."""
        if self.is_on:
            self._restore()
        self.is_on = False
