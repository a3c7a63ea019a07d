"""Laws of safetensors headers: what a reader could be tricked by is refused."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import IntegrityError
from registry.strangers.tensors import MOST_HEADER_BYTES, Header, read_header
from tests.registry.samples import facts_of, safetensors


def read(data: bytes) -> Header:
    return read_header(io.BytesIO(data), len(data))


def with_header(text: bytes, body: bytes = b"") -> bytes:
    return len(text).to_bytes(8, "little") + text + body


def test_a_header_tells_of_tensors_and_metadata() -> None:
    header = read(safetensors(facts_of()))
    assert [(name, (*tensor.shape,)) for name, tensor in header.tensors.items()] == [
        ("a.down", (2, 1)),
        ("word.vector", (2,)),
    ]
    assert json.loads(header.metadata["dreamvideo"])["token"] == "<corgi>"
    assert (header.params, header.dtype) == (4, "float32")


def test_several_dtypes_are_all_named() -> None:
    half = {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}
    assert read(safetensors(header={"a.down": half})).dtype == "float16+float32"


@given(st.binary(max_size=80))
def test_any_bytes_are_a_header_or_an_integrity_error(data: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        read(with_header(data, b"\0"))
    assert caught.value.code == "tensors.unsafe"


def entry(**changes: Any) -> dict[str, Any]:
    return {"a.down": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8], **changes}}


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (entry(dtype="F99"), "dtype"),
        (entry(dtype=["F32"]), "dtype"),
        (entry(shape=[-1, 2]), "shape"),
        (entry(shape=[1.0, 2]), "shape"),
        (entry(shape=[True, 2]), "shape"),
        (entry(shape="21"), "shape"),
        (entry(shape=[1] * 99), "shape"),
        (entry(shape=[3, 1]), "other bytes"),
        (entry(data_offsets=[0, 8, 16]), "data_offsets"),
        (entry(data_offsets=[8, 0]), "other bytes"),
        (entry(data_offsets=[4, 12]), "starts at byte 4"),
        (entry(data_offsets=[8, 16]), "starts at byte 8"),
        (entry(data_offsets=[1 << 40, (1 << 40) + 8]), "starts at byte"),
        (entry(extra=1), "no tensor"),
        ({"a.down": 3}, "no tensor"),
        ({"more": {"dtype": "U8", "shape": [1], "data_offsets": [16, 17]}}, "17 bytes"),
        ({"__metadata__": {"x": 1}}, "not texts"),
        ({"__metadata__": []}, "not texts"),
    ],
)
def test_a_header_that_could_trick_a_reader_is_refused(header: dict[str, Any], why: str) -> None:
    with pytest.raises(IntegrityError, match=why):
        read(safetensors(header=header))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "0 bytes"),
        (bytes(8), "0 bytes"),
        ((MOST_HEADER_BYTES + 1).to_bytes(8, "little") + bytes(9), "would have"),
        (with_header(b"[]"), "no.*object|not a JSON object"),
        (with_header(b"[" * 100_000), "not JSON"),
        (with_header(b'{"a":1,"a":1}'), "twice"),
        (with_header(b"\xff\xff"), "not JSON"),
        (b"\x80\x04\x95pickle", "would have"),
    ],
)
def test_what_is_no_header_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(IntegrityError, match=why):
        read(data)
