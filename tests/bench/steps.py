"""Our learning step, the network alone, and a plain loop that encodes at every step."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from engine.adapters.bank import Bank, Condition, fresh_bank
from engine.bases import open_base
from engine.diffusion.path import NoisePath
from engine.methods.dreamvideo import IdentityObjective, MotionObjective
from engine.progress import StageAdvanced
from engine.recipe import MotionRecipe
from engine.training.encode import EncodedClip, EncodedPhotos
from engine.training.fit import FitPlan, fit, open_accelerator
from tests.bench.timing import Ratio, take_turns, timed

if TYPE_CHECKING:
    from torch import nn

    from engine.bases import BaseLocation
    from engine.bases.protocol import Base, Role

CPU = torch.device("cpu")
BATCH: dict[Role, int] = {"identity": 4, "motion": 1}
PROMPT = "a dog sweeping from side to side"
ITEMS = 4


@dataclass(frozen=True, slots=True)
class Scene:
    """A bank on its base with pixels to learn from, (n, 3, f, h, w) in [-1, 1]."""

    base: Base
    bank: Bank
    pixels: Tensor
    batch: int


def compare(location: BaseLocation, role: Role, *, steps: int, rounds: int) -> list[Ratio]:
    """Our step over the network's own, and over the plain loop's; ``steps`` of each a round."""
    scene = _draw_scene(open_base(location, device=CPU, dtype=torch.float32), role)
    with scene.bank.attached(scene.base.denoiser):
        took = take_turns(
            {
                "ours": lambda: _our_steps(scene, role, steps),
                "network": lambda: _network_steps(scene, steps),
                "plain": lambda: _plain_steps(scene, steps),
            },
            rounds,
        )
    ms = {name: 1000 * seconds for name, seconds in took.items()}
    return [
        Ratio(f"{role}: step / forward and backward", ms["ours"], ms["network"], goal=1.1),
        Ratio(f"{role}: step / plain loop that encodes", ms["ours"], ms["plain"]),
    ]


def _draw_scene(base: Base, role: Role) -> Scene:
    geometry, batch = base.geometry, BATCH[role]
    frames = 1 if role == "identity" else geometry.frames
    generator = torch.Generator().manual_seed(0)
    shape = (ITEMS, 3, frames, geometry.height_px, geometry.width_px)
    condition = geometry.image_width if role == "motion" else None
    bank = fresh_bank(base.sites(role), 0.5, condition, seed=0)
    return Scene(base, bank, torch.rand(shape, generator=generator) * 2 - 1, batch)


def _our_steps(scene: Scene, role: Role, steps: int) -> list[float]:
    """Seconds of each step of `fit`, from one report of progress to the next."""
    ticks: list[float] = []

    def listen(event: object) -> None:
        if isinstance(event, StageAdvanced):
            ticks.append(time.perf_counter())

    plan = FitPlan(
        stage="bench",
        steps=steps + 1,
        items=ITEMS,
        batch=scene.batch,
        accumulate=1,
        lr=1e-5,
        weight_decay=0.01,
        clip_norm=1.0,
        seed=0,
    )
    fit(_objective(scene, role), plan, open_accelerator(CPU, "fp32"), listen)
    return [later - earlier for earlier, later in pairwise(ticks)]


def _objective(scene: Scene, role: Role) -> nn.Module:
    base = scene.base
    latents = base.encode_video(scene.pixels)
    if role == "identity":
        photos = EncodedPhotos(latents, None, None)
        return IdentityObjective(base, scene.bank, base.encode_text([PROMPT], {}), photos, 0)
    clips = [
        EncodedClip(each, base.encode_image(pixels.transpose(0, 1)))
        for each, pixels in zip(latents, scene.pixels, strict=True)
    ]
    text = base.encode_text(["", PROMPT], {})
    return MotionObjective(base, scene.bank, text, clips, recipe=MotionRecipe())


def _network_steps(scene: Scene, steps: int) -> list[float]:
    """Seconds of the denoiser with its bottlenecks, forward and backward and nothing else."""
    base, batch = scene.base, scene.batch
    latents = base.encode_video(scene.pixels[:batch])
    timesteps = torch.full((batch,), 500)
    text = base.encode_text([PROMPT] * batch, {})
    scene.bank.condition = _condition(scene, scene.pixels[:batch])

    def step() -> None:
        base.denoise(latents, timesteps, text).square().mean().backward()
        scene.bank.zero_grad()

    return [timed(step) for _ in range(steps)]


def _plain_steps(scene: Scene, steps: int) -> list[float]:
    """Seconds of a loop as it is first written: pixels, prompt and photo are encoded anew each step."""
    optimiser = torch.optim.AdamW(scene.bank.parameters(), lr=1e-5)
    path = scene.base.path

    def step() -> None:
        pixels = scene.pixels[torch.randint(ITEMS, (scene.batch,))]
        loss = _plain_loss(scene, path, pixels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(scene.bank.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        loss.item()

    return [timed(step) for _ in range(steps)]


def _plain_loss(scene: Scene, path: NoisePath, pixels: Tensor) -> Any:
    base, batch = scene.base, scene.batch
    latents = base.encode_video(pixels)
    text = base.encode_text([PROMPT] * batch, {})
    scene.bank.condition = _condition(scene, pixels)
    noise, timesteps = torch.randn_like(latents), torch.randint(path.timesteps, (batch,))
    noisy = path.mix(latents, noise, timesteps)
    wanted = path.target(latents, noise, timesteps)
    return (base.denoise(noisy, timesteps, text) - wanted).square().mean()


def _condition(scene: Scene, pixels: Tensor) -> Condition | None:
    """The appearance of each clip's first frame, for a bank that takes one."""
    if pixels.shape[2] == 1:
        return None
    return Condition(scene.base.encode_image(pixels[:, :, 0]))
