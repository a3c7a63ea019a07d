"""Accelerators: folded into a base's own weights, or refused with nothing changed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from engine.bases import BaseLocation, locate_base
from engine.bases.accelerators import check_accelerator, find_bundled, locate_accelerator
from engine.bases.names.releases import RELEASES
from engine.errors import BaseInvalidError, BaseNotFoundError, IncompatibleError, RecipeError
from engine.formats.accelerating import fold_in
from engine.generate import LoadedBase
from engine.recipe import GenerateRecipe
from tests.tiny import open_tiny

LAYER = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
RECIPE = GenerateRecipe(
    prompt="a dog", frames=2, height_px=32, width_px=32, steps=2, guidance=1.0, sampler="ddim"
)


@pytest.fixture
def location(tiny_folder: Path) -> BaseLocation:
    return locate_base(str(tiny_folder))


def weights_of(base) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in base.denoiser.named_parameters()}


def test_low_rank_and_whole_differences_are_added_to_the_weights(
    location: BaseLocation, tmp_path: Path
) -> None:
    """W + (α/r)·B·A + ΔW, and the bias of a convolution by its own difference."""
    base = open_tiny(location.folder)
    before = weights_of(base)
    width = before[f"{LAYER}.weight"].shape[0]
    down, up, whole = torch.randn(2, width), torch.randn(width, 2), torch.randn(width, width)
    bias = torch.randn_like(before["conv_in.bias"])
    file = tmp_path / "both.safetensors"
    save_file(
        {
            f"unet.{LAYER}.lora_A.weight": down,
            f"unet.{LAYER}.lora_B.weight": up,
            f"unet.{LAYER}.alpha": torch.tensor(1.0),
            f"unet.{LAYER}.diff": whole.half(),
            "unet.conv_in.diff_b": bias,
        },
        file,
    )
    fold_in(base, location, file)
    after = weights_of(base)
    expected = before[f"{LAYER}.weight"] + up @ down / 2 + whole.half().float()
    torch.testing.assert_close(after.pop(f"{LAYER}.weight"), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(after.pop("conv_in.bias"), before["conv_in.bias"] + bias)
    assert all(torch.equal(weight, before[name]) for name, weight in after.items())


@pytest.mark.parametrize(
    ("key", "shape", "told"),
    [
        ("unet.no_such.diff", (4, 4), "no place for the tensor unet.no_such.diff"),
        (f"unet.{LAYER}.diff", (3, 5), "its difference in"),
        (f"unet.{LAYER}.diff", None, "changes nothing"),
    ],
)
def test_what_does_not_fit_or_changes_nothing_is_refused_and_changes_nothing(
    location: BaseLocation, tmp_path: Path, key: str, shape: tuple[int, ...] | None, told: str
) -> None:
    base = open_tiny(location.folder)
    before = weights_of(base)
    like = torch.zeros_like(before[f"{LAYER}.weight"])
    file = tmp_path / "wrong.safetensors"
    tensors = {key: torch.ones(shape) if shape else like}
    if shape:
        tensors["unet.conv_in.diff_b"] = torch.ones_like(before["conv_in.bias"])
    save_file(tensors, file)
    with pytest.raises(IncompatibleError, match=told):
        fold_in(base, location, file)
    assert all(torch.equal(weight, before[name]) for name, weight in weights_of(base).items())


def test_an_accelerated_base_makes_only_what_a_recipe_names(
    location: BaseLocation, tmp_path: Path
) -> None:
    width = weights_of(open_tiny(location.folder))[f"{LAYER}.weight"].shape
    file = tmp_path / "quick.safetensors"
    save_file({f"unet.{LAYER}.diff": torch.randn(width)}, file)
    accelerator = locate_accelerator(str(file))
    recipe = msgspec.structs.replace(RECIPE, accelerator=accelerator.digest)
    with LoadedBase(location, device="cpu").equipped([]) as generator:
        plain = generator.sample(RECIPE)
        with pytest.raises(
            RecipeError, match=f"the accelerator {accelerator.digest[:12]}, and none"
        ):
            generator.sample(recipe)
    with LoadedBase(location, device="cpu", accelerator=accelerator).equipped([]) as generator:
        assert not np.array_equal(generator.sample(recipe), plain)
        with pytest.raises(RecipeError, match="accelerator is none, and the accelerator"):
            generator.sample(RECIPE)


def test_a_card_lies_beside_the_file_and_names_its_base(
    location: BaseLocation, tmp_path: Path
) -> None:
    file = tmp_path / "quick.safetensors"
    save_file({"unet.conv_in.diff_b": torch.ones(1)}, file)
    assert locate_accelerator(str(file)).card is None
    card = tmp_path / "accelerator.toml"
    card.write_text(f'base = "{"ab" * 32}"\n[generate]\nsteps = 2\n')
    found = locate_accelerator(str(tmp_path))
    assert (found.file, found.card and found.card.generate) == (file, {"steps": 2})
    with pytest.raises(IncompatibleError, match="the weights of another base"):
        check_accelerator(found, location, RECIPE)
    card.write_text("steps = 2\n")
    with pytest.raises(BaseInvalidError, match=r"accelerator.toml cannot be read"):
        locate_accelerator(str(tmp_path))
    file.write_text("no weights")
    with pytest.raises(BaseInvalidError, match=r"quick\.safetensors is no \.safetensors file"):
        locate_accelerator(str(file))


def test_an_accelerator_that_saves_no_call_is_refused(
    location: BaseLocation, tmp_path: Path
) -> None:
    file = tmp_path / "quick.safetensors"
    save_file({"unet.conv_in.diff_b": torch.ones(1)}, file)
    usual = GenerateRecipe(prompt="", **location.card.generate_defaults)
    calls = usual.count_calls()
    found = locate_accelerator(str(file))
    check_accelerator(found, location, msgspec.structs.replace(RECIPE, steps=calls - 1))
    with pytest.raises(
        RecipeError, match=f"are {calls} calls, and without it .* {calls} times"
    ) as caught:
        check_accelerator(found, location, msgspec.structs.replace(RECIPE, steps=calls))
    assert caught.value.hint == f"--steps {calls // 4}, or leave it out"


def test_a_name_that_is_nowhere_lists_what_is_bundled(tmp_path: Path) -> None:
    with pytest.raises(BaseNotFoundError) as caught:
        locate_accelerator("turbo")
    assert "mini-4" in str(caught.value.hint)
    with pytest.raises(BaseNotFoundError, match=r"no \.safetensors there"):
        locate_accelerator(str(tmp_path))


def test_the_bundled_accelerator_is_found_by_its_digest() -> None:
    found = locate_accelerator("mini-4")
    assert found.card is not None
    assert found.card.generate == {"steps": 4, "guidance": 1, "sampler": "ddim"}
    assert found.card.base == locate_base("mini").fingerprint
    assert find_bundled(found.digest) is not None
    assert find_bundled("ab" * 32) is None
    assert "mini-4" not in RELEASES
