"""`dv demo` fails before it learns, and replaces nothing but what an earlier demo made."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from dreamvideo_cli.commands.demo import program
from dreamvideo_cli.learning.resume import read_plan
from dreamvideo_cli.runs.folders import list_runs
from dreamvideo_cli.settings.places import runs_folder
from tests.cli.conftest import Dv
from tests.tiny import build_unet3d

VIDEOS = ["base.mp4", "subject.mp4", "motion.mp4", "both.mp4"]
MADE = [*VIDEOS, "sheet.png"]
COPIED = ["clip.mp4", "photos/1.png"]


@pytest.fixture
def quick(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A base that learns in one step."""
    monkeypatch.setattr("tests.tiny.TEXT_LENGTH", 48)  # the demo's sentences are long
    base = build_unet3d(home / "quick")
    with (base / "base.toml").open("a") as card:
        card.write("[generate]\nsteps = 1\n[motion.standard]\nsteps = 1\n")
        card.write("[subject.standard]\nword_steps = 1\nadapter_steps = 1\nbatch = 1\n")
    return base


@pytest.mark.parametrize("name", [*MADE, *COPIED, "photos/mine.png", "photos"])
def test_a_file_of_the_users_is_refused_before_anything_is_learned(
    dv: Dv, base: Path, name: str
) -> None:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text("mine")
    refused = dv("demo", "--base", base, "-o", ".", "--json")
    assert (refused.code, refused.error["code"]) == (4, "output.exists")
    assert name in refused.error["message"]
    assert [path.name for path in Path.cwd().iterdir()] == [Path(name).parts[0]]
    assert Path(name).read_text() == "mine"


def test_a_folder_in_the_place_of_a_video_is_refused(dv: Dv, base: Path) -> None:
    Path("both.mp4").mkdir()
    assert dv("demo", "--base", base, "-o", ".").code == 4


def test_a_demo_is_made_anew_in_its_folder_and_not_over_anything_else(dv: Dv, quick: Path) -> None:
    Path("dv-demo").mkdir()
    Path("dv-demo", "sheet").write_text("mine")
    assert dv("demo", "--base", quick).code == 0
    before = {name: Path("dv-demo", name).read_bytes() for name in MADE}
    again = dv("demo", "--base", quick, "--seed", 1)
    assert again.code == 0, again.err
    assert all(Path("dv-demo", name).read_bytes() != before[name] for name in MADE)
    assert Path("dv-demo", "sheet").read_text() == "mine"
    assert {path.name for path in Path("dv-demo").iterdir()} == {
        *(*MADE, "sheet", "registry"),
        *("photos", "clip.mp4"),
    }


def test_the_three_commands_do_the_same_by_hand_as_they_are_printed(dv: Dv, quick: Path) -> None:
    made = dv("demo", "--base", quick, "--json")
    assert made.code == 0, made.err
    printed = [line.strip() for line in made.err.splitlines() if line.startswith("  ")]
    assert printed == made.document["commands"]
    assert len(printed) == 3
    for line in printed:
        words = shlex.split(line)
        ran = dv(*words[len(shlex.split(program())) :])
        assert ran.code == 0, f"{line}\n{ran.err}"
    assert Path(ran.out.strip()).is_file()
    both = [dv(kind, "list", "-q").out.split() for kind in ("subject", "motion")]
    assert both == [["fox"], ["zigzag"]]


def test_what_a_demo_learns_is_a_run_that_can_go_on(dv: Dv, quick: Path) -> None:
    made = dv("demo", "--base", quick)
    assert made.code == 0, made.err
    runs = list_runs(runs_folder())
    plans = [read_plan(run) for run in runs]
    assert [(plan.kind, plan.name) for plan in plans] == [("subject", "fox"), ("motion", "zigzag")]
    root = Path("dv-demo", "registry").absolute()
    assert [plan.key(root) for plan in plans] == [run.facts.key for run in runs]


def test_a_demo_says_exactly_what_it_learns_from(dv: Dv, quick: Path) -> None:
    made = dv("demo", "--base", quick, "--json")
    told = made.document
    assert [Path(path).name for path in told["photos"]] == [f"{k}.png" for k in range(1, 6)]
    assert all(Path(path).is_file() for path in [*told["photos"], told["clip"]])
    assert '5 photos (1.png, 2.png, 3.png, 4.png, 5.png), class word "cat"' in made.err
    assert f'caption "{told["caption"]}", actor "{told["actor"]}"' in made.err


def test_a_video_of_another_prompt_or_of_other_adapters_is_not_the_demos(
    dv: Dv, quick: Path
) -> None:
    assert dv("demo", "--base", quick).code == 0
    Path("other").mkdir()
    for name in ("base.mp4", "both.mp4"):
        shutil.copy(Path("dv-demo", name), "other")
    refused = dv("demo", "--base", quick, "-o", "other", "--json")
    assert refused.code == 4
    assert refused.error["message"].endswith("base.mp4, both.mp4")
    shutil.copy(Path("dv-demo", "subject.mp4"), Path("dv-demo", "motion.mp4"))
    refused = dv("demo", "--base", quick, "--json")
    assert refused.code == 4
    assert refused.error["message"].endswith(": motion.mp4")


def test_a_base_without_an_image_tower_is_refused_before_anything_is_made(
    dv: Dv, base: Path
) -> None:
    shutil.rmtree(base / "image_encoder")
    refused = dv("demo", "--base", base, "--json")
    assert (refused.code, refused.error["code"]) == (7, "base.invalid")
    assert "image tower" in refused.error["message"]
    assert "--image-tower" not in refused.error["hint"]
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("output", ["file", "file/inside"])
def test_a_file_in_the_folders_place_is_told(dv: Dv, base: Path, output: str) -> None:
    Path("file").touch()
    refused = dv("demo", "--base", base, "-o", output, "--json")
    assert (refused.code, refused.error["code"]) == (7, "output.failed")
