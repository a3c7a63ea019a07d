"""Models beside a base that lay out a video: where they are and whether they fit, before anything heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.bases.catalog import BaseLocation, find_model
from engine.bases.families import FAMILIES
from engine.bases.folder import fingerprint, read_json
from engine.errors import BaseInvalidError, IncompatibleError

MODEL = "ControlNetModel"
# Settings that must be those of the base's denoiser, and what they are.
SHARED = {
    "cross_attention_dim": "reads prompts {} wide",
    "in_channels": "takes latents of {} channels",
    "block_out_channels": "has blocks of {} channels",
    "layers_per_block": "has {} layers a block",
}


@dataclass(frozen=True, slots=True)
class ModelLocation:
    """A model that is on this machine."""

    folder: Path  # as `save_pretrained` writes it
    fingerprint: str  # 64 hex digits, of its config and weights


def locate_controlnet(name: str, base: BaseLocation, *, memo: Path | None = None) -> ModelLocation:
    """The ControlNet called ``name``, a path or a hub id, for ``base``; never touches the network.

    Raises:
        BaseNotFoundError: it is not here.
        BaseInvalidError: it is something else.
        IncompatibleError: the base's family takes none, or it was made for another base.
    """
    if not base.family.takes_controlnet:
        taking = sorted({each.name for each in FAMILIES.values() if each.takes_controlnet})
        raise IncompatibleError(
            f"{base.id} is of the family {base.family.name}, which takes no ControlNet",
            hint=f"families that do: {', '.join(taking)}",
            code="base.mismatch",
        )
    folder = find_model(name, "ControlNet", "--structure-model")
    config = read_json(folder / "config.json")
    if config.get("_class_name") != MODEL:
        raise BaseInvalidError(
            f"{folder} holds a {config.get('_class_name', 'model')}, not a {MODEL}",
            hint="--structure-model names a folder of a ControlNet",
        )
    own = read_json(base.folder / base.family.part / "config.json")
    for key, what in SHARED.items():
        if key in own and config.get(key) != own[key]:
            raise IncompatibleError(
                f"the ControlNet {what.format(config.get(key))}, and {base.id} {what.format(own[key])}",
                hint=f"one that was made for a base like {base.id}",
                code="base.mismatch",
            )
    return ModelLocation(folder, fingerprint(folder.parent, (folder.name,), memo=memo))


def locate_depth_model(name: str, *, memo: Path | None = None) -> ModelLocation:
    """The model of depth called ``name``, a path or a hub id; never touches the network.

    Raises:
        BaseNotFoundError: it is not here.
    """
    folder = find_model(name, "depth model", "--depth-model")
    return ModelLocation(folder, fingerprint(folder.parent, (folder.name,), memo=memo))
