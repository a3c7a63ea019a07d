"""The estimate of memory: what it counts is what autograd keeps."""

from __future__ import annotations

import shutil

import pytest
import torch

from engine.bases import locate_base, open_base
from engine.recipe import MotionRecipe, SubjectRecipe
from engine.training.memory import Sizes, estimate_base, estimate_learning, estimate_recipe
from tests.modelscope import TEXT_TOWER_BYTES, open_hollow

GIB = 2**30


@pytest.fixture(scope="module")
def full_size():
    return open_hollow(half=True)


@pytest.mark.parametrize("checkpointing", [True, False])
def test_the_meta_device_counts_what_the_cpu_keeps(tiny_folder, checkpointing: bool) -> None:
    location = locate_base(str(tiny_folder))
    base = open_base(location, device=torch.device("cpu"), dtype=torch.float32)
    sizes = Sizes(batch=2, frames=3, height_px=32, width_px=32)
    real = estimate_base(base, "motion", sizes, image_width=1024, checkpointing=checkpointing)
    meta = estimate_learning(
        location, "motion", sizes, precision="fp32", checkpointing=checkpointing
    )
    assert meta.activations == pytest.approx(real.activations, rel=0.05)
    assert meta.adapter == real.adapter


def test_more_frames_need_more_and_checkpointing_less(tiny_base) -> None:
    def need(frames: int, checkpointing: bool) -> int:
        sizes = Sizes(1, frames, 32, 32)
        return estimate_base(
            tiny_base, "motion", sizes, image_width=24, checkpointing=checkpointing
        ).total

    assert need(8, True) < need(8, False)
    assert need(4, True) < need(8, True)


def test_a_full_size_subject_fits_eight_gigabytes(full_size) -> None:
    sizes = Sizes(batch=4, frames=1, height_px=256, width_px=256)
    need = estimate_base(full_size, "identity", sizes, image_width=1024, checkpointing=True)
    assert need.total + TEXT_TOWER_BYTES < 8 * GIB


def test_a_full_size_motion_fits_twelve_gigabytes(full_size) -> None:
    sizes = Sizes(batch=1, frames=16, height_px=256, width_px=256)
    need = estimate_base(full_size, "motion", sizes, image_width=1024, checkpointing=True)
    assert need.total < 12 * GIB


def test_a_recipe_needs_more_for_more_frames_and_samples(tiny_folder) -> None:
    location = locate_base(str(tiny_folder))
    few, many = MotionRecipe(frames=2), MotionRecipe(frames=8)
    needs = [estimate_recipe(location, recipe, "cpu").total for recipe in (few, many)]
    assert needs[0] < needs[1]
    parts = SubjectRecipe(batch=4, accumulate=4)
    needs = [estimate_recipe(location, each, "cpu").total for each in (parts, SubjectRecipe())]
    assert needs[0] < needs[1]


def test_weights_that_lie_there_in_two_precisions_are_counted_once(tiny_folder, tmp_path) -> None:
    """Only those of full precision are loaded."""
    both = shutil.copytree(tiny_folder, tmp_path / "both")
    weights = both / "text_encoder" / "model.safetensors"
    shutil.copy(weights, weights.with_name("model.fp16.safetensors"))
    needs = [
        estimate_recipe(locate_base(str(folder)), SubjectRecipe(), "cpu").base
        for folder in (tiny_folder, both)
    ]
    assert needs[0] == needs[1]
