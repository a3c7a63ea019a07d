"""`dv gen` to the end, on a tiny base of real classes."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from engine.media.output.comments import read_comment
from tests.cli.conftest import Dv, Learned
from tests.tiny import build_unet3d


@pytest.fixture
def gen(dv: Dv, learned: Learned):
    """`dv gen` with both adapters, in two steps."""
    both = ("--subject", "corgi", "--motion", "skate", "--registry", learned.registry)
    return lambda *arguments: dv("gen", "a corgi skate", *both, "--steps", 2, *arguments)


def test_a_video_is_made_and_its_path_printed(gen) -> None:
    result = gen()
    assert result.code == 0, result.err
    path = Path(result.out.strip())
    assert path == Path.cwd() / "corgi-v1_skate-v1_s0.mp4"
    assert path.stat().st_size > 0
    assert "loading" in result.err


def test_the_same_command_gives_the_same_bytes_under_another_name(gen) -> None:
    first, second = (Path(gen("-q").out.strip()) for _ in range(2))
    assert second.name == "corgi-v1_skate-v1_s0_2.mp4"
    assert first.read_bytes() == second.read_bytes()


def test_a_video_carries_its_recipe_and_no_place(gen, learned: Learned) -> None:
    path = Path(gen("-o", "out.mp4").out.strip())
    comment = read_comment(path)
    recipe = json.loads(str(comment))
    assert recipe["schema"] == "dv.recipe/1"
    assert [use["ref"] for use in recipe["adapters"]] == [learned.corgi, learned.skate]
    assert recipe["generate"]["prompt"] == "a <corgi> skate"
    assert str(path.parent) not in str(comment)
    assert str(learned.base.parent) not in str(comment)


def test_json_is_one_video_a_line(gen) -> None:
    lines = gen("--seed", "0..1", "--json", "--format", "gif").out.splitlines()
    videos = [json.loads(line) for line in lines]
    assert [video["schema"] for video in videos] == ["dv.video/1"] * 2
    assert [video["seed"] for video in videos] == [0, 1]
    assert all(Path(video["path"]).exists() for video in videos)
    assert Path(videos[0]["path"]).read_bytes() != Path(videos[1]["path"]).read_bytes()


def test_a_batch_is_told_in_the_recipe_and_made_again_bit_for_bit(
    gen, dv: Dv, learned: Learned
) -> None:
    made = [Path(path) for path in gen("--seed", "0..2", "--batch", 2, "-q").out.split()]
    recipes = [json.loads(str(read_comment(path))) for path in made]
    assert [recipe["generate"]["batch"] for recipe in recipes] == [2, 2, 1]
    again = dv("gen", "--again", made[1], "--registry", learned.registry, "-o", "again.mp4", "-q")
    assert again.code == 0, again.err
    assert Path("again.mp4").read_bytes() == made[1].read_bytes()


def test_a_batch_that_memory_does_not_hold_is_made_in_smaller_ones(
    gen, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.errors import MemoryExhaustedError
    from engine.generate import Generator

    real, tried = Generator.sample_together, []

    def sample(self, recipes):
        tried.append((len(recipes), recipes[0].batch))
        if recipes[0].batch > 2:
            raise MemoryExhaustedError("out of memory")
        return real(self, recipes)

    monkeypatch.setattr(Generator, "sample_together", sample)
    result = gen("--seed", "0..4", "--batch", 5)
    assert result.code == 0, result.err
    assert tried == [(5, 5), (2, 2), (2, 2), (1, 2)]
    assert "out of memory: trying 2 videos together" in result.err
    notes = [json.loads(str(read_comment(Path(path)))) for path in result.out.split()]
    assert [note["generate"]["batch"] for note in notes] == [2] * 5


def test_a_video_that_memory_does_not_hold_is_made_in_slices_unless_told_not_to(
    gen, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.errors import MemoryExhaustedError
    from engine.generate import Generator

    real = Generator._sample

    def sample(self, recipes, *, sliced: bool):
        if not sliced:
            raise MemoryExhaustedError("out of memory")
        return real(self, recipes, sliced=sliced)

    monkeypatch.setattr(Generator, "_sample", sample)
    result = gen("-o", "auto.mp4")
    assert (result.code, "trying --memory low" in result.err) == (0, True)
    note = json.loads(str(read_comment(Path("auto.mp4"))))
    assert note["generate"]["memory"] == "low"
    assert gen("-o", "low.mp4", "--memory", "low", "-q").err == ""
    assert Path("low.mp4").read_bytes() == Path("auto.mp4").read_bytes()
    assert gen("-o", "high.mp4", "--memory", "high").code == 7


@pytest.mark.parametrize("batch", ["0", "65", "many"])
def test_a_batch_that_is_none_is_refused(gen, batch: str) -> None:
    refused = gen("--batch", batch)
    assert (refused.code, f"--batch is '{batch}'" in refused.err) == (2, True)
    assert "auto, or 1 to 64" in refused.err


def test_an_interval_of_guidance_is_told_and_must_hold_a_step(gen) -> None:
    told = gen("-n", "--guidance-from", 0.5, "--guidance", 4).out
    assert "guidance 4 from 0.5 until 1 of the steps" in told
    refused = gen("--guidance-from", 0.5, "--guidance-until", 0.5)
    assert (refused.code, "none of 2 steps has guidance" in refused.err) == (2, True)
    unguided = gen("-n", "--guidance-until", 0.6, "--guidance", 1)
    assert (unguided.code, "guidance is 1, so there is none" in unguided.err) == (2, True)


def test_an_existing_video_is_replaced_only_when_told(gen) -> None:
    Path("out.mp4").write_text("mine")
    assert gen("-o", "out.mp4").code == 4
    assert gen("-o", "out.mp4", "--overwrite").code == 0
    assert Path("out.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize("form", ["mp4", "gif"])
def test_a_video_goes_through_a_pipe(gen, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.TextIOWrapper(io.BytesIO(), write_through=True)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", pipe)
        assert gen("--format", form, "-o", "-").code == 0
    pipe.seek(0)
    path = Path(gen("-o", f"out.{form}").out.strip())
    assert pipe.buffer.read() == path.read_bytes()
    assert [each.name for each in Path.cwd().iterdir()] == [path.name]


def test_a_video_is_not_for_a_terminal_nor_beside_json(
    gen, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gen("-o", "-", "--json").code == 2
    assert gen("-o", "-", "--count", 2).code == 2
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    refused = gen("-o", "-")
    assert (refused.code, "terminal" in refused.err) == (2, True)


def test_a_failure_while_generating_leaves_nothing(gen) -> None:
    result = gen("--size", "33x32", "-o", "out.mp4")
    assert result.code == 2
    assert result.out == ""
    assert list(Path.cwd().iterdir()) == []


def test_progress_as_json_is_one_object_a_line(gen) -> None:
    result = gen("--progress", "json", "-q", "--json")
    events = [json.loads(line) for line in result.err.splitlines()]
    assert {event["schema"] for event in events} == {"dv.progress/1"}
    assert [event["event"] for event in events][-1] == "stage_ended"


def test_the_demo_makes_a_sheet_and_leaves_the_users_registry_alone(
    dv: Dv, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.tiny.TEXT_LENGTH", 48)  # the demo's sentences are long
    base = build_unet3d(tmp_path / "quick")
    (base / "base.toml").write_text(
        (base / "base.toml").read_text()
        + "[generate]\nsteps = 1\n[motion.standard]\nsteps = 1\n"
        + "[subject.standard]\nword_steps = 1\nadapter_steps = 1\nbatch = 1\n"
    )
    first = dv("demo", "--base", base)
    assert first.code == 0, first.err
    assert first.out == f"{Path.cwd() / 'dv-demo' / 'sheet.png'}\n"
    made = {path.name for path in Path("dv-demo").iterdir()}
    videos = {"base.mp4", "subject.mp4", "motion.mp4", "both.mp4"}
    assert made == {*videos, "sheet.png", "registry", "photos", "clip.mp4"}
    assert dv("subject", "list", "-q").out == ""
    again = dv("demo", "--base", base, "--json")
    assert again.document["schema"] == "dv.demo/1"
    assert "is learned already" in again.err
