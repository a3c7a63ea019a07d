"""Where a base lies and what is known of it before anything heavy is imported.

A base is a path, else a known name, else a hub id, in this order. Its fingerprint covers the configs and weight files
of its family's parts, so that two folders with the same bytes are the same base. The image tower has a fingerprint of
its own: a base may be given another, and only adapters that were learned through the same one go together.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from engine.bases.families import IMAGE_TOWER, Family, Limits, find_family
from engine.bases.folder import INDEX, fingerprint, list_files
from engine.errors import BaseInvalidError, BaseNotFoundError

BUNDLED = Path(__file__).resolve().parents[1] / "mini" / "weights"
CARD = "base.toml"


class VideoCard(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The size a base was trained at: ``frames`` at ``fps``, ``height_px`` × ``width_px``."""

    frames: int = 16
    fps: float = 8.0
    height_px: int = 256
    width_px: int = 256


class Knowledge(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a base can show, where that can be listed; a base that lists nothing is taken to know everything.

    Attributes:
        pictures: drawn: it has seen drawings only, and photographs are beyond it.
        things: what it can draw.
        general: words that stand for any of them.
        motions: how they can move.
        backgrounds: where they can be.
        words: every word that means something to it, those above included.
    """

    pictures: Literal["any", "drawn"] = "any"
    things: tuple[str, ...] = ()
    general: tuple[str, ...] = ()
    motions: tuple[str, ...] = ()
    backgrounds: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


class BaseCard(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
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


@dataclass(frozen=True, slots=True)
class KnownBase:
    """A hub repository with what its own folder does not say."""

    hub_id: str
    image_tower: str | None
    card: BaseCard


MODELSCOPE_CARD = BaseCard(
    name="modelscope",
    licence="CC-BY-NC-4.0",
    summary="ModelScope text-to-video 1.7B, the base of the DreamVideo paper",
    generate={"steps": 25, "guidance": 9.0},
)
KNOWN: Mapping[str, KnownBase] = {
    "modelscope": KnownBase(
        "ali-vilab/text-to-video-ms-1.7b", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K", MODELSCOPE_CARD
    ),
}


@dataclass(frozen=True, slots=True)
class BaseLocation:
    """A base that is on this machine.

    Attributes:
        id: ``mini@1``, a hub id, or the folder's absolute path.
        folder: its diffusers folder.
        image_tower: folder of the CLIP image tower, or None where the base has none.
        revision: the hub's commit, or "".
        card: what it says of itself.
        family: which opens it.
        fingerprint: 64 hex digits, of the folder.
        tower_fingerprint: 64 hex digits, of the image tower, or "" where there is none.
    """

    id: str
    folder: Path
    image_tower: Path | None
    revision: str
    card: BaseCard
    family: Family
    fingerprint: str = field(repr=False)
    tower_fingerprint: str = field(repr=False)

    @property
    def limits(self) -> Limits:
        """What it can make.

        Raises:
            BaseInvalidError: a config is missing or damaged.
        """
        return self.family.read_limits(self.folder)

    @property
    def size_bytes(self) -> int:
        """Bytes of everything the fingerprint covers."""
        covered = [*list_files(self.folder, self.family.parts)]
        if self.image_tower and self.image_tower != self.folder / IMAGE_TOWER:
            covered += list_files(self.image_tower.parent, (self.image_tower.name,))
        return sum(path.stat().st_size for _, path in covered)


def locate_base(
    name: str, *, image_tower: str | None = None, memo: Path | None = None
) -> BaseLocation:
    """The base called ``name``: a path, else a known name, else a hub id; never touches the network.

    Args:
        name: ``mini``, ``modelscope``, ``./folder``, ``owner/repository``.
        image_tower: path or hub id of the CLIP image tower, where the folder has none.
        memo: file that remembers hashes by path, size and time, or None.

    Raises:
        BaseNotFoundError: it is not on this machine.
        BaseInvalidError: its folder is not a diffusers text-to-video folder that a family opens.
    """
    folder, known, revision = _find(name)
    if not (folder / INDEX).is_file():
        raise BaseInvalidError(
            f"{folder} is not a base: it has no {INDEX}",
            hint="give a folder as saved by a diffusers text-to-video pipeline",
        )
    card = read_card(folder, known.card if known else BaseCard())
    family = find_family(folder)
    tower = _find_tower(folder, image_tower, known)
    return BaseLocation(
        id=_identity(name, folder, known, card),
        folder=folder,
        image_tower=tower,
        revision=revision,
        card=card,
        family=family,
        fingerprint=fingerprint(
            folder, family.parts, index_settings=family.index_settings, memo=memo
        ),
        tower_fingerprint=fingerprint(tower.parent, (tower.name,), memo=memo) if tower else "",
    )


def require_image_tower(location: BaseLocation) -> None:
    """Learning a motion looks at its clips through the image tower.

    Raises:
        BaseInvalidError: the base has none.
    """
    if location.image_tower is None:
        raise BaseInvalidError(
            f"base {location.id} has no image tower, which appearance guidance needs",
            hint="name one: --image-tower laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        )


def read_card(folder: Path, default: BaseCard = BaseCard()) -> BaseCard:  # noqa: B008  (frozen)
    """The folder's ``base.toml``, or ``default`` where it has none.

    Raises:
        BaseInvalidError: the card cannot be read.
    """
    path = folder / CARD
    if not path.is_file():
        return default
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), BaseCard)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise BaseInvalidError(f"{path} cannot be read: {error}") from error


def is_path(name: str) -> bool:
    """Whether ``name`` is written as a path rather than as a name."""
    return name.startswith(("./", "../", "/", "~")) or name in {".", ".."}


def _find(name: str) -> tuple[Path, KnownBase | None, str]:
    """Folder, what is known of it, and revision."""
    if is_path(name):
        folder = Path(name).expanduser().resolve()
        if not folder.is_dir():
            raise BaseNotFoundError(f"base {name}: no such folder")
        return folder, None, ""
    stem, _, version = name.partition("@")
    if stem == "mini":
        return _bundled(name, version), None, ""
    known = KNOWN.get(name) or next((k for k in KNOWN.values() if k.hub_id == name), None)
    folder = _in_hub_cache(known.hub_id if known else name)
    return folder, known, folder.name


def locate_mask_model(name: str) -> Path:
    """Folder of the segmentation model called ``name``: a path or a hub id; never touches the network.

    Raises:
        BaseNotFoundError: it is not here; the hint says how to fetch it.
    """
    if is_path(name):
        folder = Path(name).expanduser().resolve()
        if not (folder / "config.json").is_file():
            raise BaseNotFoundError(
                f"mask model {name}: no such folder, or no config.json in it",
                code="mask_model.not_found",
            )
        return folder
    try:
        return _in_hub_cache(name)
    except BaseNotFoundError as error:
        raise BaseNotFoundError(
            f"--mask auto needs the model {name}, which is not on this machine",
            hint=f"hf download {name}; or name a folder of it: --mask-model ./clipseg",
            code="mask_model.not_found",
        ) from error


def _bundled(name: str, version: str) -> Path:
    """The bundled base's folder, if it is the version asked for."""
    if not BUNDLED.is_dir():
        raise BaseNotFoundError("the bundled base is missing from this installation")
    have = read_card(BUNDLED).version
    if version and version != str(have):
        raise BaseNotFoundError(
            f"base {name} is not here: this release bundles mini@{have}",
            hint="install the release that has it, or learn the adapter again",
        )
    return BUNDLED


def _in_hub_cache(hub_id: str) -> Path:
    """The snapshot folder of ``hub_id`` in the hub's local cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, local_files_only=True))
    except (LocalEntryNotFoundError, FileNotFoundError, HFValidationError) as error:
        if "/" in hub_id and not isinstance(error, HFValidationError):
            raise BaseNotFoundError(
                f"base {hub_id} is not on this machine", hint=f"hf download {hub_id}"
            ) from None
        known = ", ".join(["mini", *KNOWN])
        raise BaseNotFoundError(
            f"no base is called {hub_id!r}",
            hint=f"known: {known}; or a hub id owner/name; or a path that starts with ./",
        ) from None


def _find_tower(folder: Path, named: str | None, known: KnownBase | None) -> Path | None:
    """Folder of the image tower: the one named, else the base's own, else the usual one if it is here, else none."""
    own = folder / IMAGE_TOWER
    if named is None and own.is_dir():
        return own
    if named is None:
        try:
            return _in_hub_cache(known.image_tower) if known and known.image_tower else None
        except BaseNotFoundError:
            return None
    if is_path(named):
        tower = Path(named).expanduser().resolve()
        if not (tower / "config.json").is_file():
            raise BaseNotFoundError(f"image tower {named}: no config.json there")
        return tower
    return _in_hub_cache(named)


def _identity(name: str, folder: Path, known: KnownBase | None, card: BaseCard) -> str:
    """The name under which a base is written into manifests."""
    if known is not None:
        return known.hub_id
    if is_path(name):
        return str(folder)
    return name if card.version is None else f"{card.name}@{card.version}"
