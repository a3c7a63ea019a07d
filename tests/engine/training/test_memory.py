"""The estimate of memory: what it counts is what autograd keeps."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
import torch

from engine.bases import locate_base, open_base
from engine.recipe import MotionRecipe, SubjectRecipe
from engine.training.estimate import estimate_recipe
from engine.training.footprint import Sizes, read_table
from engine.training.memory import IMAGE_WIDTH, estimate_base, measure_footprint
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
    footprint = measure_footprint(location, "motion", 0.5)
    meta = footprint.need(sizes, precision="fp32", checkpointing=checkpointing)
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


@pytest.mark.parametrize("role", ["identity", "motion"])
@pytest.mark.parametrize("checkpointing", [True, False])
def test_a_footprint_tells_what_a_measurement_would(tiny_folder, role, checkpointing) -> None:
    """At sizes that it was not measured at: what is kept is affine in pixels, frames and samples."""
    location = locate_base(str(tiny_folder))
    base = open_base(location, device=torch.device("meta"), dtype=torch.float32)
    footprint = measure_footprint(location, role, 0.3)
    for sizes in (Sizes(3, 5, 64, 32), Sizes(1, 1, 32, 96), Sizes(2, 7, 32, 32)):
        found = footprint.need(sizes, precision="fp32", checkpointing=checkpointing)
        expected = estimate_base(
            base,
            role,
            sizes,
            image_width=IMAGE_WIDTH,
            checkpointing=checkpointing,
            width_ratio=0.3,
        )
        assert (found.base, found.adapter) == (expected.base, expected.adapter)
        assert found.activations == pytest.approx(expected.activations, rel=0.03)


LIGHT = """
import sys
from pathlib import Path
from engine.bases import locate_base
from engine.recipe import MotionRecipe
from engine.training.estimate import estimate_recipe
need = estimate_recipe(locate_base(sys.argv[1]), MotionRecipe(), "cpu", memo=Path(sys.argv[2]))
print(need.total, {"torch", "diffusers", "numpy"} & sys.modules.keys())
"""


def test_what_was_measured_once_is_told_without_torch(tiny_folder, tmp_path) -> None:
    memo = tmp_path / "cache" / "footprints.json"
    need = estimate_recipe(locate_base(str(tiny_folder)), MotionRecipe(), "cpu", memo=memo)
    assert len(read_table(memo)) == 1
    command = [sys.executable, "-c", LIGHT, str(tiny_folder), str(memo)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.split(maxsplit=1) == [str(need.total), "set()\n"]


def test_a_damaged_table_is_measured_again(tiny_folder, tmp_path) -> None:
    memo = tmp_path / "footprints.json"
    memo.write_text("{")
    estimate_recipe(locate_base(str(tiny_folder)), MotionRecipe(), "cpu", memo=memo)
    assert len(read_table(memo)) == 1
