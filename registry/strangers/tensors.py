"""The header of a safetensors file, read without tensors: what is in it, and whether it is safe.

::

    8 bytes   length n of the header, little-endian
    n bytes   JSON: tensor name -> dtype, shape, [first, last] byte; "__metadata__" -> texts
    the rest  the tensors' bytes, each exactly once
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any, BinaryIO

import msgspec
from msgspec import Meta, Struct

from registry.content.manifest import Count
from registry.errors import IntegrityError

MOST_HEADER_BYTES = 16 << 20
_METADATA = "__metadata__"
_BYTES_EACH: Mapping[str, int] = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4,
    "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
_DTYPES: Mapping[str, str] = {
    "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"
}  # fmt: skip


class Tensor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tensor as the header tells of it: what it is, its first byte and the one after its last."""

    dtype: str
    shape: Annotated[list[Count], Meta(max_length=16)]
    data_offsets: tuple[Count, Count]


@dataclass(frozen=True, slots=True)
class Header:
    """What a safetensors file says of itself."""

    tensors: Mapping[str, Tensor]  # by name, in the order of their bytes
    metadata: Mapping[str, str]  # texts by name

    @property
    def params(self) -> int:
        """How many numbers there are."""
        return sum(prod(tensor.shape) for tensor in self.tensors.values())

    @property
    def dtype(self) -> str:
        """Of the numbers: ``float32``; several are joined by ``+``."""
        found = {
            _DTYPES.get(tensor.dtype, tensor.dtype.lower()) for tensor in self.tensors.values()
        }
        return "+".join(sorted(found))


def read_header(stream: BinaryIO, size_bytes: int) -> Header:
    """Read and check the header of a file of ``size_bytes``, from its first byte.

    Refused is what could trick a reader: a huge header, a name twice, bytes that belong to two
    tensors or to none.
    """
    length = int.from_bytes(stream.read(8), "little")
    if not 2 <= length <= min(MOST_HEADER_BYTES, size_bytes - 8):
        raise _unsafe(f"its header would have {length} bytes")
    try:
        table = json.loads(stream.read(length).decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _unsafe(f"its header is not JSON ({error})") from error
    if not isinstance(table, dict):
        raise _unsafe("its header is not a JSON object")
    try:
        metadata = msgspec.convert(table.pop(_METADATA, {}), dict[str, str])
    except msgspec.ValidationError as error:
        raise _unsafe(f"its metadata are not texts ({error})") from error
    tensors = {name: _read_tensor(name, entry) for name, entry in table.items()}
    tensors = dict(sorted(tensors.items(), key=lambda each: each[1].data_offsets))
    _check_places(tensors, size_bytes - 8 - length)
    return Header(tensors, metadata)


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a name stands in it twice")
    return table


def _read_tensor(name: str, plain: object) -> Tensor:
    try:
        entry = msgspec.convert(plain, Tensor)
    except msgspec.ValidationError as error:
        raise _unsafe(f"the entry of {name!r:.80} is no tensor's ({error})") from error
    if entry.dtype not in _BYTES_EACH:
        raise _unsafe(f"{name!r:.80} has the dtype {entry.dtype!r:.40}")
    first, end = entry.data_offsets
    if end - first != prod(entry.shape) * _BYTES_EACH[entry.dtype]:
        raise _unsafe(f"{name!r:.80} has other bytes than its shape needs")
    return entry


def _check_places(tensors: Mapping[str, Tensor], data_bytes: int) -> None:
    """Every byte belongs to exactly one tensor."""
    place = 0
    for name, tensor in tensors.items():
        first, end = tensor.data_offsets
        if first != place:
            raise _unsafe(f"{name!r:.80} starts at byte {first}, not {place}")
        place = end
    if place != data_bytes:
        raise _unsafe(f"its tensors have {place} bytes, and {data_bytes} are there")


def _unsafe(why: str) -> IntegrityError:
    message = f"not a safe safetensors file: {why}"
    return IntegrityError(message, hint="get the file again", code="tensors.unsafe")
