"""What `dv gen` checks before anything heavy is imported."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from traceback import walk_stack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.generation.options import read_seeds, read_size
from dreamvideo_cli.generation.references import split_weight
from engine.errors import DivergedError
from tests.cli.conftest import Dv, Put


def test_a_plan_says_all_that_would_be_done(dv: Dv, put: Put, home: Path) -> None:
    corgi, skate = put("corgi", tags=["best"]), put("skate", "motion")
    result = dv(
        "gen", "a corgi", "--subject", "corgi:best=0.8", "--motion", "skate", "-n", "--json"
    )
    plan = result.document
    assert result.code == 0
    assert plan["schema"] == "dv.plan/1"
    assert plan["prompt_sent"] == "a <corgi> skating away"
    assert plan["subjects"] == [{"ref": str(corgi), "weight": 0.8, "phrase": "<corgi>"}]
    assert plan["motions"] == [{"ref": str(skate), "weight": 1.0, "phrase": "skating away"}]
    assert plan["base"]["id"] == str(home / "bases" / "plain")
    assert [Path(video["path"]).name for video in plan["videos"]] == ["corgi-v1_skate-v1_s0.mp4"]
    assert list(Path.cwd().iterdir()) == []


def test_what_was_resolved_and_added_is_said_on_stderr(dv: Dv, put: Put) -> None:
    put("corgi")
    put("skate", "motion")
    result = dv("gen", "on the moon", "--subject", "corgi", "--motion", "skate:v1", "-n")
    assert result.err.splitlines() == [
        "corgi -> corgi:v1",
        "the prompt does not say corgi: put <corgi> in front",
        "the prompt does not say skate: added 'skating away'",
    ]
    assert "<corgi> on the moon skating away" in result.out


def test_quiet_says_nothing_beside_the_result(dv: Dv, put: Put) -> None:
    put("corgi")
    assert dv("gen", "on the moon", "--subject", "corgi", "-n", "-q").err == ""


def test_settings_come_from_the_card_and_then_from_the_flags(dv: Dv, base: Path) -> None:
    card = dv("gen", "a dog", "--base", base, "-n", "--json").document["generate"]
    assert (card["steps"], card["sampler"], card["frames"], card["width_px"]) == (12, "ddim", 8, 48)
    flags = ("--steps", 3, "--sampler", "dpm++", "--frames", 4, "--size", "64x48", "--fps", 6)
    told = dv("gen", "a dog", "--base", base, "-n", "--json", *flags).document["generate"]
    assert (told["steps"], told["sampler"], told["frames"]) == (3, "dpm++", 4)
    assert (told["width_px"], told["height_px"], told["fps"]) == (64, 48, 6.0)


@pytest.mark.parametrize(("size", "is_told"), [("48x32", False), ("96x32", False), ("52x60", True)])
def test_far_more_pixels_than_the_base_was_made_for_are_doubted(
    dv: Dv, base: Path, size: str, is_told: bool
) -> None:
    told = dv("gen", "a dog", "--base", base, "--size", size, "-n").err
    assert ("is made for 48x32" in told) is is_told


def test_appearance_scales_what_the_motion_was_learned_for(dv: Dv, put: Put) -> None:
    put("skate", "motion")
    arguments = ("gen", "a dog skate", "--motion", "skate", "-n", "--json")
    recipe = dv(*arguments, "--appearance", "0.5").document["generate"]
    assert recipe["appearance"] == 0.5
    assert dv(*arguments).document["generate"]["appearance"] == 1.0


def test_appearance_without_a_motion_is_a_usage_error(dv: Dv, base: Path) -> None:
    assert dv("gen", "a dog", "--base", base, "--appearance", "1", "-n").code == 2


def test_the_base_of_the_adapters_is_taken_whatever_the_default(
    dv: Dv, put: Put, base: Path, make_base: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("corgi")
    monkeypatch.setenv("DV_BASE", str(make_base("other")))
    plan = dv("gen", "a corgi", "--subject", "corgi", "-n", "--json").document
    assert plan["base"]["id"] == str(base)
    alone = dv("gen", "a dog", "-n", "--json").document
    assert alone["base"]["id"].endswith("other")


def test_another_base_is_refused_naming_both(
    dv: Dv, put: Put, base: Path, make_base: Callable[[str], Path]
) -> None:
    put("corgi")
    other = make_base("other")
    result = dv("gen", "a corgi", "--subject", "corgi", "--base", other, "--json")
    assert (result.code, result.error["code"]) == (6, "base.mismatch")
    assert str(base) in result.error["message"]
    assert str(other) in result.error["message"]


def test_a_base_that_changed_since_is_refused(dv: Dv, put: Put, base: Path) -> None:
    put("corgi")
    (base / "unet" / "config.json").write_text('{"name": "changed", "more": 1}')
    assert dv("gen", "a corgi", "--subject", "corgi", "-n").code == 6


def test_the_same_base_at_another_place_fits(dv: Dv, put: Put, base: Path, home: Path) -> None:
    put("corgi")
    moved = home / "moved"
    base.rename(moved)
    lost = dv("gen", "a corgi", "--subject", "corgi", "-n")
    assert lost.code == 7
    assert "--base DIR says where it lies now" in lost.err
    assert dv("gen", "a corgi", "--subject", "corgi", "--base", moved, "-n").code == 0


def test_adapters_of_two_bases_are_refused(
    dv: Dv, put: Put, make_base: Callable[[str], Path]
) -> None:
    put("corgi")
    put("skate", "motion", on=make_base("other"))
    result = dv("gen", "a corgi skate", "--subject", "corgi", "--motion", "skate")
    assert result.code == 6
    assert "corgi:v1" in result.err
    assert "skate:v1" in result.err


def test_an_adapter_of_another_mini_says_which_release(dv: Dv, put: Put) -> None:
    put("corgi", base_id="mini@999")
    result = dv("gen", "a corgi", "--subject", "corgi")
    assert result.code == 6
    assert "mini@999" in result.err


def test_two_subjects_with_one_word_are_refused(dv: Dv, put: Put) -> None:
    put("corgi")
    put("rex", token="<corgi>")
    result = dv("gen", "a corgi", "--subject", "corgi", "--subject", "rex", "--json")
    assert (result.code, result.error["code"]) == (6, "word.clash")


def test_an_adapter_named_twice_is_a_usage_error(dv: Dv, put: Put) -> None:
    put("skate", "motion")
    assert dv("gen", "skate", "--motion", "skate", "--motion", "skate:v1").code == 2


def test_a_damaged_file_is_refused(dv: Dv, put: Put) -> None:
    put("corgi")
    path = Path(dv("subject", "path", "corgi").out.strip())
    path.chmod(0o644)
    path.write_bytes(b"bent")
    assert dv("gen", "a corgi", "--subject", "corgi", "-n").code == 5


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--subject", "nobody"), 3),
        (("--subject", "skate"), 3),
        (("--subject", "./corgi.safetensors"), 3),
        (("--subject", "corgi=heavy"), 2),
        (("--subject", "corgi=11"), 2),
        (("--size", "wide"), 2),
        (("--seed", "-1"), 2),
        (("--seed", "3..1"), 2),
        (("--seed", "0..2", "--count", "2"), 2),
        (("--device", "tpu"), 2),
        (("--frames", "0"), 2),
        (("--guidance", "1000"), 2),
        (("-o", "out.avi"), 2),
        (("-o", "nowhere/out.mp4"), 7),
        (("--base", "./nowhere"), 7),
        (("--base", "nobody/has-this"), 7),
    ],
)
def test_what_cannot_be_made_is_said_before_the_wait(
    dv: Dv, put: Put, base: Path, arguments, code
) -> None:
    put("corgi")
    put("skate", "motion")
    rest = () if {"--base", "--subject"} & set(arguments) else ("--base", base)
    result = dv("gen", "a corgi", *arguments, *rest, "--json")
    assert (result.code, result.out) == (code, "")
    assert result.error["exit"] == code
    assert "loading" not in result.err
    assert list(Path.cwd().iterdir()) == []


def test_an_empty_prompt_is_a_usage_error(dv: Dv, base: Path) -> None:
    assert dv("gen", "  ", "--base", base).code == 2


def test_an_existing_output_is_left_alone(dv: Dv, base: Path) -> None:
    Path("out.mp4").write_text("mine")
    result = dv("gen", "a dog", "--base", base, "-o", "out.mp4", "--json")
    assert (result.code, result.error["code"]) == (4, "output.exists")
    assert Path("out.mp4").read_text() == "mine"


@pytest.fixture
def locked() -> Iterator[Path]:
    """A folder that nobody may write to, seen by somebody who is not root."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    is_root = os.getuid() == 0
    if is_root:
        os.setresuid(65534, 65534, 0)
    else:
        folder.chmod(0o555)
    try:
        yield folder
    finally:
        if is_root:
            os.setresuid(0, 0, 0)
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_folder_without_permission_is_refused(locked: Path) -> None:
    from dreamvideo_cli.generation.outputs import plan_outputs
    from dreamvideo_cli.terminal.failures import describe
    from engine.errors import OutputError

    with pytest.raises(OutputError) as caught:
        plan_outputs("a", [0], str(locked / "out.mp4"), format=None, overwrite=False)
    assert describe(caught.value).exit_code == 7
    assert list(locked.iterdir()) == []


