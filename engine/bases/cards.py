"""What a base says of itself: its ``base.toml``, and what holds where it has none."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from engine.bases.families import Family
from engine.bases.folder import read_json
from engine.errors import BaseInvalidError

CARD = "base.toml"


class VideoCard(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The size a base was trained at: ``frames`` at ``fps``, ``height_px`` × ``width_px``."""

    frames: int = 16
    fps: float = 8.0
    height_px: int = 256
    width_px: int = 256


class Knowledge(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a base can show, where that can be listed; a base that lists nothing is taken to know everything."""

    # drawn: it has seen drawings only, and photographs are beyond it
    pictures: Literal["any", "drawn"] = "any"
    things: tuple[str, ...] = ()  # what it can draw
    general: tuple[str, ...] = ()  # words that stand for any of them
    motions: tuple[str, ...] = ()  # how they can move
    backgrounds: tuple[str, ...] = ()  # where they can be
    words: tuple[str, ...] = ()  # every word that means something to it, those above included


class BaseCard(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a base says of itself in ``base.toml``; the defaults stand where a folder has none.

    ``subject``, ``motion`` map a quality to settings of the recipe; ``generate`` are settings of `GenerateRecipe`.
    """

    schema: str = "dv.base/1"
    name: str = ""
    version: int | None = None
    licence: str = "unknown"
    summary: str = ""
    video: VideoCard = VideoCard()
    knows: Knowledge = Knowledge()
    generate: dict[str, Any] = {}
    subject: dict[str, dict[str, Any]] = {}
    motion: dict[str, dict[str, Any]] = {}

    @property
    def generate_defaults(self) -> dict[str, Any]:
        """Settings of a `GenerateRecipe` where nobody says otherwise: the trained size, then ``generate``."""
        return {**msgspec.structs.asdict(self.video), **self.generate}


def read_card(folder: Path, default: BaseCard = BaseCard()) -> BaseCard:  # noqa: B008  (frozen)
    """The folder's ``base.toml``; of what it leaves out, ``default`` says what holds.

    Raises:
        BaseInvalidError: the card cannot be read.
    """
    try:
        return fill_card(read_said(folder), default)
    except msgspec.ValidationError as error:
        raise BaseInvalidError(f"{folder / CARD} cannot be read: {error}") from error


def read_said(folder: Path) -> dict[str, Any]:
    """What the folder's ``base.toml`` says, unchecked; nothing where there is none.

    Raises:
        BaseInvalidError: it is no TOML.
    """
    path = folder / CARD
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BaseInvalidError(f"{path} cannot be read: {error}") from error


def fill_card(said: Mapping[str, Any], default: BaseCard) -> BaseCard:
    """The card that says this, and of what it leaves out, within its tables too, what ``default`` says.

    Raises:
        msgspec.ValidationError: it is no card.
    """
    whole = msgspec.to_builtins(default)
    for key, value in said.items():
        under = whole.get(key)
        is_table = isinstance(value, Mapping) and isinstance(under, Mapping)
        whole[key] = {**under, **value} if is_table else value
    return msgspec.convert(whole, BaseCard)


def default_card(folder: Path, family: Family, motion_module: Path | None = None) -> BaseCard:
    """What holds of a folder that nobody knows: what its family says, at the size its denoiser's config says.

    No more frames than a motion module has places for.

    Raises:
        BaseInvalidError: a config is missing or damaged.
    """
    card = msgspec.convert(family.default_card(folder), BaseCard)
    beside = (motion_module,) if motion_module else ()
    limits, video = family.read_limits(folder, *beside), card.video
    size: dict[str, int] = {}
    if limits.most_frames is not None:
        size["frames"] = min(video.frames, limits.most_frames)
    config = folder / family.part / "config.json"
    side = read_json(config).get("sample_size") if config.is_file() else None
    if side is not None:
        height, width = side if isinstance(side, list) else (side, side)
        size |= {
            "height_px": height * limits.latent_scale,
            "width_px": width * limits.latent_scale,
        }
    return msgspec.structs.replace(card, video=msgspec.structs.replace(video, **size))
