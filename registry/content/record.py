"""Version records: a small JSON file says which manifest a version is, and what lists show of it.

The columns are repeated from the manifest, which costs far more to read. A record never changes;
removals stand in the log of its item. The first layout wrote them into the record, as ``removed``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from registry.content.manifest import SCHEMA, Digest, Manifest, content_key, learning_key
from registry.errors import IncompatibleError, IntegrityError
from registry.ref import Kind, Ref, Word
from registry.storage.files import is_read_only
from registry.storage.folder import Folder

MOST_RECORD_BYTES = 1 << 22


class Removal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a version was removed (UTC, ISO 8601), and the tags it had then."""

    at: str
    tags: list[Word]


class Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A version.

    Attributes:
        schema: of the record.
        digest: of its manifest.
        created: time of publishing, UTC, ISO 8601.
        base_id: name of its base.
        base_fingerprint: what the base must equal.
        params: how many numbers the adapter has.
        size_bytes: of all its files.
        content: equal where all files are equal.
        learning: equal where inputs, settings and base are equal.
        token: the learned word, of a subject.
        class_word: of a subject.
        caption: of a motion.
        note: the user's own words.
        removed: the removal, as the first layout wrote it; lists fill it in from the log.
    """

    schema: int
    digest: Digest
    created: str
    base_id: str
    base_fingerprint: str
    params: int
    size_bytes: int
    content: Digest
    learning: Digest
    token: str | None = None
    class_word: str | None = None
    caption: str | None = None
    note: str | None = None
    removed: Removal | None = None


@dataclass(frozen=True, slots=True)
class Adapter:
    """A version of a name, pinned: what it is can no longer change.

    Attributes:
        kind: subject or motion.
        name: its name.
        version: its number.
        record: what the registry knows of it without opening the manifest.
        tags: the tags that pointed to it when it was looked up, sorted; computed ones are left out.
    """

    kind: Kind
    name: str
    version: int
    record: Record
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
        learning=learning_key(manifest.base.fingerprint, manifest.prompt, manifest.training),
        token=manifest.prompt.token,
        class_word=manifest.prompt.class_word,
        caption=manifest.prompt.caption,
        note=manifest.note,
    )


def encode(record: Record) -> bytes:
    """One line of JSON; its line break is the end mark."""
    return msgspec.json.encode(record) + b"\n"


def read(folder: Folder, version: int) -> Record | None:
    """Read a record in an item's folder; None where there is none, or it was never finished.

    Raises:
        IncompatibleError: it has a newer schema.
        IntegrityError: it is damaged.
    """
    entry = f"v{version}"
    data = folder.read(entry, MOST_RECORD_BYTES)
    return None if data is None else _decode(data, folder, entry)


def _decode(data: bytes, folder: Folder, entry: str) -> Record | None:
    path = folder.path / entry
    try:
        record = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if _schema(data) > SCHEMA:
            raise _newer(path) from error
        if not data.endswith(b"\n"):
            facts = folder.stat(entry)
            if facts is None or not is_read_only(facts):
                # Without hard links a record is written in place. It was never acknowledged.
                return None
        message = f"the version record {path} is damaged: {error}"
        raise IntegrityError(message, hint="dv registry doctor") from error
    if record.schema > SCHEMA:
        raise _newer(path)
    return record


def _schema(data: bytes) -> int:
    try:
        return msgspec.json.decode(data, type=_Versioned).schema
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 0


def _newer(path: Path) -> IncompatibleError:
    message = f"the version record {path} has a newer schema than {SCHEMA}"
    return IncompatibleError(message, hint="update dv")