@given(st.text())
def test_any_text_is_a_seed_or_a_usage_error(text: str) -> None:
    try:
        seeds, _ = read_seeds(text, None)
    except UsageError:
        return
    assert len(seeds) >= 1


@pytest.mark.parametrize(
    ("text", "count", "seeds"),
    [("7", None, (7,)), ("7", 3, (7, 8, 9)), ("2..4", None, (2, 3, 4)), ("5..5", None, (5,))],
)
def test_seeds_count_up_and_both_ends_count(text: str, count: int | None, seeds) -> None:
    assert read_seeds(text, count) == (seeds, ())


def test_a_drawn_seed_is_told() -> None:
    (seed,), (note,) = read_seeds("random", None)
    assert str(seed) in note


@given(st.integers(1, 99999), st.integers(1, 99999))
def test_a_size_is_width_by_height(width: int, height: int) -> None:
    assert read_size(f"{width}x{height}") == {"width_px": width, "height_px": height}


@pytest.mark.parametrize(
    ("text", "parts"),
    [("corgi", ("corgi", 1.0)), ("corgi:best=0.8", ("corgi:best", 0.8)), ("corgi=0", ("corgi", 0))],
)
def test_a_weight_stands_behind_the_reference(text: str, parts: tuple[str, float]) -> None:
    assert split_weight(text) == parts


def test_from_the_shell_to_the_engine_it_is_four_calls(
    dv: Dv, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def note(*_: object) -> None:
        names = (frame.f_globals["__name__"] for frame, _ in walk_stack(None))
        calls.extend(name for name in names if name.startswith("dreamvideo_cli."))
        raise DivergedError("the video is not finite")

    monkeypatch.setattr("engine.generate.Generator.sample_together", note)
    assert dv("gen", "a dog", "--base", tiny_folder).code == 7
    assert calls[-1] == "dreamvideo_cli.main"
    assert len(calls) <= 4
