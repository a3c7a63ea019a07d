"""What is known of a folder before anything heavy is imported: its family, its limits, its fingerprint."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from engine.adapters.uses import AdapterUse
from engine.bases import families, locate_base
from engine.bases.cards import BaseCard, fill_card
from engine.bases.catalog import BUNDLED
from engine.bases.checks.limits import check_video
from engine.bases.families import FAMILIES, Limits, find_family
from engine.bases.folder import fingerprint
from engine.bases.models.unet3d import open_base as open_unet3d
from engine.bases.names.releases import RELEASES
from engine.errors import BaseInvalidError, RecipeError
from engine.generate import open_generator
from engine.recipe import GenerateRecipe, MotionRecipe, build_recipe
from tests.engine.samples import clip, learn_motion
from tests.tiny import LATENT_SCALE, build_unet3d


@pytest.fixture
def copy(tiny_folder, tmp_path):
    """A folder that a test may spoil."""
    return shutil.copytree(tiny_folder, tmp_path / "copy")


def rewrite(path, **changes):
    facts = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(facts | changes), "utf-8")


def reschedule(folder, **changes):
    rewrite(folder / "scheduler" / "scheduler_config.json", **changes)
    return folder


@pytest.mark.parametrize(
    "changes",
    [
        {"_class_name": "FlowMatchEulerDiscreteScheduler"},
        {"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True},
        {"_class_name": "UniPCMultistepScheduler", "prediction_type": "flow_prediction"},
    ],
)
def test_a_scheduler_of_flow_matching_is_refused_where_a_family_diffuses(copy, changes):
    with pytest.raises(BaseInvalidError, match="unet3d"):
        locate_base(str(reschedule(copy, **changes)))


@pytest.mark.parametrize("name", ["PNDMScheduler", "EulerDiscreteScheduler", "DDPMScheduler"])
def test_any_scheduler_of_the_diffusion_path_is_taken(copy, name):
    assert locate_base(str(reschedule(copy, _class_name=name))).family.name == "unet3d"


@pytest.mark.parametrize("spacing", ["trailing", "linspace"])
def test_epsilon_from_pure_noise_is_refused_before_anything_is_made(copy, spacing):
    """Sampling would divide by √ᾱ = 0 at its first step and end in NaN."""
    zero = {"rescale_betas_zero_snr": True, "prediction_type": "epsilon"}
    with pytest.raises(BaseInvalidError, match="divides by zero"):
        locate_base(str(reschedule(copy, **zero, timestep_spacing=spacing)))
    for fine in ({"timestep_spacing": "leading"}, {"prediction_type": "v_prediction"}):
        locate_base(str(reschedule(copy, **{"timestep_spacing": spacing} | zero | fine)))


def test_limits_are_read_from_the_configs(tiny_folder):
    expected = Limits(latent_scale=LATENT_SCALE, multiple_px=LATENT_SCALE, timesteps=1000)
    assert locate_base(str(tiny_folder)).limits == expected


@pytest.fixture
def strict(tiny_folder):
    """A base of another family: frames 1 + 4k up to 33, multiples of 16, another sampler."""
    limits = Limits(latent_scale=8, multiple_px=16, timesteps=50, frame_step=4, most_frames=33)
    location = locate_base(str(tiny_folder))
    family = replace(location.family, read_limits=lambda _: limits, samplers=("ddim",))
    return replace(location, family=family)


GOOD = {"prompt": "", "frames": 9, "height_px": 32, "width_px": 48, "steps": 50, "sampler": "ddim"}


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"frames": 11}, "frames is 11", "9 or 13"),
        ({"frames": 37}, "frames is 37; this base makes at most 33", "33 or fewer"),
        ({"height_px": 40}, "height is 40 px", "32 or 48"),
        ({"width_px": 8}, "width is 8 px", "16"),
        ({"steps": 51}, "steps is 51", None),
        ({"sampler": "dpm++"}, r"sampler is dpm\+\+", "one of: ddim"),
    ],
)
def test_what_a_base_cannot_make_is_refused_with_the_nearest(strict, changes, message, hint):
    check_video(strict, GenerateRecipe(**GOOD))
    with pytest.raises(RecipeError, match=message) as caught:
        check_video(strict, GenerateRecipe(**GOOD | changes))
    assert caught.value.hint == hint


def test_the_bundled_base_keeps_its_fingerprint():
    """Adapters learned on it before must stay its own."""
    found = fingerprint(BUNDLED, find_family(BUNDLED).parts)
    assert locate_base("mini").fingerprint == found
    old = ("unet", "transformer", "vae", "text_encoder", "tokenizer", "scheduler", "image_encoder")
    assert fingerprint(BUNDLED, old) == found


@pytest.fixture
def wide(monkeypatch, tmp_path):
    """A folder of a family that reads two more parts and a setting of its index."""
    family = FAMILIES["UNet3DConditionModel"]
    wide = replace(
        family,
        parts=(*family.parts, "motion_adapter", "text_encoder_2"),
        index_settings=("boundary_ratio", "expand_timesteps"),
    )
    monkeypatch.setattr(families, "FAMILIES", {"UNet3DConditionModel": wide})
    folder = build_unet3d(tmp_path / "wide")
    for part in ("motion_adapter", "text_encoder_2"):
        (folder / part).mkdir()
        (folder / part / "config.json").write_text("{}", "utf-8")
    rewrite(folder / "model_index.json", boundary_ratio=0.875)
    return folder


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("motion_adapter/config.json", {"layers": 3}),
        ("text_encoder_2/config.json", {"layers": 3}),
        ("model_index.json", {"boundary_ratio": 0.9}),
        ("model_index.json", {"expand_timesteps": True}),
    ],
)
def test_everything_that_a_family_reads_is_in_the_fingerprint(wide, name, changes):
    before = locate_base(str(wide)).fingerprint
    rewrite(wide / name, **changes)
    assert locate_base(str(wide)).fingerprint != before


def test_what_a_family_does_not_read_is_not_in_the_fingerprint(wide):
    before = locate_base(str(wide)).fingerprint
    rewrite(wide / "model_index.json", _diffusers_version="9.9")
    (wide / "safety_checker").mkdir()
    (wide / "safety_checker" / "config.json").write_text("{}", "utf-8")
    assert locate_base(str(wide)).fingerprint == before


def open_fake(location, **how):
    """A base that is UNet3D's in all but name."""
    base = open_unet3d(location, **how)
    base.family = "fake"
    return base


