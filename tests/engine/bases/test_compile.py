"""Nothing in a site stops ``torch.compile``."""

from __future__ import annotations

import pytest
import torch

from engine.adapters.bank import Condition
from tests.engine.bases.families import ROLES, awake_bank


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
def test_a_denoiser_with_an_adapter_compiles_as_one_graph(base, scene, role):
    bank = awake_bank(base, role)
    bank.condition = Condition(scene.features) if role == "motion" else None
    inputs = scene.latents, scene.timesteps, scene.text.features
    with bank.attached(base.denoiser), torch.no_grad():
        expected = base.denoiser(*inputs, return_dict=False)[0]
        torch._dynamo.reset()
        compiled = torch.compile(base.denoiser, backend="aot_eager", fullgraph=True)
        found = compiled(*inputs, return_dict=False)[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
