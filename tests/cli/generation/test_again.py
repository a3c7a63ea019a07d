"""The recipe in a video: shown, made again, and never trusted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dreamvideo_cli.generation.recipe_file import read_recipe, read_schema
from engine.bases import locate_base
from engine.errors import EngineError
from engine.media.output.comments import MAX_READ_BYTES
from engine.media.output.write import write_video
from tests.cli.conftest import Dv, Learned, Put

Carry = Callable[..., Path]


@pytest.fixture
def carry(home: Path, base: Path) -> Carry:
    """Write a video with a recipe as `dv gen` would have left it, but for some changes."""

    def write(*adapters: dict[str, Any], **changes: Any) -> Path:
        generate = {"prompt": "a <corgi> skating away", "seed": 7, "steps": 3, "frames": 4}
        recipe: dict[str, Any] = {
            "schema": "dv.recipe/1",
            "base": {"id": "plain", "fingerprint": locate_base(str(base)).fingerprint},
            "adapters": list(adapters),
            "generate": {
                **generate,
                "height_px": 32,
                "width_px": 32,
                **changes.pop("generate", {}),
            },
            **changes,
        }
        comment = changes.get("comment", json.dumps(recipe))
        path = home / "clip.gif"
        return write_video(
            np.zeros((1, 8, 8, 3), np.uint8),
            path,
            fps=8,
            format="gif",
            comment=comment,
            overwrite=True,
        )

    return write


def note(adapter: Any, phrase: str = "<corgi>", **changes: Any) -> dict[str, Any]:
    return {"kind": adapter.kind, "ref": str(adapter), "weight": 0.5, "phrase": phrase, **changes}


@pytest.fixture
def gen(dv: Dv, learned: Learned):
    return lambda *rest: dv("gen", *rest, "--registry", learned.registry)


MAKE = ("a corgi skate", "--subject", "corgi=0.9", "--motion", "skate", "--steps", 2)


@pytest.mark.parametrize("form", ["mp4", "gif", "webp", "png"])
def test_a_video_is_made_again_from_itself_alone(gen, form: str) -> None:
    made = gen(*MAKE, "--seed", 5, "--format", form)
    first = Path(made.out.strip())
    again = gen("--again", first)
    assert again.code == 0, again.err
    second = Path(again.out.strip())
    assert second != first
    pairs = zip(
        *(sorted(p.iterdir()) if form == "png" else [p] for p in (first, second)), strict=True
    )
    assert all(one.read_bytes() == other.read_bytes() for one, other in pairs)


def test_flags_override_the_recipe(gen) -> None:
    first = Path(gen(*MAKE, "-o", "first.mp4").out.strip())
    asked = Path(gen(*MAKE, "--seed", 3, "--guidance", 2, "-o", "asked.mp4").out.strip())
    again = gen("--again", first, "--seed", 3, "--guidance", 2, "-o", "again.mp4")
    assert Path(again.out.strip()).read_bytes() == asked.read_bytes()


def test_an_enlarged_video_is_made_again_as_large_or_as_asked(gen, dv: Dv) -> None:
    plain = Path(gen(*MAKE, "-o", "plain.gif").out.strip())
    large = Path(gen(*MAKE, "--scale", 3, "-o", "large.gif").out.strip())
    again = Path(gen("--again", large, "-o", "again.gif").out.strip())
    assert again.read_bytes() == large.read_bytes()
    small = Path(gen("--again", large, "--scale", 1, "-o", "small.gif").out.strip())
    assert small.read_bytes() == plain.read_bytes()
    with Image.open(plain) as one, Image.open(large) as other:
        assert other.size == tuple(3 * side for side in one.size)
    assert "enlarged to" in dv("inspect", large).out
    assert dv("inspect", large, "--json").document["recipe"]["scale"] == 3


@pytest.mark.parametrize("scale", ["0", "17", "2.5", "x"])
def test_a_scale_that_cannot_be_is_a_usage_error(dv: Dv, base: Path, scale: str) -> None:
    assert dv("gen", "a dog", "--base", base, "--scale", scale, "-n").code == 2


def test_a_scale_beyond_what_players_show_is_refused_with_one_that_does(dv: Dv, base: Path) -> None:
    line = ("gen", "a dog", "--base", base, "--size", "512x320", "-n")
    refused = dv(*line, "--scale", 9, "--json")
    assert (refused.code, refused.error["code"]) == (2, "usage.invalid")
    assert "--scale 8" in refused.error["hint"]
    assert dv(*line, "--scale", 8).code == 0
    Path("jobs").write_text('{"prompt": "a dog", "scale": 4}\n')
    planned = dv("gen", "--jobs", "jobs", "--base", base, "-n", "--json").document
    assert planned["jobs"][0]["scale"] == 4


def test_inspect_shows_the_recipe_without_decoding(dv: Dv, carry: Carry, put: Put) -> None:
    corgi = put("corgi")
    path = carry(note(corgi))
    shown = dv("inspect", path)
    assert shown.code == 0
    assert "a <corgi> skating away" in shown.out
    assert str(corgi) in shown.out.replace("\n", "")
    document = dv("inspect", path, "--json").document
    assert (document["schema"], document["what"]) == ("dv.inspect/1", "video")
    assert document["recipe"]["generate"]["seed"] == 7


def test_a_plan_of_the_recipe_needs_no_prompt(dv: Dv, carry: Carry, put: Put) -> None:
    plan = dv("gen", "--again", carry(note(put("corgi"))), "-n", "--json").document
    assert plan["prompt_sent"] == "a <corgi> skating away"
    assert plan["videos"][0]["seed"] == 7
    assert plan["subjects"][0]["weight"] == 0.5
    assert plan["format"] == "gif"


def test_a_renamed_adapter_is_found_by_its_digest(dv: Dv, carry: Carry, put: Put) -> None:
    path = carry(note(put("corgi")))
    dv("subject", "rename", "corgi", "rex")
    result = dv("gen", "--again", path, "-n")
    assert result.code == 0, result.err
    assert "corgi:v1 is called rex:v1 here" in result.err


def test_a_missing_adapter_is_named(dv: Dv, carry: Carry, put: Put, home: Path) -> None:
    path = carry(note(put("corgi")))
    result = dv("gen", "--again", path, "--registry", home / "empty", "--json")
    assert result.code == 3
    assert "corgi:v1" in result.error["message"]
    assert "dv import" in result.error["hint"]


def test_a_removed_adapter_says_how_it_comes_back(dv: Dv, carry: Carry, put: Put) -> None:
    path = carry(note(put("corgi")))
    dv("subject", "rm", "corgi:v1", "-y")
    result = dv("gen", "--again", path, "--json")
    assert (result.code, result.error["code"]) == (3, "ref.removed")
    assert "restore" in result.error["hint"]


def test_another_adapter_under_the_same_name_is_named(dv: Dv, carry: Carry, put: Put) -> None:
    corgi = put("corgi")
    other = note(corgi, ref=f"corgi:v1@sha256:{'0' * 64}")
    result = dv("gen", "--again", carry(other), "--json")
    assert result.code == 5
    assert "corgi:v1" in result.error["message"]


def test_another_subject_speaks_in_place_of_the_first(dv: Dv, carry: Carry, put: Put) -> None:
    path = carry(note(put("corgi")))
    put("rex")
    plan = dv("gen", "--again", path, "--subject", "rex", "-n", "--json").document
    assert plan["prompt_sent"] == "a <rex> skating away"
    assert [use["phrase"] for use in plan["subjects"]] == ["<rex>"]


def test_a_prompt_replaces_the_recipes_own(dv: Dv, carry: Carry, put: Put) -> None:
    plan = dv("gen", "a corgi sits", "--again", carry(note(put("corgi"))), "-n", "--json").document
    assert plan["prompt_sent"] == "a <corgi> sits"


def test_a_bare_base_is_known_by_its_fingerprint(
    dv: Dv, carry: Carry, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = carry()
    lost = dv("gen", "--again", path, "-n", "--json")
    assert (lost.code, lost.error["code"]) == (6, "base.mismatch")
    monkeypatch.setenv("DV_BASE", str(base))
    assert dv("gen", "--again", path, "-n").code == 0


def test_a_base_that_is_nowhere_is_an_environment_error(
    dv: Dv, carry: Carry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DV_BASE", "./nowhere")
    assert dv("gen", "--again", carry(), "-n").code == 7


@pytest.mark.parametrize(
    "name",
    ["/etc", "./secret", "../up", "~/x", "a/../../etc", "a/b/c", "a/b + /etc", "/etc + a/b"],
)
def test_no_path_that_a_video_names_is_opened(
    dv: Dv, carry: Carry, base: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    from dreamvideo_cli.generation import references

    locate = references.locate
    monkeypatch.setattr(references, "locate", lambda *a: asked.append(a[0]) or locate(*a))
    path = carry(base={"id": name, "fingerprint": "0" * 64})
    assert dv("gen", "--again", path, "-n").code == 6
    assert asked == ["mini"]


@pytest.mark.parametrize(
    "change",
    [
        {"base": {"id": "x", "fingerprint": "short"}},
        {"generate": {"frames": 10**9}},
        {"generate": {"steps": "many"}},
        {"generate": {"surprise": 1}},
        {"generate": {"seed": -1}},
        {"surprise": True},
        {"adapters": [{"kind": "subject", "ref": "./evil.dva", "weight": 1}]},
        {"adapters": [{"kind": "subject", "ref": "corgi", "weight": 1}]},
        {"adapters": [{"kind": "look", "ref": f"corgi:v1@sha256:{'0' * 64}", "weight": 1}]},
        {"adapters": [{"kind": "subject", "ref": f"corgi:v1@sha256:{'0' * 64}", "weight": 1e9}]},
    ],
)
def test_a_recipe_that_was_tampered_with_is_refused(dv: Dv, carry: Carry, change) -> None:
    for command in (("gen", "--again"), ("inspect",)):
        result = dv(*command, carry(**change), "--json")
        assert (result.code, result.error["code"], result.out) == (5, "video.damaged", "")


def test_a_newer_recipe_is_incompatible(dv: Dv, carry: Carry) -> None:
    assert dv("gen", "--again", carry(schema="dv.recipe/9")).code == 6


@pytest.mark.parametrize("comment", ["", "hello", "{}", "[1]", '{"schema": 3}', '{"schema": "x"}'])
def test_a_comment_that_is_no_recipe_is_none(dv: Dv, carry: Carry, comment: str) -> None:
    result = dv("gen", "--again", carry(comment=comment), "--json")
    assert (result.code, result.error["code"]) == (10, "video.no_recipe")


def test_a_comment_of_any_size_is_not_taken_in(home: Path, carry: Carry) -> None:
    from PIL import Image

    path = home / "huge.gif"
    Image.new("L", (8, 8)).save(path, comment=b'{"schema": "dv.recipe/1"' + b" " * MAX_READ_BYTES)
    with pytest.raises(EngineError, match="is over"):
        read_recipe(path)


def test_characters_that_move_a_cursor_are_taken_out(dv: Dv, carry: Carry, put: Put) -> None:
    bad = "a <corgi>\x1b[2J\x9b1m\u202e on\nfire"
    path = carry(note(put("corgi"), phrase=bad), generate={"prompt": bad}, versions={bad: bad})
    for command in (("inspect",), ("gen", "-n", "--again")):
        for form in ((), ("--json",)):
            result = dv(*command, path, *form)
            assert result.code == 0
            assert not any(c in result.out + result.err for c in "\x1b\x9b\u202e")


@pytest.mark.parametrize(
    ("arguments", "code"), [((), 2), (("--again", "./nowhere.mp4"), 3), (("--again", "."), 10)]
)
def test_a_video_that_is_none_is_refused(dv: Dv, arguments, code) -> None:
    assert dv("gen", *arguments).code == code


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=10,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(["base", "adapters", "generate", "versions", "schema"]), value=JSON)
def test_no_document_passes_as_a_recipe_or_as_a_bug(carry: Carry, key: str, value: Any) -> None:
    try:
        text = json.dumps({key: value})
        read_recipe(carry(comment=text))
    except EngineError:
        return
    pytest.fail(f"{text} was taken for a recipe")


@given(st.text())
def test_any_comment_can_be_asked_what_it_is(text: str) -> None:
    schema = read_schema(text)
    assert schema is None or schema.startswith("dv.")
