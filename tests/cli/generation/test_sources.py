"""Photos and clips that a video is made from: named, refused, carried by digest, and found again."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.generation.parse import split_file
from dreamvideo_cli.runs import known
from engine.errors import InputError, InputNotFoundError
from engine.media.output.comments import read_comment
from tests.cli.conftest import Dv, Learned


@pytest.fixture
def files(home: Path, clip: Path, photos: Path) -> Path:
    """The folder where the shell stands, with `walk.mp4`, `face.png` and its mask."""
    shutil.copy(clip, "walk.mp4")
    shutil.copy(photos / "0.png", "face.png")
    return Path.cwd()


@pytest.fixture
def gen(dv: Dv, learned: Learned, files: Path):
    """`dv gen` of the base alone, in two steps."""
    base = ("--base", learned.base, "--registry", learned.registry, "--steps", 2, "--json")
    return lambda *rest: dv("gen", "a dog", *base, *rest)


@pytest.fixture
def again(dv: Dv, learned: Learned):
    return lambda *rest: dv(
        *("gen", "--again", *rest, "--base", learned.base, "--registry", learned.registry, "--json")
    )


def digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


WAYS = {
    "edit": (("--edit", "walk.mp4", "--noise", 0.5), ["walk.mp4"]),
    "animate": (("--animate", "face.png", "--camera", "in"), ["face.png"]),
    "start": (("--start-from", "walk.mp4=0.5"), ["walk.mp4"]),
    "refine": (("--refine", 1), []),
    "reference": (("--reference", "face.png=2", "--reference-until", 0.5), ["face.png"]),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_video_is_made_again_from_what_it_names_by_digest_alone(gen, again, way: str) -> None:
    flags, names = WAYS[way]
    assert gen(*flags, "-o", "one.gif").code == 0
    comment = str(read_comment(Path("one.gif")))
    for name in names:
        assert name not in comment
        assert digest(name) in comment
    assert str(Path.cwd()) not in comment
    assert again("one.gif", "-o", "two.gif").code == 0
    assert Path("one.gif").read_bytes() == Path("two.gif").read_bytes()


def test_without_noise_left_out_a_video_is_the_plain_one(gen) -> None:
    plain, all_noise = (
        gen(*flags, "-o", name)
        for flags, name in (((), "a.png"), (("--edit", "walk.mp4", "--noise", 1), "b.png"))
    )
    assert plain.code == all_noise.code == 0
    for frame in sorted(Path("a.png").iterdir()):
        with Image.open(frame) as one, Image.open(Path("b.png") / frame.name) as other:
            assert not ImageChops.difference(one.convert("RGB"), other.convert("RGB")).getbbox()


def test_a_plan_tells_of_everything(gen, dv: Dv, learned: Learned) -> None:
    flags = ("--edit", "walk.mp4", "--noise", 0.5, "--reference", "face.png=0.5")
    plan = gen(*flags, "-n")
    generate = plan.document["generate"]
    assert generate["source"] == {"clip": digest("walk.mp4"), "noise": 0.5}
    assert generate["reference"]["photos"] == [digest("face.png")]
    assert generate["reference"]["weights"] == [0.5]
    assert generate["reference"]["prompt"] == "a dog"
    assert "walk.mp4: 8 fps, 8 frames → " in plan.err
    base = ("--base", learned.base, "--registry", learned.registry, "--steps", 2, "-n")
    lines = " ".join(dv("gen", "a dog", *base, *flags).out.split())
    assert "noise 0.5: the last 1 of 2 steps" in lines
    assert "midup blocks, until 1, cond" in lines


def test_a_file_that_was_changed_or_is_gone_is_refused_by_name(gen, again, files: Path) -> None:
    assert gen("--edit", "walk.mp4", "-o", "one.gif").code == 0
    Path("walk.mp4").write_bytes(Path("walk.mp4").read_bytes() + b"more")
    changed = again("one.gif", "-n")
    assert (changed.code, changed.error["code"]) == (10, "input.unusable")
    assert f"{files / 'walk.mp4'} was changed since" in changed.error["message"]
    Path("walk.mp4").unlink()
    gone = again("one.gif", "-n")
    assert (gone.code, gone.error["code"]) == (3, "input.not_found")
    assert f"{files / 'walk.mp4'} is gone" in gone.error["message"]
    assert gone.error["hint"] == "--edit CLIP gives it again"


def test_another_file_in_its_place_is_taken_and_told(gen, again, clip: Path) -> None:
    assert gen("--edit", "walk.mp4", "--noise", 0.5, "-o", "one.gif").code == 0
    other = Path("other.gif")
    shutil.copy("one.gif", other)
    result = again("one.gif", "--edit", other, "-n")
    assert result.document["generate"]["source"] == {"clip": digest("other.gif"), "noise": 0.5}
    assert f"not the source of the video: sha256:{digest('walk.mp4')}" in result.err
    kept = again("one.gif", "--noise", 0.2, "-n").document["generate"]["source"]
    assert kept == {"clip": digest("walk.mp4"), "noise": 0.2}
    assert gen("--refine", 1, "-o", "fine.gif").code == 0
    both = again("fine.gif", "--edit", "walk.mp4", "-n")
    assert (both.code, both.error["hint"]) == (2, "--refine 0")
    turned = again("one.gif", "--start-from", "walk.mp4", "-n").document["generate"]
    assert turned["source"] is None
    assert turned["inversion"]["clip"] == digest("walk.mp4")


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (("--edit", "nowhere.mp4"), 3, "nowhere.mp4"),
        (("--edit", "face.png"), 10, "is a photo, and a clip is wanted"),
        (("--edit", "face.png"), 10, "face.png is a photo, and a clip is wanted --animate "),
        (("--animate", "walk.mp4"), 10, "walk.mp4 is a video, not a picture --edit "),
        (("--animate", "letter.txt"), 10, "letter.txt"),
        (("--animate", "photos"), 10, "photos holds 3 photos, and one is wanted name one of them:"),
        (("--reference", "letter.txt"), 10, "letter.txt"),
        (("--reference", "nowhere.png"), 3, "nowhere.png"),
        (("--reference", "face.png=11"), 2, "'11' is not a number from 0 to 10"),
        (("--reference", "face.png=often"), 2, "'often' is not a number"),
        (("--start-from", "walk.mp4=2"), 2, "'2' is not a number from 0 to 1"),
        (("--start-from", "motion"), 2, "takes the clip of one motion, and there are 0"),
        (("--edit", "walk.mp4", "--noise", 1.5), 2, "noise"),
        (("--edit", "walk.mp4", "--animate", "face.png"), 2, "--edit and --animate each say"),
        (("--edit", "walk.mp4", "--start-from", "walk.mp4"), 2, "--edit and --start-from"),
        (("--edit", "walk.mp4", "--refine", 2), 2, "--refine begins with noise alone"),
        (("--edit", "walk.mp4", "--camera", "in"), 2, "--camera films a photo"),
        (("--edit", "walk.mp4", "--frames", 40), 10, "8 different frames at 8 fps"),
        (("--edit", "walk.mp4", "--fps", 30), 10, "--fps 8"),
        (("--noise", 0.5), 2, "--noise changes nothing alone"),
        (("--camera", "in"), 2, "--camera changes nothing alone"),
        (("--reference-blocks", "full"), 2, "--reference-blocks changes nothing alone"),
        (("--reference", "face.png", "--reference-mask", "no"), 3, "no"),
        (("--structure", "walk.mp4"), 2, "needs a ControlNet"),
        (("--structure-model", "x/y"), 2, "--structure-model changes nothing alone"),
        (("--structure", "walk.mp4", "--structure-model", "./no"), 7, "ControlNet ./no"),
        (("--refine", 11), 2, "refine"),
        (("--depth-model", "x/y"), 2, "--depth-model changes nothing alone"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_before_the_wait(
    gen, photos: Path, flags, code: int, says: str
) -> None:
    shutil.copytree(photos, "photos")
    Path("letter.txt").write_text("dear")
    result = gen(*flags, "-n")
    assert (result.code, result.out) == (code, ""), result.err
    assert says in f"{result.error['message']} {result.error['hint']}"


def test_a_motions_own_clip_is_found_where_it_was_learned_from(
    dv: Dv, learned: Learned, clip: Path, home: Path
) -> None:
    motion = ("--motion", "skate", "--registry", learned.registry, "--steps", 1, "--json")
    line = ("gen", "a dog skate", *motion, "--start-from", "motion=0.25")
    lost = dv(*line, "-n")
    assert lost.code == 3
    told = f"skate:v1 was learned from clip.mp4 sha256:{digest(str(clip))}, and nobody knows"
    assert lost.error["message"].startswith(told)
    state = home / "state"
    shutil.copytree(learned.registry.parent / "state", state, dirs_exist_ok=True)
    generate = dv(*line, "-n").document["generate"]
    caption = generate["prompt"].removeprefix("a dog ")
    inversion = {"clip": digest(str(clip)), "share": 0.25, "prompt": caption, "start_s": 0.0}
    assert generate["inversion"] == inversion
    dv("motion", "export", "skate", "-o", "skate.dva", "--registry", learned.registry)
    alone = ("gen", "a dog skate", "--motion", "skate.dva", *line[-2:], "--json", "-n")
    assert dv(*alone).document["generate"]["inversion"] == inversion
    assert dv(*line, "-o", "one.gif").code == 0
    again = ("gen", "--again", "one.gif", "--registry", learned.registry, "-o", "two.gif")
    assert dv(*again).code == 0
    assert Path("one.gif").read_bytes() == Path("two.gif").read_bytes()


def test_masks_are_carried_by_their_pixels_and_found_again(gen, again) -> None:
    Path("masks").mkdir()
    mask = Image.new("L", (40, 48))
    mask.paste(255, (5, 5, 30, 40))
    mask.save("masks/face.png")
    flags = ("--reference", "face.png", "--reference-mask", "masks")
    assert gen(*flags, "-o", "one.gif").code == 0
    plain = gen("--reference", "face.png", "-n").document["generate"]["reference"]
    masked = again("one.gif", "-n").document["generate"]["reference"]
    assert "masks" not in plain
    assert masked == {**plain, "masks": [hashlib.sha256(mask.tobytes()).hexdigest()]}
    assert again("one.gif", "-o", "two.gif").code == 0
    assert Path("one.gif").read_bytes() == Path("two.gif").read_bytes()


def test_a_folder_of_photos_is_read_whole(gen, photos: Path) -> None:
    generate = gen("--reference", f"{photos}=0.5", "-n").document["generate"]
    assert generate["reference"]["weights"] == [0.5] * 3
    assert len(set(generate["reference"]["photos"])) == 3


def test_jobs_name_them_as_flags_do(dv: Dv, learned: Learned, files: Path) -> None:
    jobs = [
        {"prompt": "a dog", "edit": "walk.mp4", "noise": 0.4},
        {"prompt": "a dog", "reference": "face.png", "refine": 2},
    ]
    Path("jobs").write_text("\n".join(map(json.dumps, jobs)))
    base = ("--base", learned.base, "--registry", learned.registry)
    found = dv("gen", "--jobs", "jobs", *base, "-n", "--json").document["jobs"]
    assert found[0]["generate"]["source"]["noise"] == 0.4
    assert found[1]["generate"]["reference"]["photos"] == [digest("face.png")]
    assert found[1]["generate"]["refine"] == 2


def test_a_number_stands_behind_a_file_unless_the_file_is_called_so(home: Path) -> None:
    assert split_file("--x", "a.png", 10) == (Path.cwd() / "a.png", None)
    assert split_file("--x", "a.png=2", 10) == (Path.cwd() / "a.png", 2.0)
    Path("a=2").touch()
    assert split_file("--x", "a=2", 10) == (Path.cwd() / "a=2", None)
    for wrong in ("a.png=", "a.png=nan", "a.png=-1", "a.png=inf"):
        with pytest.raises(UsageError):
            split_file("--x", wrong, 10)


def test_the_record_of_files_forgets_the_oldest_and_survives_damage(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(mark: str) -> Path:
        return known.find_again(mark, "clip", "--edit CLIP", lambda path: path.read_text())

    for mark in ("one", "two", "three", "four"):
        Path(mark).write_text(mark)
    known.remember_paths({"one": Path("one"), "two": Path("two")})
    assert find("one") == Path.cwd() / "one"
    record = home / "state" / "inputs.ndjson"
    record.write_bytes(b"{broken\n\xff\n" + record.read_bytes())
    assert find("two") == Path.cwd() / "two"
    monkeypatch.setattr(known, "MOST_BYTES", 3 * len(record.read_bytes().splitlines()[-1]))
    known.remember_paths({"three": Path("three"), "four": Path("four")})
    assert find("four") == Path.cwd() / "four"
    with pytest.raises(InputNotFoundError, match="nobody knows where that lies"):
        find("one")
    Path("four").write_text("else")
    with pytest.raises(InputError, match="was changed since"):
        find("four")
    (home / "state").chmod(0o500)
    known.remember_paths({"five": Path("one")})
