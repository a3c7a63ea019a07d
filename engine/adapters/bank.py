"""A bank: one small trained layer for each site of a denoiser, attached by hooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from engine.adapters.bottleneck import FULL_RANK, Bottleneck, FullRank, LowRank
from engine.bases.protocol import Base, Role, Site

# What the names of sites in the text tower begin with.
READER = "text_encoder"


@dataclass(frozen=True, slots=True)
class Condition:
    """Appearance for one forward pass: ``features`` (b, d) and ``strength`` λ, one number or (b,)."""

    features: Tensor
    strength: Tensor | float = 1.0


class Bank(nn.Module):
    """The layers of one adapter, and what they are run with.

    Attributes:
        sites: where they sit, in the order of the forward pass.
        reader: layers of the same adapter for the text tower, or None.
        bottlenecks: a layer for each site; its ``delta(x, c, strength)`` is what it adds.
        stored: in which its file keeps the weights.
        weight: the adapter's strength; its deltas are multiplied by it. At 0 they are not computed at all.
        shares: of that strength for each sample of the coming forward pass, (b,), or None for all of it.
        condition: appearance for the coming forward pass, or None. It must stay until the backward pass is done,
            because checkpointed blocks run again then.
    """

    def __init__(
        self,
        sites: Sequence[Site],
        layers: Iterable[nn.Module],
        *,
        stored: torch.dtype = torch.float32,
        reader: Bank | None = None,
    ) -> None:
        """Hold a layer for each site of `Base.sites`."""
        super().__init__()
        self.sites = tuple(sites)
        self.bottlenecks = nn.ModuleList(layers)
        self.stored = stored
        self.reader = reader
        self.weight = 1.0
        self.shares: Tensor | None = None
        self.condition: Condition | None = None

    @contextmanager
    def muted(self) -> Iterator[Bank]:
        """While open, the denoiser is as if nothing were attached, bit for bit."""
        weight, self.weight = self.weight, 0.0
        try:
            yield self
        finally:
            self.weight = weight

    @contextmanager
    def unshared(self) -> Iterator[None]:
        """While open, it acts in full on every sample, as in a call that is not of guidance's halves."""
        shares, self.shares = self.shares, None
        try:
            yield
        finally:
            self.shares = shares

    @contextmanager
    def attached(self, denoiser: nn.Module) -> Iterator[Bank]:
        """Hook every layer to its site of ``denoiser`` until the block ends."""
        handles = [
            handle
            for site, layer in zip(self.sites, self.bottlenecks, strict=True)
            for handle in _hook(self, denoiser, site, layer)
        ]
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def tensors(self) -> dict[str, Tensor]:
        """Every weight by the name of its site: ``<site>.down.weight`` and so on."""
        own = {
            f"{site.name}.{name}": tensor.detach().to(self.stored)
            for site, layer in zip(self.sites, self.bottlenecks, strict=True)
            for name, tensor in layer.state_dict().items()
        }
        return own if self.reader is None else own | self.reader.tensors()

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the weights as `tensors` gives them; names and shapes must match exactly."""
        for site, layer in zip(self.sites, self.bottlenecks, strict=True):
            mark = f"{site.name}."
            own = {
                name.removeprefix(mark): tensor
                for name, tensor in tensors.items()
                if name.startswith(mark)
            }
            layer.load_state_dict(own)
        if self.reader is not None:
            self.reader.load_tensors(tensors)


def bottleneck_bank(
    sites: Sequence[Site], width_ratio: float = 0.5, condition_width: int | None = None
) -> Bank:
    """Fresh bottlenecks, which leave the denoiser's output unchanged, bit for bit.

    Args:
        sites: from `Base.sites`.
        width_ratio: hidden width over the stream's, at least one unit wide.
        condition_width: width of the appearance vector, or None for a bank without condition.
    """
    return Bank(
        sites,
        (
            Bottleneck(
                site.width,
                max(1, round(site.width * width_ratio)),
                condition_width,
                look_at=site.look_at,
            )
            for site in sites
        ),
    )


def fresh_bank(
    sites: Sequence[Site], width_ratio: float, condition_width: int | None = None, *, seed: int
) -> Bank:
    """A `bottleneck_bank` whose random starting weights depend on ``seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return bottleneck_bank(sites, width_ratio, condition_width)


def low_rank_bank(
    network: nn.Module,
    sites: Sequence[Site],
    rank: int | Sequence[int],
    *,
    seed: int = 0,
    layer_type: type[LowRank] = LowRank,
) -> Bank:
    """Fresh low-rank layers beside layers of a network, drawn from ``seed`` alone.

    Args:
        network: the denoiser, with sites of `linear_sites`, or the text tower, with those of `reader_sites`.
        sites: each a linear layer or a convolution of single pixels.
        rank: of all, or of each.
        seed: of the weights.
        layer_type: their class.
    """
    ranks = [rank] * len(sites) if isinstance(rank, int) else rank
    widths = [layer_widths(network.get_submodule(site.write)) for site in sites]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Bank(
            sites,
            (
                layer_type(each[0], each[1], own, axis=each[2])
                for each, own in zip(filter(None, widths), ranks, strict=True)
            ),
        )


