"""Several processes that learn one thing: shares of a batch, and what they tell each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")


class Workers:
    """The processes that a launcher started, or this one alone.

    Attributes:
        many: whether there are several.
        is_first: whether this one saves and publishes.
    """

    def __init__(self, accelerator: Any) -> None:
        """Ask the accelerator."""
        self._count: int = accelerator.num_processes
        self._rank: int = accelerator.process_index
        self._device: torch.device = accelerator.device
        self.many = self._count > 1
        self.is_first = self._rank == 0

    def share(self, draws: Sequence[T]) -> Sequence[T]:
        """This process's part of a batch; together they are the whole, in any number of processes."""
        return draws[self._rank :: self._count]

    def from_first(self, value: T) -> T:
        """What the first process holds, in every process."""
        if not self.many:
            return value
        held = [value]
        torch.distributed.broadcast_object_list(held, src=0)
        return held[0]

    def any(self, flag: bool) -> bool:  # noqa: FBT001 - the one thing it asks
        """Whether any process says so."""
        if not self.many:
            return flag
        said = torch.tensor(float(flag), device=self._device)
        torch.distributed.all_reduce(said)
        return bool(said > 0)

    def reduce(self, losses: Tensor, weights: Iterable[nn.Parameter]) -> Tensor:
        """Sum the losses (n,) to (1,), and all gradients in place; a process without draws adds zeros.

        One process alone gives the losses back as they are.
        """
        if not self.many:
            return losses
        learned = self._reached(weights)
        for weight in learned:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        grads = [_grad(weight) for weight in learned]
        whole = torch.cat([grad.flatten() for grad in grads])
        torch.distributed.all_reduce(whole)
        for grad, part in zip(grads, whole.split([g.numel() for g in grads]), strict=True):
            grad.copy_(part.view_as(grad))
        total = losses.to(torch.float64).sum(dim=0, keepdim=True)
        torch.distributed.all_reduce(total)
        return total

    def _reached(self, weights: Iterable[nn.Parameter]) -> list[nn.Parameter]:
        """The weights that some process has a gradient of; zeros for the others would let an idle expert decay."""
        every = list(weights)
        has = torch.tensor([float(weight.grad is not None) for weight in every])
        has = has.to(self._device)
        torch.distributed.all_reduce(has)
        return [weight for weight, count in zip(every, has.tolist(), strict=True) if count]


def _grad(weight: nn.Parameter) -> Tensor:
    assert weight.grad is not None
    return weight.grad
