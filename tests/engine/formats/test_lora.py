"""Low-rank layers of other tools: every layout in, α in B, halves apart, and what is no plain LoRA refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine.errors import IncompatibleError
from engine.formats.opening import open_file
from engine.formats.reading import recognise
from tests.engine.formats import files
from tests.engine.formats.conftest import Convert, on, predict

LAYOUTS: dict[tuple[str, str], Callable[..., dict[str, torch.Tensor]]] = {
    ("unet3d", "kohya"): files.kohya,
    ("unet3d", "diffusers"): files.diffusers,
    ("animatediff", "kohya"): files.kohya,
    ("animatediff", "diffusers"): files.diffusers,
    ("wan", "comfy"): files.comfy,
    ("wan", "diffusers"): lambda slots, **s: files.diffusers(slots, "transformer", **s),
    ("wan", "kohya"): lambda slots, **s: {
        "lora_unet_"
        + key.removeprefix("diffusion_model.").partition(".lora")[0].replace(".", "_")
        + key[key.index(".lora_") :].replace("lora_A", "lora_down").replace("lora_B", "lora_up"): t
        for key, t in files.comfy(slots, **s).items()
    },
}


@pytest.mark.parametrize(("family", "layout"), LAYOUTS)
def test_every_matrix_comes_to_its_layer(
    family: str, layout: str, targets, converted: Convert, tmp_path: Path
) -> None:
    """Each site has the two matrices that were drawn for it, and there is no other site."""
    slots = files.attention(targets[family], temporal=None if family == "wan" else False)
    path = files.saved(LAYOUTS[family, layout](slots), tmp_path / "lora.safetensors")
    (adapter,) = converted(path, family, kind="subject")
    draws = files.Draws()
    for slot in slots:
        assert torch.equal(adapter.tensors[f"{slot.path}.down.weight"], draws(3, slot.widths[0]))
        assert torch.equal(adapter.tensors[f"{slot.path}.up.weight"], draws(slot.widths[1], 3))
    assert [site.name for site in adapter.facts.sites] == [slot.path for slot in slots]
    assert (adapter.facts.storage, adapter.facts.method) == ("low-rank", "lora")
    assert adapter.facts.recipe == {"format": layout, "rank": 3}


def test_what_alpha_says_is_part_of_b(targets, converted: Convert, tmp_path: Path) -> None:
    """B is times α/r: 1.5/3."""
    slots = files.attention(targets["unet3d"], temporal=False)
    path = files.saved(files.kohya(slots, alpha=1.5), tmp_path / "lora.safetensors")
    (adapter,) = converted(path, "unet3d")
    draws, first = files.Draws(), slots[0]
    assert torch.equal(adapter.tensors[f"{first.path}.down.weight"], draws(3, first.widths[0]))
    assert torch.equal(adapter.tensors[f"{first.path}.up.weight"], draws(first.widths[1], 3) * 0.5)


def test_old_names_of_diffusers_are_read(targets, converted: Convert, tmp_path: Path) -> None:
    """``attn1.processor.to_out_lora.down.weight`` is the layer ``attn1.to_out.0``."""
    slots = files.attention(targets["animatediff"], temporal=True)

    def spell(path: str) -> str:
        block, _, part = path.rpartition(".to_")
        return f"unet.{block}.processor.to_{part.removesuffix('.0')}"

    tensors = files.low_rank(slots, spell, "_lora.down.weight", "_lora.up.weight")
    path = files.saved(tensors, tmp_path / "lora.safetensors")
    (adapter,) = converted(path, "animatediff")
    assert {site.name for site in adapter.facts.sites} == {slot.path for slot in slots}


def test_a_motion_lora_is_a_motion(targets, converted: Convert, tmp_path: Path) -> None:
    """Also as a checkpoint of `torch.save` with AnimateDiff's wrappers."""
    slots = files.attention(targets["animatediff"], temporal=True)
    tensors = files.motion_lora(slots)
    (adapter,) = converted(files.saved(tensors, tmp_path / "zoom.safetensors"), "animatediff")
    assert (adapter.facts.kind, len(adapter.facts.sites)) == ("motion", len(slots))
    wrapped = {f"module.{key}": tensor for key, tensor in tensors.items()}
    torch.save({"state_dict": wrapped, "global_step": 7}, tmp_path / "zoom.ckpt")
    (again,) = converted(tmp_path / "zoom.ckpt", "animatediff")
    assert again.tensors.keys() == adapter.tensors.keys()
    assert all(torch.equal(again.tensors[name], t) for name, t in adapter.tensors.items())


