"""`dv eval`: scores as people and scripts read them, and what is refused before the wait."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from engine.errors import InputError
from engine.media import photos as photo_files
from engine.media.output.write import write_video
from engine.metrics import towers
from tests.cli.conftest import Dv
from tests.engine.metrics.drawings import moving_square
from tests.engine.metrics.tiny_towers import build_vit

PATH = [(4 * k, 0) for k in range(8)]


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video that says that mini made it."""
    recipe = json.dumps({"schema": "dv.recipe/1", "base": {"id": "mini@1"}})
    path = tmp_path_factory.mktemp("videos") / "square.mp4"
    return write_video(moving_square(PATH), path, fps=8, format="mp4", comment=recipe)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = moving_square(PATH, start=(4, 30), colour=(20, 200, 60))
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    return write_video(frames, path, fps=8, format="mp4")


def test_a_video_of_mini_is_scored_by_mini_and_says_so(dv: Dv, video: Path, photos: Path) -> None:
    result = dv("eval", video, "--photos", photos, "--prompt", "a dog moving right", "--json")
    assert result.code == 0
    assert result.document["schema"] == "dv.eval/1"
    (scored,) = result.document["videos"]
    assert scored["path"] == str(video)
    assert {s["metric"]: s["by"] for s in scored["scores"]} == {
        "text": "mini image tower",
        "image": "mini image tower",
        "consistency": "mini image tower",
        "photo copy risk": "pixels",
    }
    assert set(result.document["definitions"]) == set(result.document["mean"])


def test_motion_alone_needs_no_tower(dv: Dv, video: Path, clip: Path) -> None:
    result = dv("eval", video, "--clip", clip, "--scorer", "none", "--json")
    (fidelity, risk) = result.document["videos"][0]["scores"]
    assert (fidelity["metric"], fidelity["floor"], fidelity["ceiling"]) == ("motion fidelity", 0, 1)
    assert fidelity["value"] > 0.95
    assert risk["metric"] == "clip copy risk"


