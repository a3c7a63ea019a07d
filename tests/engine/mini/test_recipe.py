"""The recipe goes through every stage at tiny size, and what ships keeps its limits."""

from __future__ import annotations

import warnings

import pytest
import torch
from diffusers import TextToVideoSDPipeline
from transformers import CLIPVisionModelWithProjection

from engine.mini import WEIGHTS
from engine.mini.recipe.denoiser import build_denoiser, optional_time
from engine.mini.recipe.loop import orthogonalise
from engine.mini.recipe.presets import PRESETS
from engine.mini.recipe.release import LARGEST_FILE_BYTES, LARGEST_FOLDER_BYTES
from engine.mini.recipe.train import STAGES, main

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, sprites):
    folder = tmp_path_factory.mktemp("mini")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main(["--preset", "tiny", "--out", str(folder), "--sprites", str(sprites)])
    return folder


def open_pipeline(folder):
    return TextToVideoSDPipeline.from_pretrained(folder, torch_dtype=torch.float32)


def test_every_stage_leaves_its_mark(trained):
    stages = {line.split(",")[0] for line in (trained / "log.csv").read_text().splitlines()}
    assert stages == set(STAGES) - {"release"}


def test_a_second_start_trains_nothing_again(trained, sprites):
    log = (trained / "log.csv").read_text()
    main(["--preset", "tiny", "--out", str(trained), "--sprites", str(sprites)])
    assert (trained / "log.csv").read_text() == log


def test_the_released_folder_runs_in_the_librarys_pipeline(trained):
    pipeline = open_pipeline(trained / "weights")
    pipeline.set_progress_bar_config(disable=True)
    frames = pipeline("a corgi skate", num_frames=2, num_inference_steps=2, output_type="pt").frames
    assert frames.shape == (1, 2, 3, 32, 32)
    assert frames.isfinite().all()


@pytest.mark.parametrize("origin", ["trained", "shipped"])
def test_no_configuration_tells_where_its_weights_lay(trained, origin):
    folder = trained / "weights" if origin == "trained" else WEIGHTS
    configs = [path.read_text() for path in folder.rglob("*.json")]
    assert [text for text in configs if "_name_or_path" in text and '"/' in text] == []


def test_the_released_image_tower_answers_in_the_texts_width(trained):
    tower = CLIPVisionModelWithProjection.from_pretrained(trained / "weights" / "image_encoder")
    vector = tower(torch.zeros(1, 3, 32, 32, dtype=tower.dtype)).image_embeds
    assert vector.shape == (1, PRESETS["tiny"].text_width)


def test_layers_of_time_start_as_identities():
    network = build_denoiser(PRESETS["tiny"])
    x, text = torch.randn(1, 4, 3, 8, 8), torch.randn(1, 5, 32)
    with torch.no_grad():
        whole = network(x, 500, text).sample
        with optional_time(network) as without_time, without_time():
            assert torch.allclose(network(x, 500, text).sample, whole, atol=1e-5)


def test_an_orthogonal_update_has_singular_values_near_one():
    values = torch.linalg.svdvals(orthogonalise(torch.randn(2, 24, 40)))
    assert values.min() > 0.6
    assert values.max() < 1.3


@pytest.mark.skipif(not (WEIGHTS / "base.toml").is_file(), reason="no weights ship here")
def test_shipped_weights_keep_their_limits():
    sizes = [path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()]
    assert max(sizes) <= LARGEST_FILE_BYTES
    assert sum(sizes) <= LARGEST_FOLDER_BYTES
