"""What is measured at full size: steps of learning, videos, memory, kernels, each over what it stands on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from torch import Tensor

from engine.adapters.bank import Bank, Condition, fresh_bank
from engine.adapters.composition import Composition
from engine.bases.protocol import Role
from engine.blocks import compile_blocks, recompute_blocks
from engine.diffusion.samplers import draw_start
from engine.generate import Generator
from engine.guides.inputs import Guides
from engine.guides.prompts import PromptCache
from engine.methods.dreamvideo import IdentityObjective, MotionObjective
from engine.progress import StageAdvanced, ignore
from engine.recipe import GenerateRecipe, MotionRecipe, motion_recipe, subject_recipe
from engine.training.encode import EncodedClip, EncodedPhotos
from engine.training.fit import FitPlan, fit, open_accelerator
from engine.training.gradients import Objective
from engine.training.memory import Sizes, estimate_base
from tests.gpu.scenes import Stage

GIB = 2**30
BATCH: dict[Role, int] = {"identity": 4, "motion": 1}
ITEMS = 4
WARM_UP = 2


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        scene: base and size.
        what: what was measured.
        seconds: of one step, or of one video.
        over_network: over the network's own calls.
        over_reference: over a plain loop that encodes at every step, or over diffusers' pipeline.
        peak_gib: the most memory that was allocated, or None where the device does not say.
        estimated_gib: what was told before, or None.
    """

    scene: str
    what: str
    seconds: float
    over_network: float
    over_reference: float | None
    peak_gib: float | None
    estimated_gib: float | None

    def as_json(self) -> dict[str, Any]:
        """With the numbers rounded to four digits."""
        return {
            key: float(f"{value:.4g}") if isinstance(value, float) else value
            for key, value in asdict(self).items()
        }


