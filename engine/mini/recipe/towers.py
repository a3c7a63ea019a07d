"""Stage 2: the text tower and the image tower, trained to agree about the world's pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from engine.bases.pixels import to_unit
from engine.mini.recipe.loop import train_stage
from engine.mini.world.captions import MAX_TOKENS, build_tokenizer, draw_caption, tokenize
from engine.mini.world.figures import COLOURS, MARKS, read_figure
from engine.mini.world.scenes import BACKGROUNDS, MOTIONS, Scene
from engine.mini.world.things import TRAINED_THINGS

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

    from engine.mini.recipe.dataset import Dataset
    from engine.mini.recipe.presets import Preset

IMAGE_MEAN, IMAGE_STD = 0.5, 0.25
FACTORS = (list(TRAINED_THINGS), list(COLOURS), list(MARKS), list(MOTIONS), list(BACKGROUNDS))


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
    preset: Preset, dataset: Dataset, folder: Path, *, seed: int, device: torch.device
) -> Towers:
    """Contrast pictures with captions; half of the pictures are frames of clips."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    towers = Towers(preset, tokenizer).to(device)

    def loss_at(step: int, worker: int) -> Tensor:
        rng = np.random.default_rng([seed, 5, step, worker])
        pictures, scenes = draw_pairs(rng, dataset, preset.towers.batch // preset.workers)
        ids = tokenize(tokenizer, [draw_caption(rng, scene) for scene in scenes])
        return agreement_loss(towers, pictures.to(device), ids.to(device), scenes)

    train_stage("towers", preset.towers, towers, loss_at, folder, workers=preset.workers)
    return towers.eval()


def draw_pairs(
    rng: np.random.Generator, dataset: Dataset, count: int
) -> tuple[Tensor, list[Scene]]:
    """Random pictures, (count, 3, h, w) in [-1, 1], and what they show: stills, then frames."""
    half = count // 2
    still = rng.integers(len(dataset.stills), size=half)
    clip = rng.integers(len(dataset.clips), size=count - half)
    frame = rng.integers(dataset.clips.shape[1], size=count - half)
    pictures = np.concatenate([dataset.stills[still], dataset.clips[clip, frame]])
    scenes = [dataset.still_scenes[i] for i in still] + [dataset.clip_scenes[i] for i in clip]
    return to_unit(pictures), scenes


def agreement_loss(towers: Towers, pictures: Tensor, ids: Tensor, scenes: list[Scene]) -> Tensor:
    """Contrastive loss of both directions, plus the probes' loss on the text's embedding.

    Without the probes nothing would keep "moving left" apart from "moving right", which a single
    frame cannot show.
    """
    image = functional.normalize(towers.image(normalise(pictures)).image_embeds, dim=-1)
    pooled = towers.text(ids).pooler_output
    logits = image @ functional.normalize(pooled, dim=-1).mT * towers.temperature.exp()
    own = torch.arange(len(logits), device=logits.device)
    loss = functional.cross_entropy(logits, own) + functional.cross_entropy(logits.mT, own)
    facts = zip(*(list_facts(scene) for scene in scenes), strict=True)
    for probe, names, said in zip(towers.probes, FACTORS, facts, strict=True):
        truth = [names.index(word) if word in names else -100 for word in said]
        loss = loss + 0.25 * functional.cross_entropy(
            probe(pooled), torch.tensor(truth, device=logits.device)
        )
    return loss


def list_facts(scene: Scene) -> tuple[str, ...]:
    """What is true of a scene, one word for each of `FACTORS`."""
    figure = read_figure(scene.subject)
    return figure.thing, figure.colour, figure.marks, scene.motion, scene.background


@torch.no_grad()
def encode_text(tower: CLIPTextModel, ids: Tensor) -> Tensor:
    """Features of token ids (b, l): (b, l, d), after the final layer norm."""
    return cast("Tensor", tower(ids.to(tower.device)).last_hidden_state)
