"""Motion modules beside an image model: how the two are named together, and whether they fit, from configs alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.bases.folder import is_path, read_json
from engine.errors import BaseInvalidError

MOTION_ADAPTER = "MotionAdapter"
USUAL = "guoyww/animatediff-motion-adapter-v1-5-3"
JOINT = " + "  # between the names of an image model and its motion module


def join_names(base: str, motion_module: str | None) -> str:
    """``BASE + MOTION_MODULE``, the one name of both; the module given takes the place of one in ``base``."""
    return base if motion_module is None else f"{split_name(base)[0]}{JOINT}{motion_module}"


def split_name(name: str) -> tuple[str, str | None]:
    """Name of the base and of its motion module, or None."""
    base, _, module = name.partition(JOINT)
    return base, module or None


def change_paths(name: str, change: Callable[[Path], Path | str]) -> str:
    """``name`` with a change made to what is a path in it: that of the base, of its motion module, or of both."""
    parts = [part for part in split_name(name) if part]
    return JOINT.join(str(change(Path(part))) if is_path(part) else part for part in parts)


def check_motion_module(folder: Path, module: Path | None, index: Mapping[str, Any]) -> None:
    """Whether the image model in ``folder``, whose ``model_index.json`` is ``index``, moves with this module.

    Raises:
        BaseInvalidError: no module moves it, there is none, the folder is none, or it is made for another image model.
    """
    unet = read_json(folder / "unet" / "config.json")
    hint = f"Stable Diffusion 1.5 and its fine-tunes go with {USUAL}"
    if reason := _unmoved(folder, unet, index):
        raise BaseInvalidError(f"{folder} goes with no motion module: {reason}", hint=hint)
    if module is None:
        raise BaseInvalidError(
            f"{folder} is an image model: it draws pictures, and nothing in it moves",
            hint=f"name a motion module of AnimateDiff: --motion-module {USUAL}",
        )
    motion = read_json(module / "config.json")
    if motion.get("_class_name") != MOTION_ADAPTER:
        raise BaseInvalidError(
            f"{module} is no motion module: its config.json is of {motion.get('_class_name', 'something else')}",
            hint=f"a folder or hub id of a {MOTION_ADAPTER}, such as {USUAL}",
        )
    if reason := _misfit(unet, motion):
        raise BaseInvalidError(
            f"{folder} does not go with the motion module {module}: {reason}", hint=hint
        )


def refuse_module(where: object, index: Mapping[str, Any]) -> BaseInvalidError:
    """The error for a motion module beside a base that is no image model; ``where`` is its folder or its hub id."""
    return BaseInvalidError(
        f"{where} holds a {index.get('_class_name', 'pipeline')}, which takes no motion module",
        hint="--motion-module goes with an image model, such as Stable Diffusion 1.5",
    )


def _unmoved(folder: Path, unet: Mapping[str, Any], index: Mapping[str, Any]) -> str | None:
    """Why no motion module moves an image model, or None."""
    scheduler = folder / "scheduler" / "scheduler_config.json"
    predicts = read_json(scheduler).get("prediction_type", "epsilon")
    if "text_encoder_2" in index:
        return "it is of Stable Diffusion XL, which reads prompts with two text towers"
    if unet.get("in_channels", 4) != unet.get("out_channels", 4):
        return f"it takes {unet['in_channels']} channels, so it fills in or edits pictures"
    if predicts != "epsilon":
        return f"it predicts {predicts}, and motion modules were trained on epsilon"
    return None


def _misfit(unet: Mapping[str, Any], motion: Mapping[str, Any]) -> str | None:
    """Why an image model and a motion module do not go together, or None."""
    widths = [tuple(config.get("block_out_channels", ())) for config in (unet, motion)]
    if motion.get("conv_in_channels"):
        return "the module wants a picture beside the noise"
    if all(widths) and widths[0] != widths[1]:
        return f"its blocks are {widths[0]} wide, the module's {widths[1]}"
    return None
