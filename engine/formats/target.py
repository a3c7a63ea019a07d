"""The base that a foreign file is for: its layers and widths, without its weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

from engine.adapters.bank import READER, layer_widths, reader_sites
from engine.bases import BaseLocation, open_base
from engine.bases.folder import read_json
from engine.bases.protocol import Base
from engine.errors import IncompatibleError
from engine.formats.lora import Slot
from engine.formats.spellings import Layer


@dataclass(frozen=True)
class Target:
    """A base that a foreign file is for."""

    location: BaseLocation

    @cached_property
    def base(self) -> Base:
        """The base's shapes, without weights."""
        hollow = torch.device("meta")
        return open_base(self.location, device=hollow, dtype=torch.float32)

    @property
    def name(self) -> str:
        """As people know it."""
        return f"the base {self.location.id}"

    @property
    def word_width(self) -> int:
        """Width of the token table.

        Raises:
            IncompatibleError: the base's words do not stand there.
        """
        if self.location.family.word_at != "input":
            raise IncompatibleError(
                f"{self.name} has no token table that a learned word could stand in: its words are offsets",
                hint="learn the subject on it: dv subject learn",
                code="format.refused",
            )
        config = read_json(self.location.folder / "text_encoder" / "config.json")
        return int(config.get("hidden_size", 512))  # CLIP's own, where a config is silent

    @property
    def layers(self) -> int:
        """Residual blocks a level of a UNet."""
        unet: Any = self.base.denoiser
        return int(unet.config.layers_per_block)

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """Every layer that low rank can stand beside: the denoiser's in their order, then the text tower's."""
        return (*find_slots(self.base.denoiser, self.location), *_find_readers(self.base))

    @cached_property
    def convolutions(self) -> frozenset[str]:
        """Paths of the layers that are convolutions of single pixels."""
        layers = self.base.denoiser.named_modules()
        return frozenset(path for path, layer in layers if isinstance(layer, nn.Conv2d))

    def is_motion(self, path: str) -> bool | None:
        """Whether a layer looks along time alone; None where the base has no such layers."""
        return self.base.is_temporal(path) if self._has_temporal else None

    @cached_property
    def _has_temporal(self) -> bool:
        return any(self.base.is_temporal(site.write) for site in self.base.sites("motion"))


def _find_readers(base: Base) -> Iterator[Slot]:
    """The layers of a base's text tower."""
    for site in reader_sites(base):
        assert base.text_tower is not None
        widths = layer_widths(base.text_tower.get_submodule(site.write))
        assert widths is not None
        yield Slot(site.name, Layer(READER, site.name.removeprefix(f"{READER}.")), widths[:2])


def find_slots(denoiser: nn.Module, location: BaseLocation) -> Iterator[Slot]:
    """The layers of a denoiser, each with the part of the pipeline that it is in."""
    part, has_experts = location.family.part, location.limits.boundary is not None
    for path, module in denoiser.named_modules():
        widths = layer_widths(module)
        if widths is None:
            continue
        component, own = part, path
        if has_experts:
            component, _, own = path.partition(".")
        yield Slot(path, Layer(component, own), widths[:2])
