"""Reference attention on every family, against its formula."""

from __future__ import annotations

import copy
import math
from contextlib import ExitStack, nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from engine.adapters.bank import Bank
from engine.adapters.bottleneck import ReferenceRank
from engine.adapters.reference import Reference, ReferenceSource, shrink_mask
from engine.bases.protocol import Site, Text
from engine.blocks import recompute_blocks
from tests.engine.bases.families import BATCH, awake_bank
from tests.tiny import open_tiny, quiet_draws, wake


def photos_of(base, count=1, seed=7):
    geometry = base.geometry
    _, *shape = base.latent_shape(1, geometry.height_px, geometry.width_px)
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def text_of(base, prompt="a dog"):
    return base.encode_text([prompt], {}).detach()


def source_of(base, count=1, *, blocks="full", **named):
    return ReferenceSource(photos_of(base, count), text_of(base), blocks=blocks, **named)


def read(base, scene, *sources, reads=None, **named):
    """The prediction for a scene of one time, with photos read."""
    reference = Reference(base, sources, **named)
    reference.reads = reads
    with reference.attached(), torch.no_grad():
        return base.denoise(scene.latents, scene.timesteps[:1].expand(BATCH), scene.text)


@pytest.fixture(scope="module")
def alone(base, scene):
    """The base's own prediction, both samples at one time."""
    with torch.no_grad():
        return base.denoise(scene.latents, scene.timesteps[:1].expand(BATCH), scene.text)


def test_the_late_self_attentions_are_five_eighths_or_what_a_unet_has_behind_its_way_down(base):
    every, late = base.self_attentions("full"), base.self_attentions("midup")
    assert late == every[len(every) - len(late) :]
    assert 0 < len(late) <= len(every)
    assert not any(path.startswith("down_blocks") for path in late)


def test_shares_of_the_halves_of_guidance_do_not_hold_for_photos(base, scene):
    """Three photos are looked at by the whole adapter, whatever its share in each of two samples."""
    bank, looks = awake_bank(base, "identity"), []
    for shares in (None, torch.tensor([0.0, 1.0])):
        bank.shares = shares
        reference = Reference(base, [source_of(base, 3)], banks=[bank])
        with bank.attached(base.denoiser), reference.attached(), torch.no_grad():
            base.denoise(scene.latents, scene.timesteps[:1].expand(BATCH), scene.text)
            looks.append([seen.tokens for seen in reference._seen[0].values()])
        assert bank.shares is shares
    assert all(torch.equal(*both) for both in zip(*looks, strict=True))


def test_a_photo_that_is_read_changes_the_output(base, scene, alone):
    for blocks in ("midup", "full"):
        changed = read(base, scene, source_of(base, blocks=blocks))
        assert not torch.allclose(changed, alone, atol=1e-3)


def test_weight_zero_and_samples_that_do_not_read_are_the_base_bit_for_bit(base, scene, alone):
    assert torch.equal(read(base, scene, source_of(base, weight=0.0)), alone)
    assert torch.equal(read(base, scene, source_of(base), reads=(False, False)), alone)


def test_the_half_that_does_not_read_is_as_the_base_and_the_other_as_if_both_read(
    base, scene, alone
):
    both, one = (read(base, scene, source_of(base), reads=reads) for reads in (None, (False, True)))
    torch.testing.assert_close(one[0], alone[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one[1], both[1], rtol=1e-4, atol=1e-5)


def test_weight_two_is_the_photo_twice(base, scene):
    """And two photos share a weight: each has half of it."""
    one = source_of(base)
    pair = replace(one, latents=one.latents.repeat(2, 1, 1, 1, 1), weight=2.0)
    noise = Reference(base, [one])._noise

    def same(number, time):
        return noise(0, time).repeat(len(pair.latents) if number == 0 else 1, 1, 1, 1, 1)

    reference = Reference(base, [pair])
    reference._noise = same
    with reference.attached():
        doubled = base.denoise(scene.latents, scene.timesteps[:1].expand(BATCH), scene.text)
    heavy = read(base, scene, source_of(base, weight=2.0))
    torch.testing.assert_close(heavy, doubled.detach(), rtol=1e-4, atol=1e-5)


def test_two_references_are_one_of_both_sources(base, scene):
    """Such as an adapter's own photos and one that is given beside it; neither is seen while the other is."""
    one, other = source_of(base, weight=0.5), replace(source_of(base, weight=2.0), blocks="midup")
    first, second = Reference(base, [one]), Reference(base, [other])
    second._noise = lambda _, time: both._noise(1, time)
    both = Reference(base, [one, other])
    outputs = []
    for references in ([both], [first, second]):
        with ExitStack() as stack, torch.no_grad():
            for reference in references:
                reference.reads = (False, True)
                stack.enter_context(reference.attached())
            times = scene.timesteps[:1].expand(BATCH)
            outputs.append(base.denoise(scene.latents, times, scene.text))
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)


