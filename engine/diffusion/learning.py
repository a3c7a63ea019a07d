"""What is minimised: one module for each thing that is learned, giving a loss for every draw."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from engine.adapters.bank import Bank, Condition
from engine.adapters.token import Word
from engine.bases.protocol import Base
from engine.diffusion.objective import (
    NoiseSchedule,
    draw_chance,
    draw_frame,
    draw_noise,
    draw_timestep,
    masked_mse,
)
from engine.encode import EncodedClip, EncodedPhotos
from engine.gradients import Draw


class WordObjective(nn.Module):
    """Loss of a learned word; everything but its vector is frozen.

    Paper: arXiv 2312.04433, section 3.1, first stage.
    """

    def __init__(self, base: Base, word: Word, photos: EncodedPhotos, seed: int) -> None:
        """Learn ``word`` on ``photos`` under the plainest prompt."""
        super().__init__()
        self.word = word
        self._losses = DenoisingLoss(base, seed)
        self._base, self._photos = base, photos

    def parts(self, draws: Sequence[Draw]) -> list[Sequence[Draw]]:
        """All photos have one shape: all draws at once."""
        return [draws]

    def forward(self, draws: Sequence[Draw]) -> Tensor:
        """(len(draws),); the prompt runs through the text tower each time, for the gradient's sake."""
        text = self._base.encode_text([prompt_of(self.word.token)], self.word.as_words())
        return photo_losses(self._losses, self._photos, text, draws)


class IdentityObjective(nn.Module):
    """Loss of an identity adapter under text features (1, l, d) that are given and frozen.

    Paper: arXiv 2312.04433, section 3.1, second stage.
    """

    def __init__(
        self, base: Base, bank: Bank, text: Tensor, photos: EncodedPhotos, seed: int
    ) -> None:
        """Learn ``bank``, which must be attached to the base's denoiser."""
        super().__init__()
        self.bank = bank
        self._losses = DenoisingLoss(base, seed)
        self._text, self._photos = text, photos

    def parts(self, draws: Sequence[Draw]) -> list[Sequence[Draw]]:
        """All photos have one shape: all draws at once."""
        return [draws]

    def forward(self, draws: Sequence[Draw]) -> Tensor:
        """(len(draws),)."""
        return photo_losses(self._losses, self._photos, self._text, draws)


class MotionObjective(nn.Module):
    """Loss of a motion adapter with appearance guidance.

    Each draw takes one random frame's appearance vector, or zeros with probability ``image_drop``, and the caption,
    or the empty prompt with probability ``text_drop``.

    Paper: arXiv 2312.04433, section 3.2.
    """

    def __init__(
        self,
        base: Base,
        bank: Bank,
        text: Tensor,
        clips: Sequence[EncodedClip],
        seed: int,
        *,
        text_drop: float,
        image_drop: float,
        noise_bias: float = 1.0,
    ) -> None:
        """Learn ``bank``, attached to the base's denoiser; ``text`` (2, l, d) is empty prompt and caption."""
        super().__init__()
        self.bank = bank
        self._losses = DenoisingLoss(base, seed, noise_bias)
        self._text, self._clips, self._seed = text, tuple(clips), seed
        self._text_drop, self._image_drop = text_drop, image_drop

    def parts(self, draws: Sequence[Draw]) -> list[list[Draw]]:
        """The draws by the number of frames of their clips: one batch has one shape and one condition."""
        by_length = sorted(draws, key=self._length)
        return [list(part) for _, part in groupby(by_length, key=self._length)]

    def _length(self, draw: Draw) -> int:
        return self._clips[draw.item].latents.shape[1]

    def forward(self, draws: Sequence[Draw]) -> Tensor:
        """(len(draws),), of clips of one length.

        The condition stays on the bank until the backward pass, for checkpointed blocks run again then.
        """
        latents = torch.stack([self._clips[draw.item].latents for draw in draws])
        self.bank.condition = Condition(torch.stack([self._appearance(draw) for draw in draws]))
        text = torch.stack([self._text[0 if self._drops("text", draw) else 1] for draw in draws])
        return self._losses(latents, text, draws)

    def _appearance(self, draw: Draw) -> Tensor:
        """The vector (d,) of a random frame, or zeros."""
        frames = self._clips[draw.item].appearance
        if self._drops("image", draw):
            return torch.zeros_like(frames[0])
        return frames[draw_frame(frames.shape[0], self._seed, draw.step, draw.place)]

    def _drops(self, what: str, draw: Draw) -> bool:
        probability = self._text_drop if what == "text" else self._image_drop
        return draw_chance(probability, self._seed, draw.step, draw.place, f"{what} drop")


class DenoisingLoss:
    """The denoising loss with noise and timesteps keyed by (seed, step, place).

    Paper: arXiv 2312.04433, equation 1.
    """

    def __init__(self, base: Base, seed: int, noise_bias: float = 1.0) -> None:
        """Draw for ``base``, as its scheduler's config says; see `draw_timestep` for the bias."""
        self._base, self._seed, self._bias = base, seed, noise_bias
        self._schedule = NoiseSchedule(base.scheduler_config)

    def __call__(
        self, latents: Tensor, text: Tensor, draws: Sequence[Draw], masks: Tensor | None = None
    ) -> Tensor:
        """Losses (b,) of latents (b, c, f, h, w) under text (b, l, d), one draw a sample."""
        shape = tuple(latents.shape[1:])
        noise = torch.stack(
            [draw_noise(shape, self._seed, draw.step, draw.place) for draw in draws]
        ).to(latents)
        limit = self._schedule.timesteps
        timesteps = torch.tensor(
            [draw_timestep(limit, self._seed, draw.step, draw.place, self._bias) for draw in draws],
            device=latents.device,
        )
        noisy = self._schedule.add_noise(latents, noise, timesteps)
        prediction = self._base.denoise(noisy, timesteps, text)
        return masked_mse(prediction, self._schedule.target(latents, noise, timesteps), masks)


def photo_losses(
    losses: DenoisingLoss, photos: EncodedPhotos, text: Tensor, draws: Sequence[Draw]
) -> Tensor:
    """Losses (len(draws),) of photos under one prompt's features (1, l, d), masked where they have masks."""
    items = torch.tensor([draw.item for draw in draws], device=photos.latents.device)
    masks = None if photos.masks is None else photos.masks[items]
    return losses(photos.latents[items], text.expand(len(draws), -1, -1), draws, masks)


def prompt_of(token: str) -> str:
    """The prompt under which a subject is learned.

    Paper: the plainest template of textual inversion, as the reference uses it.
    """
    return f"a {token}"
