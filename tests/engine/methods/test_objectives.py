"""The objectives on the tiny base: what they compute, what they teach, and what they draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from engine.adapters.bank import Condition, fresh_bank
from engine.adapters.word import Word
from engine.blocks import recompute_blocks
from engine.diffusion.losses import Draw
from engine.diffusion.noise import draw_noise, keyed_generator
from engine.methods.dreamvideo import IdentityObjective, MotionObjective
from engine.methods.word import WordObjective
from engine.progress import ignore
from engine.recipe import MotionRecipe
from engine.training.encode import EncodedClip, EncodedPhotos
from engine.training.fit import FitPlan, draws_of, fit, open_accelerator
from tests.tiny import (
    HEIGHT_PX,
    IMAGE_WIDTH,
    LATENT_CHANNELS,
    LATENT_SCALE,
    WIDTH_PX,
    open_tiny,
    quiet_draws,
    wake,
)

SIZE, SEED = (HEIGHT_PX // LATENT_SCALE, WIDTH_PX // LATENT_SCALE), 5
CPU = torch.device("cpu")
DRAWS = [Draw(step=7, place=place, item=item) for place, item in enumerate([2, 0, 1, 2])]


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def photos():
    """Three photos, each with a mask of its own, half of it black and the rest grey."""
    masks = normal(3, 1, 1, *SIZE, seed=1).clamp(0, 1)
    return EncodedPhotos(normal(3, LATENT_CHANNELS, 1, *SIZE), masks, None)


@pytest.fixture(scope="module")
def clips():
    """Three clips of four frames."""
    return tuple(clip_of(4, seed) for seed in range(3))


def clip_of(frames, seed):
    latents = normal(LATENT_CHANNELS, frames, *SIZE, seed=seed)
    return EncodedClip(latents, normal(frames, IMAGE_WIDTH, seed=seed + 10))


def awake(base, role):
    """A bank whose bottlenecks all do something, and whose condition counts."""
    width = IMAGE_WIDTH if role == "motion" else None
    with quiet_draws(0):
        return wake(fresh_bank(base.sites(role), 0.5, width, seed=0), 0.6)


def motion_of(base, bank, clips, *, text_drop=0.0, image_drop=0.0):
    text = base.encode_text(["", "a dog sweeping"], {})
    recipe = MotionRecipe(seed=SEED, text_drop=text_drop, image_drop=image_drop)
    return MotionObjective(base, bank, text, clips, recipe=recipe)


def losses_of(base, objective, draws=DRAWS):
    """Losses without gradients, the objective's bank attached."""
    with torch.no_grad(), objective.bank.attached(base.denoiser):
        return objective(draws)


@pytest.fixture
def identity(tiny_base, photos):
    text = tiny_base.encode_text(["a dog"], {})
    return IdentityObjective(tiny_base, awake(tiny_base, "identity"), text, photos, SEED)


def test_a_photos_loss_is_the_papers_masked_over_the_area(tiny_base, photos, identity):
    """‖ε - ε_θ(√ᾱ z + √(1-ᾱ) ε, t, text)‖² inside the mask, over its area."""
    alphas = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    text = tiny_base.encode_text(["a dog"], {})
    expected = []
    for draw in DRAWS:
        latents = photos.latents[draw.item].numpy()
        noise = draw_noise(latents.shape, SEED, draw.step, draw.place).numpy()
        t = tiny_base.path.draw_time(keyed_generator(SEED, draw.step, draw.place, "timestep"))
        noisy = alphas[t] ** 0.5 * latents + (1 - alphas[t]) ** 0.5 * noise
        with torch.no_grad(), identity.bank.attached(tiny_base.denoiser):
            said = tiny_base.denoise(
                torch.from_numpy(noisy[None]).float(), torch.tensor([t]), text
            )[0].numpy()
        mask = np.broadcast_to(photos.masks[draw.item].numpy(), said.shape)
        expected.append((((said - noise) ** 2) * mask).sum() / mask.sum())
    np.testing.assert_allclose(losses_of(tiny_base, identity).numpy(), expected, rtol=1e-3)


