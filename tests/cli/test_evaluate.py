"""`dv eval`: scores as people and scripts read them, and what is refused before the wait."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engine.media.write import write_video
from tests.cli.conftest import Dv
from tests.engine.evaluate.drawings import moving_square

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


def test_a_still_can_be_scored(dv: Dv, clip: Path, tmp_path: Path) -> None:
    frames = np.repeat(moving_square(PATH)[:1], 8, axis=0)
    still = write_video(frames, tmp_path / "still", fps=8, format="png")
    result = dv("eval", still, "--clip", clip, "--scorer", "none", "--json")
    assert result.document["mean"]["motion fidelity"] == 0.0


def test_towers_that_are_not_here_are_one_clear_line(dv: Dv, clip: Path) -> None:
    result = dv("eval", clip, "--prompt", "a dog", "--json")
    assert (result.code, result.out, result.error["code"]) == (7, "", "scorer.not_found")
    assert "hf download openai/clip-vit-base-patch32" in result.error["hint"]


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
