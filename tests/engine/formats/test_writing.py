"""Our adapters in other tools' files: the other library loads them and computes the same, and we read them back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.adapters.bank import full_rank_bank, linear_sites, weight_sites
from engine.adapters.file import Adapter, AdapterFacts, SiteFact, save_adapter
from engine.adapters.uses import base_fact
from engine.errors import IncompatibleError, OutputExistsError, RecipeError
from engine.formats.writing import write_foreign
from tests.engine.formats import files
from tests.engine.formats.conftest import Convert, on, predict

# What other libraries warn of while they load is not under test.
pytestmark = pytest.mark.filterwarnings("ignore")

Make = Callable[..., tuple[Path, Adapter]]


@pytest.fixture
def make(targets, converted: Convert, tmp_path: Path) -> Make:
    """An adapter of low-rank layers on all attention of one kind, or of the layers given."""

    def run(family: str, *, temporal: bool | None = None, slots: Any = None, **wish: Any) -> Any:
        part = "transformer" if family in {"wan", "experts"} else "unet"
        slots = slots or files.attention(targets[family], temporal=temporal)
        path = files.saved(files.diffusers(slots, part), tmp_path / f"{family}.safetensors")
        (adapter,) = converted(path, family, **wish)
        return tmp_path / f"converted-{family}" / f"{adapter.facts.kind}.safetensors", adapter

    return run


@pytest.mark.parametrize("temporal", [False, True])
def test_peft_loads_a_folder_and_predicts_the_same(
    temporal: bool, make: Make, bases, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    base = bases["unet3d"]
    file, adapter = make("unet3d", temporal=temporal)
    write_foreign(file, "peft", tmp_path / "folder", label="corgi:v1")
    expected = predict(base, on(base, adapter))
    theirs = copy.copy(base)
    theirs.denoiser = peft.PeftModel.from_pretrained(
        copy.deepcopy(base.denoiser), tmp_path / "folder"
    )
    assert torch.equal(predict(theirs), expected)


@pytest.mark.parametrize(
    "settings",
    [
        {"r": 4, "lora_alpha": 4},
        {"r": 4, "lora_alpha": 8},
        {"r": 4, "lora_alpha": 8, "use_rslora": True},
        {
            "r": 4,
            "lora_alpha": 2,
            "rank_pattern": {"attn1.to_q": 2},
            "alpha_pattern": {"attn1.to_q": 8},
        },
    ],
)
def test_what_peft_saves_is_read_and_predicts_the_same(
    settings: dict[str, Any], targets, bases, converted: Convert, tmp_path: Path
) -> None:
    """α/r is a power of two in all of them, so that not even its rounding differs."""
    peft = pytest.importorskip("peft")
    base = bases["unet3d"]
    names = [slot.path for slot in files.attention(targets["unet3d"], temporal=False)]
    config = peft.LoraConfig(target_modules=names, init_lora_weights=False, **settings)
    theirs = copy.copy(base)
    theirs.denoiser = peft.get_peft_model(copy.deepcopy(base.denoiser), config)
    expected = predict(theirs)
    theirs.denoiser.save_pretrained(tmp_path / "saved")
    (adapter,) = converted(tmp_path / "saved", "unet3d")
    assert torch.equal(predict(base, on(base, adapter)), expected)


@pytest.mark.parametrize(
    ("temporal", "tool"), [(False, "diffusers"), (False, "kohya"), (True, "diffusers")]
)
def test_diffusers_loads_a_file_and_predicts_the_same(
    temporal: bool, tool: str, make: Make, bases, tmp_path: Path
) -> None:
    """As `AnimateDiffPipeline.load_lora_weights` does, into its UNetMotionModel."""
    pytest.importorskip("peft")
    from diffusers import AnimateDiffPipeline

    base = bases["animatediff"]
    file, adapter = make("animatediff", temporal=temporal)
    write_foreign(file, tool, tmp_path / "out.safetensors", label="corgi:v1")
    expected = predict(base, on(base, adapter))
    theirs = copy.copy(base)
    theirs.denoiser = copy.deepcopy(base.denoiser)
    state, alphas = AnimateDiffPipeline.lora_state_dict(tmp_path / "out.safetensors")
    AnimateDiffPipeline.load_lora_into_unet(state, alphas, theirs.denoiser)
    assert torch.equal(predict(theirs), expected)


@pytest.mark.parametrize("tool", ["diffusers", "comfy", "kohya"])
def test_diffusers_loads_a_file_of_wan_and_predicts_the_same(
    tool: str, make: Make, targets, bases, tmp_path: Path
) -> None:
    """Every layer of every block, for diffusers' reader of musubi's files wants them all."""
    pytest.importorskip("peft")
    from diffusers import WanPipeline

    base = bases["wan"]
    slots = [slot for slot in targets["wan"].slots if slot.path.startswith("blocks.")]
    file, adapter = make("wan", slots=slots, kind="motion")
    write_foreign(file, tool, tmp_path / "out.safetensors", label="hop:v1")
    expected = predict(base, on(base, adapter), frames=5)
    theirs = copy.copy(base)
    theirs.denoiser = copy.deepcopy(base.denoiser)
    state = WanPipeline.lora_state_dict(tmp_path / "out.safetensors")
    WanPipeline.load_lora_into_transformer(state, theirs.denoiser)
    assert torch.equal(predict(theirs, frames=5), expected)


ROUND_TRIPS = [
    ("unet3d", False, "peft"),
    ("unet3d", True, "peft"),
    ("animatediff", False, "peft"),
    ("animatediff", False, "diffusers"),
    ("animatediff", False, "kohya"),
    ("animatediff", False, "a1111"),
    ("animatediff", False, "comfy"),
    ("animatediff", True, "diffusers"),
    ("animatediff", True, "comfy"),
    ("wan", None, "peft"),
    ("wan", None, "diffusers"),
    ("wan", None, "kohya"),
    ("wan", None, "comfy"),
]


@pytest.mark.parametrize(("family", "temporal", "tool"), ROUND_TRIPS)
def test_what_is_written_reads_back_bit_for_bit(
    family: str,
    temporal: bool | None,
    tool: str,
    *,
    make: Make,
    converted: Convert,
    tmp_path: Path,
) -> None:
    file, adapter = make(family, temporal=temporal, kind="subject" if temporal is None else None)
    path = tmp_path / ("out" if tool == "peft" else "out.safetensors")
    write_foreign(file, tool, path, label="corgi:v1")
    (again,) = converted(path, family, kind="subject" if temporal is None else None)
    assert again.tensors.keys() == adapter.tensors.keys()
    assert all(torch.equal(again.tensors[name], t) for name, t in adapter.tensors.items())


def test_convolutions_are_written_as_convolutions(
    make: Make, targets, converted: Convert, tmp_path: Path
) -> None:
    """(out, in, 1, 1), as kohya and diffusers have them, and they come back."""
    from safetensors.torch import load_file

    target = targets["animatediff"]
    slots = [
        s for s in target.slots if s.path.endswith(".proj_in") and not target.is_motion(s.path)
    ]
    file, adapter = make("animatediff", slots=slots)
    write_foreign(file, "kohya", tmp_path / "out.safetensors", label="corgi:v1")
    shapes = {tensor.ndim for tensor in load_file(tmp_path / "out.safetensors").values()}
    assert shapes == {0, 4}
    (again,) = converted(tmp_path / "out.safetensors", "animatediff")
    assert all(torch.equal(again.tensors[name], t) for name, t in adapter.tensors.items())


@pytest.mark.parametrize("expert", ["high", "low"])
def test_of_two_experts_one_is_written(
    expert: str, targets, converted: Convert, tmp_path: Path
) -> None:
    one = files.attention(targets["wan"])
    both = {**files.diffusers(one, "transformer"), **files.diffusers(one, "transformer_2", seed=1)}
    (adapter,) = converted(
        files.saved(both, tmp_path / "both.safetensors"), "experts", kind="motion"
    )
    file = tmp_path / "converted-both" / "motion.safetensors"
    path = tmp_path / "out.safetensors"
    with pytest.raises(RecipeError, match="layers of high and low"):
        write_foreign(file, "comfy", path, label="hop:v1")
    write_foreign(file, "comfy", path, label="hop:v1", expert=expert)
    (again,) = converted(path, "experts", kind="motion", expert=expert)
    assert all(torch.equal(adapter.tensors[name], t) for name, t in again.tensors.items())
    assert 2 * len(again.tensors) == len(adapter.tensors)


NO_HOME = [
    ("unet3d", False, "kohya", "--format peft has one"),
    ("unet3d", True, "diffusers", "--format peft has one"),
    ("animatediff", True, "kohya", "--format peft or --format diffusers or --format comfy has one"),
]


@pytest.mark.parametrize(("family", "temporal", "tool", "hint"), NO_HOME)
def test_a_tool_without_a_place_is_told_apart(
    family: str, temporal: bool, tool: str, *, hint: str, make: Make, tmp_path: Path
) -> None:
    file, _ = make(family, temporal=temporal)
    with pytest.raises(IncompatibleError) as refused:
        write_foreign(file, tool, tmp_path / "out.safetensors", label="corgi:v1")
    assert refused.value.hint == hint
    assert not (tmp_path / "out.safetensors").exists()


def test_bottlenecks_have_no_home(targets, converted: Convert, tmp_path: Path) -> None:
    path = files.saved(files.bottlenecks(targets["unet3d"], "identity"), tmp_path / "a.safetensors")
    converted(path, "unet3d")
    file = tmp_path / "converted-a" / "subject.safetensors"
    for tool in ("diffusers", "kohya", "peft", "a1111", "comfy"):
        with pytest.raises(IncompatibleError, match="corgi:v1 is bottlenecks") as refused:
            write_foreign(file, tool, tmp_path / "out", label="corgi:v1")
        assert (
            refused.value.hint == "dv subject export corgi:v1 -o corgi.dva carries it to another dv"
        )


def full_rank(base, sites, kind: str, location, folder: Path) -> tuple[Path, Any]:
    """An adapter of whole differences, all of them random."""
    bank = full_rank_bank(base, sites)
    draws = files.Draws()
    for layer in bank.bottlenecks:
        layer.weight.data = draws(*layer.weight.shape)
    facts = AdapterFacts(
        kind=kind,
        method="tune-a-video",
        storage="full-rank",
        base=base_fact(location, base),
        image_tower="",
        token="",
        phrase="sweeping",
        width_ratio=None,
        condition_width=None,
        sites=tuple(SiteFact(site.name, site.width) for site in sites),
        recipe={},
        inputs=(),
    )
    return save_adapter(folder / "full.safetensors", facts, bank.tensors()), bank


def test_whole_differences_are_written_as_the_nearest_low_rank(
    bases, locations, converted: Convert, tmp_path: Path
) -> None:
    """At full rank nothing is lost but rounding; at 2 what NumPy's singular values say."""
    base = bases["animatediff"]
    sites = linear_sites(base, "motion", ("to_q", "to_out.0"))
    file, bank = full_rank(base, sites, "motion", locations["animatediff"], tmp_path)
    out = tmp_path / "out.safetensors"
    with pytest.raises(IncompatibleError, match="whole differences of weights") as refused:
        write_foreign(file, "diffusers", out, label="hop:v1")
    assert refused.value.hint == "--rank 32 writes the low-rank layers that are nearest to them"
    values = [
        np.linalg.svd(layer.weight.detach().half().float().numpy(), compute_uv=False) ** 2
        for layer in bank.bottlenecks
    ]
    for rank in (2, 64):
        written = write_foreign(file, "diffusers", out, label="hop:v1", rank=rank, overwrite=True)
        kept = sum(v[:rank].sum() for v in values) / sum(v.sum() for v in values)
        assert written.kept == pytest.approx(kept, rel=1e-4)
        (adapter,) = converted(out, "animatediff")
        name = f"{sites[0].name}."
        found = adapter.tensors[f"{name}up.weight"] @ adapter.tensors[f"{name}down.weight"]
        off = (found - bank.bottlenecks[0].weight).square().sum()
        assert off.item() == pytest.approx(values[0][rank:].sum(), rel=1e-3, abs=1e-4)


