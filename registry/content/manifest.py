"""Manifests: what an adapter is, what it was made from, and which files it consists of.

A manifest is TOML. It holds neither name nor version, and its digest, the SHA-256 of its bytes as
written, is the adapter's identity: names come and go, exports and imports keep it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from registry.errors import IncompatibleError, IntegrityError, InvalidError
from registry.ref import Kind
from registry.storage import toml
from registry.storage.lines import now

Digest = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
FileRole = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9_.-]{0,63}\Z")]
Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]

SCHEMA = 1
MOST_MANIFEST_BYTES = 1 << 20


class _Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class Base(_Table, frozen=True, kw_only=True):
    """The base that an adapter belongs to."""

    id: str  # as the base is known: ``mini@2``, a hub id, or a folder's name
    fingerprint: str  # what it must equal to carry the adapter
    revision: str | None = None  # of the hub id
    licence: str | None = None  # as its card names it
    architecture: dict[str, Any] = {}  # whatever the family wants to say of it


class AdapterFacts(_Table, frozen=True, kw_only=True):
    """What sits where."""

    method: str  # how it was learned, such as ``dreamvideo``
    dtype: str  # of the stored numbers
    params: Count  # how many there are
    sites: list[str] = []  # names of the sites, in the order of the forward pass
    widths: list[Count] = []  # hidden width at each of these sites


class Prompt(_Table, frozen=True, kw_only=True):
    """The words an adapter answers to."""

    token: str | None = None  # the learned word as the text encoder sees it
    class_word: str | None = None  # of a subject
    caption: str | None = None  # of a motion


class Input(_Table, frozen=True, kw_only=True):
    """A photo, clip or mask it was learned from: its file name, without folders, and SHA-256."""

    name: str
    digest: Digest


class LeftOut(_Table, frozen=True, kw_only=True):
    """A photo or clip that was given and not learned from: its file name, and why."""

    name: str
    reason: str


class Rung(_Table, frozen=True, kw_only=True):
    """Memory ran out at a step of a stage, and ``text`` was done about it."""

    stage: str
    step: Count
    text: str


class Training(_Table, frozen=True, kw_only=True):
    """Everything needed to do it again, and how it went."""

    recipe: dict[str, Any]  # the recipe's fields
    seed: int  # of all random numbers
    inputs: list[Input]  # in the order they were used
    left_out: list[LeftOut] = []  # what could not be used, where going on without it was asked for
    held_out: list[Input] = []  # kept out of learning, to score against
    rungs: list[Rung] = []  # what was done when memory ran out, in the order of steps
    device: str = ""  # on which it was learned
    seconds: Annotated[float, Meta(ge=0)] = 0.0  # that it took
    metrics: dict[str, Any] = {}  # final values by name


class Lineage(_Table, frozen=True, kw_only=True):
    """Where it comes from: the digest of an adapter it continues, the id of its run."""

    parent: Digest | None = None
    run: str | None = None


class StoredFile(_Table, frozen=True, kw_only=True):
    """A file of the adapter: its role (``weights``, ``token``, ``preview``), SHA-256 and size."""

    role: FileRole
    digest: Digest
    size_bytes: Count


class Draft(_Table, frozen=True, kw_only=True):
    """A manifest before publishing: all but what the registry itself knows."""

    tool: str  # what made it, with its version
    base: Base
    adapter: AdapterFacts
    prompt: Prompt
    training: Training
    lineage: Lineage = Lineage()
    card: dict[str, Any] = {}  # what an accelerator says of itself: how videos are sampled with it
    note: str | None = None  # the user's own words


class Manifest(Draft, frozen=True, kw_only=True):
    """A published manifest: a draft, and what the registry added."""

    schema: int  # of the manifest
    kind: Kind
    created: str  # time of publishing, UTC, ISO 8601
    files: list[StoredFile]  # in the order of their roles' names


@dataclass(frozen=True, slots=True)
class Difference:
    """A field in which two manifests differ."""

    field: str  # such as ``training.recipe.steps`` or ``training.inputs.one.jpg``
    left: Any  # of the first; None where it has none
    right: Any  # of the second; None where it has none


def read_draft(data: Mapping[str, Any]) -> Draft:
    """A draft from plain data, such as the engine's result; an InvalidError names the bad field."""
    try:
        return msgspec.convert(toml.without_none(dict(data)), Draft)
    except ValueError as error:
        raise InvalidError(f"not a manifest: {error}", code="draft.invalid") from error


def complete(draft: Draft, kind: Kind, files: Sequence[StoredFile]) -> Manifest:
    """The manifest of a draft that is published now."""
    fields, created = msgspec.structs.asdict(draft), now().partition(".")[0] + "Z"
    ordered = sorted(files, key=lambda file: file.role)
    return Manifest(**fields, schema=SCHEMA, kind=kind, created=created, files=ordered)


def encode(manifest: Manifest) -> bytes:
    """The manifest as TOML; reading it back gives an equal one."""
    import tomli_w

    try:
        table = toml.without_none(msgspec.to_builtins(manifest))
        # Names of files may hold bytes that are no text.
        data = tomli_w.dumps(table).encode("utf-8", "replace")
        if len(data) > MOST_MANIFEST_BYTES:
            raise ValueError(f"it has {len(data)} bytes; at most {MOST_MANIFEST_BYTES}")
        decode(data)
    except (TypeError, ValueError, IntegrityError) as error:
        raise InvalidError(f"not a manifest: {error}", code="draft.invalid") from error
    return data


def decode(data: bytes) -> Manifest:
    """Read a manifest; an IntegrityError names the field that is damaged."""
    try:
        table = toml.read(data)
        schema = table.get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            message = f"the manifest has schema {schema}; this version knows {SCHEMA}"
            raise IncompatibleError(message, hint="update dv")
        return msgspec.convert(toml.without_none(table), Manifest)
    except ValueError as error:
        message = f"the manifest cannot be understood: {error}"
        raise IntegrityError(message, code="manifest.damaged") from error


def content_key(files: Sequence[StoredFile]) -> str:
    """64 hex digits, equal where all files are, whatever the manifests say beside them."""
    lines = sorted(f"{file.role} {file.digest}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def differences(left: Manifest, right: Manifest) -> tuple[Difference, ...]:
    """Every field in which two manifests differ, in the order of the manifest."""
    ours, theirs = dict(_fields(left)), dict(_fields(right))
    return tuple(
        Difference(field, ours.get(field), theirs.get(field))
        for field in dict.fromkeys([*ours, *theirs])
        if ours.get(field) != theirs.get(field)
    )


def _fields(manifest: Manifest) -> Iterator[tuple[str, Any]]:
    table = msgspec.to_builtins(manifest)
    table["files"] = {file.role: file.digest for file in manifest.files}
    table["training"]["inputs"] = _by_name(manifest)
    return _flat(table, "")


def _by_name(manifest: Manifest) -> dict[str, str]:
    """Digests by file name; a name that stands there again gets its number."""
    found: dict[str, str] = {}
    for entry in manifest.training.inputs:
        again = sum(1 for name in found if name.partition(" #")[0] == entry.name)
        found[f"{entry.name} #{again + 1}" if again else entry.name] = entry.digest
    return found


def _flat(table: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value
