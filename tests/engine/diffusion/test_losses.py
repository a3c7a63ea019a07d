"""Losses against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.diffusion.losses import DenoisingLoss, Draw, masked_mse
from engine.diffusion.noise import draw_noise, keyed_generator
from engine.diffusion.path import FlowPath


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


@pytest.mark.parametrize(("frames", "shift"), [(1, 2.0), (3, 5.0)])
def test_a_loss_is_that_of_its_own_draws_noise_and_time(frames, shift):
    """‖prediction - (ε - x)‖² at x + σ(ε - x), keyed by seed, step and place; photos have a shift of their own."""
    path, seed, bias = FlowPath(shift=5.0, photo_shift=2.0), 7, 0.5
    latents = torch.randn(2, 2, frames, 2, 5, generator=torch.Generator().manual_seed(0))
    draws = [Draw(step=4, place=1, item=0), Draw(step=4, place=2, item=1)]
    mask = torch.rand(2, 1, frames, 2, 5, generator=torch.Generator().manual_seed(1))
    seen = []
    losses = DenoisingLoss(path, seed, bias)(
        lambda noisy, times: seen.append((noisy, times)) or 0.5 * noisy, latents, draws, mask
    )
    ((noisy, times),) = seen
    for number, draw in enumerate(draws):
        noise = draw_noise((2, frames, 2, 5), seed, draw.step, draw.place)
        generator = keyed_generator(seed, draw.step, draw.place, "timestep")
        u = torch.randn((), generator=generator, dtype=torch.float64).sigmoid().item() ** bias
        sigma = shift * u / (1 + (shift - 1) * u)
        x, slope = latents[number], noise - latents[number]
        assert times[number].item() == pytest.approx(1000 * sigma)
        torch.testing.assert_close(noisy[number], x + sigma * slope)
        error, area = (0.5 * (x + sigma * slope) - slope) ** 2, mask[number].expand(2, -1, -1, -1)
        torch.testing.assert_close(losses[number], (error * area).sum() / area.sum())


def test_a_loss_is_computed_in_the_latents_own_precision():
    latents = torch.zeros(1, 2, 3, 2, 2, dtype=torch.bfloat16)
    noisy, _, target = DenoisingLoss(FlowPath(), 0).noised(latents, [Draw(0, 0, 0)])
    assert noisy.dtype == target.dtype == torch.bfloat16
