"""A bank: one bottleneck for each site of a denoiser, attached by hooks."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from engine.adapters.bottleneck import Bottleneck
from engine.bases.protocol import Site

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Condition:
    """Appearance for one forward pass: ``features`` (b, d) and ``strength`` λ, one number or (b,)."""

    features: Tensor
    strength: Tensor | float = 1.0

    def part(self, number: int) -> Condition:
        """The same for one sample of the batch."""
        one = slice(number, number + 1)
        strength = self.strength
        if isinstance(strength, Tensor) and strength.ndim:
            strength = strength[one]
        return Condition(self.features[one], strength)


def fresh_bank(
    sites: Sequence[Site], width_ratio: float, condition_width: int | None = None, *, seed: int
) -> Bank:
    """A bank whose random starting weights depend on ``seed`` alone; arguments as for `Bank`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Bank(sites, width_ratio, condition_width)


class Bank(nn.Module):
    """The bottlenecks of one adapter.

    Attributes:
        sites: where they sit, in the order of the forward pass.
        weight: the adapter's strength; its deltas are multiplied by it. At 0 they are not computed at all.
        condition: appearance for the coming forward pass, or None. It must stay until the backward pass is done,
            because checkpointed blocks run again then. Threads that share the bank have one each.
    """

    def __init__(
        self, sites: Sequence[Site], width_ratio: float = 0.5, condition_width: int | None = None
    ) -> None:
        """Build fresh bottlenecks, which leave the denoiser's output unchanged, bit for bit.

        Args:
            sites: from `Base.sites`.
            width_ratio: hidden width over the stream's, at least one unit wide.
            condition_width: width of the appearance vector, or None for a bank without condition.
        """
        super().__init__()
        self.sites = tuple(sites)
        self.bottlenecks = nn.ModuleList(
            Bottleneck(site.width, max(1, round(site.width * width_ratio)), condition_width)
            for site in self.sites
        )
        self.weight = 1.0
        self._condition = _OfThread[Condition]()

    @property
    def condition(self) -> Condition | None:
        """This thread's; a thread that has set none, as the one that runs a GPU's backward pass, has the last set."""
        return self._condition.value

    @condition.setter
    def condition(self, condition: Condition | None) -> None:
        self._condition.value = condition

    @contextmanager
    def muted(self) -> Iterator[Bank]:
        """While open, the denoiser is as if nothing were attached, bit for bit."""
        weight, self.weight = self.weight, 0.0
        try:
            yield self
        finally:
            self.weight = weight

    @contextmanager
    def attached(self, denoiser: nn.Module) -> Iterator[Bank]:
        """Hook every bottleneck to its site of ``denoiser`` until the block ends."""
        handles = [
            handle
            for site, bottleneck in zip(self.sites, self.bottlenecks, strict=True)
            for handle in self._hook(denoiser, site, bottleneck)
        ]
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def tensors(self) -> dict[str, Tensor]:
        """Every weight by the name of its site: ``<site>.down.weight`` and so on."""
        return {
            f"{site.name}.{name}": tensor.detach()
            for site, bottleneck in zip(self.sites, self.bottlenecks, strict=True)
            for name, tensor in bottleneck.state_dict().items()
        }

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take the weights as `tensors` gives them; names and shapes must match exactly."""
        for site, bottleneck in zip(self.sites, self.bottlenecks, strict=True):
            mark = f"{site.name}."
            own = {
                name.removeprefix(mark): tensor
                for name, tensor in tensors.items()
                if name.startswith(mark)
            }
            bottleneck.load_state_dict(own)

    def _hook(
        self, denoiser: nn.Module, site: Site, bottleneck: nn.Module
    ) -> tuple[RemovableHandle, RemovableHandle]:
        """Two hooks: one keeps the stream as it enters the read module, one adds the delta."""
        stream = threading.local()

        def read(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            stream.x = inputs[0]

        def write(_module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> Tensor:
            x: Tensor = stream.x
            del stream.x
            if self.weight == 0.0:
                return output
            return output + self._delta(bottleneck, x).to(output.dtype)

        return (
            denoiser.get_submodule(site.read).register_forward_pre_hook(read),
            denoiser.get_submodule(site.write).register_forward_hook(write),
        )

    def _delta(self, bottleneck: nn.Module, x: Tensor) -> Tensor:
        """The weighted delta of one site for the stream ``x``."""
        assert isinstance(bottleneck, Bottleneck)
        if self.condition is None:
            delta = bottleneck.delta(x)
        else:
            delta = bottleneck.delta(x, self.condition.features, self.condition.strength)
        return delta if self.weight == 1.0 else delta * self.weight


class _OfThread(Generic[T]):
    """A value that every thread has its own of."""

    def __init__(self) -> None:
        self._own = threading.local()
        self._last: T | None = None

    @property
    def value(self) -> T | None:
        found: T | None = getattr(self._own, "value", self._last)
        return found

    @value.setter
    def value(self, value: T | None) -> None:
        self._own.value = self._last = value
