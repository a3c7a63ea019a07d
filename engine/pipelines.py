"""Adapters on a pipeline of diffusers, which goes on sampling by itself: its own scheduler, prompts and callbacks.

The adapters' layers hang on the pipeline's denoiser, and its `encode_prompt` reads learned words; all of it ends with
the block.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import safe_open
from torch import Tensor, nn

from engine.adapters.composition import Composition
from engine.adapters.uses import AdapterUse, load_adapters
from engine.bases import FAMILIES, BaseLocation, open_base
from engine.bases.folder import weight_files
from engine.bases.protocol import Base
from engine.device import DTYPES
from engine.errors import DeviceError, IncompatibleError, RecipeError
from engine.generate import LoadedBase
from engine.media.photos import Photo
from engine.recipe import GenerateRecipe

# The numbers of a tensor that tell one base from another: the first of its first row.
COMPARED = 64
# Two roundings to bf16, which has 8 bits.
TOLERANCE = 2**-7
# Families whose pipelines call the denoiser once for each half of guidance, and not once for both.
CALL_TWICE = frozenset({"wan"})
DENOISERS = ("unet", "transformer", "transformer_2")
TABLES = ("token_embedding.weight", "shared.weight", "encoder.embed_tokens.weight")
# What peft puts into the names of a denoiser that LoRA is loaded into.
WRAPPED = ".base_layer."


@contextmanager
def equip_pipeline(
    pipeline: Any,
    location: BaseLocation,
    uses: Sequence[AdapterUse],
    recipe: GenerateRecipe,
    *,
    photo: Photo | None = None,
    read: Callable[[str], str] = lambda prompt: prompt,
) -> Iterator[Composition]:
    """Let adapters act in a pipeline until the block ends; then it is as it was, whatever happened.

    Args:
        pipeline: of diffusers, with a denoiser of one of `FAMILIES`, such as `WanPipeline`.
        location: the base that it was opened from.
        uses: the adapters; one of weight 0 changes nothing, and its word is read as its class word.
        recipe: its windows and strengths are those of the adapters; steps, guidance and the rest are the pipeline's.
        photo: its look is told to the motions in place of the subjects' own.
        read: what a prompt is read as.

    Raises:
        IntegrityError: an adapter's file is damaged.
        IncompatibleError: an adapter does not fit the base or another one, or the pipeline is of another base or has
            adapters already.
        DeviceError: the pipeline computes in numbers that adapters cannot have.
        BaseInvalidError: there is a photo, and no image tower to see it.
        MemoryExhaustedError: the device is too small.
    """
    adapters = load_adapters(uses, location)
    parts = _take_parts(pipeline, location)
    _require_same(parts, location)
    device, dtype = torch.device(pipeline._execution_device), parts[location.family.part].dtype  # noqa: SLF001
    precision = next((name for name, its in DTYPES.items() if its == dtype), None)
    if precision is None:
        raise DeviceError(f"the pipeline computes in {dtype}", hint=f"one of: {', '.join(DTYPES)}")
    base = open_base(location, device=device, dtype=dtype, parts=parts)
    loaded = LoadedBase(location, precision=precision, device=str(device), base=base)
    with loaded.equipped(adapters, photo) as generator:
        if generator.composition.reference is not None:
            raise IncompatibleError(
                "a subject that was learned by the method reference reads photos, which a pipeline cannot show it",
                hint="dv gen shows them; subjects of other methods can be attached",
            )
        hooks = _Hooks(pipeline, base, generator.composition, recipe=recipe, read=read, dtype=dtype)
        with hooks.installed([part for name, part in parts.items() if name in DENOISERS]):
            yield generator.composition


def _take_parts(pipeline: Any, location: BaseLocation) -> dict[str, Any]:
    """The loaded parts of a pipeline that a base of this family is made of."""
    family = location.family
    denoiser = getattr(pipeline, family.part, None)
    found = FAMILIES.get(type(denoiser).__name__)
    if found is None or found.name != family.name:
        wanted = next(name for name, each in FAMILIES.items() if each.name == family.name)
        raise IncompatibleError(
            f"the pipeline's {family.part} is {_article(type(denoiser).__name__)}, and that of {location.id} is"
            f" {_article(wanted)}",
            hint="a pipeline of the base that the adapters were learned on, not compiled yet",
            code="base.mismatch",
        )
    if isinstance(getattr(pipeline.encode_prompt, "__self__", None), _Hooks):
        raise IncompatibleError(
            "the pipeline has adapters attached already", hint="name all of them in one attach"
        )
    names = (*DENOISERS, "text_encoder", "tokenizer")
    parts = {name: getattr(pipeline, name, None) for name in names}
    return {name: part for name, part in parts.items() if part is not None}


def _article(name: str) -> str:
    return "missing" if name == "NoneType" else f"a {name}"


def _require_same(parts: dict[str, Any], location: BaseLocation) -> None:
    """See that denoisers and token table hold the base's numbers; LoRA beside their layers does no harm."""
    beside = [location.motion_module] if location.motion_module else []
    denoisers = [name for name in DENOISERS if (location.folder / name).is_dir()]
    for name in denoisers:
        if name not in parts:
            raise _other_base(f"it has no {name}", location)
        own = {key.replace(WRAPPED, "."): t for key, t in parts[name].state_dict().items()}
        for folder in (location.folder / name, *beside):
            for key, theirs in _read_tensors(folder):
                _compare(f"{name}'s {key}", own.get(key), theirs, location)
    table = parts["text_encoder"].get_input_embeddings().weight
    for key, theirs in _read_tensors(location.folder / "text_encoder"):
        if key.endswith(TABLES):  # words of the user's own may stand behind the base's
            rows = table[: theirs.get_shape()[0]]
            _compare("text_encoder's token table", rows, theirs, location)


