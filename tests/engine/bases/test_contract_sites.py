"""Sites and banks on every family: what must hold whatever the denoiser looks like."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import torch
from torch import nn

from engine.adapters.bank import Condition, bottleneck_bank
from engine.adapters.bottleneck import Bottleneck
from engine.blocks import recompute_blocks
from tests.engine.bases.families import BATCH, ROLES, awake_bank, denoise, fresh_bank
from tests.tiny import open_tiny


def bits(tensor):
    """The tensor's bits as integers: ±0 and NaN are told apart."""
    return tensor.view(torch.int32)


@pytest.mark.parametrize("role", ROLES)
def test_site_names_are_unique(base, role):
    names = [site.name for site in base.sites(role)]
    assert len(names) == len(set(names)) > 0


def test_identity_and_motion_share_no_site(base):
    assert not {site.write for site in base.sites("identity")} & {
        site.write for site in base.sites("motion")
    }


@pytest.mark.parametrize("role", ROLES)
def test_a_site_says_the_width_of_its_stream(base, scene, role):
    seen = {}
    handles = [
        base.denoiser.get_submodule(site.read).register_forward_pre_hook(
            lambda _, inputs, name=site.name: seen.update({name: inputs[0].shape[-1]})
        )
        for site in base.sites(role)
    ]
    denoise(base, scene)
    for handle in handles:
        handle.remove()
    assert seen == {site.name: site.width for site in base.sites(role)}


@pytest.mark.parametrize("role", ROLES)
def test_sites_are_listed_in_the_order_of_the_forward_pass(base, scene, role):
    seen = []
    handles = [
        base.denoiser.get_submodule(site.write).register_forward_hook(
            lambda *_, name=site.name: seen.append(name)
        )
        for site in base.sites(role)
    ]
    denoise(base, scene)
    for handle in handles:
        handle.remove()
    assert seen == [site.name for site in base.sites(role)]


@pytest.mark.parametrize("role", ROLES)
def test_fresh_bottlenecks_leave_the_output_unchanged(base, scene, plain, role):
    bank = fresh_bank(base, role)
    bank.condition = Condition(scene.features)
    with bank.attached(base.denoiser):
        assert torch.equal(bits(denoise(base, scene)), bits(plain))


@pytest.mark.parametrize("role", ROLES)
def test_weight_zero_is_the_base_bit_for_bit(base, scene, plain, role):
    bank = awake_bank(base, role, scene.features)
    bank.weight = 0.0
    with bank.attached(base.denoiser):
        assert torch.equal(bits(denoise(base, scene)), bits(plain))


@pytest.mark.parametrize("role", ROLES)
def test_learned_bottlenecks_change_the_output(base, scene, plain, role):
    with awake_bank(base, role).attached(base.denoiser):
        assert not torch.allclose(denoise(base, scene), plain, atol=1e-3)


@pytest.mark.parametrize("role", ROLES)
def test_every_site_changes_the_output_by_itself(base, scene, plain, role):
    bank = awake_bank(base, role)
    for alone in range(len(bank.sites)):
        single = bottleneck_bank(bank.sites[alone : alone + 1], 0.5)
        nn.init.normal_(single.bottlenecks[0].up.weight, std=0.3)
        with single.attached(base.denoiser):
            assert not torch.equal(denoise(base, scene), plain), bank.sites[alone].name


@pytest.mark.parametrize("role", ROLES)
def test_more_weight_moves_the_output_further(base, scene, plain, role):
    bank = awake_bank(base, role)
    moved = []
    for weight in (0.01, 0.1, 1.0):
        bank.weight = weight
        with bank.attached(base.denoiser):
            moved.append((denoise(base, scene) - plain).norm().item())
    assert moved == sorted(moved)


def test_detaching_gives_the_base_back(base, scene, plain):
    with awake_bank(base, "motion").attached(base.denoiser):
        denoise(base, scene)
    assert torch.equal(denoise(base, scene), plain)


def test_detaching_after_an_error_gives_the_base_back(base, scene, plain):
    with pytest.raises(ZeroDivisionError), awake_bank(base, "motion").attached(base.denoiser):
        raise ZeroDivisionError
    assert torch.equal(denoise(base, scene), plain)


def test_adapters_of_both_kinds_work_side_by_side(base, scene, plain):
    identity, motion = awake_bank(base, "identity"), awake_bank(base, "motion", scene.features)
    outputs = []
    for banks in ([identity], [motion], [identity, motion], [motion, identity]):
        with ExitStack() as stack:
            for bank in banks:
                stack.enter_context(bank.attached(base.denoiser))
            outputs.append(denoise(base, scene))
    *single, both, other_order = outputs
    assert torch.equal(both, other_order)
    assert not any(torch.allclose(both, other, atol=1e-3) for other in (*single, plain))


