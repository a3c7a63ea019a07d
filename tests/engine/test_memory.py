"""The estimate of memory: what it counts is what autograd keeps."""

from __future__ import annotations

import pytest
import torch

from engine.bases import locate_base, open_base
from engine.memory import Sizes, estimate_denoiser, estimate_learning, estimate_recipe
from engine.recipe import MotionRecipe, SubjectRecipe
from tests.modelscope import TEXT_TOWER_BYTES, build_denoiser

GIB = 2**30


@pytest.fixture(scope="module")
def full_size():
    return build_denoiser(half=True)


@pytest.mark.parametrize("checkpointing", [True, False])
def test_the_meta_device_counts_what_the_cpu_keeps(tiny_folder, checkpointing: bool) -> None:
    location = locate_base(str(tiny_folder))
    base = open_base(location, device=torch.device("cpu"), dtype=torch.float32)
    sizes = Sizes(batch=2, frames=3, height=8, width=8)
    real = estimate_denoiser(
        base.denoiser, "motion", sizes, image_width=1024, checkpointing=checkpointing
    )
    meta = estimate_learning(
        location, "motion", sizes, precision="fp32", checkpointing=checkpointing
    )
    assert meta.activations == pytest.approx(real.activations, rel=0.05)
    assert meta.adapter == real.adapter


def test_more_frames_need_more_and_checkpointing_less(tiny_base) -> None:
    def need(frames: int, checkpointing: bool) -> int:
        sizes = Sizes(1, frames, 8, 8)
        return estimate_denoiser(
            tiny_base.denoiser, "motion", sizes, image_width=24, checkpointing=checkpointing
        ).total

    assert need(8, True) < need(8, False)
    assert need(4, True) < need(8, True)


def test_a_full_size_subject_fits_eight_gigabytes(full_size) -> None:
    sizes = Sizes(batch=4, frames=1, height=32, width=32)
    need = estimate_denoiser(full_size, "identity", sizes, image_width=1024, checkpointing=True)
    assert need.total + TEXT_TOWER_BYTES < 8 * GIB


def test_a_full_size_motion_fits_twelve_gigabytes(full_size) -> None:
    sizes = Sizes(batch=1, frames=16, height=32, width=32)
    need = estimate_denoiser(full_size, "motion", sizes, image_width=1024, checkpointing=True)
    assert need.total < 12 * GIB


def test_a_recipe_needs_more_for_more_frames_and_samples(tiny_folder) -> None:
    location = locate_base(str(tiny_folder))
    few, many = MotionRecipe(frames=2), MotionRecipe(frames=8)
    needs = [estimate_recipe(location, recipe, "cpu").total for recipe in (few, many)]
    assert needs[0] < needs[1]
    parts = SubjectRecipe(batch=4, accumulate=4)
    needs = [estimate_recipe(location, each, "cpu").total for each in (parts, SubjectRecipe())]
    assert needs[0] < needs[1]
