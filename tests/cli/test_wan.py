"""Wan from the shell: a subject and a motion learned, composed, carried elsewhere, made again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.adapters.file import load_adapter
from tests.cli.conftest import Dv
from tests.tiny_wan import Kind, build_wan


def read_adapter(dv: Dv, kind: str, name: str) -> Any:
    return load_adapter(Path(dv(kind, "path", name).out.strip()))


@pytest.fixture
def walk(dv: Dv, home: Path, photos: Path, clip: Path) -> Callable[[Path], None]:
    """See `walk_through`."""
    return lambda base: walk_through(dv, home, base, photos, clip)


def walk_through(dv: Dv, home: Path, base: Path, photos: Path, clip: Path) -> None:
    """From photos and a clip to a video that another registry makes again, byte for byte."""
    common = ("--base", base, "-q", "--batch", 1)
    subject = ("--name", "corgi", "--class", "dog", "--steps", 2)
    assert dv("subject", "learn", photos, *subject, *common).err == ""
    assert dv("motion", "learn", clip, "--name", "skate", "--steps", 1, *common).err == ""
    parts = ("--subject", "corgi", "--motion", "skate", "--steps", 2, "-q")
    made = dv("gen", "a corgi skating on grass", *parts, "-o", "one.mp4")
    assert (made.code, made.err) == (0, "")
    assert dv("subject", "export", "corgi", "motion/skate", "-o", "both.dva").code == 0
    other = ("--registry", home / "other")
    assert dv("import", "both.dva", *other).code == 0
    again = dv("gen", "--again", "one.mp4", "-o", "two.mp4", "-q", *other)
    assert (again.code, again.err) == (0, "")
    assert Path("one.mp4").read_bytes() == Path("two.mp4").read_bytes()


def test_a_subject_and_a_motion_are_learned_composed_carried_and_made_again(
    dv: Dv, tmp_path: Path, walk: Callable[[Path], None]
) -> None:
    walk(build_wan(tmp_path / "base"))
    corgi, skate = read_adapter(dv, "subject", "corgi"), read_adapter(dv, "motion", "skate")
    assert corgi.facts.word_at == "output"
    assert corgi.tensors["word.vector"].any()
    assert {name.split(".", 2)[2] for name in skate.tensors if name.endswith("cond.weight")} == {
        "attn1.cond.weight",
        "ffn.cond.weight",
    }
    told = json.loads(dv("inspect", "one.mp4", "--json").out)
    assert told["recipe"]["generate"]["sampler"] == "unipc"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ti2v", "a14b"])
def test_so_it_is_on_the_wide_latents_and_on_two_experts(
    tmp_path: Path, walk: Callable[[Path], None], kind: Kind
) -> None:
    walk(build_wan(tmp_path / "base", kind))


def test_a_motion_can_sit_beside_whole_blocks(dv: Dv, tmp_path: Path, clip: Path) -> None:
    base = build_wan(tmp_path / "base")
    settings = ("--steps", 1, "--set", "placement=blocks", "--base", base, "-q")
    assert dv("motion", "learn", clip, "--name", "skate", *settings).code == 0
    sites = [site.name for site in read_adapter(dv, "motion", "skate").facts.sites]
    assert sites == ["blocks.0", "blocks.1"]
    assert dv("gen", "a dog skating", "--motion", "skate", "--steps", 1, "-q").code == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("motion", "learn", "CLIP", "--name", "x", "--frames", 7), "4·k + 1"),
        (("gen", "a dog", "--frames", 7), "4·k + 1"),
        (("gen", "a dog", "--size", "40x32"), "multiples of 16"),
        (("gen", "a dog", "--sampler", "ddim"), "sampler is ddim"),
        (("gen", "a dog", "--guidance-low", 3), "two experts"),
    ],
)
def test_what_it_cannot_do_is_said_before_the_wait(
    dv: Dv, tmp_path: Path, clip: Path, line: tuple[Any, ...], message: str
) -> None:
    base = build_wan(tmp_path / "base")
    given = [clip if word == "CLIP" else word for word in line]
    told = dv(*given, "--base", base, "-n", "--json")
    assert told.code == 2
    assert message in told.error["message"]
