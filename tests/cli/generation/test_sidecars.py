"""A video's recipe as a file of its own, for videos that lose what they carry on their way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.media.output.comments import read_comment
from tests.cli.conftest import Dv, Learned


@pytest.fixture
def dry(dv: Dv, base: Path):
    return lambda *rest: dv("gen", "a dog", "--base", base, "--sidecar", "-n", "--json", *rest)


def test_a_plan_says_where_each_sidecar_will_lie(dry) -> None:
    videos = dry("--count", 2).document["videos"]
    assert [video["sidecar"] for video in videos] == [f"{video['path']}.json" for video in videos]


def test_a_named_sidecar_that_is_there_is_left_alone(dry) -> None:
    Path("out.mp4.json").write_text("mine")
    assert dry("-o", "out.mp4").code == 4
    assert dry("-o", "out.mp4", "--overwrite").code == 0


def test_an_automatic_name_meets_no_sidecar_either(dry) -> None:
    Path("plain_s0.mp4.json").write_text("mine")
    (video,) = dry().document["videos"]
    assert Path(video["path"]).name == "plain_s0_2.mp4"


def test_a_pipe_has_no_side(dry) -> None:
    assert dry("-o", "-").code == 2


def test_a_job_may_ask_for_a_sidecar(dv: Dv, base: Path) -> None:
    Path("jobs").write_text(json.dumps({"prompt": "a dog", "sidecar": True}))
    (job,) = dv("gen", "--jobs", "jobs", "--base", base, "-n", "--json").document["jobs"]
    assert job["videos"][0]["sidecar"].endswith("_s0.mp4.json")


@pytest.mark.parametrize(
    ("text", "code"), [("{", 10), ("[]", 10), ('{"schema": "dv.recipe/1"}', 5), ("x" * 2**20, 10)]
)
def test_a_sidecar_that_holds_no_recipe_is_refused(dv: Dv, text: str, code: int) -> None:
    Path("out.mp4.json").write_text(f"{text} ")
    result = dv("gen", "--again", "out.mp4.json", "-n", "--json")
    assert (result.code, result.error["exit"]) == (code, code)


def test_a_sidecar_says_what_the_video_carries_and_makes_it_again(dv: Dv, learned: Learned) -> None:
    def gen(*rest: object):
        return dv("gen", *rest, "--registry", learned.registry, "--json")

    made = gen("a corgi", "--subject", "corgi", "--steps", 1, "--sidecar", "-o", "one.gif")
    assert made.document["sidecar"] == str(Path.cwd() / "one.gif.json")
    carried = json.loads(str(read_comment(Path("one.gif"))))
    assert json.loads(Path("one.gif.json").read_text("utf-8")) == carried
    assert dv("inspect", "one.gif.json", "--json").document["recipe"] == carried
    first = Path("one.gif").read_bytes()
    Path("one.gif").unlink()
    assert gen("--again", "one.gif.json", "-o", "two.gif").code == 0
    assert Path("two.gif").read_bytes() == first
