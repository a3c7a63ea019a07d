"""Noise, targets and losses against NumPy written from the papers, and the laws of keyed draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.diffusion.objective import (
    NoiseSchedule,
    draw_chance,
    draw_noise,
    draw_order,
    draw_timestep,
    keyed_generator,
    masked_mse,
)
from engine.errors import BaseInvalidError

CONFIG = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}
TIMESTEPS = [0, 1, 400, 999]


def signal_and_noise(zero_snr=False):
    """√ᾱ and √(1-ᾱ) of each timestep; zero-terminal SNR as algorithm 1 of arXiv 2305.08891."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    signal = np.sqrt(np.cumprod(1 - betas))
    if zero_snr:
        signal = (signal - signal[-1]) * signal[0] / (signal[0] - signal[-1])
    return signal, np.sqrt(1 - signal**2)


@pytest.fixture
def pair():
    """Latents and noise, (4, 2, 3, 2, 2), one sample for each of `TIMESTEPS`."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(len(TIMESTEPS), 2, 3, 2, 2, generator=generator) for _ in range(2)]


def column(values):
    return values[TIMESTEPS].reshape(-1, 1, 1, 1, 1)


@pytest.mark.parametrize("zero_snr", [False, True])
def test_noisy_latents_are_the_papers_mix_of_signal_and_noise(pair, zero_snr):
    latents, noise = pair
    schedule = NoiseSchedule(CONFIG | {"rescale_betas_zero_snr": zero_snr})
    signal, spread = signal_and_noise(zero_snr)
    expected = column(signal) * latents.numpy() + column(spread) * noise.numpy()
    ours = schedule.add_noise(latents, noise, torch.tensor(TIMESTEPS))
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-4)


def test_with_zero_terminal_snr_the_last_timestep_is_pure_noise(pair):
    latents, noise = pair
    schedule = NoiseSchedule(CONFIG | {"rescale_betas_zero_snr": True})
    last = torch.full((len(TIMESTEPS),), 999)
    assert torch.allclose(schedule.add_noise(latents, noise, last), noise, atol=1e-6)


def test_an_epsilon_base_is_asked_for_the_noise(pair):
    latents, noise = pair
    target = NoiseSchedule(CONFIG).target(latents, noise, torch.tensor(TIMESTEPS))
    assert torch.equal(target, noise)


@pytest.mark.parametrize("zero_snr", [False, True])
def test_a_velocity_base_is_asked_for_the_velocity(pair, zero_snr):
    latents, noise = pair
    settings = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": zero_snr}
    signal, spread = signal_and_noise(zero_snr)
    expected = column(signal) * noise.numpy() - column(spread) * latents.numpy()
    ours = NoiseSchedule(CONFIG | settings).target(latents, noise, torch.tensor(TIMESTEPS))
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-4)


def test_a_base_that_predicts_something_else_is_refused():
    with pytest.raises(BaseInvalidError, match="sample"):
        NoiseSchedule(CONFIG | {"prediction_type": "sample"})


def test_masked_loss_is_the_squared_error_over_the_masks_area():
    rng = np.random.default_rng(0)
    prediction, target = rng.normal(size=(2, 3, 2, 4, 5, 5)).astype(np.float32)
    mask = (rng.random((3, 1, 4, 5, 5)) > 0.6).astype(np.float32)
    error = (prediction - target) ** 2
    expected = [
        (error[i] * mask[i]).sum() / (mask[i].sum() * error.shape[1]) for i in range(len(mask))
    ]
    ours = masked_mse(*(torch.from_numpy(value) for value in (prediction, target, mask)))
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-5)


def test_loss_without_a_mask_is_the_loss_with_everything_masked_in():
    prediction, target = torch.randn(2, 3, 2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    whole = masked_mse(prediction, target, torch.ones(3, 1, 4, 5, 5))
    assert torch.allclose(masked_mse(prediction, target), whole)


@pytest.mark.parametrize("side", [1, 3, 6])
def test_the_masks_size_does_not_change_a_constant_error(side):
    mask = torch.zeros(1, 1, 1, 6, 6)
    mask[..., :side, :side] = 1.0
    loss = masked_mse(torch.full((1, 4, 1, 6, 6), 3.0), torch.zeros(1, 4, 1, 6, 6), mask)
    assert loss.item() == pytest.approx(9.0)


def test_an_error_outside_the_mask_costs_nothing():
    mask = torch.zeros(1, 1, 1, 6, 6)
    mask[..., :2] = 1.0
    assert (
        masked_mse(1.0 - mask.expand(1, 4, 1, 6, 6), torch.zeros(1, 4, 1, 6, 6), mask).item() == 0
    )


def test_the_loss_is_reckoned_in_fp32_for_half_precision_predictions():
    loss = masked_mse(torch.ones(1, 1, 1, 2, 2, dtype=torch.bfloat16), torch.zeros(1, 1, 1, 2, 2))
    assert loss.dtype == torch.float32


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
    draw_noise((8,), 0, 0, 0), draw_timestep(1000, 0, 0, 0), draw_chance(0.5, 0, 0, 0, "text")
    assert torch.equal(before, torch.random.get_rng_state())


def test_keyed_noise_is_standard_normal():
    noise = torch.stack([draw_noise((64,), 0, step, 0) for step in range(200)])
    assert abs(noise.mean().item()) < 0.03
    assert noise.std().item() == pytest.approx(1.0, abs=0.03)


def test_keyed_timesteps_cover_all_of_them_evenly():
    drawn = np.array([draw_timestep(10, 0, step, 0) for step in range(2000)])
    counts = np.bincount(drawn, minlength=10)
    assert len(counts) == 10
    assert counts.min() > 140
    assert counts.max() < 260


@pytest.mark.parametrize("bias", [0.25, 0.5])
def test_a_bias_moves_timesteps_to_much_noise_and_keeps_them_in_range(bias: float) -> None:
    """Of ``1000·u^b`` the share above x is ``1 - (x / 1000)^(1 / b)``."""
    drawn = np.array([draw_timestep(1000, 0, step, 0, bias) for step in range(4000)])
    assert drawn.min() >= 0
    assert drawn.max() < 1000
    for bound in (500, 800):
        expected = 1 - (bound / 1000) ** (1 / bias)
        assert np.mean(drawn >= bound) == pytest.approx(expected, abs=0.03)


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
