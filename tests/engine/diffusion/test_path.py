"""Noise paths against NumPy written from the papers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.diffusion.noise import keyed_generator
from engine.diffusion.path import DiffusionPath, FlowPath, shift_time
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
    path = DiffusionPath(CONFIG | {"rescale_betas_zero_snr": zero_snr})
    signal, spread = signal_and_noise(zero_snr)
    expected = column(signal) * latents.numpy() + column(spread) * noise.numpy()
    ours = path.mix(latents, noise, torch.tensor(TIMESTEPS))
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-4)


def test_with_zero_terminal_snr_the_last_timestep_is_pure_noise(pair):
    latents, noise = pair
    path = DiffusionPath(CONFIG | {"rescale_betas_zero_snr": True})
    last = torch.full((len(TIMESTEPS),), 999)
    assert torch.allclose(path.mix(latents, noise, last), noise, atol=1e-6)


def test_an_epsilon_base_is_asked_for_the_noise(pair):
    latents, noise = pair
    target = DiffusionPath(CONFIG).target(latents, noise, torch.tensor(TIMESTEPS))
    assert torch.equal(target, noise)


@pytest.mark.parametrize("zero_snr", [False, True])
def test_a_velocity_base_is_asked_for_the_velocity(pair, zero_snr):
    latents, noise = pair
    settings = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": zero_snr}
    signal, spread = signal_and_noise(zero_snr)
    expected = column(signal) * noise.numpy() - column(spread) * latents.numpy()
    ours = DiffusionPath(CONFIG | settings).target(latents, noise, torch.tensor(TIMESTEPS))
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-4)


def test_a_base_that_predicts_something_else_is_refused():
    with pytest.raises(BaseInvalidError, match="sample"):
        DiffusionPath(CONFIG | {"prediction_type": "sample"})


def draw(path, step, bias=1.0):
    return path.draw_time(keyed_generator(0, step, 0, "timestep"), bias)


def test_keyed_timesteps_cover_all_of_them_evenly():
    path = DiffusionPath(CONFIG | {"num_train_timesteps": 10})
    drawn = np.array([draw(path, step) for step in range(2000)])
    counts = np.bincount(drawn, minlength=10)
    assert len(counts) == 10
    assert counts.min() > 140
    assert counts.max() < 260


@pytest.mark.parametrize("bias", [0.25, 0.5])
def test_a_bias_moves_timesteps_to_much_noise_and_keeps_them_in_range(bias: float) -> None:
    """Of ``1000·u^b`` the share above x is ``1 - (x / 1000)^(1 / b)``."""
    path = DiffusionPath(CONFIG)
    drawn = np.array([draw(path, step, bias) for step in range(4000)])
    assert drawn.min() >= 0
    assert drawn.max() < 1000
    for bound in (500, 800):
        expected = 1 - (bound / 1000) ** (1 / bias)
        assert np.mean(drawn >= bound) == pytest.approx(expected, abs=0.03)


def test_flow_goes_straight_from_data_to_noise(pair):
    latents, noise = pair
    path = FlowPath()
    ends = [path.mix(latents, noise, torch.full((4,), time)) for time in (0.0, 1000.0)]
    assert torch.equal(ends[0], latents)
    assert torch.equal(ends[1], noise)
    middle = path.mix(latents, noise, torch.tensor([0.0, 250.0, 500.0, 1000.0]))
    sigma = np.array([0.0, 0.25, 0.5, 1.0]).reshape(-1, 1, 1, 1, 1)
    np.testing.assert_allclose(
        middle.numpy(), (1 - sigma) * latents.numpy() + sigma * noise.numpy(), atol=1e-6
    )


def test_the_flows_target_is_its_slope(pair):
    """``x_σ`` is linear in σ, so that a difference of any size is the derivative."""
    latents, noise = pair
    path = FlowPath()
    early, late = (path.mix(latents, noise, torch.full((4,), t)) for t in (200.0, 700.0))
    target = path.target(latents, noise, torch.full((4,), 450.0))
    assert torch.allclose((late - early) / 0.5, target, atol=1e-5)


def test_the_noise_of_a_flow_can_be_removed_from_any_time(pair):
    latents, noise = pair
    path, times = FlowPath(), torch.tensor([0.0, 100.0, 640.0, 1000.0])
    noisy, target = path.mix(latents, noise, times), path.target(latents, noise, times)
    sigma = (times / 1000)[:, None, None, None, None]
    assert torch.allclose(noisy - sigma * target, latents, atol=1e-6)


def test_a_flow_keeps_the_latents_dtype(pair):
    latents, noise = (each.to(torch.bfloat16) for each in pair)
    assert FlowPath().mix(latents, noise, torch.full((4,), 333.0)).dtype == torch.bfloat16


@pytest.mark.parametrize(("shift", "middle"), [(1.0, 0.5), (3.0, 0.75), (0.5, 1 / 3)])
def test_shifting_times_keeps_both_ends_and_moves_the_middle(shift, middle):
    assert [shift_time(sigma, shift) for sigma in (0.0, 1.0)] == [0.0, 1.0]
    assert shift_time(0.5, shift) == pytest.approx(middle)


@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0])
def test_flow_times_are_the_shifted_sigmoid_of_a_normal(shift):
    """Half of all draws lie above the shift of one half, and 84.13 % below that of sigmoid(1)."""
    drawn = np.array([draw(FlowPath(shift), step) for step in range(4000)]) / 1000
    assert drawn.min() > 0
    assert drawn.max() < 1
    assert np.mean(drawn > shift_time(0.5, shift)) == pytest.approx(0.5, abs=0.03)
    above = shift_time(float(1 / (1 + np.exp(-1))), shift)
    assert np.mean(drawn < above) == pytest.approx(0.8413, abs=0.02)


def test_a_bias_below_one_draws_more_noise_of_a_flow_too():
    plain, biased = (
        np.array([draw(FlowPath(), step, bias) for step in range(200)]) for bias in (1.0, 0.5)
    )
    np.testing.assert_allclose(biased / 1000, np.sqrt(plain / 1000))


def test_a_photo_has_a_shift_of_its_own_and_no_least_time() -> None:
    """The least σ is drawn for a video by drawing again; of photos the same draws give their own shift's times."""
    path = FlowPath(shift=5.0, photo_shift=2.0, video_since=0.9)
    for step in range(50):
        key = (0, step, 0, "timestep")
        u = float(torch.randn((), generator=keyed_generator(*key), dtype=torch.float64).sigmoid())
        photo = path.draw_time(keyed_generator(*key), is_photo=True)
        assert photo == pytest.approx(1000 * 2 * u / (1 + u))
        video, first = draw(path, step), 1000 * 5 * u / (1 + 4 * u)
        assert 900 <= video < 1000
        assert first < 900 or video == pytest.approx(first)
    assert FlowPath(shift=3.0).draw_time(keyed_generator(*key), is_photo=True) == pytest.approx(
        1000 * 3 * u / (1 + 2 * u)
    )


def test_times_are_told_in_the_paths_own_number_of_timesteps(pair):
    latents, noise = pair
    path, times = FlowPath(timesteps=400), torch.tensor([0.0, 100.0, 300.0, 400.0])
    sigma = torch.tensor([0.0, 0.25, 0.75, 1.0])[:, None, None, None, None]
    torch.testing.assert_close(path.mix(latents, noise, times), latents + sigma * (noise - latents))
    assert draw(path, 3) == pytest.approx(0.4 * draw(FlowPath(), 3))
