"""Laws of manifests."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import (
    Draft,
    IncompatibleError,
    IntegrityError,
    InvalidError,
    read_draft,
)
from registry.content.manifest import (
    AdapterFacts,
    Base,
    Manifest,
    Prompt,
    StoredFile,
    Training,
    complete,
    content_key,
    decode,
    encode,
)

text = st.text(st.characters(exclude_categories=["Cs"]))
plain = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner) | st.dictionaries(text, inner),
    max_leaves=8,
)
FILE = StoredFile(role="weights", digest="a" * 64, size_bytes=7)


@pytest.fixture
def manifest(draft: Draft) -> Manifest:
    return complete(draft, "subject", [FILE])


@given(note=text, recipe=st.dictionaries(text, plain))
def test_a_manifest_reads_back_equal_whatever_the_recipe_holds(
    note: str, recipe: dict[str, Any]
) -> None:
    draft = Draft(
        tool="dv",
        base=Base(id="mini", fingerprint="f"),
        adapter=AdapterFacts(method="m", dtype="float32", params=1),
        prompt=Prompt(caption=note),
        training=Training(recipe=recipe, seed=0, inputs=[]),
        note=note,
    )
    manifest = complete(draft, "motion", [FILE])
    assert decode(encode(manifest)) == manifest


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_a_manifest_or_an_integrity_error(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        decode(data)


def test_deep_nesting_is_refused_and_does_not_crash() -> None:
    with pytest.raises(IntegrityError):
        decode(b"a = " + b"[" * 100_000)


def test_tables_deep_in_each_other_are_refused_before_anything_walks_into_them(
    manifest: Manifest, facts: dict[str, Any]
) -> None:
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    data = encode(manifest).replace(b"steps = 200", b"steps = " + b"[" * 90 + b"]" * 90)
    with pytest.raises(IntegrityError, match="deep in each other"):
        decode(data)
    facts["training"]["recipe"] = {"x": deep}
    with pytest.raises(InvalidError, match="deep in each other"):
        read_draft(facts)


def test_equal_manifests_have_equal_bytes(manifest: Manifest) -> None:
    assert encode(manifest) == encode(decode(encode(manifest)))


def test_what_is_none_is_left_out(facts: dict[str, Any]) -> None:
    facts["training"]["recipe"] = {"mask": None, "deep": [{"x": None, "y": 1}]}
    draft = read_draft(facts)
    assert draft.training.recipe == {"deep": [{"y": 1}]}


def test_an_unknown_key_of_a_draft_is_refused_by_name(facts: dict[str, Any]) -> None:
    with pytest.raises(InvalidError, match="colour") as caught:
        read_draft(facts | {"colour": 1})
    assert caught.value.code == "draft.invalid"


def test_an_unknown_key_of_a_manifest_is_refused(manifest: Manifest) -> None:
    with pytest.raises(IntegrityError, match="colour"):
        decode(b"colour = 1\n" + encode(manifest))


@pytest.mark.parametrize("digest", ["A" * 64, "a" * 63, "../" * 20 + "abcd", "a" * 64 + "\n"])
def test_a_digest_that_is_no_digest_never_becomes_a_path(manifest: Manifest, digest: str) -> None:
    bad = msgspec.structs.replace(FILE, digest=digest)
    with pytest.raises(InvalidError, match="digest"):
        encode(msgspec.structs.replace(manifest, files=[bad]))


def test_a_value_that_toml_cannot_hold_is_named_before_anything_is_written(draft: Draft) -> None:
    training = msgspec.structs.replace(draft.training, metrics={"loss": object()})
    bad = msgspec.structs.replace(draft, training=training)
    with pytest.raises(InvalidError, match="object"):
        encode(complete(bad, "subject", [FILE]))


def test_a_file_name_that_is_no_text_does_not_lose_the_adapter(facts: dict[str, Any]) -> None:
    facts["training"]["inputs"][0]["name"] = "caf\udce9.jpg"
    manifest = complete(read_draft(facts), "subject", [FILE])
    assert decode(encode(manifest)).training.inputs[0].name == "caf?.jpg"


def test_a_newer_schema_is_refused_as_newer_and_not_as_damage(manifest: Manifest) -> None:
    newer = msgspec.structs.replace(manifest, schema=1)
    data = encode(newer).replace(b"schema = 1\n", b"schema = 2\nholograms = true\n")
    with pytest.raises(IncompatibleError, match="schema 2"):
        decode(data)


def test_files_stand_in_the_order_of_their_roles(draft: Draft) -> None:
    token = msgspec.structs.replace(FILE, role="token")
    manifest = complete(draft, "subject", [FILE, token])
    assert [file.role for file in manifest.files] == ["token", "weights"]


def test_the_manifest_is_toml_that_anybody_can_read(manifest: Manifest) -> None:
    table = tomllib.loads(encode(manifest).decode())
    assert table["base"]["licence"] == "Apache-2.0"
    assert table["files"] == [{"role": "weights", "digest": "a" * 64, "size_bytes": 7}]


def test_the_content_key_is_of_roles_and_bytes(manifest: Manifest) -> None:
    token = msgspec.structs.replace(FILE, role="token")
    assert content_key([FILE, token]) == content_key([token, FILE])
    assert content_key([FILE]) != content_key([token])


def test_a_manifest_too_long_to_be_carried_is_refused(draft: Draft) -> None:
    training = msgspec.structs.replace(draft.training, recipe={"x": "y" * (1 << 20)})
    bad = msgspec.structs.replace(draft, training=training)
    with pytest.raises(InvalidError, match="at most 1048576"):
        encode(complete(bad, "subject", [FILE]))