def test_a_small_weight_is_near_the_base(base, scene, alone):
    near = read(base, scene, source_of(base, weight=1e-7))
    torch.testing.assert_close(near, alone, rtol=1e-3, atol=1e-4)


def test_what_is_masked_out_of_a_photo_is_not_read(base, scene, alone):
    """Nothing of a photo under an empty mask, and all of it under a full one."""
    masks = torch.ones(1, 1, *photos_of(base).shape[2:])
    whole = read(base, scene, source_of(base, masks=masks))
    torch.testing.assert_close(whole, read(base, scene, source_of(base)), rtol=1e-4, atol=1e-5)
    nothing = read(base, scene, source_of(base, masks=torch.zeros_like(masks)))
    torch.testing.assert_close(nothing, alone, rtol=1e-4, atol=1e-5)


def test_a_mask_is_shrunk_by_area_as_the_stream_is():
    masks = torch.zeros(1, 6, 10)
    masks[:, :2, :5] = 1.0
    shrunk = shrink_mask(masks, 15).reshape(3, 5)
    expected = np.zeros((3, 5))
    expected[0, :2], expected[0, 2] = 1.0, 0.5
    np.testing.assert_allclose(shrunk.numpy(), expected)
    assert shrink_mask(masks, 6).shape == (1, 6)  # 2 × 3: halved twice, rounded up


def test_the_first_self_attention_computes_the_formula(base, scene):
    """softmax((Q·K'ᵀ)/√d + log w)·V' of the tokens that entered, restated in NumPy."""
    path = base.self_attentions("full")[0]
    attention = base.denoiser.get_submodule(path)
    seen = {}
    reference = Reference(base, [source_of(base, weight=0.5)])
    with reference.attached(), torch.no_grad():
        handle = attention.register_forward_hook(lambda _, __, out: seen.update(out=out))
        inner = [
            getattr(attention, name).register_forward_hook(
                lambda _, __, out, name=name: seen.update({name: out})
            )
            for name in ("to_q", "to_k", "to_v")
        ]
        positions = attention.register_forward_pre_hook(
            lambda _, __, named: seen.update(rotary=named.get("rotary_emb")), with_kwargs=True
        )
        base.denoise(scene.latents, scene.timesteps[:1].expand(BATCH), scene.text)
        for each in (handle, positions, *inner):
            each.remove()
    if seen["rotary"] is not None:
        seen["to_q"], seen["to_k"] = (
            _rotated(norm(seen[name]), seen["rotary"], attention.heads)
            for name, norm in (("to_q", attention.norm_q), ("to_k", attention.norm_k))
        )
    q, k, v = (
        seen[name].detach().unflatten(-1, (attention.heads, -1)).transpose(1, 2).double().numpy()
        for name in ("to_q", "to_k", "to_v")
    )
    own = seen["out"].shape[1]
    logits = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])
    logits[..., own:] += math.log(0.5)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    mixed = torch.tensor((weights / weights.sum(-1, keepdims=True)) @ v)
    with torch.no_grad():
        expected = attention.to_out[0](mixed.transpose(1, 2).flatten(2).float())
    torch.testing.assert_close(seen["out"], expected[:, :own], rtol=1e-3, atol=1e-4)


def _rotated(x, positions, heads):
    cos, sin = (each[..., first::2] for first, each in enumerate(positions))
    left, right = x.unflatten(-1, (heads, -1)).unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([left * cos - right * sin, left * sin + right * cos], dim=-1)
    return turned.flatten(-2).flatten(2)


