"""The families of bases as they are known before anything heavy is imported.

A new family is one module with `open_base`, one function here that reads its `Limits`, and one line of `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.bases.folder import INDEX, read_json
from engine.bases.kinds import find_kind
from engine.bases.motion_module import check_motion_module
from engine.errors import BaseInvalidError

MOTION_PLACES = 32  # frames, where a config is silent, as diffusers has it
TRAIN_TIMESTEPS = 1000  # where a scheduler's config is silent, as diffusers has it
IMAGE_TOWER = "image_encoder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a base can make, read from its configs alone.

    Attributes:
        latent_scale: pixels per latent along height and width.
        multiple_px: height and width must be multiples of it.
        timesteps: the most sampling steps.
        frame_step: the number of frames must be 1 + k·frame_step.
        most_frames: the largest number of frames, or None.
    """

    latent_scale: int
    multiple_px: int
    timesteps: int = TRAIN_TIMESTEPS
    frame_step: int = 1
    most_frames: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A kind of base.

    Attributes:
        name: as manifests have it.
        part: the denoiser's folder, which is its key in ``model_index.json`` too.
        module: the module whose `open_base` opens it.
        read_limits: reads the `Limits` of a folder, and of a motion module's where the base has one beside it.
        parts: the folders that a base of this family computes with; they decide its fingerprint.
        schedulers: the scheduler classes whose noise path this family learns and samples with.
        samplers: names that `GenerateRecipe.sampler` may have.
        index_settings: keys of ``model_index.json`` that change results.
        card: what a base's card says where neither a ``base.toml`` nor a known name does.
    """

    name: str
    part: str
    module: str
    read_limits: Callable[..., Limits]
    parts: tuple[str, ...]
    schedulers: tuple[str, ...]
    samplers: tuple[str, ...]
    index_settings: tuple[str, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict)


# What the authors and the documentation of diffusers use.
ANIMATEDIFF_CARD: Mapping[str, Any] = {
    "summary": "Stable Diffusion with a motion module of AnimateDiff",
    "video": {"frames": 16, "fps": 8.0, "height_px": 512, "width_px": 512},
    "generate": {
        "steps": 25,
        "guidance": 7.5,
        "negative": "bad quality, worse quality",
        "sampler": "ddim",
    },
    # Motion modules are learned at higher rates than UNet3D's layers: peers take 5e-4 for 300 steps a clip.
    "motion": {
        "draft": {"steps": 150},
        "standard": {"steps": 400, "lr": 1e-4},
        "max": {"steps": 800},
    },
}

# Schedulers of the variance-preserving path; flow matching is another path.
DIFFUSION_SCHEDULERS = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)


def read_scheduler(folder: Path) -> dict[str, Any]:
    """The scheduler's config of a base's folder.

    Raises:
        BaseInvalidError: it is missing or damaged.
    """
    return read_json(folder / "scheduler" / "scheduler_config.json")


def read_image_codec_limits(folder: Path) -> Limits:
    """Limits of a family whose autoencoder halves single frames once a level."""
    levels = len(read_json(folder / "vae" / "config.json")["block_out_channels"])
    timesteps = read_scheduler(folder).get("num_train_timesteps", TRAIN_TIMESTEPS)
    scale = 2 ** (levels - 1)
    return Limits(latent_scale=scale, multiple_px=scale, timesteps=timesteps)


def read_animatediff_limits(folder: Path, motion_module: Path | None = None) -> Limits:
    """Those of the image model, and the most frames that its motion modules have places for."""
    config = read_json((motion_module or folder / "unet") / "config.json")
    most = int(config.get("motion_max_seq_length", MOTION_PLACES))
    return replace(read_image_codec_limits(folder), most_frames=most)


# Class of the denoiser in model_index.json → its family.
FAMILIES: Mapping[str, Family] = {
    "UNet3DConditionModel": Family(
        name="unet3d",
        part="unet",
        module="engine.bases.models.unet3d",
        read_limits=read_image_codec_limits,
        parts=("unet", "vae", "text_encoder", "tokenizer", "scheduler", IMAGE_TOWER),
        schedulers=DIFFUSION_SCHEDULERS,
        samplers=("ddim", "dpm++"),
    ),
    "UNetMotionModel": Family(
        name="animatediff",
        part="unet",
        module="engine.bases.models.animatediff",
        read_limits=read_animatediff_limits,
        parts=("unet", "vae", "text_encoder", "tokenizer", "scheduler", IMAGE_TOWER),
        schedulers=DIFFUSION_SCHEDULERS,
        samplers=("ddim", "dpm++"),
        card=ANIMATEDIFF_CARD,
    ),
}
IMAGE_DENOISER = "UNet2DConditionModel"  # which a motion module makes one of UNetMotionModel


def find_family(folder: Path, motion_module: Path | None = None) -> Family:
    """The family that opens the base in ``folder``, an image model with the motion module beside it.

    Raises:
        BaseInvalidError: no family knows its denoiser, the family cannot learn with its scheduler, or a motion
            module is missing, one too many, or made for another model.
    """
    index = read_json(folder / INDEX)
    if IMAGE_DENOISER in (index.get("unet") or []):
        check_motion_module(folder, motion_module, index)
        _check_scheduler(folder, FAMILIES["UNetMotionModel"])
        return FAMILIES["UNetMotionModel"]
    if motion_module is not None:
        raise BaseInvalidError(
            f"{folder} holds a {index.get('_class_name', 'pipeline')}, which takes no motion module",
            hint="--motion-module goes with an image model, such as Stable Diffusion 1.5",
        )
    for denoiser, family in FAMILIES.items():
        if denoiser in (index.get(family.part) or []):
            _check_scheduler(folder, family)
            return family
    raise explain_index(folder, index)


def explain_index(where: object, index: Mapping[str, Any]) -> BaseInvalidError:
    """Why no family opens what this ``model_index.json`` tells of; ``where`` is the folder or the hub id."""
    name = str(index.get("_class_name", "pipeline"))
    if (kind := find_kind(name)) is not None:
        return BaseInvalidError(f"{where} is {kind.what}", hint=kind.hint)
    return BaseInvalidError(
        f"{where} holds a {name} that no family opens",
        hint="its denoiser must be one of: " + ", ".join(FAMILIES),
    )


def _check_scheduler(folder: Path, family: Family) -> None:
    config = read_scheduler(folder)
    name = config.get("_class_name")
    is_flow = config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction"
    if name is not None and name not in family.schedulers:
        raise BaseInvalidError(
            f"{folder} has the scheduler {name}, which bases of the family {family.name} cannot be used with",
            hint="one of: " + ", ".join(family.schedulers),
        )
    if is_flow and family.schedulers is DIFFUSION_SCHEDULERS:
        raise BaseInvalidError(
            f"the scheduler of {folder} is set to flow matching, and the family {family.name} diffuses",
            hint="use_flow_sigmas must be false, prediction_type epsilon or v_prediction",
        )
    if divides_by_zero(config):
        raise BaseInvalidError(
            f"the scheduler of {folder} predicts epsilon with zero-terminal SNR: its first step divides by zero",
            hint='prediction_type "v_prediction", or timestep_spacing "leading", which leaves that step out',
        )


def divides_by_zero(config: Mapping[str, Any]) -> bool:
    """Whether sampling starts where ε says nothing of the latents: at ᾱ = 0 (arXiv 2305.08891, section 3.1)."""
    return bool(
        config.get("rescale_betas_zero_snr")
        and config.get("prediction_type", "epsilon") == "epsilon"
        and config.get("timestep_spacing") != "leading"
    )
