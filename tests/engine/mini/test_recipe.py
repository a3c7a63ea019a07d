"""The recipe goes through every stage at tiny size, and what ships keeps its limits."""

from __future__ import annotations

import itertools
import json
import time
import warnings
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from diffusers import TextToVideoSDPipeline
from torch.nn import functional
from transformers import CLIPVisionModelWithProjection

from engine.bases.cards import read_card
from engine.mini import WEIGHTS
from engine.mini.recipe import budget, sheets, train
from engine.mini.recipe.autoencoder import (
    build_autoencoder,
    centre_latents,
    rebuild,
    scale_latents,
)
from engine.mini.recipe.denoiser import (
    Objective,
    Parts,
    Pool,
    build_denoiser,
    build_scheduler,
    optional_time,
)
from engine.mini.recipe.distil import CALLS, GUIDANCE, SUBSTEPS, Teacher
from engine.mini.recipe.inherit import open_ancestor, take_weights, take_words
from engine.mini.recipe.presets import PRESETS
from engine.mini.recipe.release import DEFAULTS, LARGEST_FILE_BYTES, LARGEST_FOLDER_BYTES
from engine.mini.recipe.towers import Towers, encode_text, normalise
from engine.mini.world.batches import Coded
from engine.mini.world.captions import build_tokenizer, tokenize

STAGES = ["autoencoder", "towers", "stills", "clips", "distil"]
CPU = torch.device("cpu")

pytestmark = pytest.mark.filterwarnings("ignore")


def draw_quickly(*given, frames, **settings):
    sheets.write_sheet(*given, frames=frames, **settings | {"steps": 2})


def run(folder, *more):
    """Train by a clock that each look at moves on, so that no machine is too slow for a stage."""
    clock = SimpleNamespace(
        monotonic=partial(next, itertools.count(0.0, 0.15)), perf_counter=time.perf_counter
    )
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.setattr(train, "time", clock)
        patch.setattr(budget, "time", clock)
        patch.setattr(train, "check", lambda run, sprites: f"checked {run.folder}\n")
        patch.setattr(train, "write_sheet", draw_quickly)
        train.main(["--preset", "tiny", "--minutes", "0.05", "--out", str(folder), *more])


@pytest.fixture(scope="module")
def trained(tmp_path_factory, sprites):
    folder = tmp_path_factory.mktemp("mini")
    run(folder, "--sprites", str(sprites))
    return folder


def read_stages(folder):
    lines = (folder / "log.csv").read_text().splitlines()
    return list(dict.fromkeys(line.split(",")[0] for line in lines))


def test_every_stage_leaves_its_mark(trained):
    assert read_stages(trained) == STAGES
    assert (trained / "stills.png").is_file()
    assert (trained / "clips.png").is_file()


def test_a_second_start_trains_nothing_again(trained, sprites, capsys):
    log = (trained / "log.csv").read_text()
    run(trained, "--sprites", str(sprites))
    assert (trained / "log.csv").read_text() == log
    assert capsys.readouterr().out == f"checked {trained}\n"


def test_a_run_that_was_told_something_else_is_refused(trained):
    with pytest.raises(SystemExit, match="holds a run that was told"):
        run(trained, "--seed", "1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--minutes", "0"], "more than 0, not 0"),
        (["--minutes", "0.001"], "no time is left to train"),
        (["--from", "gone"], "gone is not a folder"),
        (["--stages", "clips"], "without --from"),
        pytest.param(
            ["--device", "cuda"],
            "--device cuda: no such device is here",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
        (["--from", "."], "holds no base to go on from"),
    ],
)
def test_what_cannot_be_trained_is_refused(tmp_path, capsys, words, said):
    with pytest.raises(SystemExit) as ended:
        run(tmp_path / "out", *words)
    assert said in f"{ended.value} {capsys.readouterr().err}"


def test_parts_of_stages_left_out_are_taken_as_they_are(trained, tmp_path):
    words = ["--from", str(trained / "weights"), "--stages", "stills", "clips"]
    run(tmp_path / "on", *words)
    assert read_stages(tmp_path / "on") == ["stills", "clips"]
    name = "vae/diffusion_pytorch_model.safetensors"
    old, new = (folder / "weights" / name for folder in (trained, tmp_path / "on"))
    assert old.read_bytes() == new.read_bytes()