def test_convolutions_have_no_low_rank_elsewhere(bases, locations, make: Make, tmp_path) -> None:
    base = bases["unet3d"]
    file, _ = full_rank(base, weight_sites(base), "motion", locations["unet3d"], tmp_path)
    with pytest.raises(IncompatibleError, match="are convolutions of several pixels"):
        write_foreign(file, "peft", tmp_path / "out", label="hop:v1", rank=8)
    file, _ = make("unet3d", temporal=True)
    with pytest.raises(RecipeError, match="hop:v1 is low-rank layers, and --rank is for"):
        write_foreign(file, "peft", tmp_path / "out", label="hop:v1", rank=8)


def test_an_ending_says_what_a_file_is(make: Make, tmp_path: Path) -> None:
    file, _ = make("animatediff", temporal=False)
    for tool, name, better in (
        ("diffusers", "out.dva", "-o out.safetensors"),
        ("peft", "out.safetensors", f"-o {tmp_path / 'out'}: peft reads a folder"),
    ):
        with pytest.raises(RecipeError) as refused:
            write_foreign(file, tool, tmp_path / name, label="corgi:v1")
        assert refused.value.hint == better


def test_nothing_is_replaced_unasked(make: Make, tmp_path: Path) -> None:
    file, _ = make("animatediff", temporal=False)
    out = tmp_path / "out.safetensors"
    out.write_text("mine")
    with pytest.raises(OutputExistsError):
        write_foreign(file, "diffusers", out, label="corgi:v1")
    assert out.read_text() == "mine"
    write_foreign(file, "diffusers", out, label="corgi:v1", overwrite=True)
    assert out.stat().st_size > 100
    assert not [*tmp_path.glob(".dv-*")]