def _read_tensors(folder: Path) -> Iterator[tuple[str, Any]]:
    """Every tensor of a part by its name, unread."""
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as stream:
            yield from ((name, stream.get_slice(name)) for name in stream.keys())  # noqa: SIM118


def _compare(what: str, mine: Tensor | None, theirs: Any, location: BaseLocation) -> None:
    shape = tuple(theirs.get_shape())
    if mine is None or tuple(mine.shape) != shape:
        found = "missing" if mine is None else f"{tuple(mine.shape)}"
        raise _other_base(f"its {what} is {found}, and the base's {shape}", location)
    if mine.is_meta or not shape:
        return
    right = theirs[:1].flatten()[:COMPARED].to(torch.float32)
    given = mine[:1].detach().flatten()[:COMPARED].to("cpu", torch.float32)
    tolerance = 0.0 if mine.dtype == torch.float32 else TOLERANCE
    if not torch.allclose(given, right, rtol=tolerance, atol=tolerance * 1e-3):
        raise _other_base(f"its {what} holds other numbers", location)


def _other_base(what: str, location: BaseLocation) -> IncompatibleError:
    return IncompatibleError(
        f"the pipeline is not of {location.id} ({location.fingerprint[:12]}), on which the adapters were learned:"
        f" {what}",
        hint=f"open it from {location.folder}; what was fused into it must come out again",
        code="base.mismatch",
    )


