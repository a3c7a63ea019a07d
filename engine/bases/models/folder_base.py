"""What all families share: parts that are loaded from one folder when they are first used, and given back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from engine.bases.catalog import BaseLocation
from engine.bases.families import read_scheduler
from engine.bases.models.image_tower import ImageTower
from engine.bases.models.parts import Loader, load_part, projection_width
from engine.bases.protocol import Attachable, Geometry, Placement, Site, Text
from engine.diffusion.samplers import MakeScheduler


class FolderBase:
    """The part of a `Base` that does not depend on its family."""

    family: str
    # make_path, make_samplers, make_inverter: what a scheduler's config means
    make_path: ClassVar[Any]
    make_samplers: ClassVar[Any]
    make_inverter: ClassVar[Any]
    # library and class of every part, or what loads it, by its folder's name
    models: ClassVar[Mapping[str, str | Loader]]
    # the cached properties that hold parts which can be given back
    towers: ClassVar[tuple[str, ...]] = ("_vae", "_image_tower")

    def __init__(
        self,
        location: BaseLocation,
        *,
        device: torch.device,
        dtype: torch.dtype,
        parts: Mapping[str, Any] = {},
    ) -> None:
        """Load the denoiser; see `engine.bases.open_base`.

        Raises:
            BaseInvalidError: a part is missing or cannot be loaded.
        """
        self.location, self.fingerprint = location, location.fingerprint
        self.device, self.dtype = device, dtype
        self._parts, self._limits = parts, location.limits
        self.readers: list[Attachable] = []
        scheduler = {**read_scheduler(location.folder), **location.family.trained_with}
        self.path = self.make_path(scheduler, self._limits)
        self.samplers: Mapping[str, MakeScheduler] = self.make_samplers(scheduler)
        self.inverter: MakeScheduler = self.make_inverter(scheduler)
        self.denoiser: nn.Module = self._load_denoiser()
        self.geometry = self._measure()

    @property
    def text_tower(self) -> nn.Module | None:
        """See `Base.text_tower`; none where what it reads is kept on the disk, whatever the adapters."""
        return None

    def latent_shape(self, frames: int, height_px: int, width_px: int) -> tuple[int, ...]:
        """See `Base.latent_shape`: one latent frame for the first, then one for every step of frames."""
        limits, scale = self._limits, self._limits.latent_scale
        count = 1 + (frames - 1) // limits.frame_step
        return (1, self.geometry.latent_channels, count, height_px // scale, width_px // scale)

    def encode_image(self, images: Tensor) -> Tensor:
        """See `Base.encode_image`."""
        return self._image_tower.encode(images)

    def denoise(self, latents: Tensor, times: Tensor, text: Text) -> Tensor:
        """See `Base.denoise`."""
        prediction: Tensor = self.denoiser(
            latents.to(self.dtype),
            times.to(self.device),
            text.features.to(self.dtype),
            return_dict=False,
        )[0]
        return prediction

    def release_towers(self, *, all_idle: bool = False) -> None:  # noqa: ARG002 - all of it is in use
        """See `Base.release_towers`."""
        for tower in self.towers:
            self.__dict__.pop(tower, None)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _place(
        self,
        blocks: Iterable[tuple[str, int]],
        parts: Sequence[tuple[str, str]],
        placement: Placement,
        look_at: Literal["stream", "hidden"] = "stream",
    ) -> tuple[Site, ...]:
        """Sites at the (read, write) ``parts`` of each block, or at whole blocks, given by path and width."""
        if placement == "blocks":
            return tuple(Site(path, path, path, width, look_at) for path, width in blocks)
        return tuple(
            Site(f"{path}.{write}", f"{path}.{read}", f"{path}.{write}", width, look_at)
            for path, width in blocks
            for read, write in parts
        )

    def _load_denoiser(self) -> nn.Module:
        """The family's network."""
        raise NotImplementedError

    def _measure(self) -> Geometry:
        """Its sizes."""
        raise NotImplementedError

    def _geometry(self, *, latent_channels: int, text_length: int, text_width: int) -> Geometry:
        """Its sizes; those of its videos are on its card."""
        card, tower = self.location.card.video, self.location.image_tower
        return Geometry(
            frames=card.frames,
            fps=card.fps,
            height_px=card.height_px,
            width_px=card.width_px,
            latent_channels=latent_channels,
            latent_scale=self._limits.latent_scale,
            text_length=text_length,
            text_width=text_width,
            image_width=projection_width(tower) if tower else None,
            frame_step=self._limits.frame_step,
        )

    @cached_property
    def _vae(self) -> Any:
        return self._load("vae", torch.float32)

    @cached_property
    def _image_tower(self) -> ImageTower:
        return ImageTower(self.location, self.device)

    def _load(
        self, part: str, dtype: torch.dtype | None = None, where: torch.device | None = None
    ) -> Any:
        """A part of the folder, in the base's dtype and on its device unless told, or the one that was given."""
        if part in self._parts:
            return self._parts[part]
        folder = self.location.folder / part
        return load_part(
            self.models[part], folder, device=where or self.device, dtype=dtype or self.dtype
        )