def test_a_file_of_both_halves_is_a_subject_and_a_motion(
    targets, converted: Convert, tmp_path: Path
) -> None:
    slots = files.attention(targets["unet3d"])
    path = files.saved(files.diffusers(slots), tmp_path / "lora.safetensors")
    subject, motion = converted(path, "unet3d", kind="subject")
    assert (subject.facts.kind, motion.facts.kind) == ("subject", "motion")
    own = [{site.name for site in each.facts.sites} for each in (subject, motion)]
    assert own[0] | own[1] == {slot.path for slot in slots}
    assert all(".attentions." in name for name in own[0])
    assert not any(".attentions." in name for name in own[1])


def test_a_convolution_of_single_pixels_acts_as_one(
    targets, bases, converted: Convert, tmp_path: Path
) -> None:
    """What kohya calls proj_in is a convolution in Stable Diffusion 1: B·A at every pixel."""
    slots = [
        slot for slot in targets["animatediff"].slots if slot.path.endswith("attentions.0.proj_in")
    ]
    slots = [slot for slot in slots if not targets["animatediff"].is_motion(slot.path)]
    tensors = {key: tensor[:, :, None, None] for key, tensor in files.kohya(slots).items()}
    (adapter,) = converted(files.saved(tensors, tmp_path / "lora.safetensors"), "animatediff")
    base = bases["animatediff"]
    layer = base.denoiser.get_submodule(slots[0].path)
    x = torch.randn(2, slots[0].widths[0], 3, 5, generator=torch.Generator().manual_seed(1))
    down, up = (adapter.tensors[f"{slots[0].path}.{part}.weight"] for part in ("down", "up"))
    expected = layer(x) + torch.einsum("or,ri,bihw->bohw", up, down, x)
    with on(base, adapter).attached(base):
        torch.testing.assert_close(layer(x), expected)


def test_an_expert_is_asked_for_and_taken(targets, converted: Convert, tmp_path: Path) -> None:
    one = files.attention(targets["wan"])
    path = files.saved(files.comfy(one), tmp_path / "lora.safetensors")
    with pytest.raises(IncompatibleError, match="which expert"):
        converted(path, "experts", kind="motion")
    (adapter,) = converted(path, "experts", kind="motion", expert="low")
    assert all(site.name.startswith("transformer_2.") for site in adapter.facts.sites)
    named = files.saved(files.diffusers(one, "transformer"), tmp_path / "named.safetensors")
    (adapter,) = converted(named, "experts", kind="motion")
    assert all(site.name.startswith("transformer.") for site in adapter.facts.sites)


REFUSED = {
    "DoRA": "lora_unet_mid_block_attentions_0_proj_in.dora_scale",
    "LoHa": "lora_unet_mid_block_attentions_0_proj_in.hada_w1_a",
    "LoKr": "lora_unet_mid_block_attentions_0_proj_in.lokr_w1",
    "OFT": "lora_unet_mid_block_attentions_0_proj_in.oft_blocks",
    "(IA)³": "lora_unet_mid_block_attentions_0_proj_in.on_input",
    "whole differences": "diffusion_model.blocks.0.norm3.diff",
    "biases": "transformer.blocks.0.attn1.to_q.lora_B.bias",
    "Stable Diffusion XL or Flux": "lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight",
    "words in the same file": "bundle_emb.cat.string_to_param.*",
}


@pytest.mark.parametrize(("called", "key"), REFUSED.items())
def test_what_is_no_plain_lora_is_refused_by_name(
    called: str, key: str, targets, converted: Convert, tmp_path: Path
) -> None:
    slots = files.attention(targets["unet3d"], temporal=False)[:2]
    tensors = {**files.kohya(slots), key: torch.ones(2, 2)}
    path = files.saved(tensors, tmp_path / "lora.safetensors")
    with pytest.raises(IncompatibleError) as refused:
        converted(path, "unet3d")
    assert called in refused.value.message
    assert key[:60] in refused.value.message


