"""A base of two sources from the shell: an image model, and the motion module that a flag names beside it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.animatediff import (
    MOST_FRAMES,
    build_animatediff,
    build_image_model,
    build_motion_module,
)
from tests.cli.conftest import Dv
from tests.tiny import build_image_tower

QUICK = ("--batch", 1, "-q")
MADE = ("--subject", "corgi", "--motion", "skate", "--frames", 5, "--steps", 2, "--negative", "red")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An image model with an image tower, and a motion module."""
    folder = tmp_path_factory.mktemp("sources")
    image = build_image_model(folder / "image")
    build_image_tower(image / "image_encoder")
    return image, build_motion_module(folder / "module")


def learn(dv: Dv, photos: Path, clip: Path, *base: object) -> None:
    subject = ("subject", "learn", photos, "--name", "corgi", "--class", "dog", "--steps", 2)
    motion = ("motion", "learn", clip, "--name", "skate", "--frames", 4, "--steps", 1)
    for line in (subject, motion):
        done = dv(*line, *base, *QUICK)
        assert done.code == 0, done.err


def test_a_subject_and_a_motion_are_learned_composed_and_made_again(
    dv: Dv, sources: tuple[Path, Path], photos: Path, clip: Path
) -> None:
    image, module = sources
    learn(dv, photos, clip, "--base", image, "--motion-module", module)
    made = dv("gen", "corgi skate", *MADE, "-o", "a.gif", "--sidecar", "-q")
    assert made.code == 0, made.err
    recipe = json.loads(Path("a.gif.json").read_text("utf-8"))
    assert recipe["base"]["id"] == "image + module"
    again = dv("gen", "--again", "a.gif", "-o", "b.gif", "-q")
    assert again.code == 0, again.err
    assert Path("a.gif").read_bytes() == Path("b.gif").read_bytes()


@pytest.mark.slow
def test_adapters_travel_to_where_the_sources_lie_elsewhere(
    dv: Dv, sources: tuple[Path, Path], photos: Path, clip: Path, home: Path
) -> None:
    image, module = (shutil.copytree(part, home / part.name) for part in sources)
    learn(dv, photos, clip, "--base", f"{image} + {module}")
    assert dv("gen", "corgi skate", *MADE, "-o", "a.gif", "-q").code == 0
    assert dv("subject", "export", "corgi", "motion/skate", "-o", "both.dva").code == 0
    elsewhere = ("--registry", home / "elsewhere")
    assert dv("import", "both.dva", *elsewhere).code == 0
    shutil.rmtree(module)
    lost = dv("gen", "--again", "a.gif", "-o", "b.gif", *elsewhere)
    assert (lost.code, str(module) in lost.err) == (7, True)
    beside = ("--motion-module", sources[1])
    again = dv("gen", "--again", "a.gif", "-o", "b.gif", *beside, *elsewhere, "-q")
    assert again.code == 0, again.err
    assert Path("a.gif").read_bytes() == Path("b.gif").read_bytes()


@pytest.mark.slow
def test_a_saved_pipeline_learns_composes_and_makes_again(
    dv: Dv, photos: Path, clip: Path, home: Path
) -> None:
    learn(dv, photos, clip, "--base", build_animatediff(home / "one"))
    assert dv("gen", "corgi skate", *MADE, "-o", "a.gif", "-q").code == 0
    assert dv("gen", "--again", "a.gif", "-o", "b.gif", "-q").code == 0
    assert Path("a.gif").read_bytes() == Path("b.gif").read_bytes()


@pytest.mark.slow
def test_a_stopped_motion_goes_on_with_its_module(
    dv: Dv, sources: tuple[Path, Path], clip: Path
) -> None:
    base = ("--base", sources[0], "--motion-module", sources[1], *QUICK)
    late = ("--max-time", "0.001s", "--frames", 4, "--steps", 3)
    stopped = dv("motion", "learn", clip, "--name", "skate", *base, *late)
    assert stopped.code == 75, stopped.err
    done = dv("runs", "resume", stopped.out.strip())
    assert done.code == 0, done.err
    assert dv("motion", "show", "skate", "--json").document["base"]["id"] == " + ".join(
        map(str, sources)
    )


def test_more_frames_than_the_module_takes_are_refused_before_the_wait(
    dv: Dv, sources: tuple[Path, Path], clip: Path
) -> None:
    base = ("--base", sources[0], "--motion-module", sources[1])
    many = ("--frames", MOST_FRAMES + 1)
    for line in (("motion", "learn", clip, "--name", "skate"), ("gen", "a dog")):
        refused = dv(*line, *base, *many)
        assert refused.code == 2, refused.err
        assert f"at most {MOST_FRAMES}" in refused.err


def test_an_image_model_alone_is_refused_naming_the_flag(
    dv: Dv, sources: tuple[Path, Path], photos: Path
) -> None:
    for line in (("subject", "learn", photos, "--name", "corgi"), ("gen", "a dog")):
        refused = dv(*line, "--base", sources[0], "--json")
        assert refused.code == 7, refused.err
        assert "--motion-module" in refused.error["hint"]


def test_both_become_the_default_base(dv: Dv, sources: tuple[Path, Path]) -> None:
    image, module = sources
    used = dv("base", "use", image, "--motion-module", module)
    assert used.out == f"{image} + {module}\n", used.err
    shown = dv("base", "show", "--json").document
    assert (shown["folder"], shown["motion_module"]) == (str(image), str(module))