def test_a_scale_moves_into_the_weights():
    torch.manual_seed(0)
    network = build_autoencoder(PRESETS["tiny"]).eval()
    network.register_to_config(scaling_factor=0.4)
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        latents, picture = network.encode(x).latent_dist.mean * 0.4, rebuild(network, x)
        scale_latents(network)
        assert torch.allclose(network.encode(x).latent_dist.mean, latents, atol=1e-5)
    assert network.config.scaling_factor == 1.0
    assert torch.allclose(rebuild(network, x), picture, atol=1e-5)


def test_all_weights_of_a_like_network_are_taken():
    first, second = (build_denoiser(PRESETS["tiny"]) for _ in range(2))
    assert take_weights(second, first) == []
    x, text = torch.randn(1, 4, 2, 8, 8), torch.randn(1, 5, 32)
    with torch.no_grad():
        assert torch.equal(first(x, 9, text).sample, second(x, 9, text).sample)


def test_larger_pictures_are_seen_as_the_smaller_were(trained):
    old = open_ancestor(trained / "weights", CPU)
    large = Towers(
        PRESETS["tiny"].__class__(**{**vars(PRESETS["tiny"]), "side_px": 64}), build_tokenizer()
    )
    take_weights(large.image, old.image)
    small = normalise(torch.rand(2, 3, 32, 32))
    with torch.no_grad():
        seen = large.image.eval()(functional.interpolate(small, (64, 64))).image_embeds
        assert torch.allclose(seen, old.image(small).image_embeds, atol=1e-4)


def test_words_keep_their_meaning_in_another_vocabulary(trained):
    old, tokenizer = open_ancestor(trained / "weights", CPU), build_tokenizer()
    new = Towers(PRESETS["tiny"], tokenizer).text.eval()
    take_weights(new, old.text)
    take_words(new, tokenizer, old.text, old.tokenizer)
    ids = tokenize(tokenizer, ["a red cat"])
    with torch.no_grad():
        assert torch.equal(new(ids).pooler_output, old.text(ids).pooler_output)


def test_centred_latents_have_no_mean_and_unit_deviation_and_rebuild_alike():
    torch.manual_seed(0)
    network = build_autoencoder(PRESETS["tiny"]).eval()
    x = torch.rand(8, 3, 32, 32) * 2 - 1
    before = rebuild(network, x)
    centre_latents(network, x)
    with torch.no_grad():
        latents = network.encode(x).latent_dist.mean * network.config.scaling_factor
    assert latents.mean((0, 2, 3)).abs().max() < 1e-3
    assert float(latents.std()) == pytest.approx(1, abs=1e-2)
    assert torch.allclose(rebuild(network, x), before, atol=1e-4)


def open_pipeline(folder):
    return TextToVideoSDPipeline.from_pretrained(folder, torch_dtype=torch.float32)


def test_the_released_folder_runs_in_the_librarys_pipeline(trained):
    pipeline = open_pipeline(trained / "weights")
    pipeline.set_progress_bar_config(disable=True)
    frames = pipeline("a corgi skate", num_frames=2, num_inference_steps=2, output_type="pt").frames
    assert frames.shape == (1, 2, 3, 32, 32)
    assert frames.isfinite().all()


@pytest.mark.parametrize("origin", ["trained", "shipped"])
def test_a_released_tokenizer_neither_cuts_nor_fills_up(trained, origin):
    folder = trained / "weights" if origin == "trained" else WEIGHTS
    settings = json.loads((folder / "tokenizer" / "tokenizer.json").read_text())
    assert (settings["truncation"], settings["padding"]) == (None, None)


@pytest.mark.parametrize("origin", ["trained", "shipped"])
def test_no_configuration_tells_where_its_weights_lay(trained, origin):
    folder = trained / "weights" if origin == "trained" else WEIGHTS
    configs = [path.read_text() for path in folder.rglob("*.json")]
    assert [text for text in configs if "_name_or_path" in text and '"/' in text] == []


