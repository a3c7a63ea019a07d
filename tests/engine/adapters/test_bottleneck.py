"""The bottleneck against ten lines of NumPy written from the paper's equation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from engine.adapters.bottleneck import Bottleneck

SAMPLES, FOLD, TOKENS, WIDTH, HIDDEN, CONDITION = 2, 3, 5, 8, 4, 6


def paper(x, c, strength, layers):
    """y = x + W_up GELU(W_down (x + λ W_cond c)), each layer a pair of weight and bias."""
    gelu = np.vectorize(lambda z: z * 0.5 * (1 + math.erf(z / math.sqrt(2))))
    (down, down_bias), (up, up_bias) = layers["down"], layers["up"]
    inner = x
    if c is not None:
        cond, cond_bias = layers["cond"]
        inner = x + strength * (c @ cond.T + cond_bias)
    return x + gelu(inner @ down.T + down_bias) @ up.T + up_bias


@pytest.fixture
def awake():
    """A conditioned bottleneck of random float64 weights, its layers of output and condition included."""
    torch.manual_seed(0)
    bottleneck = Bottleneck(WIDTH, HIDDEN, CONDITION).double()
    for layer in (bottleneck.up, bottleneck.cond):
        torch.nn.init.normal_(layer.weight)
        torch.nn.init.normal_(layer.bias)
    return bottleneck


@pytest.fixture
def stream():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(SAMPLES * FOLD, TOKENS, WIDTH, generator=generator, dtype=torch.float64)


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(2)
    return torch.randn(SAMPLES, CONDITION, generator=generator, dtype=torch.float64)


def layers_of(bottleneck):
    names = {name.partition(".")[0] for name, _ in bottleneck.named_parameters()}
    tensors = {name: value.detach().numpy() for name, value in bottleneck.state_dict().items()}
    return {name: (tensors[f"{name}.weight"], tensors[f"{name}.bias"]) for name in names}


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_conditioned_bottleneck_is_the_papers_formula(awake, stream, features, strength):
    ours = awake(stream, features, strength).detach().numpy()
    for row in range(SAMPLES * FOLD):
        condition = features[row // FOLD].numpy()
        expected = paper(stream[row].numpy(), condition, strength, layers_of(awake))
        np.testing.assert_allclose(ours[row], expected, rtol=0, atol=1e-12)


def test_bottleneck_without_condition_is_the_papers_formula(awake, stream):
    ours = awake(stream).detach().numpy()
    expected = paper(stream.numpy(), None, 1.0, layers_of(awake))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)


def test_strength_may_differ_from_sample_to_sample(awake, stream, features):
    mixed = awake(stream, features, torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert torch.equal(mixed[:FOLD], awake(stream, features, 0.0)[:FOLD])
    assert torch.equal(mixed[FOLD:], awake(stream, features, 1.0)[FOLD:])


def test_strength_zero_leaves_the_condition_out(awake, stream, features):
    assert torch.equal(awake(stream, features, 0.0), awake(stream))


def test_a_vector_of_zeros_is_a_condition_of_its_own(awake, stream, features):
    assert not torch.allclose(awake(stream, torch.zeros_like(features)), awake(stream))


def test_a_fresh_bottleneck_is_the_identity(stream, features):
    fresh = Bottleneck(WIDTH, HIDDEN, CONDITION).double()
    assert torch.equal(fresh(stream, features), stream)


def test_the_condition_reaches_every_token_of_its_own_sample_only(awake, stream, features):
    before = awake(stream, features)
    after = awake(stream, features + torch.tensor([[0.0], [1.0]], dtype=torch.float64))
    moved = (after - before).abs().amax(dim=2) > 0
    assert not moved[:FOLD].any()
    assert moved[FOLD:].all()


def test_a_look_unlike_all_that_were_learned_moves_nothing(stream):
    """Only the directions that training has seen are read."""
    torch.manual_seed(0)
    bottleneck = Bottleneck(WIDTH, HIDDEN, CONDITION).double()
    seen, other = torch.eye(CONDITION, dtype=torch.float64)[:2].unbind()
    optimiser = torch.optim.AdamW(bottleneck.parameters(), lr=0.05)
    for _ in range(5):
        optimiser.zero_grad()
        bottleneck(stream, seen.expand(SAMPLES, -1)).square().mean().backward()
        optimiser.step()
    told = [bottleneck(stream, look.expand(SAMPLES, -1)) for look in (0 * seen, other, seen)]
    assert torch.equal(told[0], told[1])
    assert not torch.equal(told[0], told[2])


def test_a_look_among_the_hidden_units_is_the_same_function(awake, stream, features):
    """With W_down·W_cond as its one matrix."""
    short = Bottleneck(WIDTH, HIDDEN, CONDITION, look_at="hidden").double()
    assert short.cond.weight.shape == (HIDDEN, CONDITION)
    layers = awake.state_dict()
    layers["cond.weight"] = layers["down.weight"] @ layers["cond.weight"]
    layers["cond.bias"] = layers["down.weight"] @ layers["cond.bias"]
    short.load_state_dict(layers)
    for strength in (1.0, torch.tensor([0.5, 2.0], dtype=torch.float64)):
        assert torch.allclose(short(stream, features, strength), awake(stream, features, strength))
