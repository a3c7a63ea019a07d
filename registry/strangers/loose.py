"""An adapter's file that was found alone: its one line of metadata says what it is.

The line holds what is certain of an adapter, as whoever learned it wrote it down. Time, device and
metrics are not in it, so the manifest that is made of it is a new one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from registry.content.manifest import MOST_MANIFEST_BYTES, Draft, Input, read_draft
from registry.errors import IncompatibleError, IntegrityError, InvalidError, storage_errors
from registry.ref import Kind, check_name, passes
from registry.strangers.tensors import Header, read_header

METADATA_KEY = "dreamvideo"
_SCHEMA = "dv.adapter/1"


class _Base(Struct, frozen=True, kw_only=True):
    id: str
    fingerprint: str
    revision: str = ""
    licence: str = ""
    architecture: str = ""


class _Site(Struct, frozen=True, kw_only=True):
    name: str
    width: int


class _Facts(Struct, frozen=True, kw_only=True):
    """What is needed of the facts; the rest of them is the engine's."""

    schema: str
    method: str
    kind: Kind
    base: _Base
    token: str
    phrase: str
    sites: list[_Site]
    recipe: dict[str, Any]
    inputs: list[Input]
    card: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Loose:
    """An adapter's file without a manifest."""

    kind: Kind  # one of `registry.KINDS`
    # under which it was learned, or that of the file; None where neither can be a name
    name: str | None
    draft: Draft  # all that is known of it


def read_loose(path: Path, *, tool: str, called: Path | None = None) -> Loose:
    """Read what an adapter's file says of itself.

    Args:
        path: a safetensors file.
        tool: what reads it, with its version; it stands in the new manifest.
        called: its path where it came from, of which messages and the name speak; None: ``path``.

    Raises:
        IntegrityError: it is no safe safetensors file, or no adapter of this tool.
        IncompatibleError: it has a newer schema.
    """
    with storage_errors(f"read {path}"), path.open("rb") as stream:
        header = read_header(stream, path.stat().st_size)
    called = called or path
    if METADATA_KEY not in header.metadata:
        is_lora = any("lora" in name.lower() for name in header.tensors)
        message = f"{called} holds {'a LoRA' if is_lora else 'weights'} that dv did not make"
        hint = "dv uses what it learned itself"
        raise IncompatibleError(message, hint=hint, code="file.other_tool")
    facts = _read_facts(called, header.metadata[METADATA_KEY])
    names = filter(partial(passes, check_name), (facts.token.strip("<>"), called.stem))
    try:
        draft = _draft(facts, header, tool)
    except InvalidError as error:
        raise _no_adapter(called, error.message) from error
    return Loose(facts.kind, next(names, None), draft)


def _read_facts(path: Path, text: str) -> _Facts:
    if len(text) > MOST_MANIFEST_BYTES:  # its manifest would be refused, after a long time
        raise _no_adapter(path, f"its metadata have {len(text)} characters")
    try:
        plain = msgspec.json.decode(text)
        if isinstance(plain, dict) and plain.get("schema", _SCHEMA) != _SCHEMA:
            message = f"{path} has the schema {plain['schema']!r:.40}; this version reads {_SCHEMA}"
            raise IncompatibleError(message, hint="update dv", code="file.newer")
        return msgspec.convert(plain, _Facts)
    except (ValueError, RecursionError) as error:
        raise _no_adapter(path, f"its metadata cannot be understood: {error}") from error


def _draft(facts: _Facts, header: Header, tool: str) -> Draft:
    said = msgspec.to_builtins(facts.base)
    base = {key: value for key, value in said.items() if value}  # what is unknown is "" there
    seed = facts.recipe.get("seed")
    words = {"token": facts.token, "class_word": facts.phrase}
    prompts = {"subject": words, "motion": {"caption": facts.phrase}, "accelerator": {}}
    return read_draft(
        {
            "tool": tool,
            "base": {**base, "architecture": {"layout": facts.base.architecture}},
            "adapter": {
                "method": facts.method,
                "dtype": header.dtype,
                "params": header.params,
                "sites": [site.name for site in facts.sites],
                "widths": [site.width for site in facts.sites],
            },
            "prompt": prompts[facts.kind],
            "training": {
                "recipe": facts.recipe,
                "seed": seed if isinstance(seed, int) else 0,
                "inputs": msgspec.to_builtins(facts.inputs),
            },
            "card": facts.card,
            "note": facts.card.get("summary") or None,
        }
    )


def _no_adapter(path: Path, why: str) -> IntegrityError:
    return IntegrityError(f"{path} is no adapter of this tool: {why}", code="file.foreign")
