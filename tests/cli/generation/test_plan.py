"""What a plan of videos comes to, by numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.generation import plan as planning
from dreamvideo_cli.generation.job_lines import Job, merge_options
from dreamvideo_cli.generation.options import VideoOptions, read_batch, read_seeds
from dreamvideo_cli.generation.outputs import check_scale, file_format, folder_notes, output_stem
from dreamvideo_cli.generation.parse import split_file
from dreamvideo_cli.generation.plan import VideoPlan, batch_recipes, check_space, plan_videos
from dreamvideo_cli.generation.recipe_file import guess_format, recipe_document
from dreamvideo_cli.generation.references import (
    AdapterResolver,
    find_unused_adapters,
    resolve_adapters,
    split_weight,
    unused_note,
)
from engine.recipe import GenerateRecipe
from registry import open_registry
from tests.cli.conftest import Put

RECIPE = GenerateRecipe(prompt="a dog")


def plan(home: Path, base: Path, **options: Any) -> VideoPlan:
    store = open_registry(home / "registry")
    return plan_videos(store, VideoOptions(prompt="a dog", base=str(base), **options))


@pytest.mark.parametrize(
    ("most", "sizes"),
    [(1, [1] * 5), (2, [2, 2, 2, 2, 1]), (3, [3, 3, 3, 2, 2]), (5, [5] * 5), (9, [5] * 5)],
)
def test_videos_are_made_in_batches_of_at_most_so_many(most: int, sizes: list[int]) -> None:
    recipes = [msgspec.structs.replace(RECIPE, seed=seed) for seed in range(5)]
    found = batch_recipes(recipes, most)
    assert [recipe.batch for recipe in found] == sizes
    assert [recipe.seed for recipe in found] == [0, 1, 2, 3, 4]


def test_videos_that_follow_inputs_are_made_one_by_one_and_without_a_number_as_they_are() -> None:
    refined = [msgspec.structs.replace(RECIPE, refine=1)] * 3
    assert [recipe.batch for recipe in batch_recipes(refined, 2)] == [1, 1, 1]
    kept = [msgspec.structs.replace(RECIPE, batch=7)] * 3
    assert batch_recipes(kept, None) == kept


@pytest.mark.parametrize(
    ("text", "pixels", "batch"),
    [
        (None, 10, None),
        ("auto", 1 << 20, 4),
        ("auto", (1 << 20) + 1, 3),
        ("auto", 2 << 20, 2),
        ("auto", 9 << 20, 1),
        ("auto", 10, 4),
        ("1", 10, 1),
        ("64", 10, 64),
    ],
)
def test_a_batch_is_told_or_what_fills_a_device(text, pixels: int, batch) -> None:
    assert read_batch(text, pixels) == batch


@pytest.mark.parametrize("text", ["0", "65", "two", "1.0", "-1", "1000", ""])
def test_what_is_no_batch_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--batch is"):
        read_batch(text, 10)


@pytest.mark.parametrize(
    ("text", "number", "seeds"),
    [
        ("7", None, (7,)),
        ("7", 3, (7, 8, 9)),
        ("5..8", None, (5, 6, 7, 8)),
        ("4294967295", None, (2**32 - 1,)),
        ("0..9999", None, tuple(range(10_000))),
    ],
)
def test_seeds_count_up_and_both_ends_count(text: str, number: int | None, seeds: tuple) -> None:
    assert read_seeds(text, number) == (seeds, ())


@pytest.mark.parametrize(
    ("text", "number"),
    [("8..5", None), ("4294967296", None), ("4294967295", 2), ("0..10000", None), ("0..1", 2)],
)
def test_too_many_seeds_or_none_are_refused(text: str, number: int | None) -> None:
    with pytest.raises(UsageError, match="seed"):
        read_seeds(text, number)


def test_a_seed_that_is_drawn_is_told() -> None:
    (first, second), (note,) = read_seeds("random", 2)
    assert 0 <= first < 2**31
    assert second == first + 1
    assert note == f"the seed drawn is {first}"


def test_flags_come_before_the_card_and_the_card_before_the_recipe(home: Path, base: Path) -> None:
    (recipe,) = plan(home, base, size="40x64", steps=5, motion_until=0.5, seed="3").recipes
    assert (recipe.width_px, recipe.height_px, recipe.steps, recipe.seed) == (40, 64, 5, 3)
    assert (recipe.sampler, recipe.frames, recipe.fps, recipe.motion_until) == ("ddim", 8, 8.0, 0.5)
    assert (recipe.guidance, recipe.negative) == (9.0, "")


def test_a_window_of_steps_without_two_kinds_is_warned_of(home: Path, base: Path, put: Put) -> None:
    put("rex"), put("tom"), put("skate", "motion")
    turns = {"identity_from": 0.5, "identity_early": 0.2, "motion_until": 0.7}
    notes = plan(home, base, subject=["rex"], **turns).notes
    assert [note for note in notes if note.endswith("without a subject and a motion")] == [
        f"warning: {flag} changes nothing without a subject and a motion"
        for flag in ("--identity-from", "--identity-early", "--motion-until")
    ]
    silent = plan(home, base, subject=["rex"], motion=["skate=0"], identity_from=0.5).notes
    assert any("--identity-from changes nothing" in note for note in silent)
    both = plan(home, base, subject=["rex", "tom"], motion=["skate"], **turns).notes
    assert not any("changes nothing" in note for note in both)
    assert any("the mean look of rex:v1 and tom:v1;" in note for note in both)
    one = plan(home, base, subject=["rex", "tom=0"], motion=["skate"]).notes
    assert not any("mean look" in note for note in one)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"size": "96x32"}, []),
        ({"size": "100x32"}, ["48x32; 100x32 takes"]),
        ({"frames": 16}, []),
        ({"frames": 17}, ["8 frames; 17 take"]),
        ({"size": "64x96", "frames": 20}, ["48x32; 64x96 takes", "8 frames; 20 take"]),
    ],
)
def test_more_than_twice_what_the_base_was_made_for_is_doubted(
    home: Path, base: Path, options: dict, told: list[str]
) -> None:
    found = plan(home, base, **options)
    assert [note for note in found.notes if "is made for" in note] == [
        f"warning: {found.base.id} is made for {each} long and may not look well" for each in told
    ]


def test_the_disk_must_have_room_for_all_videos(
    home: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0.3 bytes a byte of an mp4, 1.05 of pictures; a scale counts on both sides, and a pipe for nothing."""
    asked: list[tuple[Path, int]] = []
    monkeypatch.setattr(
        planning, "require_free", lambda folder, needed, **_: asked.append((folder, needed))
    )
    monkeypatch.setattr("sys.stdout.isatty", lambda: False)
    video = 8 * 32 * 48 * 3
    check_space([plan(home, base, seed="0..2"), plan(home, base, output="-")])
    check_space([plan(home, base, format="png", scale=3), plan(home, base)])
    check_space([plan(home, base, output="-")])
    here = home / "here"
    assert asked == [(here, int(3 * video * 0.3)), (here, int(video * (9 * 1.05 + 0.3)))]


