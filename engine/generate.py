"""Making a video: a frozen base, any number of subjects and motions added to it, one sampling loop.

Paper: arXiv 2312.04433, sections 3.3 and 4.1.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.adapters.bank import Bank
from engine.adapters.composition import Composition
from engine.adapters.delta import Delta, build_bank, build_delta
from engine.adapters.file import Adapter
from engine.adapters.uses import AdapterUse, common_look, load_adapters
from engine.bases import BaseLocation, open_base, require_image_tower
from engine.bases.checks.limits import check_video
from engine.bases.pixels import to_pixels, to_unit
from engine.bases.protocol import Base, Text
from engine.device import (
    DTYPES,
    explain_memory,
    resolve_device,
    resolve_precision,
    use_threads,
)
from engine.diffusion.samplers import Guidance, count_halves, draw_start, sample
from engine.errors import DivergedError, IncompatibleError, RecipeError
from engine.guides.follow import follow
from engine.guides.inputs import Guides
from engine.guides.start import begin, mix_inverted, refine_noise
from engine.media.photos import Photo, frame_photo
from engine.progress import Progress, StageAdvanced, StageEnded, StageStarted, ignore
from engine.recipe import GenerateRecipe, Precision

# Of the largest base one takes 350 MB; a batch of many more adapters reads them again.
MOST_KEPT_BANKS = 12


class Generator:
    """A base with adapters attached, kept loaded for any number of videos.

    Attributes:
        composition: the adapters.
    """

    def __init__(
        self,
        *,
        location: BaseLocation,
        base: Base,
        device: torch.device,
        precision: Precision,
        composition: Composition,
        photo: str | None,
        guides: Guides,
        progress: Progress,
    ) -> None:
        """Use `open_generator`."""
        self._location = location
        self._base, self._device, self._precision = base, device, precision
        self.composition, self._photo, self._progress = composition, photo, progress
        self._guides = guides

    @torch.no_grad()
    def sample(self, recipe: GenerateRecipe, *, sliced: bool = False) -> NDArray[np.uint8]:
        """The video of ``recipe``: uint8 (f, h, w, 3). The same recipe gives the same bytes.

        Args:
            recipe: of the video.
            sliced: compute the halves of guidance one after the other and decode single frames: less memory, more
                time, and numbers that may differ in their last bits.

        Raises:
            RecipeError: a size or number of steps that the base cannot make, a prompt too long, or another photo or
                clip than the one that was given.
            MemoryExhaustedError: the device is too small.
            DivergedError: the latents are not finite.
        """
        check_video(self._location, recipe)
        self._check_photo(recipe)
        self._guides.check(recipe)
        use_threads(recipe.threads)
        with explain_memory("generating"):
            return self._sample(recipe, sliced=sliced)

    def settled(self, recipe: GenerateRecipe) -> GenerateRecipe:
        """``recipe`` with the precision and the threads that are used, nothing left "auto"."""
        return msgspec.structs.replace(
            recipe, precision=self._precision, threads=use_threads(recipe.threads)
        )

    def _check_photo(self, recipe: GenerateRecipe) -> None:
        if recipe.appearance_photo != self._photo:
            wanted, given = (
                f"the photo {digest[:12]}" if digest else "none"
                for digest in (recipe.appearance_photo, self._photo)
            )
            raise RecipeError(f"appearance_photo is {wanted}, and {given} was given")

    def _sample(self, recipe: GenerateRecipe, *, sliced: bool) -> NDArray[np.uint8]:
        started = time.monotonic()
        self._progress(StageStarted("generate", recipe.count_steps()))
        latents = self._sample_rounds(recipe, sliced=sliced)
        if not latents.isfinite().all():
            raise DivergedError(
                f"the video of seed {recipe.seed} is not finite",
                hint="--precision fp32 or bf16, or smaller weights",
            )
        pixels = to_pixels(self._base.decode_video(latents, sliced=sliced)[0])
        self._progress(StageEnded("generate", time.monotonic() - started))
        return pixels

    def _sample_rounds(self, recipe: GenerateRecipe, *, sliced: bool) -> Tensor:
        """The clean latents (1, c, f, h, w) of a video, after every round."""
        shape = self._base.latent_shape(recipe.frames, recipe.height_px, recipe.width_px)
        drawn = draw_start(shape, recipe.seed).to(self._device)
        self.composition.set_motions_alone()
        noise = mix_inverted(self._base, self._guides.inversion, recipe, drawn)
        text = self._encode_prompts(recipe)
        self._set_look(recipe)
        call = self._denoise_halves if sliced else self._base.denoise
        guidance = self._guidance(recipe)
        halves = count_halves(guidance)
        scheduler = self._base.samplers[recipe.sampler](recipe.steps, shift=recipe.shift)
        latents, first = begin(self._base, self._guides.source, recipe, noise, scheduler)
        with follow(self._base, self._guides, recipe, self.composition, halves) as self._followed:
            for again in range(recipe.refine + 1):
                if again:
                    scheduler = self._base.samplers[recipe.sampler](
                        recipe.steps, shift=recipe.shift
                    )
                    latents = refine_noise(self._base.path, latents, noise, recipe.seed, again)
                steps = sample(
                    lambda x, times: call(x, times, text),
                    scheduler,
                    latents,
                    guidance=guidance,
                    first=first,
                )
                for after in self._watch(steps, recipe, first, again):
                    latents = after
        return latents

    def _set_step(self, recipe: GenerateRecipe, step: int) -> None:
        self.composition.set_step(recipe, step)
        self._followed.set_step(step)

    def _guidance(self, recipe: GenerateRecipe) -> Guidance:
        """The scale of guidance, which differs between the experts of a base that has two."""
        boundary, low = self._location.limits.boundary, recipe.guidance_low
        if boundary is None or low is None or low == recipe.guidance:
            return recipe.guidance
        since = boundary * self._base.path.timesteps
        return lambda time: recipe.guidance if time >= since else low

    def _denoise_halves(self, latents: Tensor, times: Tensor, text: Text) -> Tensor:
        """`Base.denoise` of one sample after the other, each with its own part of every condition."""
        banks = self.composition.banks
        whole = [bank.condition for bank in banks]
        parts = []
        for k in range(len(latents)):
            for bank, condition in zip(banks, whole, strict=True):
                bank.condition = condition and condition.part(k)
            self._followed.set_halves([k])
            one = slice(k, k + 1)
            parts.append(self._base.denoise(latents[one], times[one], text.rows([k])))
        for bank, condition in zip(banks, whole, strict=True):
            bank.condition = condition
        return torch.cat(parts)

    def _watch(
        self, steps: Iterator[Tensor], recipe: GenerateRecipe, first: int, again: int
    ) -> Iterator[Tensor]:
        """Tell of every step from the ``first``, and set what the next one is made with before it is asked for."""
        self._set_step(recipe, first)
        for number, latents in enumerate(steps, first + 1):
            done = again * recipe.steps + number - first
            self._progress(StageAdvanced("generate", done, recipe.count_steps()))
            self._set_step(recipe, number)
            yield latents

    def _encode_prompts(self, recipe: GenerateRecipe) -> Text:
        """The prompts of both halves of guidance, the unconditional one first."""
        prompts = [recipe.negative, recipe.prompt][-count_halves(self._guidance(recipe)) :]
        plain = [self.composition.plain(prompt) for prompt in prompts]
        return self._base.encode_text(plain, self.composition.words(self._base))

    def _set_look(self, recipe: GenerateRecipe) -> None:
        """Give every motion the look in each half of guidance."""
        halves = range(2)[-count_halves(self._guidance(recipe)) :]
        self.composition.set_look(recipe, halves)


class LoadedBase:
    """A base in the device's memory, which one set of adapters after another is put on.

    What was read of an adapter's file is kept for the next video that wants it, of the newest few adapters.
    """

    def __init__(
        self,
        location: BaseLocation,
        *,
        precision: Precision = "auto",
        device: str = "auto",
        rank: int = 0,
        base: Base | None = None,
        progress: Progress = ignore,
    ) -> None:
        """Load the base, or take ``base``, which is; ``rank`` is this process's of those that share the machine.

        Raises:
            DeviceError: the device or the precision is not to be had.
            BaseInvalidError: the base cannot be loaded.
            MemoryExhaustedError: the device is too small.
        """
        self.location = location
        self.device = resolve_device(device, rank=rank)
        self.precision = resolve_precision(precision, self.device)
        self._progress = progress
        self._banks: dict[tuple[str, int], Bank] = {}
        with explain_memory("loading the base"):
            self._base = base or open_base(
                location, device=self.device, dtype=DTYPES[self.precision]
            )

    @contextmanager
    def equipped(
        self,
        adapters: Sequence[tuple[AdapterUse, Adapter]],
        photo: Photo | None = None,
        guides: Guides = Guides(),  # noqa: B008  (frozen)
    ) -> Iterator[Generator]:
        """Attach checked adapters; on leaving they are taken off again.

        Args:
            adapters: from `load_adapters`.
            photo: its look is told to the motions in place of the subjects' own.
            guides: photos and clips that its recipes name.

        Raises:
            IncompatibleError: an adapter's sites are not this base's, or its image tower is not what sees the photo.
            BaseInvalidError: there is a photo, and no image tower to see it.
            MemoryExhaustedError: the device is too small.
        """
        deltas = self._build(adapters)
        look = common_look(deltas, self.device) if photo is None else self._see(photo, adapters)
        with Composition(tuple(deltas), look).attached(self._base) as composition:
            yield Generator(
                location=self.location,
                base=self._base,
                device=self.device,
                precision=self.precision,
                composition=composition,
                photo=photo.digest if photo else None,
                guides=guides,
                progress=self._progress,
            )

    @torch.no_grad()
    def _see(self, photo: Photo, adapters: Sequence[tuple[AdapterUse, Adapter]]) -> Tensor:
        """The appearance vector (d,) of a photo, framed as the photos of a subject are."""
        require_image_tower(self.location)
        towers = {adapter.facts.image_tower for _, adapter in adapters} - {""}
        if towers - {self.location.tower_fingerprint}:
            raise IncompatibleError(
                f"{photo.path} would be seen by the image tower {self.location.tower_fingerprint[:12]}, and the"
                f" adapters were learned with {', '.join(sorted(tower[:12] for tower in towers))}",
                hint="--image-tower names the tower they were learned with",
            )
        geometry = self._base.geometry
        pixels, _, _ = frame_photo(photo, geometry.height_px, geometry.width_px)
        with explain_memory("looking at a photo"):
            return self._base.encode_image(to_unit(pixels)[None])[0].to(self.device)

    def _build(self, adapters: Sequence[tuple[AdapterUse, Adapter]]) -> list[Delta]:
        """What the adapters add; one that is used twice has layers of its own each time."""
        uses = Counter[str]()
        deltas = []
        for use, adapter in adapters:
            bank = self._bank_of(adapter, uses[adapter.digest])
            uses[adapter.digest] += 1
            delta = build_delta(adapter, self._base, weight=use.weight, bank=bank)
            word = None if delta.word is None else delta.word.to(self.device)
            deltas.append(replace(delta, word=word))
        return deltas

    def _bank_of(self, adapter: Adapter, number: int) -> Bank | None:
        """The adapter's layers on this device, known by what its file holds; the longest unused give way."""
        key = adapter.digest, number
        bank = self._banks.pop(key, None)
        if bank is None:
            bank = build_bank(adapter, self._base)
            if bank is None:
                return None
            bank.requires_grad_(requires_grad=False).to(self.device, DTYPES[self.precision])
        bank.condition = None
        self._banks[key] = bank
        if len(self._banks) > MOST_KEPT_BANKS:
            del self._banks[next(iter(self._banks))]
        return bank


@contextmanager
def open_generator(
    location: BaseLocation,
    uses: Sequence[AdapterUse],
    *,
    photo: Photo | None = None,
    guides: Guides = Guides(),  # noqa: B008  (frozen)
    precision: Precision = "auto",
    device: str = "auto",
    progress: Progress = ignore,
) -> Iterator[Generator]:
    """Open the base with the adapters attached; on leaving they are taken off again.

    Raises:
        IntegrityError, IncompatibleError: see `load_adapters`.
        DeviceError, BaseInvalidError, MemoryExhaustedError: see `LoadedBase`.
        IncompatibleError, BaseInvalidError: see `LoadedBase.equipped`.
    """
    adapters = load_adapters(uses, location)
    loaded = LoadedBase(location, precision=precision, device=device, progress=progress)
    with loaded.equipped(adapters, photo, guides) as generator:
        yield generator
