"""VGen's UNet as a base: a diffusers folder with its denoiser, and everything else of a base laid out like it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from engine.bases import BaseLocation
from engine.bases.cards import CARD
from engine.bases.folder import INDEX
from engine.drafts import refusal
from engine.errors import IncompatibleError
from engine.formats import vgen
from engine.formats.opening import open_file
from engine.formats.target import Target
from engine.media.output.staging import staged

WEIGHTS = "diffusion_pytorch_model.safetensors"


def import_base(path: Path, like: BaseLocation, folder: Path) -> Path:
    """Write the base in a file of VGen as a folder of diffusers, whole or not at all.

    Args:
        path: of the UNet, as VGen saves it.
        like: a base of the same shapes, which gives the autoencoder, the text tower and all configs.
        folder: the new one.

    Raises:
        InputNotFoundError, IntegrityError: see `engine.formats.opening.open_file`.
        IncompatibleError: the file holds no UNet of VGen, or one of other shapes than ``like`` has.
        OutputExistsError: there is something already.
        OutputError: the disk refuses.
    """
    tensors = _read_unet(path, like)
    try:
        with staged(folder, overwrite=False) as draft:
            for part in like.family.parts:
                if (like.folder / part).is_dir() and part != like.family.part:
                    shutil.copytree(like.folder / part, draft / part)
            unet = draft / like.family.part
            unet.mkdir()
            shutil.copy(like.folder / like.family.part / "config.json", unet)
            for name in (INDEX, CARD):
                if (like.folder / name).is_file():
                    shutil.copy(like.folder / name, draft)
            save_file(tensors, unet / WEIGHTS, metadata={"format": "pt"})
    except SafetensorError as error:
        raise refusal(str(folder), error) from error
    return folder


def _read_unet(path: Path, like: BaseLocation) -> dict[str, Tensor]:
    """The tensors by diffusers' names, as many and of the shapes that the base has."""
    opened = open_file(path)
    if not vgen.is_unet(opened.tensors):
        few = ", ".join(f"{key:.80}" for key in list(opened.tensors)[:3])
        raise IncompatibleError(
            f"{path} is no UNet of VGen: {few}",
            hint="an adapter is taken by dv import",
            code="format.unknown",
        )
    target = Target(like)
    if like.family.name != "unet3d":
        raise IncompatibleError(
            f"{target.name} is of the family {like.family.name}, and VGen's UNet is a ModelScope",
            hint="--like modelscope",
            code="format.other_base",
        )
    tensors = vgen.rename_unet(opened, layers=target.layers)
    _check_shapes(path, tensors, target)
    return {name: tensor.clone().contiguous() for name, tensor in tensors.items()}


def _check_shapes(path: Path, tensors: Mapping[str, Tensor], target: Target) -> None:
    own = target.base.denoiser.state_dict()
    for name in sorted(own.keys() ^ tensors.keys()):
        side = "lacks" if name in own else "has more than that base:"
        raise IncompatibleError(
            f"{path} {side} {name}; it has {len(tensors)} tensors and {target.name} {len(own)}",
            hint="--like names a base of the same shapes",
            code="format.other_base",
        )
    for name, tensor in own.items():
        if tensor.shape != tensors[name].shape:
            raise IncompatibleError(
                f"{name} is {tuple(tensors[name].shape)} in {path}, and {tuple(tensor.shape)} in {target.name}",
                hint="--like names a base of the same shapes",
                code="format.other_width",
            )
