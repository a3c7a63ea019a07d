"""The mix of the two halves of guidance."""

from __future__ import annotations

import numpy as np
import torch

from engine.diffusion.samplers import apply_cfg


def test_guidance_goes_beyond_the_conditional_half():
    rng = np.random.default_rng(0)
    uncond, cond = rng.normal(size=(2, 3, 4))
    ours = apply_cfg(torch.from_numpy(uncond), torch.from_numpy(cond), 9.0)
    np.testing.assert_allclose(ours.numpy(), (1 - 9.0) * uncond + 9.0 * cond, atol=1e-12)


def test_guidance_of_zero_is_the_unconditional_half():
    uncond, cond = torch.tensor([1.0, 2.0]), torch.tensor([3.0, -1.0])
    assert torch.equal(apply_cfg(uncond, cond, 0.0), uncond)


def test_guidance_of_one_is_the_conditional_half():
    uncond, cond = torch.tensor([1.0, 2.0]), torch.tensor([3.0, -1.0])
    assert torch.equal(apply_cfg(uncond, cond, 1.0), cond)


def test_halves_that_agree_are_left_alone_by_any_guidance():
    half = torch.tensor([0.3, -7.0])
    assert torch.equal(apply_cfg(half, half, 12.5), half)
