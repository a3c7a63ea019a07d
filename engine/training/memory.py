"""How much device memory learning needs, worked out on the meta device before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from engine.adapters.bank import Bank, Condition, bottleneck_bank
from engine.bases import BaseLocation, open_base
from engine.bases.folder import weight_files
from engine.bases.protocol import Base, Role, Text
from engine.device import DTYPES, resolve_device, resolve_precision
from engine.recipe import LearnRecipe, MotionRecipe, Precision

# AdamW keeps two moments beside the weight and its gradient, all in fp32.
BYTES_A_LEARNED_NUMBER = 16
OUTSIDE = "outside"
# Words and low-rank layers take hardly any memory beside the base's activations.
NARROW = 0.01
# Width of a CLIP ViT-H vector, the widest in use; it only sizes the bank's conditions.
IMAGE_WIDTH = 1024


@dataclass(frozen=True, slots=True)
class Sizes:
    """A batch of ``batch`` videos of ``frames`` frames of ``height_px`` × ``width_px``."""

    batch: int
    frames: int
    height_px: int
    width_px: int


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes on the device while the denoiser learns, after the towers have given theirs back.

    Attributes:
        base: weights of the denoiser, and of the text tower where a word is learned through it.
        adapter: weights, gradients and moments of the bank.
        activations: what is kept for the backward pass at its peak.
    """

    base: int
    adapter: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.base + self.adapter + self.activations


def estimate_learning(
    location: BaseLocation,
    role: Role,
    sizes: Sizes,
    *,
    precision: Precision,
    checkpointing: bool,
    width_ratio: float = 0.5,
) -> MemoryNeed:
    """What learning a bank of this role needs; nothing is loaded and nothing computed.

    Mixed precision keeps some normalisations in fp32; the estimate counts everything in ``precision``.
    """
    base = open_base(location, device=torch.device("meta"), dtype=DTYPES[precision])
    files = weight_files(location.folder / "text_encoder") if role == "identity" else ()
    tower = sum(path.stat().st_size for path in files)
    need = estimate_base(
        base,
        role,
        sizes,
        image_width=IMAGE_WIDTH,
        checkpointing=checkpointing,
        width_ratio=width_ratio,
    )
    return MemoryNeed(need.base + tower, need.adapter, need.activations)


def estimate_recipe(location: BaseLocation, recipe: LearnRecipe, device: str) -> MemoryNeed:
    """What learning by ``recipe`` needs on ``device``, one part of a batch at a time.

    Raises:
        DeviceError: the device or the precision is not to be had.
    """
    video = location.card.video
    has_clips = isinstance(recipe, MotionRecipe) or getattr(recipe, "clip_draws", 0) > 0
    sizes = Sizes(
        batch=recipe.batch // recipe.accumulate,
        frames=getattr(recipe, "frames", 1) if has_clips else 1,
        height_px=video.height_px,
        width_px=video.width_px,
    )
    return estimate_learning(
        location,
        "motion" if has_clips else "identity",
        sizes,
        precision=resolve_precision(recipe.precision, resolve_device(device)),
        checkpointing=recipe.checkpointing,
        width_ratio=getattr(recipe, "width_ratio", NARROW),
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
    weight = next(base.denoiser.parameters())
    condition_width = image_width if role == "motion" else None
    bank = bottleneck_bank(base.sites(role), width_ratio, condition_width)
    bank.to(weight.device, weight.dtype)
    kept = _activations(base, bank, sizes, image_width)
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
class _Kept:
    """Bytes of one block: what its backward pass needs, and what enters it."""

    saved: int = 0
    inputs: int = 0


def _activations(base: Base, bank: Bank, sizes: Sizes, image_width: int) -> dict[str, _Kept]:
    """Run the denoiser once and see what autograd keeps, block by block."""
    weight, geometry = next(base.denoiser.parameters()), base.geometry
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
    return ledger.kept


class _FusedAttention(TorchFunctionMode):
    """Attention that keeps what fused kernels keep; the meta device would keep all scores as well."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.nn.functional.scaled_dot_product_attention:
            kept: Tensor = _Fused.apply(*args[:3])  # type: ignore[no-untyped-call]
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
        self.kept: dict[str, _Kept] = {OUTSIDE: _Kept()}
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
            self.kept[name] = _Kept(inputs=sum(_size_bytes(t) for t in entering))

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