class _Hooks:
    """What is put on a pipeline: prompts are read with learned words, and the adapters told step and half."""

    def __init__(
        self,
        pipeline: Any,
        base: Base,
        composition: Composition,
        *,
        recipe: GenerateRecipe,
        read: Callable[[str], str],
        dtype: torch.dtype,
    ) -> None:
        self._pipeline, self._base, self._composition = pipeline, base, composition
        self._recipe, self._read, self._dtype = recipe, read, dtype
        self._words = composition.words(base)
        self._own_encode = pipeline.encode_prompt
        self._calls_twice = base.family in CALL_TWICE
        self._has_halves, self._negative = False, None

    @contextmanager
    def installed(self, denoisers: Sequence[nn.Module]) -> Iterator[None]:
        """Take the place of the pipeline's `encode_prompt`, and watch its denoisers, until the block ends."""
        former = vars(self._pipeline).get("encode_prompt")
        with ExitStack() as stack:
            # The pipeline reads most prompts by itself, so they stay at its tower.
            readers, self._base.readers = self._base.readers, []
            stack.callback(setattr, self._base, "readers", readers)
            for reader in readers:
                assert self._base.text_tower is not None
                stack.enter_context(reader.attached(self._base.text_tower))
            for denoiser in denoisers:
                handle = denoiser.register_forward_pre_hook(self._prepare, with_kwargs=True)
                stack.callback(handle.remove)
            self._pipeline.encode_prompt = self.encode_prompt
            try:
                yield
            finally:
                del self._pipeline.encode_prompt
                if former is not None:
                    self._pipeline.encode_prompt = former

    @torch.no_grad()
    def encode_prompt(self, *inputs: Any, **named: Any) -> Any:
        """As the pipeline's own, which still reads every prompt without a learned word."""
        bound = inspect.signature(self._own_encode).bind(*inputs, **named)
        bound.apply_defaults()
        given = bound.arguments
        if given["prompt"] is not None:
            given["prompt"] = _each(self._read, given["prompt"])
        for name in ("prompt", "negative_prompt"):
            self._encode(name, given)
        embeds = self._own_encode(*bound.args, **bound.kwargs)
        self._has_halves = bool(given["do_classifier_free_guidance"])
        if self._calls_twice:
            # What the pipeline is about to do, so that it gives its denoiser the very tensor kept here.
            embeds = tuple(each if each is None else each.to(self._dtype) for each in embeds)
        self._negative = embeds[1]
        return embeds

    def _encode(self, name: str, given: dict[str, Any]) -> None:
        """Read a prompt that has learned words; its features go in the place of its text."""
        if given[name] is None or given[f"{name}_embeds"] is not None:
            return
        given[name] = _each(self._composition.plain, given[name])
        prompts = [given[name]] if isinstance(given[name], str) else given[name]
        if not any(token in prompt for token in self._words for prompt in prompts):
            return
        if given.get("clip_skip") is not None:
            raise RecipeError(
                "clip_skip is set, and learned words are read to the end of the tower"
            )
        features = self._base.encode_text(prompts, self._words).features
        if self._calls_twice:  # the other pipelines repeat what they are given
            features = features.repeat_interleave(given["num_videos_per_prompt"], dim=0)
            features = features[:, : given["max_sequence_length"]]
        given[f"{name}_embeds"] = features

    def _prepare(self, _module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Before each forward pass: whose turn it is, and what look each sample's half is told."""
        values = [*inputs, *named.values()]
        latents, time = values[0], named.get("timestep", inputs[1] if len(inputs) > 1 else None)
        times = torch.as_tensor(self._pipeline.scheduler.timesteps)
        now = torch.as_tensor(time).flatten()[0].to(times)
        recipe = msgspec.structs.replace(self._recipe, steps=len(times))
        self._composition.set_step(recipe, int((times - now).abs().argmin()))
        self._composition.set_halves(recipe, self._halves(len(latents), named))

    def _halves(self, count: int, named: dict[str, Any]) -> list[int]:
        """The half of guidance of each of ``count`` samples."""
        if self._calls_twice:
            is_negative = named["encoder_hidden_states"] is self._negative
            return [0 if self._has_halves and is_negative else 1] * count
        return [0] * (count // 2) + [1] * (count // 2) if self._has_halves else [1] * count


def _each(change: Callable[[str], str], prompt: str | Sequence[str]) -> str | list[str]:
    """One prompt or several, changed."""
    return change(prompt) if isinstance(prompt, str) else [change(each) for each in prompt]
