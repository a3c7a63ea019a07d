"""Photos and clips as the base sees them, encoded once a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.bases.pixels import masks_at, to_unit
from engine.bases.protocol import Base
from engine.cache import Cache
from engine.errors import InputError
from engine.media.clips.reader import Clip, frame_clip
from engine.media.files import printable, shown
from engine.media.photos import PhotoSet, frame_photo
from engine.media.photos.views import views_of
from engine.progress import Note, Progress, StageAdvanced, StageEnded, StageStarted


@dataclass(frozen=True, slots=True)
class EncodedPhotos:
    """A subject's photos, n, each in v views.

    Attributes:
        latents: (n·v, c, f, h, w), videos of f equal frames, the views of a photo side by side.
        masks: (n·v, 1, 1, h, w) in [0, 1] at the latents' size, or None.
        appearance: (n, d) of the photos as they are, or None where the base has no image tower.
        names: of each view's file.
    """

    latents: Tensor
    masks: Tensor | None
    appearance: Tensor | None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EncodedClip:
    """A motion's clip: ``latents`` (c, f, h, w), the ``appearance`` of each frame, (f, d) or None, its file."""

    latents: Tensor
    appearance: Tensor | None = None
    name: str = ""


def encode_photos(
    base: Base,
    photos: PhotoSet,
    progress: Progress,
    cache: Cache | None = None,
    *,
    views: int = 1,
    frames: int = 1,
    seed: int = 0,
) -> EncodedPhotos:
    """Frame every photo for the base and encode its views, alone: its numbers depend on no other photo.

    Each view stands still for so many latent ``frames``.

    Raises:
        InputError: a mask vanishes at the latents' size.
    """
    size = base.geometry.height_px, base.geometry.width_px
    started = time.monotonic()
    progress(StageStarted("encode photos", len(photos.photos)))
    framed = [frame_photo(photo, *size) for photo in photos.photos]
    for photo, (_, _, note) in zip(photos.photos, framed, strict=True):
        if note:
            progress(Note(f"{photo.name}: {note}"))
    latents, looks, kept = [], [], []
    for number, (pixels, mask, _) in enumerate(framed, 1):
        for view, part in views_of(pixels, mask, views, seed + number):
            video = to_unit(view)[None, :, None]
            latents.append(_get(cache, "latents", view, partial(base.encode_video, video)))
            kept.append(part)
        if base.geometry.image_width:
            image = to_unit(pixels)[None]
            looks.append(_get(cache, "appearance", pixels, partial(base.encode_image, image)))
        progress(StageAdvanced("encode photos", number, len(framed)))
    if cache:
        cache.prune()
    seen = torch.cat(latents)
    masks = masks_at(seen.shape[-2:], kept, seen.device)
    paths = [photo.path for photo in photos.photos for _ in range(views)]
    refuse_vanished(paths, masks)
    progress(StageEnded("encode photos", time.monotonic() - started))
    names = tuple(printable(path.name) for path in paths)
    seen = seen.expand(-1, -1, frames, -1, -1)
    return EncodedPhotos(seen, masks, torch.cat(looks) if looks else None, names)


def _get(
    cache: Cache | None, what: str, pixels: NDArray[np.uint8], compute: Callable[[], Tensor]
) -> Tensor:
    return cache.get(what, pixels, compute) if cache else compute()


def refuse_vanished(paths: Sequence[Path], masks: Tensor | None) -> None:
    """A mask may become nothing at the size of the latents; then there is nothing to learn from.

    Raises:
        InputError: naming the photo.
    """
    if masks is None:
        return
    for path, area in zip(paths, masks.flatten(1).sum(dim=1).tolist(), strict=True):
        if area == 0.0:
            raise InputError(
                f"{shown(path)}: its mask is too small to be seen by this base",
                hint="crop the photo around the subject",
            )


def encode_clips(
    base: Base,
    clips: Sequence[Clip],
    progress: Progress,
    cache: Cache | None = None,
    *,
    with_looks: bool = True,
) -> tuple[EncodedClip, ...]:
    """Frame every clip for the base and encode all its frames, and with them how they look.

    Raises:
        BaseInvalidError: looks are wanted, and the base has no image tower.
    """
    size = base.geometry.height_px, base.geometry.width_px
    started = time.monotonic()
    progress(StageStarted("encode clips", len(clips)))
    encoded = []
    for number, clip in enumerate(clips, 1):
        pixels = frame_clip(clip, *size)
        pixels = _whole_steps(base, clip, pixels, progress)
        frames = to_unit(pixels)
        video = frames.transpose(0, 1)[None]
        latents = _get(cache, "latents", pixels, partial(base.encode_video, video))[0]
        look = partial(base.encode_image, frames)
        looks = _get(cache, "appearance", pixels, look) if with_looks else None
        encoded.append(EncodedClip(latents, looks, printable(clip.path.name)))
        progress(StageAdvanced("encode clips", number, len(clips)))
    if cache:
        cache.prune()
    progress(StageEnded("encode clips", time.monotonic() - started))
    return tuple(encoded)


def _whole_steps(
    base: Base, clip: Clip, pixels: NDArray[np.uint8], progress: Progress
) -> NDArray[np.uint8]:
    """The first frames of a clip, (f, h, w, 3), of which the base takes one and then so many at a time."""
    step, count = base.geometry.frame_step, len(pixels)
    fits = 1 + (count - 1) // step * step
    if fits < count:
        name = printable(clip.path.name)
        progress(Note(f"{name}: the base takes {step}·k + 1 frames: {fits} of {count} are used"))
    return pixels[:fits]
