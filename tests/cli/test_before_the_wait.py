"""What cannot be made is refused by the plan, and so by -n, before anything heavy is imported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Dv, Put

LONG = "dog " * 80


def refused(dv: Dv, *line: object) -> tuple[int, str]:
    """Exit code and message; a plan says the same as the command itself."""
    planned, made = dv(*line, "-n", "--json"), dv(*line, "--json")
    assert planned.error == made.error
    assert "loading" not in made.err
    return made.code, made.error["message"]


@pytest.mark.parametrize(
    ("rest", "told"),
    [
        (("gen", LONG), "the prompt has 80 tokens; this base reads 75"),
        (("gen", "a dog", "--negative", LONG), "the prompt has 80 tokens"),
        (("gen", "a dog", "--format", "gif", "--fps", 60), "a gif cannot show 60 frames"),
        (("gen", "a dog", "-o", "a.gif", "--fps", 60), "a gif cannot show 60 frames"),
        (("gen", "a \udcff dog"), "not UTF-8"),
        (("gen", "a dog", "--negative", "\udcff"), "not UTF-8"),
    ],
)
def test_a_video_that_cannot_be_made(dv: Dv, base: Path, rest: tuple[Any, ...], told: str) -> None:
    code, message = refused(dv, *rest, "--base", base)
    assert code == 2
    assert told in message


@pytest.fixture
def commands(base: Path, photos: Path, clip: Path) -> list[tuple[object, ...]]:
    """What computes for long."""
    return [
        ("gen", "a dog", "--base", base),
        ("subject", "learn", photos, "--name", "corgi", "--base", base),
        ("motion", "learn", clip, "--name", "skate", "--base", base),
    ]


@pytest.mark.parametrize(
    ("rest", "told"),
    [
        (("--device", "cuda:7"), "device cuda:7 is not here"),
        (("--precision", "fp16", "--device", "cpu"), "fp16 cannot be used on the CPU"),
    ],
)
def test_a_device_that_cannot_do_it(
    dv: Dv, commands: list[tuple[object, ...]], rest: tuple[str, ...], told: str
) -> None:
    for line in commands:
        code, message = refused(dv, *line, *rest)
        assert code == 7
        assert told in message


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("unet/model.safetensors", "unet holds no weights"),
        ("text_encoder/config.json", "text_encoder/config.json is missing"),
        ("image_encoder/model.safetensors", "image_encoder holds no weights"),
        ("tokenizer/merges.txt", "tokenizer holds no tokenizer.json, and no vocab.json"),
    ],
)
def test_a_base_that_is_not_whole(
    dv: Dv, base: Path, commands: list[tuple[object, ...]], part: str, told: str
) -> None:
    (base / part).unlink()
    for line in commands:
        code, message = refused(dv, *line)
        assert code == 7
        assert told in message


def test_weights_that_were_cut_short_and_a_lost_part_of_several(dv: Dv, base: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    whole = len(header).to_bytes(8, "little") + header + b"\0" * 16
    weights = base / "vae" / "model.safetensors"
    weights.write_bytes(whole[:-1])
    assert "cut short" in refused(dv, "gen", "a dog", "--base", base)[1]
    weights.write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "cut short" in refused(dv, "gen", "a dog", "--base", base)[1]
    weights.write_bytes(whole)
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (base / "vae" / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model-2.safetensors is missing" in refused(dv, "gen", "a dog", "--base", base)[1]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (("subject", "--class", " "), "the class word is empty"),
        (("subject", "--class", "\udcff"), "not UTF-8"),
        (("subject", "--note", "\udcff"), "not UTF-8"),
        (("motion", "--caption", ""), "the caption is empty"),
        (("motion", "--caption", LONG), "the prompt has 80 tokens"),
        (("motion", "--actor", LONG), "tokens; this base reads 75"),
    ],
)
def test_words_that_cannot_be_learned(
    dv: Dv, commands: list[tuple[object, ...]], line: tuple[str, ...], told: str
) -> None:
    code, message = refused(dv, *commands[1 if line[0] == "subject" else 2], *line[1:])
    assert code == 2
    assert told in message


def test_all_jobs_are_checked_and_each_error_is_told(dv: Dv, base: Path) -> None:
    jobs = [
        {"id": "good", "prompt": "a dog"},
        {"id": "long", "prompt": LONG},
        {"id": "gif", "prompt": "a dog", "out": "a.gif", "fps": 60},
    ]
    Path("jobs").write_text("".join(f"{json.dumps(job)}\n" for job in jobs))
    for line in (("-n",), ()):
        result = dv("gen", "--jobs", "jobs", "--base", base, "--json", *line)
        told = [json.loads(row) for row in result.err.splitlines()]
        assert (result.code, result.out) == (9, "")
        assert [row.get("id") for row in told] == ["long", "gif", None]
        assert told[2]["code"] == "batch.refused"
        assert "2 of 3 jobs cannot be made, and none was begun" in told[2]["message"]


def test_a_disk_that_is_too_full(dv: Dv, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=20_000))
    fits, other = ("gen", "a dog", "--base", base, "-n"), {"prompt": "a dog", "base": str(base)}
    assert dv(*fits).code == 0
    code, message = refused(dv, *fits[:-1], "--count", 3)
    assert code == 7
    assert "20.0 kB are free, and the videos may take 33.2 kB" in message
    Path("jobs").write_text(f"{json.dumps(other)}\n" * 3)
    assert refused(dv, "gen", "--jobs", "jobs")[0] == 7


def test_automatic_names_fit_the_disk_however_many_take_part(dv: Dv, put: Put) -> None:
    names = [letter * 60 for letter in "abcdef"]
    for name in names:
        put(name)
    flags = [word for name in names for word in ("--subject", name)]
    (video,) = dv("gen", "they", *flags, "-n", "--json").document["videos"]
    name = Path(video["path"]).name
    assert name.startswith(f"{names[0]}-v1_{names[1]}-v1")
    assert name.endswith("_s0.mp4")
    assert len(name) < 200


def test_a_name_that_no_disk_takes(dv: Dv, base: Path) -> None:
    code, message = refused(dv, "gen", "a dog", "--base", base, "-o", f"{'x' * 252}.mp4")
    assert code == 2
    assert "the name is too long" in message


def test_a_folder_that_ends_in_a_slash_is_made(dv: Dv, base: Path) -> None:
    planned = dv("gen", "a dog", "--base", base, "-o", "new/deep/", "-n", "--json")
    assert planned.document["videos"][0]["path"] == str(Path.cwd() / "new/deep/plain_s0.mp4")
    assert not Path("new").exists()
    Path("file").touch()
    assert dv("gen", "a dog", "--base", base, "-o", "file/new/", "-n").code == 7


ADDRESS = "https://example.org/out"


def test_an_address_is_no_place_for_an_output(dv: Dv, base: Path, put: Put, home: Path) -> None:
    put("corgi")
    put("skate", "motion")
    video = ("a corgi skate", "--subject", "corgi", "--motion", "skate")
    lines = (
        *(("gen", *video, "-o", f"{ADDRESS}{rest}") for rest in (".mp4", "/", "")),
        ("grid", *video, "-o", f"{ADDRESS}.png"),
        ("tune", "corgi", "skate", "a corgi skate", "-o", f"{ADDRESS}.png"),
        ("subject", "export", "corgi", "-o", f"{ADDRESS}.dva"),
        ("inspect", home, "-o", f"{ADDRESS}.png"),
        ("bench", "-o", ADDRESS),
        ("bench", "-o", ADDRESS, "-n"),
        ("demo", "-o", ADDRESS),
        ("base", "import", home / "config.toml", "--like", base, "-o", ADDRESS),
    )
    for line in lines:
        result = dv(*line, "--json")
        assert (result.code, result.out) == (7, ""), line
        assert "example.org/out" in result.error["message"], line
        assert "is an address" in result.error["message"], line
    assert list(Path.cwd().iterdir()) == []


def test_an_address_is_no_place_for_a_registry(dv: Dv, monkeypatch: pytest.MonkeyPatch) -> None:
    told = dv("subject", "list", "--registry", ADDRESS, "--json")
    assert (told.code, told.error["message"]) == (2, f"--registry is an address, {ADDRESS}")
    for name in ("REGISTRY", "STATE", "CACHE"):
        with monkeypatch.context() as patch:
            patch.setenv(f"DV_{name}", ADDRESS)
            told = dv("config", "list", "--json")
        assert told.error["message"] == f"DV_{name}: {name.lower()} is an address, {ADDRESS}"
    assert list(Path.cwd().iterdir()) == []