def test_the_released_image_tower_answers_in_the_texts_width(trained):
    tower = CLIPVisionModelWithProjection.from_pretrained(trained / "weights" / "image_encoder")
    vector = tower(torch.zeros(1, 3, 32, 32, dtype=tower.dtype)).image_embeds
    assert vector.shape == (1, PRESETS["tiny"].text_width)


def test_a_pool_replaces_what_it_has_had_longest_and_keeps_pictures_with_their_facts():
    drawn = torch.arange(1_000).split([8] * 4 + [2] * 484)
    numbers = iter(drawn)

    def draw(n):
        these = next(numbers)
        assert len(these) == n
        return Coded(these[:, None].float(), these, these + 1, these + 2)

    pool = Pool(draw, batch=8, batches=4)
    for taken in range(1, 40):
        coded = pool.take(8)
        assert torch.equal(coded.latents[:, 0].long(), coded.member)
        assert torch.equal(coded.motion + 1, coded.background)
        newest = 32 + 2 * taken
        assert bool((coded.member < newest).all() & (coded.member >= newest - 32).all())


def test_layers_of_time_start_as_identities():
    network = build_denoiser(PRESETS["tiny"])
    x, text = torch.randn(1, 4, 3, 8, 8), torch.randn(1, 5, 32)
    with torch.no_grad():
        whole = network(x, 500, text).sample
        with optional_time(network) as without_time, without_time():
            assert torch.allclose(network(x, 500, text).sample, whole, atol=1e-5)


@pytest.mark.slow
def test_a_run_ends_with_the_check(tmp_path, sprites):
    words = [
        "--preset",
        "tiny",
        "--minutes",
        "0.1",
        "--out",
        str(tmp_path),
        "--sprites",
        str(sprites),
    ]
    train.main(words)
    told = (tmp_path / "check.txt").read_text()
    assert "unseen sprites" in told
    assert "made   motions missed:" in told


@pytest.mark.parametrize("preset", ["gpu", "cpu"])
def test_what_a_run_makes_fits_the_limits(preset):
    network = build_denoiser(PRESETS[preset])
    assert 2 * sum(p.numel() for p in network.parameters()) < LARGEST_FILE_BYTES


@pytest.mark.skipif(not (WEIGHTS / "base.toml").is_file(), reason="no weights ship here")
def test_shipped_weights_keep_their_limits():
    sizes = [path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()]
    assert max(sizes) <= LARGEST_FILE_BYTES
    assert sum(sizes) <= LARGEST_FOLDER_BYTES


@pytest.mark.skipif(not (WEIGHTS / "base.toml").is_file(), reason="no weights ship here")
def test_the_shipped_card_has_the_recipes_settings_of_subjects():
    assert read_card(WEIGHTS).subject == DEFAULTS.subject


def test_a_students_aim_is_where_the_guided_sampler_lands(trained):
    base = open_ancestor(trained / "weights", CPU)
    parts = Parts(base.autoencoder, base.text, base.tokenizer, build_scheduler())
    world = SimpleNamespace(device=CPU)
    teacher = Teacher(Objective(base.denoiser, parts, world, PRESETS["tiny"]))
    scheduler = build_scheduler()
    scheduler.set_timesteps(CALLS * SUBSTEPS)
    assert scheduler.timesteps.tolist() == teacher.times.tolist()
    torch.manual_seed(0)
    text = encode_text(base.text, tokenize(base.tokenizer, ["", "a red cat"]))
    x = start = torch.randn(1, 4, 2, 8, 8)
    for t in scheduler.timesteps[SUBSTEPS : 2 * SUBSTEPS]:
        with torch.no_grad():
            free, told = base.denoiser(torch.cat([x, x]), t, text).sample.chunk(2)
        x = scheduler.step(free + GUIDANCE * (told - free), t, x).prev_sample
    velocity = teacher.aim(start, torch.tensor([1]), text[1:])
    few = build_scheduler()
    few.set_timesteps(CALLS)
    landed = few.step(velocity, few.timesteps[1], start).prev_sample
    assert torch.allclose(landed, x, atol=1e-3)