def block_bank(base, features):
    """A motion's bottlenecks beside whole blocks, all random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        bank = bottleneck_bank(base.sites("motion", "blocks"), 0.5, base.geometry.image_width)
        for parameter in bank.parameters():
            nn.init.normal_(parameter, std=0.1)
    bank.condition = Condition(features)
    return bank


def test_beside_whole_blocks_fresh_bottlenecks_leave_the_output_unchanged(base, scene, plain):
    sites = base.sites("motion", "blocks")
    assert 0 < len(sites) < len(base.sites("motion"))
    bank = bottleneck_bank(sites, 0.5, base.geometry.image_width)
    bank.condition = Condition(scene.features)
    with bank.attached(base.denoiser):
        assert torch.equal(bits(denoise(base, scene)), bits(plain))


def test_beside_whole_blocks_every_weight_learns_with_and_without_checkpointing(
    folder, base, scene
):
    lean, grads = open_tiny(folder), []
    recompute_blocks(lean)
    for model in (base, lean):
        bank = block_bank(model, scene.features)
        loss_of(model, scene, bank)
        grads.append([parameter.grad for parameter in bank.parameters()])
    assert all(grad.any() for grad in grads[0])
    assert all(torch.equal(kept, again) for kept, again in zip(*grads, strict=True))


def loss_of(base, scene, bank):
    with bank.attached(base.denoiser):
        prediction = base.denoise(scene.latents, scene.timesteps, scene.text)
        prediction.square().mean().backward()


@pytest.mark.parametrize("role", ROLES)
def test_every_fresh_site_gets_gradient(base, scene, role):
    bank = fresh_bank(base, role)
    loss_of(base, scene, bank)
    for site, bottleneck in zip(bank.sites, bank.bottlenecks, strict=True):
        assert bottleneck.up.weight.grad.abs().sum() > 0, site.name


@pytest.mark.parametrize("role", ROLES)
def test_every_parameter_of_a_learned_bank_gets_gradient(base, scene, role):
    bank = awake_bank(base, role, scene.features)
    loss_of(base, scene, bank)
    for name, parameter in bank.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("role", ROLES)
def test_gradients_are_the_slopes_of_the_loss(folder, scene, role, monkeypatch):
    """Through the stream that the bottlenecks read as well as through what they add to it."""
    # Some denoisers compute their norms in fp32 whatever they are given, too coarse for slopes.
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    exact = open_tiny(folder, dtype=torch.float64)
    bank = awake_bank(exact, role, scene.features.double()).double()
    parameters = list(bank.parameters())
    torch.manual_seed(3)
    ahead = [torch.randn_like(parameter) for parameter in parameters]
    loss_of(exact, scene, bank)
    slope = sum((p.grad * way).sum() for p, way in zip(parameters, ahead, strict=True))
    measured = []
    for step in (1e-6, -2e-6):
        with torch.no_grad(), bank.attached(exact.denoiser):
            torch._foreach_add_(parameters, ahead, alpha=step)
            measured.append(denoise(exact, scene).square().mean())
    assert ((measured[0] - measured[1]) / 2e-6).item() == pytest.approx(slope.item(), rel=1e-4)


def test_the_base_gets_no_gradient(base, scene):
    loss_of(base, scene, awake_bank(base, "motion", scene.features))
    assert all(parameter.grad is None for parameter in base.denoiser.parameters())


@pytest.mark.parametrize("role", ROLES)
def test_checkpointing_leaves_the_gradients_as_they_are(folder, base, scene, role):
    lean = open_tiny(folder)
    recompute_blocks(lean)
    grads = []
    for model in (base, lean):
        bank = awake_bank(model, role, scene.features)
        loss_of(model, scene, bank)
        grads.append([parameter.grad for parameter in bank.parameters()])
    assert all(torch.equal(kept, again) for kept, again in zip(*grads, strict=True))


def test_a_sample_is_conditioned_by_its_own_appearance_only(base, scene):
    outputs = []
    for features in (scene.features, scene.features * torch.tensor([[1.0], [-2.0]])):
        with awake_bank(base, "motion", features).attached(base.denoiser):
            outputs.append(denoise(base, scene))
    before, after = outputs
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1], atol=1e-3)


def test_a_condition_for_two_samples_is_the_condition_of_each(base, scene):
    bank = awake_bank(base, "motion")
    with bank.attached(base.denoiser):
        bank.condition = Condition(scene.features)
        both = denoise(base, scene)
        for sample in range(BATCH):
            bank.condition = Condition(scene.features[sample : sample + 1])
            one = slice(sample, sample + 1)
            with torch.no_grad():
                alone = base.denoise(
                    scene.latents[one], scene.timesteps[one], scene.text.rows([sample])
                )
            assert torch.allclose(both[one], alone, atol=1e-4)


@pytest.mark.parametrize("role", ROLES)
def test_a_bank_read_back_does_what_it_did(base, scene, role):
    bank = awake_bank(base, role, scene.features)
    again = fresh_bank(base, role)
    again.load_tensors({name: tensor.clone() for name, tensor in bank.tensors().items()})
    again.condition = bank.condition
    outputs = []
    for each in (bank, again):
        with each.attached(base.denoiser):
            outputs.append(denoise(base, scene))
    assert torch.equal(*outputs)


def test_tensors_are_named_by_their_site(base):
    bank = fresh_bank(base, "motion")
    own = {f"{name}.{part}" for name in (s.name for s in bank.sites) for part in layers()}
    assert bank.tensors().keys() == own


def layers():
    return Bottleneck(4, 2, 3).state_dict().keys()