def test_videos_are_called_after_who_takes_part(home: Path, base: Path, put: Put) -> None:
    put("rex"), put("rex"), put("skate", "motion")
    resolver = AdapterResolver(open_registry(home / "registry"))
    subjects = resolve_adapters(resolver, "subject", ["rex:v1", "rex=0.5"])
    motions = resolve_adapters(resolver, "motion", ["skate=2"])
    found = plan(home, base)
    assert [use.weight for use in (*subjects, *motions)] == [1.0, 0.5, 2.0]
    assert output_stem((*subjects, *motions), found.base) == "rex-v1_rex-v2_skate-v1"
    assert output_stem((), found.base) == "plain"
    for name, stem in (("A Base, 2!", "a-base-2"), ("!", "base"), ("x" * 500, "x" * 180)):
        card = msgspec.structs.replace(found.base.card, name=name)
        assert output_stem((), replace(found.base, card=card)) == stem


@pytest.mark.parametrize(("size", "scale"), [((1024, 64), 4), ((64, 1024), 4), ((5000, 64), 1)])
def test_a_video_is_enlarged_up_to_4096_pixels_a_side(size: tuple[int, int], scale: int) -> None:
    recipe = msgspec.structs.replace(RECIPE, width_px=size[0], height_px=size[1])
    check_scale(scale, recipe)
    with pytest.raises(UsageError) as caught:
        check_scale(scale + 1, recipe)
    assert caught.value.hint == f"at most 4096 px a side: --scale {max(1, 4096 // max(size))}"


def test_a_picture_s_name_becomes_a_folder(home: Path, base: Path) -> None:
    outputs = plan(home, base, output="out.png").outputs
    assert folder_notes(outputs, 8) == ("out.png will be a folder of 8 pictures, 0000.png and on",)
    assert folder_notes(plan(home, base, output="out.gif").outputs, 8) == ()
    assert folder_notes(plan(home, base, format="png").outputs, 8) == ()


def test_a_file_s_format_is_its_suffix_or_the_flag() -> None:
    assert file_format("a.WEBP", None) == "webp"
    assert file_format("a", "gif") == "gif"
    assert file_format("a.b", "mp4") == "mp4"
    assert file_format("a.png", "png") == "png"


