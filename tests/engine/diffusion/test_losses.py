"""Losses against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.diffusion.losses import masked_mse


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
