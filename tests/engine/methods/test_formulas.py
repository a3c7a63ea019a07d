"""The methods' formulas against plain restatements of their papers."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from engine.adapters.bank import full_rank_bank, linear_sites, low_rank_bank, weight_sites
from engine.adapters.bottleneck import FullRank, LowRank, ReferenceRank
from engine.adapters.sparse_causal import SparseCausal
from engine.adapters.word import Word
from engine.bases.protocol import Text
from engine.diffusion.losses import Draw, debiased_mse
from engine.diffusion.noise import draw_frame, draw_noise
from engine.diffusion.path import DiffusionPath
from engine.methods.dreamix import MixedObjective
from engine.methods.motiondirector import LAYERS, MotionDirectorObjective
from engine.methods.tune_a_video import tuned_sites
from engine.methods.word import WordObjective
from engine.recipe import DreamixMotionRecipe, MotionDirectorRecipe
from engine.training.encode import EncodedClip
from tests.tiny import quiet_draws, wake

SHARES = {"free": 0.0, "pull": 0.5, "keep": 1.0}  # of a rate of 5e-3


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_the_debiased_loss_is_the_mean_over_all_anchors(beta):
    """‖r‖² + ‖α·r_f - β·r_a‖², anchor after anchor, as its authors compute it for one that is drawn."""
    prediction, target = normal(2, 3, 5, 2, 4).double(), normal(2, 3, 5, 2, 4, seed=1).double()
    e, ehat = target.numpy(), prediction.numpy()
    alpha = math.sqrt(beta**2 + 1)
    expected = []
    for sample in range(2):
        losses = []
        for a in range(5):
            ours = alpha * ehat[sample] - beta * ehat[sample][:, [a]]
            theirs = alpha * e[sample] - beta * e[sample][:, [a]]
            losses.append(((ehat[sample] - e[sample]) ** 2).mean() + ((ours - theirs) ** 2).mean())
        expected.append(np.mean(losses))
    found = debiased_mse(prediction, target, beta)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_an_error_that_all_frames_share_hardly_counts():
    """As a clip's look: 1.17 of its square, where one that differs from frame to frame counts four times."""
    target = torch.zeros(1, 1, 4, 1, 1)
    same, changing = torch.ones(1, 1, 4, 1, 1), torch.tensor([1.0, -1, 1, -1]).view(1, 1, 4, 1, 1)
    assert debiased_mse(same, target, 1.0).item() == pytest.approx(1 + (math.sqrt(2) - 1) ** 2)
    assert debiased_mse(changing, target, 1.0).item() == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(6, 4), (2, 5, 6)),
        (nn.Conv2d(4, 6, 3, stride=2, padding=1), (2, 4, 8, 6)),
        (nn.Conv3d(4, 2, (3, 1, 1), padding=(1, 0, 0)), (1, 4, 5, 3, 3)),
        (nn.Conv1d(4, 6, 1, groups=2), (2, 4, 7)),
    ],
)
def test_a_full_rank_change_is_that_of_the_weight(layer, shape):
    """Layer(W + ΔW) - layer(W)."""
    beside, x = FullRank(layer), normal(*shape)
    assert not beside.delta(x).any()
    with torch.no_grad():
        beside.weight.copy_(normal(*layer.weight.shape, seed=3))
        before = layer(x)
        layer.weight += beside.weight
        torch.testing.assert_close(beside.delta(x), layer(x) - before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("how", ["free", "pull", "keep"])
def test_a_words_norm_is_pulled_to_the_median_of_the_table(tiny_base, how):
    """v/|v|·(|v| + λ(m - |v|)), λ = min(1, 100·lr), m the median norm of a row; keep is λ = 1."""
    table = tiny_base.text_tower.get_input_embeddings().weight.detach().numpy()
    m = np.sort(np.linalg.norm(table, axis=1))[(len(table) - 1) // 2]  # torch's median
    word = Word("<rex>", "dog", 9 * tiny_base.start_word("dog"), vectors=2)
    before = word.vector.detach().numpy().copy()
    objective = WordObjective(tiny_base, word, None, 0, "<rex>", pull=SHARES[how])
    objective.settle()
    own = np.linalg.norm(before, axis=1, keepdims=True)
    expected = before / own * (own + SHARES[how] * (m - own))
    np.testing.assert_allclose(word.vector.detach().numpy(), expected, rtol=1e-5)


def test_sparse_causal_attention_is_that_of_the_first_and_the_last_frame(tiny_base):
    """softmax(Q_i·[K_1, K_(i-1)]ᵀ/√d)·[V_1, V_(i-1)], frame after frame and head after head."""
    path = tiny_base.self_attentions()[0]
    layer = tiny_base.denoiser.get_submodule(path)
    bank = low_rank_bank(tiny_base.denoiser, (), 1)
    causal, frames = SparseCausal(bank), 3
    x = normal(2 * frames, 5, layer.to_q.in_features)
    with causal.attached(tiny_base), torch.no_grad():
        causal.frames = frames
        found = layer(x).numpy()
    q, k, v = (getattr(layer, f"to_{n}").weight.detach().numpy() for n in "qkv")
    out, bias = (p.detach().numpy() for p in (layer.to_out[0].weight, layer.to_out[0].bias))
    video, width = x.numpy().reshape(2, frames, 5, -1), q.shape[0] // layer.heads
    expected = np.zeros_like(video)
    for sample in range(2):
        for i in range(frames):
            z = video[sample, i]
            y = np.concatenate([video[sample, 0], video[sample, max(i - 1, 0)]])
            heads = []
            for h in range(layer.heads):
                own = slice(h * width, (h + 1) * width)
                logits = (z @ q[own].T) @ (y @ k[own].T).T / math.sqrt(width)
                share = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
                heads.append(share @ (y @ v[own].T))
            expected[sample, i] = np.concatenate(heads, axis=1) @ out.T + bias
    np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=1e-4, atol=1e-5)


def test_layers_that_are_held_act_and_learn_nothing():
    layer, x = wake(LowRank(6, 4, 2)), normal(3, 6).requires_grad_()
    free = layer.delta(x)
    layer.is_held = True
    assert torch.equal(layer.delta(x), free)
    layer.delta(x).sum().backward()
    assert layer.down.weight.grad is None
    assert layer.up.weight.grad is None
    assert x.grad.abs().sum() > 0


def test_layers_of_a_reference_meet_its_span_alone():
    layer, x = wake(ReferenceRank(6, 4, 2)), normal(2, 5, 6)
    assert not layer.delta(x).any()
    layer.span = 2, 4
    expected = np.zeros((2, 5, 4))
    down, up = layer.down.weight.detach().numpy(), layer.up.weight.detach().numpy()
    expected[:, 2:4] = x.numpy()[:, 2:4] @ down.T @ up.T
    np.testing.assert_allclose(layer.delta(x).detach().numpy(), expected, rtol=1e-4, atol=1e-6)


def is_temporal(path):
    return "temp_attentions" in path or path.startswith("transformer_in")


def test_tune_a_video_tunes_spatial_queries_and_all_of_temporal_attention(tiny_base):
    names = {site.name for site in tuned_sites(tiny_base)}
    linears = {n for n, m in tiny_base.denoiser.named_modules() if isinstance(m, nn.Linear)}
    queries = {n for n in linears if n.endswith(".to_q") and not is_temporal(n)}
    ends = ("to_q", "to_k", "to_v", "to_out.0")
    temporal = {n for n in linears if n.endswith(ends) and is_temporal(n)}
    assert names == queries | temporal


def test_motiondirector_teaches_every_linear_layer_along_time_and_no_cross_attention(tiny_base):
    linears = {n for n, m in tiny_base.denoiser.named_modules() if isinstance(m, nn.Linear)}
    inner = {n for n in linears if ".transformer_blocks." in n}
    motion = {site.name for site in linear_sites(tiny_base, "motion", LAYERS["motion"])}
    look = {site.name for site in linear_sites(tiny_base, "identity", LAYERS["identity"])}
    assert motion == {n for n in inner if is_temporal(n)}
    assert look == {n for n in inner if not is_temporal(n) and ".attn2." not in n}


def test_dreamix_tunes_of_a_subject_what_looks_at_single_frames(tiny_base):
    every, spatial = (
        {site.name for site in weight_sites(tiny_base, temporal=temporal)}
        for temporal in (True, False)
    )
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    assert every == {n for n, m in tiny_base.denoiser.named_modules() if isinstance(m, kinds)}
    assert spatial == {n for n in every if not is_temporal(n) and "temp_convs" not in n}
    assert len(full_rank_bank(tiny_base, weight_sites(tiny_base)[:2]).sites) == 2


SEED, SIDE = 5, 8
TEXT = Text(torch.zeros(1, 2, 3))


class Halving(SimpleNamespace):
    """A base that predicts half of what it is given."""

    def denoise(self, latents, times, text):
        assert len(latents) == len(times) == len(text)
        return latents / 2


def halving():
    path = DiffusionPath({"beta_schedule": "scaled_linear", "num_train_timesteps": 1000})
    return Halving(path=path, denoiser=nn.Identity())


def test_dreamix_mixes_the_clip_and_its_frames():
    """α·‖ε̂(clip) - ε‖² + (1 - α)·mean over frames of ‖ε̂(frame) - ε‖²."""
    clips = [EncodedClip(normal(4, frames, 3, 2, seed=frames)) for frames in (3, 5)]
    recipe = DreamixMotionRecipe(caption="x", alpha=0.7, seed=SEED)
    objective = MixedObjective(halving(), nn.Identity(), TEXT, clips, recipe=recipe)
    draws = [Draw(2, place, item) for place, item in enumerate((0, 1, 1))]
    found = sum(objective(part).sum() for part in objective.parts(draws))
    expected = 0.0
    for draw in draws:
        noisy, _, target = objective._loss.noised(clips[draw.item].latents[None], [draw])
        error = (noisy / 2 - target)[0].numpy() ** 2
        frames = np.mean([error[:, f].mean() for f in range(error.shape[1])])
        expected += 0.7 * error.mean() + 0.3 * frames
    assert float(found) == pytest.approx(expected, rel=1e-5)
    only = MixedObjective(
        halving(), nn.Identity(), TEXT, clips, recipe=DreamixMotionRecipe(caption="x", alpha=1.0)
    )
    assert all(draw.item < 2 for part in only.parts(draws) for draw in part)


def director(base, clips, **settings):
    recipe = MotionDirectorRecipe(caption="x", seed=SEED, rank=2, **settings)
    text = base.encode_text(["a dog"], {}).detach()
    bank = low_rank_bank(base.denoiser, linear_sites(base, "motion", LAYERS["motion"]), 2)
    objective = MotionDirectorObjective(base, bank, text, clips, recipe=recipe)
    with quiet_draws(0):
        for layers in (bank, *objective.looks):
            wake(layers, 0.3)
    return objective


@pytest.fixture
def clips():
    return [EncodedClip(normal(4, 3, SIDE, SIDE, seed=seed)) for seed in (1, 2)]


def test_a_frame_teaches_its_clips_look_and_the_clip_the_motion(tiny_base, clips):
    """Neither pass moves the other's layers, and no pass those of another clip."""
    objective = director(tiny_base, clips, spatial_off=0.0)
    frame, whole = objective.parts([Draw(0, 0, 1)])
    banks = [objective.bank, *objective.looks]
    with attached(tiny_base, banks):
        for part, expected in ((frame, [False, False, True]), (whole, [True, False, False])):
            objective.zero_grad()
            objective(part).sum().backward()
            grads = [[p.grad for p in bank.parameters()] for bank in banks]
            assert [any(g is not None for g in found) for found in grads] == expected
            assert all(g is None or g.abs().sum() > 0 for found in grads for g in found)


def test_both_passes_see_one_noise_at_one_time(tiny_base, clips):
    objective = director(tiny_base, clips, spatial_off=0.0)
    seen = []
    objective.base = SimpleNamespace(
        denoise=lambda latents, times, text: seen.append((latents, times)) or latents
    )
    draw = Draw(3, 1, 0)
    for part in objective.parts([draw]):
        objective(part)
    (frame, at), (whole, same) = seen
    assert at == same
    number = draw_frame(3, SEED, draw.step, draw.place)
    assert torch.equal(frame, whole[:, :, number : number + 1])
    noise = draw_noise((4, 3, SIDE, SIDE), SEED, 3, 1)
    torch.testing.assert_close(
        whole[0], objective._loss.path.mix(clips[0].latents[None], noise[None], at)[0]
    )


def test_the_look_is_left_out_as_often_as_the_recipe_says(tiny_base, clips):
    objective = director(tiny_base, clips)
    lengths = [len(objective.parts([Draw(step, 0, 0)])) for step in range(400)]
    assert 50 < lengths.count(1) < 110
    step = lengths.index(1)
    ((only,),) = objective.parts([Draw(step, 0, 0)])
    assert only.item == 0
    with attached(tiny_base, [objective.bank, *objective.looks]):
        objective([only])
    assert [look.weight for look in objective.looks] == [0.0, 0.0]


class attached:  # noqa: N801
    """All banks on a base."""

    def __init__(self, base, banks):
        self._entered = [bank.attached(base.denoiser) for bank in banks]

    def __enter__(self):
        for each in self._entered:
            each.__enter__()

    def __exit__(self, *_):
        for each in self._entered:
            each.__exit__(None, None, None)
