"""How much device memory learning needs, measured on the meta device: nothing is loaded and nothing computed.

``python -m engine.training.memory`` writes the table that is shipped for the bundled base.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from engine.adapters.bank import Bank, Condition, bottleneck_bank
from engine.bases import BaseLocation, locate_base, open_base
from engine.bases.protocol import Base, Role, Text
from engine.training.footprint import (
    BYTES_A_LEARNED_NUMBER,
    NARROW,
    OUTSIDE,
    SHIPPED,
    Footprint,
    Kept,
    MemoryNeed,
    Sizes,
    Slopes,
    key_of,
    write_table,
)

# Width of a CLIP ViT-H vector, the widest in use; it only sizes the bank's conditions.
IMAGE_WIDTH = 1024
ROLES: tuple[Role, ...] = ("identity", "motion")


def measure_footprint(location: BaseLocation, role: Role, width_ratio: float) -> Footprint:
    """What learning bottlenecks of this role keeps: three sizes tell the three slopes of every block."""
    base = open_base(location, device=torch.device("meta"), dtype=torch.float32)
    step, video = location.limits.frame_step, location.card.video
    shapes = ((1 + step, 1), (1 + 2 * step, 1), (1 + step, 2))
    sizes = [Sizes(1, frames, tall * video.height_px, video.width_px) for frames, tall in shapes]
    measured = [_measure(base, role, each, IMAGE_WIDTH, width_ratio) for each in sizes]
    matrix = torch.tensor([each.features for each in sizes], dtype=torch.float64).inverse()

    def solve(sizes_bytes: list[int]) -> Slopes:
        pixels, frames, samples = (matrix @ torch.tensor(sizes_bytes, dtype=torch.float64)).tolist()
        return round(pixels, 3), round(frames, 3), round(samples, 3)

    bank, kept = measured[0]
    return Footprint(
        weights=sum(p.numel() for p in base.denoiser.parameters()),
        learned=sum(p.numel() for p in bank.parameters()),
        blocks={
            name: Kept(
                saved=solve([each[name].saved for _, each in measured]),
                inputs=solve([each[name].inputs for _, each in measured]),
            )
            for name in kept
        },
    )


def estimate_base(
    base: Base,
    role: Role,
    sizes: Sizes,
    *,
    image_width: int,
    checkpointing: bool,
    width_ratio: float = 0.5,
) -> MemoryNeed:
    """What learning a bank on this frozen base needs; it may lie on the meta device."""
    bank, kept = _measure(base, role, sizes, image_width, width_ratio)
    inner = [kept[name] for name in kept if name != OUTSIDE]
    if checkpointing:
        inputs = sum(found.inputs for found in inner)
        peak = max(found.saved for found in inner)
        activations = kept[OUTSIDE].saved + inputs + peak
    else:
        activations = sum(found.saved for found in kept.values())
    learned = sum(p.numel() for p in bank.parameters())
    return MemoryNeed(
        base=sum(p.numel() * p.element_size() for p in base.denoiser.parameters()),
        adapter=learned * BYTES_A_LEARNED_NUMBER,
        activations=activations,
    )


@dataclass(slots=True)
class _Bytes:
    """Bytes of one block: what its backward pass needs, and what enters it."""

    saved: int = 0
    inputs: int = 0


def _measure(
    base: Base, role: Role, sizes: Sizes, image_width: int, width_ratio: float
) -> tuple[Bank, dict[str, _Bytes]]:
    """Run the denoiser once with fresh bottlenecks and see what autograd keeps, block by block."""
    weight, geometry = next(base.denoiser.parameters()), base.geometry
    condition_width = image_width if role == "motion" else None
    bank = bottleneck_bank(base.sites(role), width_ratio, condition_width)
    bank.to(weight.device, weight.dtype)
    like: dict[str, Any] = {"device": weight.device, "dtype": weight.dtype}
    _, *shape = base.latent_shape(sizes.frames, sizes.height_px, sizes.width_px)
    latents = torch.zeros(sizes.batch, *shape, **like)
    text = Text(torch.zeros(sizes.batch, geometry.text_length, geometry.text_width, **like))
    bank.condition = Condition(torch.zeros(sizes.batch, image_width, **like))
    times = torch.zeros(sizes.batch, device=weight.device, dtype=torch.long)
    ledger = _Ledger({_cell(p) for p in (*base.denoiser.parameters(), *bank.parameters())})
    attention = _FusedAttention() if weight.is_meta else nullcontext()
    with bank.attached(base.denoiser), ledger.watching(base), attention, torch.enable_grad():
        base.denoise(latents, times, text)
    return bank, ledger.kept


class _FusedAttention(TorchFunctionMode):
    """Attention that keeps what fused kernels keep; the meta device would keep all scores as well."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.nn.functional.scaled_dot_product_attention:
            named = kwargs or {}
            rest = [named[name] for name in ("query", "key", "value")[len(args) :]]
            kept: Tensor = _Fused.apply(*args[:3], *rest)  # type: ignore[no-untyped-call]
            return kept
        return func(*args, **(kwargs or {}))


class _Fused(torch.autograd.Function):
    """Keeps query, key, value and output, as a fused kernel does for its backward pass."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, out)
        return out

    @staticmethod
    def backward(_ctx: Any, *_gradients: Tensor) -> Any:
        raise NotImplementedError("an estimate has no backward pass")


class _Ledger:
    """Counts each tensor that autograd keeps once, under the block in which it was kept first."""

    def __init__(self, known: set[int]) -> None:
        self.kept: dict[str, _Bytes] = {OUTSIDE: _Bytes()}
        self._known = known
        self._alive: list[Tensor] = []
        self._block = OUTSIDE

    @contextmanager
    def watching(self, base: Base) -> Iterator[None]:
        """Count what is kept while the block of code runs."""
        with ExitStack() as stack:
            for name, block in base.blocks().items():
                stack.callback(
                    block.register_forward_pre_hook(self._enter(name), with_kwargs=True).remove
                )
                stack.callback(block.register_forward_hook(self._leave).remove)
            stack.enter_context(torch.autograd.graph.saved_tensors_hooks(self._pack, lambda t: t))
            yield

    def _enter(self, name: str) -> Any:
        def enter(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            self._block = name
            entering = _tensors((*inputs, *named.values()))
            self.kept[name] = _Bytes(inputs=sum(_size_bytes(t) for t in entering))

        return enter

    def _leave(self, *_: Any) -> None:
        self._block = OUTSIDE

    def _pack(self, tensor: Tensor) -> Tensor:
        cell = _cell(tensor)
        if cell not in self._known:
            self._known.add(cell)
            self._alive.append(tensor)
            self.kept[self._block].saved += tensor.untyped_storage().nbytes()
        return tensor


def _tensors(values: tuple[Any, ...]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple):
            yield from _tensors(value)


def _size_bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _cell(tensor: Tensor) -> int:
    """Identity of the memory behind a tensor, also where there is none."""
    cell: int = tensor.untyped_storage()._cdata  # noqa: SLF001
    return cell


if __name__ == "__main__":
    bundled = locate_base("mini")
    write_table(
        SHIPPED,
        {
            key_of(bundled, role, ratio): measure_footprint(bundled, role, ratio)
            for role in ROLES
            for ratio in (0.5, NARROW)
        },
    )
