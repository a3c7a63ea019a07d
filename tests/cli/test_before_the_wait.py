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
    taken = dv("import", f"{ADDRESS}.dva", "--json")
    assert (taken.code, taken.error["hint"]) == (3, f"download it first: curl -LO {ADDRESS}.dva")


def test_what_is_refused_is_not_agreed_to_before(dv: Dv, base: Path, put: Put) -> None:
    Path("afile").touch()
    for folder in ("nowhere", "afile"):
        pulled = dv("base", "pull", "modelscope", "--from", folder, "--json")
        assert "-y" not in (pulled.error["hint"] or "")
        assert folder in pulled.error["message"]
    taken = dv("base", "import", "afile", "--like", base, "-o", "afile", "--json")
    assert (taken.code, taken.error["hint"]) == (4, "a folder that is not there yet")
    put("corgi")
    of_rank = ("subject", "export", "corgi", "--format", "kohya", "-o", "x", "--rank", "nan")
    assert dv(*of_rank, "--json").error["message"] == "--rank: 'nan' is not a whole number"


def test_an_address_is_no_place_for_a_registry(dv: Dv, monkeypatch: pytest.MonkeyPatch) -> None:
    told = dv("subject", "list", "--registry", ADDRESS, "--json")
    assert (told.code, told.error["message"]) == (2, f"--registry is an address, {ADDRESS}")
    for name in ("REGISTRY", "STATE", "CACHE"):
        with monkeypatch.context() as patch:
            patch.setenv(f"DV_{name}", ADDRESS)
            told = dv("config", "list", "--json")
        assert told.error["message"] == f"DV_{name}: {name.lower()} is an address, {ADDRESS}"
    assert list(Path.cwd().iterdir()) == []


LEARN, MOVE = (
    ("subject", "learn", "photos", "--name", "x"),
    ("motion", "learn", "clip", "--name", "m"),
)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            ("gen", "a dog", "--size", "10000x64"),
            "the width of --size is 10000, not a whole number",
        ),
        (("gen", "a dog", "--size=64x33"), "the height of --size is 33 px; this base makes"),
        (("gen", "a dog", "--guidance-from", "nan"), "--guidance-from is nan, not a number"),
        (("gen", "a dog", "--start-from", "=.5"), "--start-from '=.5' names no file"),
        (
            ("gen", "a skate", "--motion", "skate", "--start-from", "motion"),
            "no clip is known that",
        ),
        (
            ("gen", "a dog", "--reference", "photos", "--reference-until", "nan"),
            "--reference-until is",
        ),
        ((*LEARN, "--lr", "-1"), "--lr is -1.0, not a number above 0"),
        ((*LEARN, "--lr", "5"), "--lr is 5.0, not a number of at most 1"),
        ((*LEARN, "--set", "word_lr=5"), "word_lr is 5, not a number of at most 1"),
        ((*LEARN, "--steps", 10**20), "--steps is 1"),
        (
            (*LEARN, "--seed", 10**10),
            "--seed is 10000000000, not a whole number of at most 4294967295",
        ),
        ((*LEARN, "--max-time", "nan"), "--max-time 'nan' is no duration"),
        ((*MOVE, "--start", "nan"), "--start is nan, not a number of at least 0"),
        ((*MOVE, "--frames", 10**9), "--frames is 1000000000, not a whole number of at most 4096"),
        ((*MOVE, "--frames", 1), "--frames is 1; a motion needs at least 4"),
        ((*MOVE, "--start", 5, "--end", 2), "a part from 5 s to 2 s holds nothing"),
    ],
)
def test_a_message_speaks_of_the_option_that_was_typed(
    *, dv: Dv, put: Put, base: Path, photos: Path, clip: Path, line: tuple[Any, ...], told: str
) -> None:
    put("skate", "motion", inputs=[])
    real = {"photos": photos, "clip": clip}
    of_base = () if "--motion" in line else ("--base", base)
    code, message = refused(dv, *(real.get(str(word), word) for word in line), *of_base)
    assert code == 2
    assert told in message


def test_a_job_s_message_speaks_of_what_its_line_says(dv: Dv, base: Path) -> None:
    Path("jobs").write_text('{"prompt": "a dog", "size": "10000x64"}\n')
    result = dv("gen", "--jobs", "jobs", "--base", base, "-n")
    assert result.err.startswith("error: job 1: the width of --size is 10000, not")


def test_shares_of_what_takes_no_part_are_told_to_change_nothing(dv: Dv, put: Put) -> None:
    put("corgi")
    shares = ("--subject-uncond", 0.5, "--motion-uncond", 0.5)
    told = dv("gen", "a corgi", "--subject", "corgi", *shares, "-n").err
    assert "--motion-uncond changes nothing without a motion" in told
    assert "--subject-uncond" not in told


def test_a_file_is_no_folder_for_outputs(dv: Dv) -> None:
    Path("afile").touch()
    for line in (("bench", "-n"), ("bench",), ("demo",)):
        for output in ("afile", "afile/x"):
            result = dv(*line, "-o", output, "--json")
            assert result.code == 7
            assert "afile is a file, and no folder" in result.error["message"]
    assert dv("bench", "--set", "foo").code == 2
    assert [path.name for path in Path.cwd().iterdir()] == ["afile"]
