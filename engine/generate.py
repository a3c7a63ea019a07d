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
from engine.bases.accelerators import Accelerator
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
from engine.diffusion.samplers import Guidance, draw_start, sample
from engine.errors import IncompatibleError, RecipeError
from engine.formats.accelerating import fold_in
from engine.guides.denoiser import GuidedDenoiser
from engine.guides.follow import follow
from engine.guides.inputs import Guides
from engine.guides.prompts import PromptCache
from engine.guides.start import begin, mix_inverted, refine_noise
from engine.guides.structure import StructureGuide
from engine.guides.together import check_finite, check_together
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
        prompts: PromptCache,
        accelerator: str | None,
        progress: Progress,
    ) -> None:
        """Use `open_generator`."""
        self._location = location
        self._base, self._device, self._precision = base, device, precision
        self.composition, self._photo, self._progress = composition, photo, progress
        self._guides = guides
        self._prompts = prompts
        self._accelerator = accelerator
        self._opened: dict[GenerateRecipe, StructureGuide] = {}

    def sample(self, recipe: GenerateRecipe, *, sliced: bool = False) -> NDArray[np.uint8]:
        """The video of ``recipe``: uint8 (f, h, w, 3). The same recipe gives the same bytes.

        Args:
            recipe: of the video.
            sliced: compute the halves of guidance one after the other and decode single frames: less memory, more
                time, and numbers that may differ in their last bits.

        Raises:
            RecipeError, MemoryExhaustedError, DivergedError: see `sample_together`.
        """
        (video,) = self.sample_together([recipe], sliced=sliced)
        return video

    @torch.no_grad()
    def sample_together(
        self, recipes: Sequence[GenerateRecipe], *, sliced: bool = False
    ) -> list[NDArray[np.uint8]]:
        """Videos that share each call of the network, in order: uint8 (f, h, w, 3).

        Args:
            recipes: one a video, at most ``batch`` of them; where they are fewer the last is made again beside them,
                so that the bits are those of a full batch.
            sliced: see `sample`.

        Raises:
            RecipeError: a size or number of steps that the base cannot make, a prompt too long, another photo or
                clip than the one that was given, or recipes that cannot share a call.
            MemoryExhaustedError: the device is too small.
            DivergedError: the latents are not finite.
        """
        first = recipes[0]
        check_video(self._location, first)
        check_together(recipes)
        self._check_files(first)
        self._guides.check(first)
        use_threads(first.threads)
        full = [*recipes, *[recipes[-1]] * (first.batch - len(recipes))]
        sliced = sliced or first.memory == "low"
        with explain_memory("generating"):
            return self._sample(full, sliced=sliced)[: len(recipes)]

    def settled(self, recipe: GenerateRecipe) -> GenerateRecipe:
        """``recipe`` with the precision and the threads that are used, nothing left "auto"."""
        return msgspec.structs.replace(
            recipe, precision=self._precision, threads=use_threads(recipe.threads)
        )

    def _check_files(self, recipe: GenerateRecipe) -> None:
        """Whether the photo and the accelerator that the recipe names are those that were given."""
        for name, what, given in (
            ("appearance_photo", "the photo", self._photo),
            ("accelerator", "the accelerator", self._accelerator),
        ):
            asked = getattr(recipe, name)
            if asked != given:
                wanted, found = (f"{what} {d[:12]}" if d else "none" for d in (asked, given))
                raise RecipeError(f"{name} is {wanted}, and {found} was given")

    def _sample(
        self, recipes: Sequence[GenerateRecipe], *, sliced: bool
    ) -> list[NDArray[np.uint8]]:
        started = time.monotonic()
        self._progress(StageStarted("generate", recipes[0].count_steps()))
        latents = self._sample_rounds(recipes, sliced=sliced)
        check_finite(latents, recipes)
        pixels = [
            to_pixels(self._base.decode_video(each, sliced=sliced)[0]) for each in latents.split(1)
        ]
        self._progress(StageEnded("generate", time.monotonic() - started))
        return pixels

    def _sample_rounds(self, recipes: Sequence[GenerateRecipe], *, sliced: bool) -> Tensor:
        """The clean latents (b, c, f, h, w) of videos, after every round."""
        recipe, base = recipes[0], self._base
        shape = base.latent_shape(recipe.frames, recipe.height_px, recipe.width_px)
        drawn = torch.cat([draw_start(shape, each.seed) for each in recipes]).to(self._device)
        with self.composition.motions_alone():
            noise = mix_inverted(base, self._guides.inversion, recipe, drawn)
        text = self._encode_prompts(recipes)
        if recipe.memory == "low":
            base.release_towers(all_idle=True)
        scheduler = base.samplers[recipe.sampler](recipe.steps, shift=recipe.shift)
        latents, first = begin(base, self._guides.source, recipe, noise, scheduler)
        following = follow(
            *(base, self._guides, recipe, self.composition),
            halves=len(text) // len(recipes),
            opened=self._opened,
        )
        with following as self._followed:
            denoise = GuidedDenoiser(
                base, self.composition, self._followed, recipe, text, one_by_one=sliced
            )
            for again in range(recipe.refine + 1):
                if again:
                    scheduler = base.samplers[recipe.sampler](recipe.steps, shift=recipe.shift)
                    latents = refine_noise(base.path, latents, noise, recipe.seed, again)
                guidance = self._guidance(recipe)
                steps = sample(denoise, scheduler, latents, guidance=guidance, first=first)
                for after in self._watch(steps, recipe, first, again):
                    latents = after
        return latents

    def _set_step(self, recipe: GenerateRecipe, step: int) -> None:
        self.composition.set_step(recipe, step)
        self._followed.set_step(step)

    def _guidance(self, recipe: GenerateRecipe) -> Guidance:
        """The scale of guidance in each step; it differs between the experts of a base that has two."""
        boundary, low = self._location.limits.boundary, recipe.guidance_low
        since = 0.0 if boundary is None else boundary * self._base.path.timesteps

        def scale(step: int, time: float) -> float:
            if step not in recipe.guided_steps:
                return 1.0
            return recipe.guidance if low is None or time >= since else low

        return scale

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

    def _encode_prompts(self, recipes: Sequence[GenerateRecipe]) -> Text:
        """The prompts of all videos, the unconditional half of guidance first where there is one."""
        prompts = [
            [recipe.negative, recipe.prompt] if recipe.guided_steps else [recipe.prompt]
            for recipe in recipes
        ]
        plain = [[self.composition.plain(prompt) for prompt in each] for each in prompts]
        return self._prompts.read(plain, self.composition.words(self._base))


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
        accelerator: Accelerator | None = None,
        progress: Progress = ignore,
    ) -> None:
        """Load the base, or take ``base``, which is; ``rank`` is this process's of those that share the machine.

        Raises:
            IntegrityError, IncompatibleError: of the ``accelerator``; see `fold_in`.
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
            if accelerator is not None:
                fold_in(self._base, location, accelerator.file)
        self.accelerator = accelerator
        self._prompts = PromptCache(self._base)

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
                prompts=self._prompts,
                accelerator=self.accelerator.digest if self.accelerator else None,
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
        bank.condition = bank.shares = None
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
