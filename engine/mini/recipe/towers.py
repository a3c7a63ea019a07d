"""Stage 2: the text tower and the image tower, trained to agree about the world's pictures."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from engine.mini.recipe.budget import Stage, train_stage
from engine.mini.recipe.presets import Preset
from engine.mini.recipe.steps import Step
from engine.mini.world.batches import MOTION_NAMES, Batches
from engine.mini.world.captions import MAX_TOKENS
from engine.mini.world.figures import COLOURS, MARKS
from engine.mini.world.population import UNKNOWN
from engine.mini.world.scenes import BACKGROUNDS
from engine.mini.world.things import TRAINED_THINGS

IMAGE_MEAN, IMAGE_STD = 0.5, 0.25
FACTORS = (TRAINED_THINGS, COLOURS, MARKS, MOTION_NAMES[:-2], BACKGROUNDS)
"""What the probes tell apart: things, colours, marks, motions, plain backgrounds."""
SHORT = 0.3
"""Share of shortened captions."""


class Towers(nn.Module):
    """Both towers, and the probes that keep what captions say apart; only the towers are kept.

    The text's embedding is its pooled output itself, so the image tower projects to the text's
    width and cosines can be taken between the two folders as they are.
    """

    def __init__(self, preset: Preset, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.text = CLIPTextModel(_configure_text(preset, tokenizer))
        self.image = CLIPVisionModelWithProjection(_configure_image(preset))
        self.probes = nn.ModuleList(nn.Linear(preset.text_width, len(f)) for f in FACTORS)
        self.temperature = nn.Parameter(torch.tensor(2.5))


def _configure_text(preset: Preset, tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=preset.text_width,
        intermediate_size=2 * preset.text_width,
        num_hidden_layers=preset.text_layers,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        projection_dim=preset.text_width,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _configure_image(preset: Preset) -> CLIPVisionConfig:
    return CLIPVisionConfig(
        hidden_size=preset.image_width,
        intermediate_size=2 * preset.image_width,
        num_hidden_layers=preset.image_layers,
        num_attention_heads=4,
        image_size=preset.side_px,
        patch_size=preset.side_px // 4,
        projection_dim=preset.text_width,
        hidden_act="gelu",
    )


def normalise(pictures: Tensor) -> Tensor:
    """Pictures in [-1, 1] as the image tower reads them."""
    return (pictures * 0.5 + 0.5 - IMAGE_MEAN) / IMAGE_STD


def train_towers(
    preset: Preset, batches: Batches, folder: Path, *, towers: Towers, stage: Stage, half: bool
) -> None:
    """Contrast pictures with captions, in place; half of the pictures are frames of clips."""
    n = preset.towers.batch // 2

    def loss() -> Tensor:
        stills, clips = batches.stills(n), batches.clips(n)
        frame = (batches.rand(n) * preset.frames).long()
        shown = clips.pictures[torch.arange(n, device=batches.device), frame]
        pictures = torch.cat([stills.pictures[:, 0], shown])
        ids = [batches.captions(batch, short=SHORT) for batch in (stills, clips)]
        facts = zip(*(batches.list_facts(batch) for batch in (stills, clips)), strict=True)
        return agreement_loss(towers, pictures, torch.cat(ids), [torch.cat(pair) for pair in facts])

    step = Step("pairs", loss)
    train_stage(stage, towers.train().requires_grad_(True), lambda _, __: step, folder, half=half)
    towers.eval().requires_grad_(False)


def agreement_loss(towers: Towers, pictures: Tensor, ids: Tensor, facts: list[Tensor]) -> Tensor:
    """Contrastive loss of both directions, plus the probes' loss on the text's embedding.

    Without the probes nothing would keep "moving left" apart from "moving right", which a single
    frame cannot show.

    Args:
        towers: both towers with their probes.
        pictures: (n, 3, s, s) in [-1, 1].
        ids: token ids (n, l).
        facts: true indices (n,) for each of `FACTORS`.
    """
    image = functional.normalize(towers.image(normalise(pictures)).image_embeds.float(), dim=-1)
    pooled = towers.text(ids).pooler_output.float()
    logits = image @ functional.normalize(pooled, dim=-1).mT * towers.temperature.exp()
    own = torch.arange(len(logits), device=logits.device)
    loss = functional.cross_entropy(logits, own) + functional.cross_entropy(logits.mT, own)
    for probe, truth in zip(towers.probes, facts, strict=True):
        errors = functional.cross_entropy(
            probe(pooled).float(), truth, ignore_index=UNKNOWN, reduction="sum"
        )
        loss = loss + 0.25 * errors / (truth != UNKNOWN).sum().clamp(min=1)
    return loss


@torch.no_grad()
def encode_text(tower: CLIPTextModel, ids: Tensor) -> Tensor:
    """Features of token ids (b, l): (b, l, d), after the final layer norm."""
    return cast("Tensor", tower(ids.to(tower.device)).last_hidden_state)
