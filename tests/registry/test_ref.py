"""Laws of references."""

from __future__ import annotations

import re
import string
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import InvalidError, Ref, check_name, check_tag, is_path, parse_ref
from registry.ref import nearest

WORD = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")


def passes(check, text: str) -> bool:
    try:
        check(text)
    except InvalidError:
        return False
    return True


words = st.from_regex(WORD, fullmatch=True).filter(lambda text: len(text) <= 64)
names = words.filter(lambda text: passes(check_name, text))
tags = words.filter(lambda text: passes(check_tag, text))
versions = st.integers(1, 10**9 - 1).map(lambda number: f"v{number}")
digests = st.text("0123456789abcdef", min_size=8, max_size=64)
refs = st.builds(
    Ref,
    name=names,
    kind=st.sampled_from([None, "subject", "motion"]),
    selector=st.none() | tags | versions | st.sampled_from(["latest", "prev"]),
    digest=st.none() | digests,
)
# Random text is hardly ever near the grammar, so most of it is made of the grammar's own pieces.
nearly = st.lists(
    st.sampled_from(
        ["subject", "motion", "/", ":", "@", "sha256:", "v3", "latest", "corgi", "9ac1f0d2"]
    )
    | st.text(string.printable, max_size=3)
).map("".join)


@given(refs)
def test_a_printed_reference_parses_to_itself(ref: Ref) -> None:
    assert parse_ref(str(ref)) == ref


@given(st.text() | nearly)
def test_any_text_is_a_reference_or_an_invalid_error(text: str) -> None:
    with suppress(InvalidError):
        ref = parse_ref(text)
        assert parse_ref(str(ref)) == ref


@given(st.text().map("?".__add__))
def test_an_error_shows_a_strangers_text_without_control_characters(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_ref(text)
    assert caught.value.message.isprintable()


@given(st.text() | nearly)
def test_no_text_is_both_a_path_and_a_reference(text: str) -> None:
    assert not (is_path(text) and passes(parse_ref, text))


@given(tags)
def test_no_tag_reads_as_a_version_a_digest_or_a_computed_word(tag: str) -> None:
    assert not re.fullmatch(r"v?[0-9]+|[0-9a-f]{8,64}|latest|prev", tag)


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("corgi", Ref("corgi")),
        ("corgi:latest", Ref("corgi", selector="latest")),
        ("corgi:v3", Ref("corgi", selector="v3")),
        ("motion/my.skate-2_b", Ref("my.skate-2_b", "motion")),
        ("accelerator/turbo:v2", Ref("turbo", "accelerator", "v2")),
        ("corgi@9ac1f0d2", Ref("corgi", digest="9ac1f0d2")),
        ("subject/corgi:best@sha256:" + "a" * 64, Ref("corgi", "subject", "best", "a" * 64)),
    ],
)
def test_each_way_of_writing(text: str, ref: Ref) -> None:
    assert parse_ref(text) == ref


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Corgi", "did you mean corgi?"),
        ("my dog", "did you mean my-dog?"),
        ("corgi:Best", "did you mean best?"),
        ("corgi:3", "did you mean corgi:v3?"),
        ("corgi:v03", "did you mean corgi:v3?"),
        ("corgi:v0", "versions start at v1"),
        ("corgi:9ac1f0d2", "did you mean corgi@9ac1f0d2?"),
        ("corgi@9AC1F0D2", "did you mean @9ac1f0d2?"),
        ("corgi@xyz", None),
        ("???", None),
        ("", "write NAME[:TAG]"),
        ("corgi:", "write NAME[:TAG]"),
        ("cat/corgi", "write subject/NAME, motion/NAME or accelerator/NAME"),
        ("./corgi", "write NAME[:TAG]"),
        ("a" * 65, None),
        ("corgi\n", "did you mean corgi?"),
    ],
)
def test_a_mistake_is_answered_with_what_would_do(text: str, hint: str | None) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_ref(text)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    "text", ["subject", "motion", "accelerator", "v3", "v03", "con", "nul.x", "a.dva", "lpt1"]
)
def test_reserved_words_are_no_names(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        check_name(text)
    assert caught.value.code == "ref.reserved"


@pytest.mark.parametrize(
    "text", ["latest", "prev", "v3", "v03", "12", "9ac1f0d2", "x.safetensors", "aux"]
)
def test_reserved_words_are_no_tags(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        check_tag(text)
    assert caught.value.code == "ref.reserved"


def test_the_wanted_kind_fills_in_the_one_left_out() -> None:
    assert parse_ref("corgi", kind="motion").kind == "motion"


def test_the_other_kind_is_refused() -> None:
    with pytest.raises(InvalidError, match="is of the kind subject; motion is wanted"):
        parse_ref("subject/corgi", kind="motion")


@pytest.mark.parametrize("text", ["./x", "../x", "/x", "~/x", "x.dva", "x.safetensors"])
def test_paths_are_known_by_their_spelling(text: str) -> None:
    assert is_path(text)


@pytest.mark.parametrize(("version", "number"), [("v12", 12), ("best", None), (None, None)])
def test_a_version_selector_is_a_number(version: str | None, number: int | None) -> None:
    assert Ref("corgi", selector=version).version == number


def test_the_nearest_word_is_found_or_none() -> None:
    assert nearest("corgy", ["skate", "corgi"]) == "corgi"
    assert nearest("zzz", ["corgi"]) is None


@pytest.mark.parametrize("digits", [10, 250, 5000])
def test_a_number_that_no_version_can_have_is_refused(digits: int) -> None:
    with pytest.raises(InvalidError, match="is no version"):
        parse_ref("corgi:v" + "9" * digits)
