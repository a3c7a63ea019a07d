"""What is minimised: one module for each thing that is learned, giving a loss for every draw."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from engine.adapters.bank import Bank, Condition
from engine.adapters.word import Word
from engine.bases.protocol import Base, Text
from engine.diffusion.losses import DenoisingLoss, Draw
from engine.diffusion.noise import draw_chance, draw_frame
from engine.training.encode import EncodedClip, EncodedPhotos


class WordObjective(nn.Module):
    """Loss of a learned word; everything but its vector is frozen.

    Paper: arXiv 2312.04433, section 3.1, first stage.
    """

    def __init__(self, base: Base, word: Word, photos: EncodedPhotos, seed: int) -> None:
        """Learn ``word`` on ``photos`` under the plainest prompt."""
        super().__init__()
        self.word = word
        self._loss = DenoisingLoss(base.path, seed)
        self._base, self._photos = base, photos

    def parts(self, draws: Sequence[Draw]) -> list[Sequence[Draw]]:
        """All photos have one shape: all draws at once."""
        return [draws]

    def forward(self, draws: Sequence[Draw]) -> Tensor:
        """(len(draws),); the prompt runs through the text tower each time, for the gradient's sake."""
        text = self._base.encode_text([prompt_of(self.word.token)], self.word.as_words())
        return photo_losses(self._base, self._loss, self._photos, text, draws)


class IdentityObjective(nn.Module):
    """Loss of an identity adapter under one prompt that is given and frozen.

    Paper: arXiv 2312.04433, section 3.1, second stage.
    """

    def __init__(
        self, base: Base, bank: Bank, text: Text, photos: EncodedPhotos, seed: int
    ) -> None:
        """Learn ``bank``, which must be attached to the base's denoiser."""
        super().__init__()
        self.bank = bank
        self._loss = DenoisingLoss(base.path, seed)
        self._base, self._text, self._photos = base, text, photos

    def parts(self, draws: Sequence[Draw]) -> list[Sequence[Draw]]:
        """All photos have one shape: all draws at once."""
        return [draws]

    def forward(self, draws: Sequence[Draw]) -> Tensor:
        """(len(draws),)."""
        return photo_losses(self._base, self._loss, self._photos, self._text, draws)


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
        text: Text,
        clips: Sequence[EncodedClip],
        seed: int,
        *,
        text_drop: float,
        image_drop: float,
        noise_bias: float = 1.0,
    ) -> None:
        """Learn ``bank``, attached to the base's denoiser; ``text`` is the empty prompt and the caption."""
        super().__init__()
        self.bank = bank
        self._loss = DenoisingLoss(base.path, seed, noise_bias)
        self._base, self._text, self._clips, self._seed = base, text, tuple(clips), seed
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
        text = self._text.rows([0 if self._drops("text", draw) else 1 for draw in draws])
        denoise = self._base.denoise
        return self._loss(lambda noisy, times: denoise(noisy, times, text), latents, draws)

    def _appearance(self, draw: Draw) -> Tensor:
        """The vector (d,) of a random frame, or zeros."""
        frames = self._clips[draw.item].appearance
        if self._drops("image", draw):
            return torch.zeros_like(frames[0])
        return frames[draw_frame(frames.shape[0], self._seed, draw.step, draw.place)]

    def _drops(self, what: str, draw: Draw) -> bool:
        probability = self._text_drop if what == "text" else self._image_drop
        return draw_chance(probability, self._seed, draw.step, draw.place, f"{what} drop")


def photo_losses(
    base: Base, loss: DenoisingLoss, photos: EncodedPhotos, text: Text, draws: Sequence[Draw]
) -> Tensor:
    """Losses (len(draws),) of photos under one prompt, masked where they have masks."""
    items = torch.tensor([draw.item for draw in draws], device=photos.latents.device)
    masks = None if photos.masks is None else photos.masks[items]
    texts = text.expand(len(draws))
    return loss(
        lambda noisy, times: base.denoise(noisy, times, texts),
        photos.latents[items],
        draws,
        masks,
    )


def prompt_of(token: str) -> str:
    """The prompt under which a subject is learned.

    Paper: the plainest template of textual inversion, as the reference uses it.
    """
    return f"a {token}"