def test_several_videos_have_their_means(dv: Dv, video: Path, clip: Path) -> None:
    result = dv("eval", video, clip, "--clip", clip, "--scorer", "none")
    lines = result.out.splitlines()
    assert lines[0] == str(video)
    assert "mean of 2" in lines
    assert sum(line.startswith("motion fidelity") for line in lines) == 3


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.mp4"
    path.write_text("no video")
    return path


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_signal_that_is_turned_into_an_error_of_a_video_ends_it(
    dv: Dv, video: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(*_: object, **__: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except BaseException as error:
            raise InputError("cannot be read") from error

    monkeypatch.setattr("engine.metrics.videos.read_video", convert)
    result = dv("eval", video, clip, "--scorer", "none", "--prompt", "a dog", "--json")
    assert (result.code, result.error["code"], len(result.err.splitlines())) == (143, "stopped", 2)


def test_a_video_that_cannot_be_read_costs_none_of_the_others(
    dv: Dv, video: Path, clip: Path, broken: Path
) -> None:
    line = ("eval", broken, video, clip, "--clip", clip, "--scorer", "none")
    people = dv(*line)
    assert people.code == 9
    assert [str(video), str(clip)] == [row for row in people.out.splitlines() if "/" in row]
    assert "mean of 2" in people.out
    assert f"error: video {broken}: {broken} is text" in people.err
    assert "error: 1 of 3 videos could not be scored" in people.err
    scripts = dv(*line, "--json")
    assert scripts.code == 9
    assert [each["path"] for each in scripts.document["videos"]] == [str(video), str(clip)]
    told = json.loads(scripts.err.splitlines()[-2])
    assert (told["schema"], told["path"], told["code"]) == (
        "dv.error/1",
        str(broken),
        "input.unusable",
    )
    assert scripts.error["code"] == "batch.partial"


def test_one_video_fails_in_its_own_name_and_several_as_a_batch(dv: Dv, broken: Path) -> None:
    one = dv("eval", broken, "--scorer", "none", "--json")
    assert (one.code, one.out, one.error["code"]) == (10, "", "input.unusable")
    several = dv("eval", broken, broken, "--scorer", "none", "--json")
    assert (several.code, several.out, several.error["code"]) == (9, "", "batch.partial")


def test_towers_are_opened_and_photos_are_read_once_for_all_videos(
    dv: Dv, video: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {"tower": 0, "photos": 0}

    def counted(what: str, function):
        def call(*arguments, **named):
            calls[what] += 1
            return function(*arguments, **named)

        return call

    monkeypatch.setattr(towers, "open_tower", counted("tower", towers.open_tower))
    counting = counted("photos", photo_files.read_photos)
    monkeypatch.setattr(photo_files, "read_photos", counting)
    result = dv("eval", video, video, video, "--photos", photos, "--json")
    assert len(result.document["videos"]) == 3
    assert calls == {"tower": 1, "photos": 1}


def test_two_towers_of_one_family_each_have_their_mean(
    dv: Dv, video: Path, clip: Path, photos: Path, tmp_path: Path
) -> None:
    names = [str(build_vit(tmp_path / f"dino-{k}", seed=k)) for k in range(2)]
    line = ("eval", video, clip, "--photos", photos, "--scorer", names[0], "--scorer", names[1])
    result = dv(*line, "--json")
    for by, name in (("dino-0", "DINO-I"), ("dino-1", "DINO-I by DINO ViT-16/8 (dino-1)")):
        scores = [score for each in result.document["videos"] for score in each["scores"]]
        values = [score["value"] for score in scores if by in score["by"]]
        assert len(values) == 2
        assert result.document["mean"][name] == pytest.approx(np.mean(values))
    means = dv(*line).out.partition("mean of 2")[2].splitlines()
    assert [row.split()[3] for row in means if row.startswith("DINO-I")] == ["(dino-0)", "(dino-1)"]


@pytest.mark.parametrize("fps", [5, 16])
def test_a_clip_of_another_rate_is_compared_at_the_slower_one(
    dv: Dv, video: Path, tmp_path: Path, fps: int
) -> None:
    path = [(32 * k / fps, 0) for k in range(fps)]
    slow = write_video(
        moving_square(path, start=(4, 30)), tmp_path / "a.mp4", fps=fps, format="mp4"
    )
    result = dv("eval", video, "--clip", slow, "--scorer", "none", "--json")
    assert result.code == 0
    assert result.document["mean"]["motion fidelity"] > 0.95


@pytest.mark.parametrize(("told", "is_same"), [(16, True), (None, False), (-1, False)])
def test_a_folder_of_frames_is_as_fast_as_its_recipe_says(
    dv: Dv, tmp_path: Path, told: float | None, is_same: bool
) -> None:
    there = [(4 * k, 0) for k in range(8)]
    path = there + [(28, 4 * k) for k in range(-4, 4)]
    clip = write_video(moving_square(path), tmp_path / "clip.mp4", fps=16, format="mp4")
    recipe = {"schema": "dv.recipe/1", "base": {"id": "mini@1"}, "generate": {"fps": told}}
    comment = json.dumps(recipe) if told else None
    frames = moving_square(there, start=(4, 30))
    video = write_video(frames, tmp_path / "video", fps=16, format="png", comment=comment)
    result = dv("eval", video, "--clip", clip, "--scorer", "none", "--json")
    assert (result.document["mean"]["motion fidelity"] > 0.95) is is_same
    back = dv("eval", clip, "--clip", video, "--scorer", "none", "--json")
    assert back.code == 0


def test_a_still_can_be_scored(dv: Dv, clip: Path, tmp_path: Path) -> None:
    frames = np.repeat(moving_square(PATH)[:1], 8, axis=0)
    still = write_video(frames, tmp_path / "still", fps=8, format="png")
    result = dv("eval", still, "--clip", clip, "--scorer", "none", "--json")
    assert result.document["mean"]["motion fidelity"] == 0.0


def test_towers_that_are_not_here_are_one_clear_line(dv: Dv, clip: Path) -> None:
    result = dv("eval", clip, "--prompt", "a dog", "--json")
    assert (result.code, result.out, result.error["code"]) == (7, "", "scorer.not_found")
    assert "dv base pull openai/clip-vit-base-patch32" in result.error["hint"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), 2),
        (("nothing.mp4",), 3),
        (("VIDEO", "--photos", "nowhere"), 3),
        (("VIDEO", "--scorer", "none", "--scorer", "mini"), 2),
    ],
)
def test_what_cannot_be_scored_is_refused(dv: Dv, video: Path, arguments, code) -> None:
    given = [video if word == "VIDEO" else word for word in arguments]
    assert dv("eval", *given).code == code


def test_every_score_can_be_explained(dv: Dv) -> None:
    assert "motion fidelity" in dv("eval", "--explain").out
    assert "CLIP-T" in dv("eval", "--explain", "--json").document["definitions"]


def test_an_installation_without_opencv_says_what_would_do(
    dv: Dv, video: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    result = dv("eval", video, "--clip", clip, "--scorer", "none")
    assert result.code == 7
    assert "dreamvideo-cli[eval]" in result.err