def test_parts_of_a_batch_lose_what_the_whole_loses(tiny_base, identity):
    whole = losses_of(tiny_base, identity)
    parts = [losses_of(tiny_base, identity, DRAWS[first : first + 2]) for first in (0, 2)]
    assert torch.allclose(torch.cat(parts), whole, rtol=1e-4)


def test_a_loss_depends_on_its_draw_and_not_on_what_came_before(tiny_base, identity):
    first = losses_of(tiny_base, identity)
    losses_of(tiny_base, identity, [Draw(step=1, place=0, item=1)])
    assert torch.equal(losses_of(tiny_base, identity), first)


def test_the_same_photo_meets_other_noise_at_every_place_and_step(tiny_base, identity):
    draws = [Draw(step, place, item=0) for step in range(2) for place in range(2)]
    assert len(set(losses_of(tiny_base, identity, draws).tolist())) == len(draws)


def test_what_lies_outside_the_mask_teaches_nothing_of_itself(tiny_base, photos):
    """Where the prediction does not see the pixels, those outside the mask leave the loss alone."""
    blind = nn.Identity()
    base = Blind(tiny_base, blind)
    text = tiny_base.encode_text(["a dog"], {})
    other = EncodedPhotos(photos.latents + 100 * (1 - photos.masks), photos.masks, None)
    losses = [IdentityObjective(base, blind, text, seen, SEED)(DRAWS) for seen in (photos, other)]
    assert torch.equal(*losses)


class Blind:
    """A base whose prediction is zero whatever it sees."""

    def __init__(self, base, denoiser):
        self.path, self.denoiser = base.path, denoiser

    def denoise(self, latents, timesteps, text):
        return torch.zeros_like(latents)


def moved_by(objective):
    """What an optimiser would move."""
    return {name: p for name, p in objective.named_parameters() if p.requires_grad}


def test_learning_a_word_moves_its_vector_only(tiny_base, photos):
    word = Word("<rex>", "dog", tiny_base.start_word("dog"))
    objective = WordObjective(tiny_base, word, photos, SEED, "a <rex>")
    objective(DRAWS).mean().backward()
    assert word.vector.grad.abs().sum() > 0
    assert moved_by(objective) == {"word.vector": word.vector}
    assert all(p.grad is None for p in tiny_base.denoiser.parameters())


@pytest.mark.parametrize("role", ["identity", "motion"])
def test_learning_an_adapter_moves_the_bank_only(tiny_base, identity, clips, role):
    objective = (
        identity if role == "identity" else motion_of(tiny_base, awake(tiny_base, role), clips)
    )
    with objective.bank.attached(tiny_base.denoiser):
        objective(DRAWS).mean().backward()
    moved = moved_by(objective)
    assert all(name.startswith("bank.") for name in moved)
    assert all(p.grad.abs().sum() > 0 for p in moved.values())
    assert all(p.grad is None for p in tiny_base.denoiser.parameters())


def test_a_dropped_image_is_a_vector_of_zeros(tiny_base, clips):
    bank = awake(tiny_base, "motion")
    bare = tuple(EncodedClip(clip.latents, torch.zeros_like(clip.appearance)) for clip in clips)
    dropped = losses_of(tiny_base, motion_of(tiny_base, bank, clips, image_drop=1.0))
    assert torch.equal(dropped, losses_of(tiny_base, motion_of(tiny_base, bank, bare)))


def test_a_dropped_caption_is_the_empty_prompt(tiny_base, clips):
    bank = awake(tiny_base, "motion")
    empty = tiny_base.encode_text(["", ""], {})
    never = MotionRecipe(seed=SEED, text_drop=0.0, image_drop=0.0)
    unnamed = MotionObjective(tiny_base, bank, empty, clips, recipe=never)
    dropped = losses_of(tiny_base, motion_of(tiny_base, bank, clips, text_drop=1.0))
    assert torch.equal(dropped, losses_of(tiny_base, unnamed))


