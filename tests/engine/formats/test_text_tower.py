"""LoRA of the text tower: taken with the denoiser's, acts while prompts are read, and leaves with it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.adapters.composition import Composition
from engine.adapters.file import Kind
from engine.errors import IncompatibleError
from engine.formats.writing import write_foreign
from engine.guides.prompts import PromptCache
from tests.engine.formats import files
from tests.engine.formats.conftest import Convert, on

# What other libraries warn of while they load is not under test.
pytestmark = pytest.mark.filterwarnings("ignore")
PROMPTS = ["", "a dog sweeping"]


def in_kohya(path: str) -> str:
    return path.replace("text_encoder.", "lora_te_text_model_").replace(".", "_")


def in_diffusers(path: str) -> str:
    return path.replace("text_encoder.", "text_encoder.text_model.")


def in_old_diffusers(path: str) -> str:
    """As its first scripts wrote attention."""
    for name in ("q", "k", "v", "out"):
        path = path.replace(f"{name}_proj", f"to_{name}")
    return in_diffusers(path)


Spell = Callable[[str], str]
LAYOUTS: dict[str, tuple[Spell, str, str]] = {
    "kohya": (in_kohya, ".lora_down.weight", ".lora_up.weight"),
    "diffusers": (in_diffusers, ".lora_A.weight", ".lora_B.weight"),
    "bare": (str, ".lora_A.weight", ".lora_B.weight"),
    "linear layers": (
        in_diffusers,
        ".lora_linear_layer.down.weight",
        ".lora_linear_layer.up.weight",
    ),
    "old": (in_old_diffusers, "_lora.down.weight", "_lora.up.weight"),
}


@pytest.fixture
def readers(targets):
    return [slot for slot in targets["unet3d"].slots if slot.layer.is_read]


def lora(layout: str, slots, path: Path, **settings) -> Path:
    """A file of attention in space and of what reads prompts."""
    spell, down, up = LAYOUTS[layout]
    return files.saved(files.low_rank(slots, spell, down, up, **settings), path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_matrix_comes_to_its_layer_in_the_tower(
    layout: str, readers, converted: Convert, tmp_path: Path
) -> None:
    slots = [s for s in readers if layout != "old" or "self_attn" in s.path]
    (adapter,) = converted(lora(layout, slots, tmp_path / "a.safetensors"), "unet3d")
    draws = files.Draws()
    assert [site.name for site in adapter.facts.sites] == [slot.path for slot in slots]
    for slot in slots:
        assert torch.equal(adapter.tensors[f"{slot.path}.down.weight"], draws(3, slot.widths[0]))
        assert torch.equal(adapter.tensors[f"{slot.path}.up.weight"], draws(slot.widths[1], 3))
    assert adapter.facts.kind == "subject"


@torch.no_grad()
def test_prompts_are_read_as_by_weights_of_w_plus_ba(
    readers, bases, converted: Convert, tmp_path: Path
) -> None:
    """At half the weight W + BA/2; at 0, and when it is over, the base bit for bit."""
    base = bases["unet3d"]
    (adapter,) = converted(lora("kohya", readers, tmp_path / "a.safetensors", alpha=6.0), "unet3d")
    plain = base.encode_text(PROMPTS, {}).features
    delta = on(base, adapter)
    cache = PromptCache(base)
    assert torch.equal(cache.read([PROMPTS], {}).features, plain)
    with Composition((replace(delta, weight=0.5),), None).attached(base):
        read = cache.read([PROMPTS], {}).features
    with Composition((replace(delta, weight=0.0),), None).attached(base):
        assert torch.equal(base.encode_text(PROMPTS, {}).features, plain)
    assert torch.equal(cache.read([PROMPTS], {}).features, plain)
    tower = copy.deepcopy(base.text_tower)
    for slot in readers:
        down, up = (adapter.tensors[f"{slot.path}.{part}.weight"] for part in ("down", "up"))
        tower.get_submodule(slot.layer.path).weight += up @ down / 2
    changed = copy.copy(base)
    changed.__dict__["_text"] = tower
    expected = changed.encode_text(PROMPTS, {}).features
    torch.testing.assert_close(read, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(read, plain, atol=1e-3)


@pytest.mark.parametrize("kind", ["subject", "motion"])
@torch.no_grad()
def test_noise_is_inverted_under_a_caption_that_motions_alone_change(
    kind: Kind, readers, bases, converted: Convert, tmp_path: Path
) -> None:
    """A subject reads the prompt of the video, and not that of the clip it starts from."""
    base = bases["unet3d"]
    (adapter,) = converted(lora("kohya", readers, tmp_path / "a.safetensors"), "unet3d")
    plain = base.encode_text(PROMPTS, {}).features
    composition = Composition((replace(on(base, adapter), kind=kind),), None)
    with composition.attached(base):
        read = base.encode_text(PROMPTS, {}).features
        with composition.motions_alone():
            inverted = base.encode_text(PROMPTS, {}).features
        assert torch.equal(base.encode_text(PROMPTS, {}).features, read)
    assert not torch.allclose(read, plain, atol=1e-3)
    assert torch.equal(inverted, read if kind == "motion" else plain)


@pytest.mark.parametrize("tool", ["diffusers", "kohya"])
@torch.no_grad()
def test_diffusers_loads_what_is_written_and_reads_prompts_the_same(
    tool: str, targets, bases, converted: Convert, tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    from diffusers import AnimateDiffPipeline
    from transformers import CLIPTextModel

    base, target = bases["animatediff"], targets["animatediff"]
    both = [
        *files.attention(target, temporal=False),
        *(slot for slot in target.slots if slot.layer.is_read),
    ]
    path = files.saved(
        files.low_rank(both, str, ".lora_A.weight", ".lora_B.weight"), tmp_path / "a.safetensors"
    )
    (adapter,) = converted(path, "animatediff")
    out = tmp_path / "out.safetensors"
    write_foreign(tmp_path / "converted-a" / "subject.safetensors", tool, out, label="corgi:v1")
    (again,) = converted(out, "animatediff")
    assert all(torch.equal(again.tensors[name], t) for name, t in adapter.tensors.items())
    with on(base, adapter).attached(base):
        expected = base.encode_text(PROMPTS, {}).features
    state, alphas = AnimateDiffPipeline.lora_state_dict(out)
    theirs = copy.copy(base)
    tower = CLIPTextModel.from_pretrained(base.location.folder / "text_encoder")
    theirs.__dict__["_text"] = tower
    AnimateDiffPipeline.load_lora_into_text_encoder(state, alphas, tower, prefix="text_encoder")
    read = theirs.encode_text(PROMPTS, {}).features
    torch.testing.assert_close(read, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(read, base.encode_text(PROMPTS, {}).features, atol=1e-3)
    with pytest.raises(IncompatibleError, match="which a file of peft has no place for"):
        write_foreign(
            tmp_path / "converted-a" / "subject.safetensors", "peft", out, label="corgi:v1"
        )
