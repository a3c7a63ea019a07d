"""The families of bases as they are known before anything heavy is imported.

A new family is one module with `open_base`, one function here that reads its `Limits`, and one line of `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from engine.bases.folder import INDEX, read_json
from engine.bases.kinds import find_kind
from engine.bases.motion_module import check_motion_module, refuse_module
from engine.errors import BaseInvalidError

MOTION_PLACES = 32  # frames, where a config is silent, as diffusers has it
TRAIN_TIMESTEPS = 1000  # where a scheduler's config is silent, as diffusers has it
IMAGE_TOWER = "image_encoder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a base can make, read from its configs alone."""

    latent_scale: int  # pixels per latent along height and width
    multiple_px: int  # height and width must be multiples of it
    timesteps: int = TRAIN_TIMESTEPS  # the most sampling steps
    frame_step: int = 1  # the number of frames must be 1 + k·frame_step
    most_frames: int | None = None  # the largest number of frames, or None
    # of a base of two experts the time, as a fraction of its path, from which the one for much noise is in charge;
    # below it the other is. None of a base of one.
    boundary: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A kind of base."""

    name: str  # as manifests have it
    part: str  # the denoiser's folder, which is its key in ``model_index.json`` too
    module: str  # the module whose `open_base` opens it
    # reads the `Limits` of a folder, and of a motion module's where the base has one beside it
    read_limits: Callable[..., Limits]
    # the folders that a base of this family computes with; they decide its fingerprint
    parts: tuple[str, ...]
    # the scheduler classes whose noise path this family learns and samples with
    schedulers: tuple[str, ...]
    samplers: tuple[str, ...]  # names that `GenerateRecipe.sampler` may have
    index_settings: tuple[str, ...] = ()  # keys of ``model_index.json`` that change results
    optional: tuple[str, ...] = ()  # parts that a base has where its index names them
    # what a folder's card says where neither a ``base.toml`` nor a known name does
    default_card: Callable[[Path], Mapping[str, Any]] = lambda _: {}
    # settings of the scheduler that take the place of the folder's own
    trained_with: Mapping[str, Any] = field(default_factory=dict)
    is_flow: bool = False  # its path is that of flow matching, whose times can be shifted
    # some of its layers look along time alone, and the others at single frames
    splits_time: bool = True
    # where a learned word stands: in the text tower's table, or as an offset to what the tower gives
    word_at: Literal["input", "output"] = "input"
    # under which a photo of ``{}`` is learned; a text tower may need more of a sentence than others
    photo_prompt: str = "a {}"
    # the most tokens of a prompt, end marks left out; None: as the text tower's config says
    prompt_tokens: int | None = None
    # whether a ControlNet of an image model with the same blocks can lay out its frames
    takes_controlnet: bool = False

    @property
    def weighted(self) -> tuple[str, ...]:
        """The parts that hold weights, the image tower left out."""
        return tuple(p for p in self.parts if p not in {"tokenizer", "scheduler", IMAGE_TOWER})


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

# The noise that motion modules were trained with, whatever the image model's own scheduler says.
# Reference: AnimateDiff's page in the documentation of diffusers.
ANIMATEDIFF_NOISE: Mapping[str, Any] = {
    "_class_name": "DDIMScheduler",
    "beta_schedule": "linear",
    "clip_sample": False,
    "steps_offset": 1,
    "timestep_spacing": "linspace",
}
# Schedulers of the variance-preserving path; flow matching is another path.
DIFFUSION_SCHEDULERS = tuple(
    f"{kind}Scheduler"
    for kind in (
        *("DDIM", "DDPM", "DEISMultistep", "DPMSolverMultistep", "DPMSolverSinglestep"),
        *("EulerAncestralDiscrete", "EulerDiscrete", "HeunDiscrete", "KDPM2AncestralDiscrete"),
        *("KDPM2Discrete", "LCM", "LMSDiscrete", "PNDM", "UniPCMultistep"),
    )
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


def read_wan_limits(folder: Path) -> Limits:
    """Limits of a Wan, whose autoencoder takes a first frame and then four at a time, and whose denoiser patches.

    Older configs do not name what was the same in all.
    """
    codec = read_json(folder / "vae" / "config.json")
    denoiser = read_json(folder / "transformer" / "config.json")
    scale, step = codec.get("scale_factor_spatial", 8), codec.get("scale_factor_temporal", 4)
    patch = denoiser.get("patch_size", (1, 2, 2))
    if denoiser.get("image_dim") is not None or denoiser["in_channels"] != denoiser["out_channels"]:
        raise BaseInvalidError(
            f"{folder} makes a video of an image, which no family does",
            hint="a Wan that makes videos of text: Wan2.1-T2V, Wan2.2-T2V or Wan2.2-TI2V",
        )
    return Limits(
        latent_scale=scale,
        multiple_px=scale * max(patch[1:]),
        timesteps=read_scheduler(folder).get("num_train_timesteps", TRAIN_TIMESTEPS),
        frame_step=step,
        most_frames=1 + step * (denoiser.get("rope_max_seq_len", 1024) - 1),
        boundary=read_json(folder / INDEX).get("boundary_ratio"),
    )


# What people ask Wan not to draw: the list that its makers recommend, in English.
WAN_NEGATIVE = (
    "Bright tones, overexposed, static, blurred details, subtitles, style, works, paintings, images, static, overall"
    " gray, worst quality, low quality, JPEG compression residue, ugly, incomplete, extra fingers, poorly drawn hands,"
    " poorly drawn faces, deformed, disfigured, misshapen limbs, fused fingers, still picture, messy background, three"
    " legs, many people in the background, walking backwards"
)


def read_wan_card(folder: Path) -> dict[str, Any]:
    """The card of a Wan, by what its folder holds: size and speed by its autoencoder, widths by its denoiser."""
    limits, scheduler = read_wan_limits(folder), read_scheduler(folder)
    is_small = limits.latent_scale == 8
    has_experts = limits.boundary is not None
    denoiser = read_json(folder / "transformer" / "config.json")
    width = denoiser["num_attention_heads"] * denoiser["attention_head_dim"]
    ratio = {"width_ratio": (256 if width > 4096 else 192) / width if width >= 1536 else 0.125}
    is_euler = scheduler.get("_class_name") == "FlowMatchEulerDiscreteScheduler"
    clip = {"frames": 33 if is_small else 49, "fps": 16.0 if is_small else 24.0, **ratio}
    return {
        "video": {
            "frames": 81 if is_small else 121,
            "fps": clip["fps"],
            "height_px": 480 if is_small else 704,
            "width_px": 832 if is_small else 1280,
        },
        "generate": {
            "steps": 40 if has_experts else 50,
            "guidance": 4.0 if has_experts else 5.0,
            **({"guidance_low": 3.0} if has_experts else {}),
            "sampler": "euler" if is_euler else "unipc",
            "negative": WAN_NEGATIVE,
        },
        "subject": {
            "draft": {"word_steps": 100, "adapter_steps": 300},
            "standard": {
                "word_steps": 200,
                "word_lr": 1e-3,
                "adapter_steps": 700,
                "adapter_lr": 1e-4,
                "batch": 1,
                **ratio,
            },
            "max": {"adapter_steps": 1000},
        },
        "motion": {
            "draft": {"steps": 200, "frames": 17 if is_small else 25},
            "standard": {"steps": 400, "lr": 1e-4, **clip},
            "max": {"steps": 600},
        },
    }


BESIDE = ("vae", "text_encoder", "tokenizer", "scheduler", IMAGE_TOWER)
# Class of the denoiser in model_index.json → its family.
FAMILIES: Mapping[str, Family] = {
    "UNet3DConditionModel": Family(
        name="unet3d",
        part="unet",
        module="engine.bases.models.unet3d",
        read_limits=read_image_codec_limits,
        parts=("unet", *BESIDE),
        schedulers=DIFFUSION_SCHEDULERS,
        samplers=("ddim", "dpm++"),
        takes_controlnet=True,
    ),
    "UNetMotionModel": Family(
        name="animatediff",
        part="unet",
        module="engine.bases.models.animatediff",
        read_limits=read_animatediff_limits,
        parts=("unet", *BESIDE),
        schedulers=DIFFUSION_SCHEDULERS,
        samplers=("ddim", "dpm++"),
        default_card=lambda _: ANIMATEDIFF_CARD,
        trained_with=ANIMATEDIFF_NOISE,
        takes_controlnet=True,
    ),
    "WanTransformer3DModel": Family(
        name="wan",
        part="transformer",
        module="engine.bases.models.wan",
        read_limits=read_wan_limits,
        default_card=read_wan_card,
        parts=("transformer", "transformer_2", *BESIDE),
        optional=("transformer_2",),
        schedulers=("UniPCMultistepScheduler", "FlowMatchEulerDiscreteScheduler"),
        samplers=("unipc", "euler"),
        index_settings=("boundary_ratio", "expand_timesteps"),
        is_flow=True,
        splits_time=False,
        word_at="output",
        photo_prompt="a photo of a {}",
        prompt_tokens=511,
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
    elif motion_module is not None:
        raise refuse_module(folder, index)
    family = family_of(folder, index)
    _check_scheduler(folder, family)
    return family


def family_of(where: object, index: Mapping[str, Any]) -> Family:
    """The family that opens what a ``model_index.json`` tells of, an image model as if a motion module moved it.

    Raises:
        BaseInvalidError: none does; ``where`` is the folder or the hub id.
    """
    if is_image_model(index):
        return FAMILIES["UNetMotionModel"]
    # A pipeline that needs more than a prompt may have a denoiser of the same class.
    if find_kind(str(index.get("_class_name", ""))) is None:
        for denoiser, family in FAMILIES.items():
            if denoiser in (index.get(family.part) or []):
                return family
    raise explain_index(where, index)


def is_image_model(index: Mapping[str, Any]) -> bool:
    """Whether a ``model_index.json`` is of an image model that a motion module may move: one text tower, one UNet."""
    return IMAGE_DENOISER in (index.get("unet") or []) and "text_encoder_2" not in index


def explain_index(where: object, index: Mapping[str, Any]) -> BaseInvalidError:
    """Why no family opens what this ``model_index.json`` tells of; ``where`` is the folder or the hub id."""
    name = str(index.get("_class_name", "pipeline"))
    if (kind := find_kind(name)) is not None:
        return BaseInvalidError(f"{where} is {kind.what}", hint=kind.hint)
    return BaseInvalidError(
        f"{where} holds a {name} that no family opens",
        hint="its denoiser must be one of: " + ", ".join(FAMILIES),
    )


SET_TO: Mapping[str, str] = {
    "flow matching": 'use_flow_sigmas must be true, prediction_type "flow_prediction"',
    "diffusion": "use_flow_sigmas must be false, prediction_type epsilon or v_prediction",
}


def _check_scheduler(folder: Path, family: Family) -> None:
    config = read_scheduler(folder)
    name = config.get("_class_name")
    is_flow = (
        name == "FlowMatchEulerDiscreteScheduler"
        or config.get("use_flow_sigmas")
        or config.get("prediction_type") == "flow_prediction"
    )
    if name is not None and name not in family.schedulers:
        raise BaseInvalidError(
            f"{folder} has the scheduler {name}, which bases of the family {family.name} cannot be used with",
            hint="one of: " + ", ".join(family.schedulers),
        )
    if bool(is_flow) != family.is_flow:
        found, wanted = (
            ("flow matching", "diffusion") if is_flow else ("diffusion", "flow matching")
        )
        raise BaseInvalidError(
            f"the scheduler of {folder} is set to {found}, and the family {family.name} learns by {wanted}",
            hint=SET_TO[wanted],
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