def test_the_photos_are_looked_at_with_the_identity_and_without_the_motions(base, scene):
    motion, identity = awake_bank(base, "motion"), awake_bank(base, "identity")
    path = base.self_attentions("full")[-1]
    reference = Reference(base, [source_of(base)], quiet=[motion])

    def look(bank=None):
        with nullcontext() if bank is None else bank.attached(base.denoiser), reference.attached():
            reference._before_call(base.denoiser, (scene.latents, scene.timesteps[:1]))
            return reference._seen[0][path].tokens

    assert torch.equal(look(), look(motion))
    assert not torch.equal(look(), look(identity))


def test_an_error_behind_the_photos_leaves_nothing_of_them(base, scene, alone):
    reference = Reference(base, [source_of(base)])
    with pytest.raises(RuntimeError), reference.attached():
        base.denoise(scene.latents[:, :1], scene.timesteps[:1].expand(BATCH), scene.text)
    assert not any(reference._seen)
    with torch.no_grad():
        times = scene.timesteps[:1].expand(BATCH)
        assert torch.equal(base.denoise(scene.latents, times, scene.text), alone)


def test_the_same_seed_time_and_photo_have_the_same_noise(base):
    source, time = source_of(base, 2), torch.tensor(300)
    one, again, other = (Reference(base, [source], seed=seed)._noise(0, time) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0] - one[1], source.latents[0] - source.latents[1])


def own_layers(base, path):
    """Layers beside the keys and values of one self-attention, all of them awake."""
    attention = base.denoiser.get_submodule(path)
    sites = [
        Site(f"{path}.{name}", f"{path}.{name}", f"{path}.{name}", layer.in_features)
        for name in ("to_k", "to_v")
        for layer in [getattr(attention, name)]
    ]
    with quiet_draws(3):
        return wake(Bank(sites, (ReferenceRank(site.width, site.width, 2) for site in sites)))


def test_layers_of_a_source_meet_its_tokens_alone(base, scene, alone):
    """Attached and without a photo they do nothing; with one they change what is read of it."""
    bank = own_layers(base, base.self_attentions("full")[0])
    source = source_of(base, bank=bank)
    with bank.attached(base.denoiser):
        assert torch.equal(read(base, scene, source, reads=(False, False)), alone)
        learned = read(base, scene, source, reads=(False, True))
    free = read(base, scene, source_of(base), reads=(False, True))
    torch.testing.assert_close(learned[0], alone[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(learned[1], free[1], atol=1e-4)


def test_samples_can_have_photos_of_their_own(base, scene):
    """Shown by hand, each sample reads what it would read if its photo were everybody's."""
    photos = photos_of(base, 2)
    text = Text(text_of(base).features.expand(2, -1, -1))
    times = scene.timesteps[:1].expand(2)
    reference = Reference(base, [source_of(base)])
    outputs = []
    with reference.attached(), torch.no_grad():
        for chosen in ([0, 1], [0, 0], [1, 1]):
            reference.show(0, photos[chosen], times, text)
            outputs.append(base.denoise(scene.latents, times, scene.text))
    torch.testing.assert_close(outputs[0][0], outputs[1][0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(outputs[0][1], outputs[2][1], rtol=1e-4, atol=1e-5)


def test_gradients_are_the_same_where_blocks_run_again(base, folder, scene):
    lean = open_tiny(folder)
    recompute_blocks(lean)
    gradients = []
    for each in (base, lean):
        bank = own_layers(each, each.self_attentions("full")[0])
        reference = Reference(each, [source_of(each, bank=bank)])
        with bank.attached(each.denoiser), reference.attached():
            out = each.denoise(scene.latents, scene.timesteps[:1].expand(BATCH), scene.text)
            out.square().mean().backward()
        gradients.append([p.grad for p in bank.parameters()])
        assert all(p.grad is None for p in each.denoiser.parameters())
    assert all(grad.abs().sum() > 0 for grad in gradients[0])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def test_a_copy_of_the_network_has_a_reference_of_its_own(base, scene):
    """Threads of learning each have one."""
    held = nn.Module()
    held.denoiser = base.denoiser
    reference = Reference(base, [source_of(base)])
    held.reference = reference
    with reference.attached():
        shared = {id(p): p for p in held.parameters()}
        twin = copy.deepcopy(held, shared)
        hooks = [
            h for h in twin.denoiser._forward_pre_hooks.values() if h.__self__ is twin.reference
        ]
        assert len(hooks) == 1