def test_appearance_and_caption_both_matter_where_they_are_not_dropped(tiny_base, clips):
    bank = awake(tiny_base, "motion")
    kept = losses_of(tiny_base, motion_of(tiny_base, bank, clips))
    for drop in ({"text_drop": 1.0}, {"image_drop": 1.0}):
        assert not torch.allclose(
            losses_of(tiny_base, motion_of(tiny_base, bank, clips, **drop)), kept
        )


def test_appearance_is_that_of_a_random_frame(tiny_base, clips):
    """Over some steps every frame of a clip is taken, and no other vector."""
    objective = motion_of(tiny_base, awake(tiny_base, "motion"), clips[:1])
    frames = clips[0].appearance
    taken = set()
    for step in range(20):
        objective([Draw(step, 0, 0)])
        vector = objective.bank.condition.features[0]
        taken.add(next(place for place, frame in enumerate(frames) if torch.equal(frame, vector)))
    assert taken == set(range(len(frames)))


def test_text_and_image_are_dropped_as_often_as_said_and_not_together(tiny_base, clips):
    """Each at a rate of its own, by a draw of its own."""
    objective = motion_of(
        tiny_base, fresh_bank((), 0.5, seed=0), clips[:1], text_drop=0.3, image_drop=0.6
    )
    draws = [Draw(step, place, 0) for step in range(500) for place in range(2)]
    text, image = (
        np.array([objective._drops(what, d) for d in draws]) for what in ("text", "image")
    )
    assert text.mean() == pytest.approx(0.3, abs=0.04)
    assert image.mean() == pytest.approx(0.6, abs=0.04)
    assert abs(np.corrcoef(text, image)[0, 1]) < 0.1
    assert all(
        objective._appearance(d).any() != bool(gone) for d, gone in zip(draws, image, strict=True)
    )


def learn(base, bank, clips, steps=1):
    """Losses of some updates on the clips, each clip once an update."""
    plan = FitPlan(
        stage="learn",
        steps=steps,
        items=len(clips),
        batch=len(clips),
        accumulate=1,
        lr=0.05,
        weight_decay=0.0,
        clip_norm=1.0,
        seed=SEED,
    )
    with bank.attached(base.denoiser):
        losses = fit(motion_of(base, bank, clips), plan, open_accelerator(CPU, "fp32"), ignore)
    return losses, draws_of(plan, 0)


@pytest.mark.parametrize("lengths", [(4, 4, 4), (4, 3, 4), (3, 4, 2)])
def test_clips_of_any_lengths_are_learned_together(tiny_base, lengths):
    clips = tuple(clip_of(frames, seed) for seed, frames in enumerate(lengths))
    objective = motion_of(tiny_base, awake(tiny_base, "motion"), clips)
    losses, draws = learn(tiny_base, awake(tiny_base, "motion"), clips)
    alone = torch.cat([losses_of(tiny_base, objective, [draw]) for draw in draws])
    assert losses[0] == pytest.approx(alone.mean().item(), rel=1e-4)


@pytest.mark.parametrize("lengths", [(4, 4, 4), (4, 3, 4), (3, 4, 2)])
def test_checkpointing_changes_nothing_that_is_learned(tiny_base, tiny_folder, lengths):
    """Blocks that run again in the backward pass must see the appearance they saw at first."""
    lean = open_tiny(tiny_folder)
    recompute_blocks(lean)
    clips = tuple(clip_of(frames, seed) for seed, frames in enumerate(lengths))
    banks = [awake(tiny_base, "motion") for _ in range(2)]
    for base, bank in zip((tiny_base, lean), banks, strict=True):
        learn(base, bank, clips, steps=2)
    learned = [list(bank.parameters()) for bank in banks]
    assert all(torch.equal(kept, again) for kept, again in zip(*learned, strict=True))


def test_a_motions_condition_is_each_samples_own(tiny_base, clips):
    objective = motion_of(tiny_base, awake(tiny_base, "motion"), clips)
    whole = losses_of(tiny_base, objective)
    assert isinstance(objective.bank.condition, Condition)
    alone = torch.cat([losses_of(tiny_base, objective, [draw]) for draw in DRAWS])
    assert torch.allclose(alone, whole, rtol=1e-4)