def test_a_new_family_is_one_module_and_one_line(tmp_path, monkeypatch):
    """The module has ``open_base``; the line says what the family is. Learning and generating ask no more."""
    monkeypatch.setitem(sys.modules, "fake_family", SimpleNamespace(open_base=open_fake))
    line = replace(FAMILIES["UNet3DConditionModel"], name="fake", module="fake_family")
    monkeypatch.setattr(families, "FAMILIES", {**FAMILIES, "FakeDenoiser": line})
    folder = build_unet3d(tmp_path / "fake", size_px=(24, 40))
    rewrite(folder / "model_index.json", unet=["fakes", "FakeDenoiser"])
    location = locate_base(str(folder))
    (tmp_path / "out").mkdir()
    recipe = MotionRecipe(caption="sweeping", steps=1, batch=1)
    learned = learn_motion(recipe, [clip()], location, tmp_path / "out", device="cpu")
    assert learned.base["architecture"].startswith("fake/")
    video = GenerateRecipe(**GOOD | {"frames": 2, "height_px": 24, "width_px": 40, "steps": 1})
    with open_generator(location, [AdapterUse(learned.weights, "motion")]) as generator:
        assert generator._base.family == "fake"
        assert generator.sample(video).shape == (2, 24, 40, 3)


def test_zeroscope_is_known_at_its_own_size():
    values = fill_card(RELEASES["zeroscope"].said, BaseCard()).generate_defaults
    recipe = build_recipe(GenerateRecipe, {"prompt": "", **values})
    assert (recipe.frames, recipe.width_px, recipe.height_px) == (24, 576, 320)
