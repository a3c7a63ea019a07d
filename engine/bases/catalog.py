"""Where a base lies and what is known of it before anything heavy is imported.

A base is a path, else a known name, else a hub id, in this order. An image model with a motion module beside it is one
base, called ``IMAGE_MODEL + MOTION_MODULE``. The fingerprint covers the configs and weight files that the base is made
of, so that two folders with the same bytes are the same base. The image tower has a fingerprint of
its own: a base may be given another, and only adapters that were learned through the same one go together.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from engine.bases.cards import CARD, BaseCard, default_card, fill_card, read_card, read_said
from engine.bases.families import IMAGE_TOWER, Family, Limits, find_family
from engine.bases.folder import INDEX, fingerprint, is_path, list_files
from engine.bases.hub_cache import find_snapshot, is_snapshot
from engine.bases.motion_module import join_names, split_name
from engine.bases.names.mistakes import (
    explain_folder,
    explain_name,
    explain_path,
    require_parts,
)
from engine.bases.names.releases import RELEASES, USUAL_TOWER
from engine.errors import BaseInvalidError, BaseNotFoundError

BUNDLED = Path(__file__).resolve().parents[1] / "mini" / "weights"


@dataclass(frozen=True, slots=True)
class BaseLocation:
    """A base that is on this machine."""

    id: str  # ``mini@1``, a hub id, or the folder's absolute path
    folder: Path  # its diffusers folder
    image_tower: Path | None  # folder of the CLIP image tower, or None where the base has none
    revision: str  # the hub's commit, or ""
    card: BaseCard  # what it says of itself
    family: Family  # which opens it
    fingerprint: str = field(repr=False)  # 64 hex digits, of the folder
    # 64 hex digits, of the image tower, or "" where there is none
    tower_fingerprint: str = field(repr=False)
    motion_module: Path | None = None  # folder of the motion module beside an image model, or None
    # folder for what may be deleted at any time, such as encoded prompts, or None
    cache: Path | None = field(default=None, compare=False)

    @property
    def limits(self) -> Limits:
        """What it can make.

        Raises:
            BaseInvalidError: a config is missing or damaged.
        """
        beside = (self.motion_module,) if self.motion_module else ()
        return self.family.read_limits(self.folder, *beside)

    @property
    def size_bytes(self) -> int:
        """Bytes of everything the fingerprints cover."""
        covered = [*list_files(self.folder, self.family.parts)]
        for beside in (self.image_tower, self.motion_module):
            if beside and beside != self.folder / IMAGE_TOWER:
                covered += list_files(beside.parent, (beside.name,))
        return sum(path.stat().st_size for _, path in covered)


def locate_base(
    name: str,
    *,
    image_tower: str | None = None,
    motion_module: str | None = None,
    memo: Path | None = None,
) -> BaseLocation:
    """The base called ``name``: a path, else a known name, else a hub id; never touches the network.

    Args:
        name: ``mini``, ``modelscope``, ``./folder``, ``owner/repository``, ``./image_model + owner/module``.
        image_tower: path or hub id of the CLIP image tower, where the folder has none.
        motion_module: path or hub id of the motion module beside an image model; it comes before one in ``name``.
        memo: file that remembers hashes by path, size and time, or None; its folder is the `BaseLocation.cache`.

    Raises:
        BaseNotFoundError: it is not on this machine.
        BaseInvalidError: its folder is not a diffusers text-to-video folder that a family opens.
    """
    name, module_name = split_name(join_names(name, motion_module))
    folder, known, revision = _find(name, module_name)
    release = RELEASES[known] if known else None
    if not (folder / INDEX).is_file():
        raise explain_folder(folder)
    if is_snapshot(folder):
        require_parts(folder)
    module_name = module_name or (release.motion_module if release else None)
    module = find_model(module_name, "motion module") if module_name else None
    family = find_family(folder, module)
    card = _read_card(folder, family, module, known)
    tower = _find_tower(folder, image_tower)
    return BaseLocation(
        id=join_names(
            release.hub_id if release else _identity(name, folder, card), _full_name(module_name)
        ),
        folder=folder,
        image_tower=tower,
        revision=revision,
        card=card,
        family=family,
        fingerprint=_fingerprint(folder, family, module, memo),
        tower_fingerprint=fingerprint(tower.parent, (tower.name,), memo=memo) if tower else "",
        motion_module=module,
        cache=memo.parent if memo else None,
    )


def _read_card(folder: Path, family: Family, module: Path | None, known: str | None) -> BaseCard:
    """What the folder says of itself, else what is said of the release, else what is usual."""
    usual = default_card(folder, family, module)
    if known:
        release = RELEASES[known]
        facts = {"name": known, "licence": release.licence, "summary": release.summary}
        usual = fill_card({**release.said, **facts}, usual)
    return read_card(folder, usual)


def _fingerprint(folder: Path, family: Family, module: Path | None, memo: Path | None) -> str:
    """Of the folder, and of the motion module beside it."""
    own = fingerprint(folder, family.parts, index_settings=family.index_settings, memo=memo)
    if module is None:
        return own
    beside = fingerprint(module.parent, (module.name,), memo=memo)
    return hashlib.sha256(f"{own} + {beside}".encode()).hexdigest()


def require_image_tower(location: BaseLocation, *, otherwise: str = "") -> None:
    """Learning a motion looks at its clips through the image tower; the hint ends with what would do ``otherwise``.

    Raises:
        BaseInvalidError: the base has none.
    """
    if location.image_tower is None:
        raise BaseInvalidError(
            f"base {location.id} has no image tower, which appearance guidance needs",
            hint=f"dv base pull {USUAL_TOWER} fetches the usual one; --image-tower names another{otherwise}",
        )


def explain_size(location: BaseLocation) -> str:
    """Who says at which size a base is used."""
    folder, family = location.folder, location.family
    if "video" in read_said(folder):
        return f"as its {CARD} says"
    if location.card.video == default_card(folder, family, location.motion_module).video:
        config = f"{family.part}/config.json"
        return f"as its {config} says; [video] of a {CARD} in its folder would come first"
    return "as it is known for"


def _find(name: str, motion_module: str | None) -> tuple[Path, str | None, str]:
    """Folder, the name of the release that it is with this motion module, and revision."""
    if is_path(name):
        folder = Path(name).expanduser().resolve()
        if not folder.is_dir():
            raise explain_path(folder, name)
        return folder, None, ""
    stem, _, version = name.partition("@")
    if stem == "mini":
        return _bundled(name, version), None, ""
    wanted = (name, motion_module)
    by_id = {(each.hub_id, each.motion_module): known for known, each in RELEASES.items()}
    known = name if name in RELEASES else by_id.get(wanted)
    found = find_snapshot(RELEASES[known].hub_id if known else name)
    if found is None:
        raise explain_name(name, has_motion_module=motion_module is not None)
    return found, known, found.name


def find_model(name: str, what: str, flag: str = "", *, code: str | None = None) -> Path:
    """Folder of a model that is no base, a path or a hub id; never touches the network.

    Args:
        name: of it.
        what: it is.
        flag: which names another one, or "".
        code: of the error, where it has one of its own.

    Raises:
        BaseNotFoundError: it is not here; the hint says how to fetch it.
    """
    if not is_path(name):
        if (found := _model_in_hub_cache(name)) is not None:
            return found
        message = f"{what} {name} is not on this machine"
        hint = f"dv base pull {name}" if "/" in name else f"a hub id owner/name, or ./{name}"
    else:
        folder = Path(name).expanduser().resolve()
        if (folder / "config.json").is_file():
            return folder
        message = f"{what} {name}: {'that is a single file' if folder.is_file() else 'no config.json there'}"
        hint = "a folder as save_pretrained writes it: config.json and .safetensors"
    more = f"; or another one: {flag} DIR|ID" if flag else ""
    raise BaseNotFoundError(message, hint=hint + more, code=code)


def _full_name(name: str | None) -> str | None:
    """A name that means the same from anywhere."""
    return str(Path(name).expanduser().resolve()) if name and is_path(name) else name


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


def _model_in_hub_cache(hub_id: str) -> Path | None:
    """The snapshot folder of a model beside a base, such as an image tower, or None where it is not here."""
    folder = find_snapshot(hub_id)
    return folder if folder and (folder / "config.json").is_file() else None


def _find_tower(folder: Path, named: str | None) -> Path | None:
    """Folder of the image tower: the one named, else the base's own, else the usual one if it is here, else none."""
    own = folder / IMAGE_TOWER
    if named is not None:
        return find_model(named, "image tower")
    return own if own.is_dir() else _model_in_hub_cache(USUAL_TOWER)


def _identity(name: str, folder: Path, card: BaseCard) -> str:
    """The name under which a base that nobody knows is written into manifests."""
    if is_path(name):
        return str(folder)
    return name if card.version is None else f"{card.name}@{card.version}"
