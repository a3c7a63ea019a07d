"""`--appearance`: how strongly, and of whose look, a motion is told."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from dreamvideo_cli.generation.sources.appearance import read_appearance
from engine.media.output.comments import read_comment
from tests.cli.conftest import Dv, Learned, Put


@pytest.fixture
def photo(home: Path, photos: Path) -> Path:
    return Path(shutil.copy(photos / "0.png", "look.png"))


@pytest.fixture
def dry(dv: Dv, put: Put):
    """`dv gen -n` of the motion `skate`."""
    put("skate", "motion")
    return lambda *rest: dv("gen", "a dog skate", "--motion", "skate", "-n", "--json", *rest)


def test_a_number_is_a_strength_and_a_path_is_a_photo(photo: Path) -> None:
    digest = hashlib.sha256(photo.read_bytes()).hexdigest()
    assert read_appearance("0.5").strength == 0.5
    alone, both = read_appearance("look.png"), read_appearance("./look.png=2")
    assert (alone.strength, alone.photo, alone.digest) == (None, Path.cwd() / "look.png", digest)
    assert (both.strength, both.digest) == (2.0, digest)


def test_a_photo_may_have_a_name_that_looks_like_a_strength(photo: Path) -> None:
    named = photo.rename("look=2.png")
    assert read_appearance(str(named)).photo == named.absolute()


def test_the_recipe_holds_the_photos_digest_and_no_path(dry, photo: Path) -> None:
    result = dry("--appearance", "look.png=0.5")
    recipe = result.document["generate"]
    assert recipe["appearance"] == 0.5
    assert recipe["appearance_photo"] == hashlib.sha256(photo.read_bytes()).hexdigest()
    assert "look.png" not in result.out


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("11", 2), ("-1", 2), ("nan", 2), ("inf", 2), ("often", 2), ("look.png=often", 2),
        ("look.png=11", 2), ("./nowhere.png", 3), ("nowhere.jpg", 3), ("folder.png", 10),
        ("letter.txt", 10), ("empty.png", 10),
    ],
)  # fmt: skip
def test_what_is_no_look_is_said_before_the_wait(dry, photo: Path, text: str, code: int) -> None:
    photo.with_name("folder.png").mkdir()
    photo.with_name("letter.txt").write_text("dear")
    photo.with_name("empty.png").touch()
    result = dry("--appearance", text)
    assert (result.code, result.out) == (code, "")
    assert result.error["hint"]


def test_a_photo_without_a_motion_is_a_usage_error(dv: Dv, put: Put, photo: Path) -> None:
    put("corgi")
    line = ("gen", "a corgi", "--subject", "corgi", "--appearance", photo, "-n", "--json")
    assert (dv(*line).code, dv(*line).error["hint"]) == (2, "--motion REF, or leave it out")


def test_a_base_that_cannot_see_a_photo_is_refused(
    dv: Dv, put: Put, base: Path, photo: Path
) -> None:
    shutil.rmtree(base / "image_encoder")
    put("skate", "motion")
    line = ("gen", "a skate", "--motion", "skate", "-n", "--json")
    assert dv(*line).code == 0
    result = dv(*line, "--appearance", photo)
    assert (result.code, result.error["code"]) == (7, "base.invalid")


def test_jobs_take_a_look_as_the_flag_does(dv: Dv, put: Put, photo: Path) -> None:
    put("skate", "motion")
    lines = [
        json.dumps({"prompt": "a", "motion": "skate", "appearance": each})
        for each in (0.5, "look.png")
    ]
    Path("jobs").write_text("\n".join(lines))
    jobs = dv("gen", "--jobs", "jobs", "-n", "--json").document["jobs"]
    assert jobs[0]["generate"]["appearance"] == 0.5
    assert jobs[1]["generate"]["appearance_photo"] == read_appearance("look.png").digest


def test_a_photo_changes_the_video_and_again_wants_it_by_its_bytes(
    dv: Dv, learned: Learned, photo: Path, photos: Path
) -> None:
    def gen(*rest: object):
        return dv("gen", *rest, "--registry", learned.registry, "--json")

    plain = ("a dog skate", "--motion", "skate", "--steps", 1)
    assert gen(*plain, "-o", "plain.gif").code == 0
    assert gen(*plain, "--appearance", photo, "-o", "look.gif").code == 0
    assert Path("plain.gif").read_bytes() != Path("look.gif").read_bytes()
    assert str(photo) not in str(read_comment(Path("look.gif")))
    digest = str(read_appearance(str(photo)).digest)
    found = gen("--again", "look.gif", "-n").document["generate"]
    assert found["appearance_photo"] == digest
    moved = photo.rename("moved.png")
    lost = gen("--again", "look.gif", "-n")
    assert (lost.code, lost.error["code"]) == (3, "input.not_found")
    assert digest in lost.error["message"]
    assert gen("--again", "look.gif", "--appearance", moved, "-o", "again.gif").code == 0
    assert Path("again.gif").read_bytes() == Path("look.gif").read_bytes()
    other = gen("--again", "look.gif", "--appearance", photos / "1.png", "-n")
    assert "not the look of the video's photo" in other.err
    own = gen("--again", "look.gif", "--appearance", 1, "-n").document["generate"]
    assert own["appearance_photo"] is None
