"""Adapters, their log and their differences as JSON and as lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dreamvideo_cli.terminal.text import count_text, size_text, time_text

if TYPE_CHECKING:
    from registry import Adapter, Draft, Kind, Manifest
    from registry.history import Happened
    from registry.manifest import Training


def adapter_document(adapter: Adapter) -> dict[str, Any]:
    """A version as JSON tells of it, from its record alone."""
    record = adapter.record
    return {
        "schema": "dv.adapter/1",
        "kind": adapter.kind,
        "name": adapter.name,
        "version": adapter.version,
        "ref": str(adapter),
        "digest": adapter.digest,
        "tags": list(adapter.tags),
        "created": record.created,
        "base": {"id": record.base_id, "fingerprint": record.base_fingerprint},
        "token": record.token,
        "class_word": record.class_word,
        "caption": record.caption,
        "note": record.note,
        "params": record.params,
        "size_bytes": record.size_bytes,
    }


def manifest_document(manifest: Manifest) -> dict[str, Any]:
    """What a manifest adds to its record."""
    import msgspec

    table_of = msgspec.to_builtins(manifest)
    return {name: table_of[name] for name in ("tool", "base", "adapter", "training", "files")}


def row_of(adapter: Adapter) -> tuple[str, ...]:
    """What a list shows of a version."""
    record = adapter.record
    return (
        adapter.name,
        f"v{adapter.version}",
        " ".join(adapter.tags),
        record.class_word or record.caption or "",
        record.base_id.rpartition("/")[2] if record.base_id.startswith("/") else record.base_id,
        size_text(record.size_bytes),
        record.created[:10],
    )


def facts_of(adapter: Adapter, manifest: Manifest) -> list[tuple[str, str]]:
    """What `show` tells a person."""
    training, record = manifest.training, adapter.record
    return [
        (adapter.kind, f"{label(adapter)}  {' '.join(adapter.tags)}".rstrip()),
        ("digest", f"sha256:{adapter.digest}"),
        ("created", f"{record.created} by {manifest.tool}"),
        ("note", record.note or ""),
        ("word", f"{record.token}, a {record.class_word}" if record.token else ""),
        ("caption", record.caption or ""),
        ("base", f"{record.base_id}  {record.base_fingerprint[:12]}"),
        ("licence", manifest.base.licence or ""),
        ("method", f"{manifest.adapter.method}, {count_text(record.params)} parameters"),
        ("size", size_text(record.size_bytes)),
        ("learned", _learned_text(training)),
        ("from", ", ".join(item.name for item in training.inputs)),
        ("left out", ", ".join(item.name for item in training.left_out)),
        ("held out", ", ".join(item.name for item in training.held_out)),
        (
            "less memory",
            "; ".join(f"from step {rung.step}: {rung.text}" for rung in training.rungs),
        ),
        ("recipe", pairs_text(training.recipe)),
        ("metrics", pairs_text(training.metrics)),
    ]


def _learned_text(training: Training) -> str:
    """An adapter's file found alone does not say how long it took."""
    return f"in {time_text(training.seconds)} on {training.device}" if training.device else ""


def draft_document(
    kind: Kind, name: str | None, digest: str | None, draft: Draft
) -> dict[str, Any]:
    """An adapter in a file as JSON tells of it; one found alone has no digest yet."""
    import msgspec

    named = {"schema": "dv.found/1", "kind": kind, "name": name, "digest": digest}
    return {**named, **msgspec.to_builtins(draft), **named}


def draft_facts(
    kind: Kind, name: str | None, digest: str | None, draft: Draft
) -> list[tuple[str, str]]:
    """What `inspect` tells a person of an adapter in a file."""
    prompt, training = draft.prompt, draft.training
    return [
        (kind, name or "without a name"),
        ("digest", f"sha256:{digest}" if digest else ""),
        ("made by", draft.tool),
        ("note", draft.note or ""),
        ("word", f"{prompt.token}, a {prompt.class_word}" if prompt.token else ""),
        ("caption", prompt.caption or ""),
        ("base", f"{draft.base.id}  {draft.base.fingerprint[:12]}"),
        ("licence", draft.base.licence or ""),
        ("method", f"{draft.adapter.method}, {count_text(draft.adapter.params)} parameters"),
        ("from", ", ".join(item.name for item in training.inputs)),
        ("left out", ", ".join(item.name for item in training.left_out)),
        ("recipe", pairs_text(training.recipe)),
    ]


def pairs_text(pairs: Mapping[str, Any]) -> str:
    """``steps 200, lr 0.006``, as `--set` takes them; what is not set is left out."""
    return ", ".join(
        f"{name} {_value_text(value)}" for name, value in pairs.items() if value not in (None, "")
    )


def _value_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else f"{value}"


def label(adapter: Adapter) -> str:
    """``corgi:v3``, for people."""
    return f"{adapter.name}:v{adapter.version}"


SHORT_DIGEST = 12


def _event_document(happened: Happened) -> dict[str, Any]:
    from dataclasses import asdict

    return {"schema": "dv.event/1", **asdict(happened)}


def _told(happened: Happened) -> str:
    """What happened as a line for people."""
    version = f"v{happened.version}"
    digest = f" @{happened.digest[:SHORT_DIGEST]}" if happened.digest else ""
    tags = f" ({' '.join(happened.tags)})" if happened.tags else ""
    was = f", was v{happened.was}" if happened.was else ""
    return {
        "publish": f"publish  {version}{digest}",
        "remove": f"remove   {version}{tags}",
        "restore": f"restore  {version}{tags}",
        "rename": f"rename   {happened.old} -> {happened.new}",
        "tag": f"tag      {happened.tag} -> {version}{was}",
        "untag": f"untag    {happened.tag}, was {version}",
    }[happened.event]


def _cell(value: object) -> str:
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return text[:SHORT_DIGEST] if len(text) == 64 else text