def test_keys_without_a_place_are_named_three_at_a_time(
    targets, converted: Convert, tmp_path: Path
) -> None:
    slots = files.attention(targets["wan"])
    path = files.saved(files.comfy(slots), tmp_path / "lora.safetensors")
    with pytest.raises(IncompatibleError) as refused:
        converted(path, "unet3d", kind="subject")
    assert f"no place for {2 * len(slots)} of the {2 * len(slots)} tensors" in refused.value.message
    assert refused.value.message.count("diffusion_model.") == 3
    assert "Wan" in str(refused.value.hint)


@pytest.mark.parametrize("lost", [".lora_down.weight", ".lora_up.weight"])
def test_half_a_layer_is_refused(lost: str, targets, converted: Convert, tmp_path: Path) -> None:
    tensors = files.kohya(files.attention(targets["unet3d"], temporal=False)[:2])
    del tensors[next(key for key in tensors if key.endswith(lost))]
    with pytest.raises(IncompatibleError, match="not a whole LoRA"):
        converted(files.saved(tensors, tmp_path / "lora.safetensors"), "unet3d")


def test_another_width_names_both_sides(targets, converted: Convert, tmp_path: Path) -> None:
    slots = files.attention(targets["unet3d"], temporal=False)
    tensors = files.kohya(slots)
    key = next(key for key in tensors if key.endswith("attn2_to_k.lora_down.weight"))
    tensors[key] = torch.zeros(3, 768)
    with pytest.raises(IncompatibleError) as refused:
        converted(files.saved(tensors, tmp_path / "lora.safetensors"), "unet3d")
    assert "from 768 (Stable Diffusion 1 and AnimateDiff)" in refused.value.message


def test_a_convolution_of_more_than_single_pixels_is_refused(
    targets, converted: Convert, tmp_path: Path
) -> None:
    tensors = files.kohya(files.attention(targets["unet3d"], temporal=False)[:1])
    key = next(iter(tensors))
    tensors[key] = tensors[key][:, :, None, None].expand(-1, -1, 3, 3)
    with pytest.raises(IncompatibleError, match="LoRA of convolutions"):
        converted(files.saved(tensors, tmp_path / "lora.safetensors"), "unet3d")


def test_settings_of_peft_say_alpha(targets, converted: Convert, tmp_path: Path) -> None:
    """As diffusers writes them into a file, with a pattern for single layers."""
    slots = files.attention(targets["unet3d"], temporal=False)
    special = slots[0].path.rpartition("transformer_blocks.")[0] + "transformer_blocks.0.attn1.to_q"
    told = {"unet.lora_alpha": 6, "unet.r": 3, "unet.alpha_pattern": {special: 12}}
    metadata = {"lora_adapter_metadata": json.dumps(told)}
    path = files.saved(files.diffusers(slots), tmp_path / "lora.safetensors", metadata)
    (adapter,) = converted(path, "unet3d")
    draws = files.Draws()
    for slot in slots:
        draws(3, slot.widths[0])
        expected = draws(slot.widths[1], 3) * (4.0 if slot.path == special else 2.0)
        assert torch.equal(adapter.tensors[f"{slot.path}.up.weight"], expected)


def test_what_a_file_is_shows_in_its_keys(targets, tmp_path: Path) -> None:
    spatial = files.attention(targets["unet3d"], temporal=False)
    whats = {
        "a LoRA": files.kohya(spatial),
        "a learned word": {"<cat>": torch.ones(1, 4)},
        "bottlenecks of DreamVideo": files.bottlenecks(targets["unet3d"], "identity"),
    }
    for what, tensors in whats.items():
        path = files.saved(tensors, tmp_path / "file.safetensors")
        assert recognise(open_file(path)).what == what


def test_weight_0_is_the_base_bit_for_bit(
    targets, bases, converted: Convert, tmp_path: Path
) -> None:
    from engine.adapters.delta import build_delta

    path = files.saved(
        files.kohya(files.attention(targets["unet3d"], temporal=False)), tmp_path / "l.safetensors"
    )
    (adapter,) = converted(path, "unet3d")
    base = bases["unet3d"]
    plain = predict(base)
    assert torch.equal(predict(base, build_delta(adapter, base, weight=0.0)), plain)
    assert not torch.equal(predict(base, on(base, adapter)), plain)
