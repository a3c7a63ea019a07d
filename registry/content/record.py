"""Version records: a small JSON file says which manifest a version is, and what lists show of it.

The columns are repeated from the manifest, which costs far more to read. A record never changes;
removals stand in the log of its item. The first layout wrote them into the record, as ``removed``.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from registry.content.manifest import SCHEMA, Digest, Manifest, content_key
from registry.errors import IncompatibleError, IntegrityError
from registry.ref import Kind, Ref, Word
from registry.storage.files import Files, is_read_only
from registry.storage.lines import BAD_JSON

MOST_RECORD_BYTES = 1 << 22


class Removal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a version was removed (UTC, ISO 8601), and the tags it had then."""

    at: str
    tags: list[Word]


class Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A version."""

    schema: Annotated[int, Meta(le=SCHEMA)]  # of the record
    digest: Digest  # of its manifest
    created: str  # time of publishing, UTC, ISO 8601
    base_id: str  # name of its base
    base_fingerprint: str  # what the base must equal
    params: int  # how many numbers the adapter has
    size_bytes: int  # of all its files
    content: Digest  # equal where all files are equal
    learning: Digest | None = None  # in records of older versions; nothing reads it
    token: str | None = None  # the learned word, of a subject
    class_word: str | None = None  # of a subject
    caption: str | None = None  # of a motion
    note: str | None = None  # the user's own words
    # the removal, as the first layout wrote it; lists fill it in from the log
    removed: Removal | None = None


@dataclass(frozen=True, slots=True)
class Adapter:
    """A version of a name, pinned: what it is can no longer change."""

    kind: Kind  # one of `registry.KINDS`
    name: str  # its name
    version: int  # its number
    record: Record  # what the registry knows of it without opening the manifest
    # the tags that pointed to it when it was looked up, sorted; computed ones are left out
    tags: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of its manifest, 64 hex digits."""
        return self.record.digest

    @property
    def ref(self) -> Ref:
        """The reference that will always mean this and nothing else."""
        return Ref(self.name, self.kind, f"v{self.version}", self.digest)

    def __str__(self) -> str:
        """``corgi:v3@sha256:…``, as commands print it."""
        return f"{self.name}:v{self.version}@sha256:{self.digest}"


class _Versioned(Struct):
    schema: int


_decoder = msgspec.json.Decoder(Record)


def describe(manifest: Manifest, digest: str) -> Record:
    """The record of a manifest whose bytes have this digest."""
    return Record(
        schema=SCHEMA,
        digest=digest,
        created=manifest.created,
        base_id=manifest.base.id,
        base_fingerprint=manifest.base.fingerprint,
        params=manifest.adapter.params,
        size_bytes=sum(file.size_bytes for file in manifest.files),
        content=content_key(manifest.files),
        token=manifest.prompt.token,
        class_word=manifest.prompt.class_word,
        caption=manifest.prompt.caption,
        note=manifest.note,
    )


def encode(record: Record) -> bytes:
    """One line of JSON; its line break is the end mark."""
    return msgspec.json.encode(record) + b"\n"


def read(files: Files, path: str) -> Record | None:
    """Read a record; None where there is none, or it was never finished."""
    data = files.read(path, MOST_RECORD_BYTES)
    if data is None:
        return None
    try:
        return _decoder.decode(data)
    except BAD_JSON as error:
        with suppress(*BAD_JSON):
            if msgspec.json.decode(data, type=_Versioned).schema > SCHEMA:
                message = f"the version record {files.root / path} has a newer schema than {SCHEMA}"
                raise IncompatibleError(message, hint="update dv") from error
        facts = None if data.endswith(b"\n") else files.stat(path)
        if facts and not is_read_only(facts):
            return None  # without hard links a record is written in place; it was not acknowledged
        message = f"the version record {files.root / path} is damaged: {error}"
        raise IntegrityError(message, hint="dv registry doctor") from error