def measure_learning(
    stage: Stage,
    role: Role,
    *,
    steps: int,
    checkpointing: bool = False,
    compiled: bool = False,
    note: str = "",
) -> Row:
    """A step of learning over the network's own forward and backward pass, and over a plain loop.

    What is checkpointed or compiled stays so: measure that last. A ``note`` says what else is not as usual.
    """
    if checkpointing:
        recompute_blocks(stage.base)
    if compiled:
        compile_blocks(stage.base)
    bank = fresh_bank(
        stage.base.sites(role), _width_ratio(stage, role), _condition_width(stage, role), seed=0
    )
    bank.to(stage.device)
    with bank.attached(stage.base.denoiser):
        with peak_of(stage.device) as peak:
            ours = _our_step(stage, role, bank, steps)
        network = _repeat(_network_step(stage, role, bank), steps, stage.device)
        plain = None
        if not (checkpointing or compiled or note):
            plain = _repeat(_plain_step(stage, role, bank), max(steps // 2, 1), stage.device)
    flags = [word for word, on in (("checkpointed", checkpointing), ("compiled", compiled)) if on]
    flags += [note] if note else []
    return Row(
        scene=stage.scene.name,
        what=" ".join([f"learn {role}", *flags]),
        seconds=ours,
        over_network=ours / network,
        over_reference=ours / plain if plain else None,
        peak_gib=peak[0],
        estimated_gib=_estimate(stage, role, checkpointing=checkpointing) if not compiled else None,
    )


def measure_layout(stage: Stage, *, steps: int) -> Row | None:
    """A step of learning a motion with images as convolutions like them, channels last; None of a base without any."""
    modules = stage.base.denoiser.modules()
    convolutions = [module for module in modules if isinstance(module, torch.nn.Conv2d)]
    if not convolutions:
        return None
    for convolution in convolutions:
        convolution.to(memory_format=torch.channels_last)
    try:
        return measure_learning(stage, "motion", steps=steps, note="channels last")
    finally:
        for convolution in convolutions:
            convolution.to(memory_format=torch.contiguous_format)


def measure_video(stage: Stage, *, steps: int) -> Row:
    """A video over its calls of the networks, and over diffusers' own pipeline."""
    scene = stage.scene
    recipe = GenerateRecipe(
        prompt="a video",
        frames=scene.frames,
        height_px=scene.height_px,
        width_px=scene.width_px,
        steps=steps,
        guidance=scene.guidance,
        sampler=next(iter(stage.base.samplers)),
    )
    generator = Generator(
        location=stage.location,
        base=stage.base,
        device=stage.device,
        precision="bf16" if stage.base.dtype == torch.bfloat16 else "fp32",
        composition=Composition((), None),
        photo=None,
        guides=Guides(),
        prompts=PromptCache(stage.base),
        accelerator=None,
        progress=ignore,
    )
    turns: dict[str, list[float]] = {"ours": [], "network": [], "pipeline": []}
    with torch.no_grad(), peak_of(stage.device) as peak:
        acts: dict[str, Callable[[], Any]] = {
            "ours": lambda: generator.sample(recipe),
            "network": _network_calls(stage, steps),
            "pipeline": _pipeline_call(stage, recipe),
        }
        for act in acts.values():
            act()
        for _ in range(2):
            for name, act in acts.items():
                turns[name].append(_clock(act, stage.device))
    took = {name: median(found) for name, found in turns.items()}
    return Row(
        scene=scene.name,
        what=f"video of {steps} steps",
        seconds=took["ours"],
        over_network=took["ours"] / took["network"],
        over_reference=took["ours"] / took["pipeline"],
        peak_gib=peak[0],
        estimated_gib=None,
    )


def costly_kernels(stage: Stage, role: Role, *, count: int = 10) -> list[tuple[str, str, float]]:
    """Base, name and milliseconds of the kernels that one step of learning spends most on."""
    from torch.profiler import ProfilerActivity, profile

    on_gpu = stage.device.type == "cuda"
    bank = fresh_bank(
        stage.base.sites(role), _width_ratio(stage, role), _condition_width(stage, role), seed=0
    )
    bank.to(stage.device)
    activities = [ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]
    with bank.attached(stage.base.denoiser):
        step = _network_step(stage, role, bank)
        step()
        with profile(activities=activities) as found:
            step()
            _wait(stage.device)
    spent = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    ranked = sorted(found.key_averages(), key=lambda event: -getattr(event, spent))
    return [(stage.scene.name, event.key, getattr(event, spent) / 1000) for event in ranked[:count]]


@contextmanager
def peak_of(device: torch.device) -> Iterator[list[float | None]]:
    """A list whose one item is, at the end, the most GiB that were allocated meanwhile."""
    found: list[float | None] = [None]
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    yield found
    if device.type == "cuda":
        found[0] = torch.cuda.max_memory_allocated(device) / GIB


def _our_step(stage: Stage, role: Role, bank: Bank, steps: int) -> float:
    """Median seconds of a step of `fit`, from one report of progress to the next."""
    ticks: list[float] = []

    def listen(event: object) -> None:
        if isinstance(event, StageAdvanced):
            _wait(stage.device)
            ticks.append(time.perf_counter())

    plan = FitPlan(
        stage="measure",
        steps=steps + WARM_UP,
        items=ITEMS,
        batch=BATCH[role],
        accumulate=1,
        lr=1e-5,
        weight_decay=0.01,
        clip_norm=1.0,
        seed=0,
    )
    # Gradients are in the adapter's fp32 whatever the base computes in, so the accelerator scales nothing.
    fit(_objective(stage, role, bank), plan, open_accelerator(stage.device, "fp32"), listen)
    return median(later - earlier for earlier, later in pairwise(ticks[WARM_UP - 1 :]))


def _objective(stage: Stage, role: Role, bank: Bank) -> Objective:
    base, conditional = stage.base, stage.text.rows([1])
    if role == "identity":
        photos = EncodedPhotos(stage.draw_latents(ITEMS, 1), None, None)
        return IdentityObjective(base, bank, conditional, photos, 0)
    latents = stage.draw_latents(ITEMS, stage.scene.frames)
    looks = torch.randn(ITEMS, stage.scene.frames, stage.image_width, device=stage.device)
    clips = [EncodedClip(*each) for each in zip(latents, looks, strict=True)]
    return MotionObjective(base, bank, stage.text, clips, recipe=MotionRecipe())


def _network_step(stage: Stage, role: Role, bank: Bank) -> Callable[[], None]:
    """The denoiser with its bottlenecks, forward and backward and nothing else."""
    batch = BATCH[role]
    latents = stage.draw_latents(batch, _frames(stage, role))
    times = _middle(stage, batch)
    text = stage.text.rows([1]).expand(batch)
    bank.condition = _condition(stage, role)

    def step() -> None:
        stage.base.denoise(latents, times, text).float().square().mean().backward()
        bank.zero_grad()

    return step


def _plain_step(stage: Stage, role: Role, bank: Bank) -> Callable[[], None]:
    """A step as it is first written: pixels are encoded anew, and the loss is read at once. Prompts are kept."""
    batch, scene = BATCH[role], stage.scene
    optimiser = torch.optim.AdamW(bank.parameters(), lr=1e-5)
    shape = (batch, 3, _frames(stage, role), scene.height_px, scene.width_px)
    pixels = torch.rand(shape, device=stage.device) * 2 - 1
    text, path = stage.text.rows([1]).expand(batch), stage.base.path
    random = torch.Generator().manual_seed(0)

    def step() -> None:
        latents = stage.base.encode_video(pixels)
        noise = torch.randn_like(latents)
        times = torch.tensor([path.draw_time(random) for _ in range(batch)], device=stage.device)
        bank.condition = _condition(stage, role)
        found = stage.base.denoise(path.mix(latents, noise, times), times, text)
        loss = (found.float() - path.target(latents, noise, times)).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(bank.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        loss.item()

    return step


def _network_calls(stage: Stage, steps: int) -> Callable[[], None]:
    """The denoiser as often as a video calls it, and one decoding."""
    latents = stage.draw_latents(2, stage.scene.frames)
    times = _middle(stage, 2)

    def calls() -> None:
        for _ in range(steps):
            stage.base.denoise(latents, times, stage.text)
        stage.base.decode_video(latents[:1])

    return calls


def _pipeline_call(stage: Stage, recipe: GenerateRecipe) -> Callable[[], Any]:
    """The same video by diffusers' own pipeline, prompts encoded and frames given as arrays."""
    scheduler = stage.base.samplers[recipe.sampler](recipe.steps)
    pipeline = stage.scene.pipeline(stage.base, scheduler)
    pipeline.set_progress_bar_config(disable=True)
    noise = draw_start(
        stage.base.latent_shape(recipe.frames, recipe.height_px, recipe.width_px), recipe.seed
    ).to(stage.device, stage.text.features.dtype)
    return lambda: pipeline(
        prompt_embeds=stage.text.rows([1]).features,
        negative_prompt_embeds=stage.text.rows([0]).features,
        num_frames=recipe.frames,
        height=recipe.height_px,
        width=recipe.width_px,
        num_inference_steps=recipe.steps,
        guidance_scale=recipe.guidance,
        latents=noise,
        output_type="np",
    )


def _middle(stage: Stage, batch: int) -> Tensor:
    """Times (b,) as the base's path draws them."""
    time_ = stage.base.path.draw_time(torch.Generator().manual_seed(0))
    return torch.tensor([time_] * batch, device=stage.device)


def _condition(stage: Stage, role: Role) -> Condition | None:
    if role == "identity":
        return None
    return Condition(torch.randn(BATCH[role], stage.image_width, device=stage.device))


def _condition_width(stage: Stage, role: Role) -> int | None:
    return stage.image_width if role == "motion" else None


def _width_ratio(stage: Stage, role: Role) -> float:
    """As the base's card has it."""
    card = stage.location.card
    if role == "identity":
        return subject_recipe("standard", card.subject, {}).width_ratio
    return motion_recipe("standard", card.motion, {}).width_ratio


def _frames(stage: Stage, role: Role) -> int:
    return 1 if role == "identity" else stage.scene.frames


def _estimate(stage: Stage, role: Role, *, checkpointing: bool) -> float:
    """GiB that are told before; the autoencoder, which is kept here for the videos, is added."""
    scene = stage.scene
    sizes = Sizes(BATCH[role], _frames(stage, role), scene.height_px, scene.width_px)
    need = estimate_base(
        stage.hollow,
        role,
        sizes,
        image_width=stage.image_width,
        checkpointing=checkpointing,
        width_ratio=_width_ratio(stage, role),
    )
    kept: Any = stage.base.__dict__["_vae"]
    return (need.total + sum(p.numel() * p.element_size() for p in kept.parameters())) / GIB


def _repeat(act: Callable[[], Any], times: int, device: torch.device) -> float:
    """Median seconds of ``act``, which is called once more to warm up."""
    act()
    return median(_clock(act, device) for _ in range(times))


def _clock(act: Callable[[], Any], device: torch.device) -> float:
    _wait(device)
    started = time.perf_counter()
    act()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
