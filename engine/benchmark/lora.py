"""The baseline of joint LoRA: one low-rank adapter over all attention, on photos and clip at once.

Reference: LoRA, arXiv 2106.09685, by the peft library; "LoRA" in table 1 of arXiv 2312.04433.
Differs: every attention layer of the denoiser, spatial and temporal, since the paper does not say which.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.bases.protocol import Base, Text
from engine.benchmark.pairs import Pair
from engine.benchmark.store import Workshop, photo_set
from engine.diffusion.learning import photo_losses
from engine.diffusion.losses import DenoisingLoss, Draw
from engine.errors import ScorerMissingError
from engine.progress import ignore
from engine.recipe import MotionRecipe
from engine.training.encode import EncodedClip, EncodedPhotos, encode_clips, encode_photos
from engine.training.fit import fit, plan_stage
from engine.training.session import open_workbench

RANK = 16
# The better of 1e-3 and 4e-3, the rate of our own identity adapter, on the development half.
RATE = 1e-3
LAYERS = ("to_q", "to_k", "to_v", "to_out.0")


@dataclass(frozen=True, slots=True)
class Joint:
    """A base that knows subject and motion by one LoRA, and how long learning took."""

    base: Base
    seconds: float


class JointObjective(nn.Module):
    """Denoising loss of the photos under "a {class}" and of the clip as its recipe tells it, in equal shares."""

    def __init__(
        self,
        base: Base,
        photos: EncodedPhotos,
        clip: EncodedClip,
        text: Text,
        move: MotionRecipe,
    ) -> None:
        """Learn what of ``base`` wants gradients; ``text`` is the photos' prompt and the clip's."""
        super().__init__()
        self.denoiser = base.denoiser
        self._base = base
        self._photo_loss = DenoisingLoss(base.path, move.seed)
        self._clip_loss = DenoisingLoss(base.path, move.seed, move.noise_bias)
        self._photos, self._clip, self._text = photos, clip, text

    @property
    def items(self) -> int:
        """The photos, and the clip as often."""
        return 2 * len(self._photos.latents)

    def parts(self, draws: Sequence[Draw]) -> list[list[Draw]]:
        """Photos and clips apart: they differ in length."""
        count = len(self._photos.latents)
        photos = [draw for draw in draws if draw.item < count]
        clips = [draw for draw in draws if draw.item >= count]
        return [part for part in (photos, clips) if part]

    def forward(self, draws: Sequence[Draw]) -> Tensor:
        """(len(draws),), all of them photos or all of them the clip."""
        if draws[0].item < len(self._photos.latents):
            text = self._text.rows([0])
            return photo_losses(self._base, self._photo_loss, self._photos, text, draws)
        latents = self._clip.latents.expand(len(draws), *self._clip.latents.shape)
        text = self._text.rows([1] * len(draws))
        denoise = self._base.denoise
        return self._clip_loss(lambda noisy, times: denoise(noisy, times, text), latents, draws)


def learn_joint(workshop: Workshop, pair: Pair) -> Joint:
    """Learn the pair by one LoRA, in as many updates as its subject and its motion take together.

    Raises:
        ScorerMissingError: peft cannot be imported.
        EngineError: see `engine.learn_motion`.
    """
    started = time.monotonic()
    look, move = workshop.subject_recipe(pair, "both"), workshop.motion_recipe(pair, "guided")
    bench = open_workbench(move, workshop.location, workshop.device, Path(), None)
    base = bench.base
    inject(base.denoiser, seed=move.seed)
    objective = JointObjective(
        base,
        encode_photos(
            base, photo_set(pair.subject, workshop.half), ignore, views=look.views, seed=look.seed
        ),
        encode_clips(base, [workshop.clip(pair)], ignore)[0],
        base.encode_text([f"a {pair.class_word}", move.told], {}).detach(),
        move,
    )
    plan = plan_stage(
        move,
        "learn by LoRA",
        steps=look.word_steps + look.adapter_steps + move.steps,
        items=objective.items,
        lr=RATE,
        lanes=move.lanes,
    )
    fit(objective, plan, bench.accelerator, ignore)
    base.denoiser.requires_grad_(requires_grad=False)
    return Joint(base, time.monotonic() - started)


def inject(denoiser: nn.Module, *, seed: int) -> None:
    """Put fresh LoRA layers into the denoiser, which leave its output unchanged until they learn.

    Raises:
        ScorerMissingError: peft cannot be imported.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ScorerMissingError(
            "comparing with LoRA needs peft, which is not installed",
            hint="pip install 'dreamvideo-cli[eval]'",
        ) from error
    config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(LAYERS))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, denoiser)