def layer_widths(layer: nn.Module | None) -> tuple[int, int, int] | None:
    """Widths of what a layer reads and gives, and the axis along which both lie; None where it takes no low rank."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features, -1
    if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.groups == 1:
        return layer.in_channels, layer.out_channels, 1
    return None


def full_rank_bank(base: Base, sites: Sequence[Site]) -> Bank:
    """Fresh `FullRank` layers beside layers of the denoiser; a file keeps them in half precision, as bases are kept."""
    layers = (FullRank(base.denoiser.get_submodule(site.write)) for site in sites)
    return Bank(sites, layers, stored=torch.float16)


def weight_sites(base: Base, *, temporal: bool = True) -> tuple[Site, ...]:
    """Every linear layer and convolution of the denoiser; without ``temporal`` those that look at single frames."""
    found = (
        (path, layer)
        for path, layer in base.denoiser.named_modules()
        if isinstance(layer, FULL_RANK) and (temporal or not base.is_temporal(path))
    )
    return tuple(Site(path, path, path, layer.weight.shape[1]) for path, layer in found)


def linear_sites(base: Base, role: Role, names: Sequence[str]) -> tuple[Site, ...]:
    """The linear layers whose path ends in one of ``names``, in the transformer blocks of a role.

    A role's blocks are those in which `Base.sites` of the role lie.
    """
    blocks = tuple(dict.fromkeys(f"{site.write.rpartition('.')[0]}." for site in base.sites(role)))
    return tuple(
        Site(path, path, path, layer.in_features)
        for path, layer in base.denoiser.named_modules()
        if isinstance(layer, nn.Linear)
        and path.startswith(blocks)
        and path.endswith(tuple(f".{name}" for name in names))
    )


def reader_sites(base: Base) -> tuple[Site, ...]:
    """Every linear layer of the text tower; none where no adapter acts in it.

    A site's name is ``text_encoder.`` and the layer's path without the tower's own first name, which not every version
    of the library has.
    """
    tower = base.text_tower
    return tuple(
        Site(f"{READER}.{path.removeprefix('text_model.')}", path, path, layer.in_features)
        for path, layer in (() if tower is None else tower.named_modules())
        if isinstance(layer, nn.Linear)
    )


def _hook(
    bank: Bank, denoiser: nn.Module, site: Site, layer: nn.Module
) -> tuple[RemovableHandle, RemovableHandle]:
    """Two hooks: one keeps the stream as it enters the read module, one adds the delta to what the write module gives.

    They are objects, not closures, so that a deep copy of the denoiser has hooks of its own.
    """
    write = denoiser.get_submodule(site.write)
    dtype = next((p.dtype for p in write.parameters() if p.is_floating_point()), None)
    read = _Read()
    return (
        denoiser.get_submodule(site.read).register_forward_pre_hook(read, with_kwargs=True),
        write.register_forward_hook(_Write(bank, layer, read, dtype)),
    )


class _Read:
    """Keeps the stream that enters a module."""

    def __init__(self) -> None:
        self.x: Tensor | None = None

    def __call__(
        self, _module: nn.Module, inputs: tuple[Any, ...], named: Mapping[str, Any]
    ) -> None:
        found = inputs or named.values()
        self.x = next(value for value in found if isinstance(value, Tensor))


class _Write:
    """Adds a layer's delta to what a module gives: a tensor, or a tuple whose first entry is the stream.

    The delta is computed in the module's own ``dtype``, whatever the dtype of the stream.
    """

    def __init__(
        self, bank: Bank, layer: nn.Module, read: _Read, dtype: torch.dtype | None
    ) -> None:
        self._bank, self._layer, self._read, self._dtype = bank, layer, read, dtype

    def __call__(self, _module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> Any:
        x, self._read.x = self._read.x, None
        if self._bank.weight == 0.0:
            return output
        assert x is not None
        if isinstance(output, tuple):
            return (self._add(x, output[0]), *output[1:])
        return self._add(x, output)

    def _add(self, x: Tensor, output: Tensor) -> Tensor:
        bank, layer = self._bank, self._layer
        assert isinstance(layer, Bottleneck | LowRank | FullRank)
        x = x if self._dtype is None else x.to(self._dtype)
        if bank.condition is None:
            delta = layer.delta(x)
        else:
            delta = layer.delta(x, bank.condition.features, bank.condition.strength)
        weighted = delta if bank.weight == 1.0 else delta * bank.weight
        if bank.shares is not None:
            rows = bank.shares.repeat_interleave(delta.shape[0] // len(bank.shares))
            weighted = weighted * rows.to(delta).reshape(-1, *[1] * (delta.ndim - 1))
        return output + weighted.to(output.dtype)