@pytest.mark.parametrize(
    ("text", "ref", "weight"),
    [
        ("rex", "rex", 1.0),
        ("rex:v2=0.5", "rex:v2", 0.5),
        ("a=b.dva", "a=b.dva", 1.0),
        ("rex=10", "rex", 10.0),
    ],
)
def test_a_reference_may_have_a_weight(text: str, ref: str, weight: float) -> None:
    assert split_weight(text) == (ref, weight)


def test_a_file_may_have_a_number_behind_it(home: Path) -> None:
    assert split_file("--reference", "a.png", 2.0) == (Path.cwd() / "a.png", None)
    assert split_file("--reference", "a=b.png=1.5", 2.0) == (Path.cwd() / "a=b.png", 1.5)
    Path("a.png=2").touch()
    assert split_file("--reference", "a.png=2", 2.0) == (Path.cwd() / "a.png=2", None)
    with pytest.raises(UsageError, match=r"'2\.5' is not a number from 0 to 2") as caught:
        split_file("--reference", "a.png=2.5", 2.0)
    assert caught.value.hint == "for example a.png=1"


def test_words_that_name_adapters_are_told_with_the_line_that_uses_them(
    home: Path, put: Put
) -> None:
    put("rex"), put("tom"), put("skate", "motion"), put("skate")
    store = open_registry(home / "registry")
    resolver = AdapterResolver(store)
    uses = resolve_adapters(resolver, "subject", ["tom"])
    found = find_unused_adapters(store, "Rex and tom skate, rex!", uses)
    assert found == [("subject", "rex"), ("subject", "skate"), ("motion", "skate")]
    assert unused_note(found[:1], ["gen", "Rex", "--", "x"]) == (
        "hint: the subject rex is not used; with it: dv gen Rex --subject rex -- x"
    )
    assert unused_note([found[0], found[2]], ["gen", "a rex"]) == (
        "hint: the subject rex and the motion skate are not used; with them:"
        " dv gen 'a rex' --subject rex --motion skate"
    )
    many = " ".join(f"word{k}" for k in range(100)) + " rex"
    assert find_unused_adapters(store, many, ()) == []


def test_a_video_s_recipe_says_all_that_decided_it(home: Path, base: Path, put: Put) -> None:
    rex, skate = put("rex"), put("skate", "motion")
    found = plan(home, base, subject=["rex=0.5"], motion=["skate"], seed="4")
    document = recipe_document(found.base, found.uses, found.recipes[0])
    assert document.pop("versions")
    assert document == {
        "schema": "dv.recipe/1",
        "base": {"id": found.base.id.rpartition("/")[2], "fingerprint": found.base.fingerprint},
        "adapters": [
            {
                "kind": adapter.kind,
                "ref": f"{adapter.name}:v1@sha256:{adapter.digest}",
                "weight": weight,
                "phrase": phrase,
            }
            for adapter, weight, phrase in ((rex, 0.5, "<rex>"), (skate, 1.0, "skating away"))
        ],
        "generate": msgspec.to_builtins(found.recipes[0]),
    }
    assert recipe_document(found.base, (), found.recipes[0], 3)["scale"] == 3


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *(("a.mp4", "mp4"), ("a.GIF", "gif"), ("a.webp", "webp"), ("a.avi", "mp4"), ("a", "mp4")),
        *(("a.webp.json", "webp"), ("a.mp4.json", "mp4"), ("a.avi.JSON", "mp4"), ("a.json", "png")),
    ],
)
def test_a_video_s_format_is_guessed_by_its_name_or_its_sidecar_s(name: str, form: str) -> None:
    assert guess_format(Path(name)) == form


def test_a_folder_is_a_video_of_pictures(tmp_path: Path) -> None:
    assert guess_format(tmp_path) == "png"


def test_a_job_s_weights_are_of_those_that_take_part() -> None:
    given = VideoOptions(prompt="a dog", subject=["corgi"], seed="3", appearance="0.5")
    job = Job(None, weights={"corgi": 0.5, "skate": 2.0}, given={"motion": "skate", "seed": 7})
    merged = merge_options(job, given)
    assert (merged.subject, merged.motion) == (["corgi=0.5"], ["skate=2"])
    assert (merged.seed, merged.appearance, merged.prompt) == ("7", "0.5", "a dog")
    with pytest.raises(UsageError, match="cogi") as caught:
        merge_options(Job(None, weights={"cogi": 1.0}, given={}), given)
    assert caught.value.hint == "did you mean corgi?"


def test_a_default_that_is_named_is_the_default(home: Path, base: Path) -> None:
    (usual,) = plan(home, base).recipes
    named = {name: getattr(usual, name) for name in planning.SETTINGS}
    assert named["steps"] == 12
    size = f"{usual.width_px}x{usual.height_px}"
    for name, value in [
        *named.items(),
        ("size", size),
        ("seed", "0"),
        ("count", 1),
        ("batch", "1"),
    ]:
        assert plan(home, base, **{name: value}).recipes == (usual,), name
