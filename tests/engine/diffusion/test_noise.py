"""The laws of keyed draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.diffusion.noise import (
    draw_chance,
    draw_frame,
    draw_noise,
    draw_order,
    keyed_generator,
)


def test_a_draw_is_the_same_for_the_same_key():
    assert torch.equal(draw_noise((2, 3), 1, 2, 3), draw_noise((2, 3), 1, 2, 3))


@pytest.mark.parametrize("other", [(2, 2, 3, "n"), (1, 3, 3, "n"), (1, 2, 4, "n"), (1, 2, 3, "m")])
def test_each_part_of_the_key_changes_the_draw(other):
    first, second = (
        torch.rand(4, generator=keyed_generator(*key)) for key in [(1, 2, 3, "n"), other]
    )
    assert not torch.equal(first, second)


def test_digits_of_neighbouring_parts_of_a_key_do_not_run_together():
    first, second = (
        torch.rand(4, generator=keyed_generator(0, *key, "n")) for key in [(1, 12), (11, 2)]
    )
    assert not torch.equal(first, second)


def test_a_draw_leaves_torchs_own_generator_alone():
    before = torch.random.get_rng_state()
    draw_noise((8,), 0, 0, 0), draw_frame(8, 0, 0, 0), draw_chance(0.5, 0, 0, 0, "text")
    assert torch.equal(before, torch.random.get_rng_state())


def test_keyed_noise_is_standard_normal():
    noise = torch.stack([draw_noise((64,), 0, step, 0) for step in range(200)])
    assert abs(noise.mean().item()) < 0.03
    assert noise.std().item() == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(
    ("probability", "least", "most"), [(0, 0, 0), (0.3, 530, 670), (1, 2000, 2000)]
)
def test_a_chance_comes_true_as_often_as_it_says(probability, least, most):
    hits = sum(draw_chance(probability, 0, step, 0, "text") for step in range(2000))
    assert least <= hits <= most


def test_text_and_image_drops_are_independent():
    drops = [
        [draw_chance(0.5, 0, step, 0, what) for step in range(1000)] for what in ("text", "image")
    ]
    assert abs(np.corrcoef(drops)[0, 1]) < 0.1


@pytest.mark.parametrize("count", [1, 2, 7])
def test_each_round_shows_every_sample_once(count):
    for epoch in range(5):
        shown = [draw_order(0, epoch * count + place, count) for place in range(count)]
        assert sorted(shown) == list(range(count))


def test_rounds_are_shuffled_anew():
    rounds = {
        tuple(draw_order(0, epoch * 8 + place, 8) for place in range(8)) for epoch in range(6)
    }
    assert len(rounds) == 6


def test_every_frame_is_drawn_as_often():
    drawn = np.bincount([draw_frame(3, 0, step, place) for step in range(500) for place in (0, 1)])
    assert len(drawn) == 3
    np.testing.assert_allclose(drawn / 1000, 1 / 3, atol=0.05)


def test_draws_of_one_step_and_place_have_keys_of_their_own():
    """Noise, order, frames and chances of the same seed, step and place know nothing of one another."""
    noise = np.array([draw_noise((), 0, step, 0).item() for step in range(800)])
    frames = np.array([draw_frame(1000, 0, step, 0) for step in range(800)])
    chances = np.array([draw_chance(0.5, 0, step, 0, "text") for step in range(800)])
    order = np.array([draw_order(0, 1000 * step, 1000) for step in range(800)])
    found = np.corrcoef([noise, frames, chances, order])
    assert np.abs(found - np.eye(4)).max() < 0.15
