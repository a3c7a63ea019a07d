"""What has to be fetched for a base: the files that its family reads, its motion module, and its image tower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.bases.families import FAMILIES, IMAGE_TOWER, family_of, find_family, is_image_model
from engine.bases.folder import INDEX, is_path
from engine.bases.kinds import find_kind
from engine.bases.motion_module import USUAL, join_names, split_name
from engine.bases.names.mistakes import explain_hub_id
from engine.bases.names.releases import RELEASES, USUAL_TOWER
from engine.bases.pull.choice import choose_model, choose_parts
from engine.bases.pull.listing import Repository, explained, list_folder, list_hub
from engine.bases.pull.parcels import Parcel
from engine.errors import BaseInvalidError, BaseNotFoundError

# Models that something of dv reads beside a base, by what their config says that they are.
BESIDE = frozenset(
    (
        *("MotionAdapter", "ControlNetModel", "clip", "clip_vision_model", "clipseg"),
        *("depth_anything", "dpt", "zoedepth", "vit", "dinov2"),
    )
)


@dataclass(frozen=True, slots=True)
class PullPlan:
    """What is fetched."""

    name: str  # under which the base is used afterwards
    parcels: Sequence[Parcel]  # of each repository, the base's first
    missing: Sequence[str] = ()  # repositories that belong to it and that the folder does not hold


def plan_pull(name: str, folder: Path | None = None) -> PullPlan:
    """What has to be fetched for a base, or of one model beside a base; of the hub only listings are read.

    Args:
        name: a known name or a hub id, and of an image model the motion module behind it, as `join_names` puts them.
        folder: from which it is copied, or None for the hub.

    Raises:
        BaseNotFoundError: the hub cannot be reached, or has no such repository.
        BaseInvalidError: nothing opens what the repository holds.
        InputNotFoundError: the base is not in the folder.
    """
    given, module = split_name(name)
    hub_id = RELEASES[given].hub_id if given in RELEASES else given
    own = _list_own(hub_id, folder)
    if INDEX not in own.files:
        return PullPlan(name, [_plan_model(own)])
    with explained(hub_id):
        index = own.read(INDEX)
    family = family_of(hub_id, index)
    if is_image_model(index):
        name = given if given in RELEASES and module is None else join_names(given, module or USUAL)
        module = module or USUAL
    parcel = own.parcel(choose_parts(own.files, index, family.parts))
    has_tower = any(file.name.startswith(f"{IMAGE_TOWER}/") for file in parcel.files)
    beside = [module] if module and not is_path(module) else []
    beside += [] if has_tower else [USUAL_TOWER]
    found = {each: _list(each, folder) for each in beside}
    moved_by = found.get(module, module) if module else None
    if moved_by is not None or module is None:
        _require_opened(own, parcel, moved_by)
    models = [each.parcel(choose_model(each.files)) for each in found.values() if each]
    return PullPlan(name, [parcel, *models], [each for each in beside if found[each] is None])


def plan_tower(name: str, folder: Path | None = None) -> PullPlan:
    """The image tower alone, for a base that is here and has none."""
    found = _list(USUAL_TOWER, folder, is_base=False)
    parcels = [found.parcel(choose_model(found.files))] if found else []
    return PullPlan(name, parcels, [] if found else [USUAL_TOWER])


def _list_own(hub_id: str, folder: Path | None) -> Repository:
    """The repository that is asked for; where the hub is out of reach its name may tell that it would be no base."""
    try:
        own = _list(hub_id, folder, is_base=True)
    except BaseNotFoundError as error:
        kind = find_kind(hub_id)
        if kind is None or kind.is_image_model or kind.is_beside:
            raise
        raise explain_hub_id(hub_id) from error
    assert own is not None
    return own


def _list(hub_id: str, folder: Path | None, *, is_base: bool = False) -> Repository | None:
    if folder is not None:
        return list_folder(folder, hub_id, is_base=is_base)
    with explained(hub_id):
        return list_hub(hub_id)


def _require_opened(own: Repository, parcel: Parcel, module: Repository | str | None) -> None:
    """Refuse what no family could open before its weights are fetched, by its configs."""
    folder = _fetch_configs(own, parcel)
    if isinstance(module, Repository):
        beside = _fetch_configs(module, module.parcel(choose_model(module.files)))
    elif module is not None:
        beside = Path(module).expanduser().resolve()
    else:
        beside = None
    try:
        find_family(folder, beside).read_limits(folder)
    except BaseInvalidError as error:
        message = error.message.replace(str(folder), own.hub_id)
        raise BaseInvalidError(message, hint=error.hint) from error


def _fetch_configs(own: Repository, parcel: Parcel) -> Path:
    """The folder in which the configs of a parcel lie."""
    if own.source is not None:
        return own.source
    with explained(own.hub_id):
        for file in parcel.files:
            if file.name.endswith("config.json"):
                own.read(file.name)
    return parcel.folder


def _plan_model(own: Repository) -> Parcel:
    """A model that is no base and that a base is used with."""
    config: Mapping[str, Any] = {}
    if "config.json" in own.files:
        with explained(own.hub_id):
            config = own.read("config.json")
    if BESIDE.isdisjoint((config.get("_class_name"), config.get("model_type"))):
        raise _no_base(own)
    return own.parcel(choose_model(own.files))


def _no_base(own: Repository) -> BaseInvalidError:
    reason = explain_hub_id(own.hub_id)
    if isinstance(reason, BaseInvalidError):
        return reason
    held = ", ".join(sorted(own.files)[:3]) or "nothing"
    return BaseInvalidError(
        f"{own.hub_id} holds no base: it has no {INDEX}, but {held}",
        hint=f"its {INDEX} would have to name one of {', '.join(FAMILIES)}",
    )
