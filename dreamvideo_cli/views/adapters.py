"""Adapters, their log and their differences as JSON and as lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dreamvideo_cli.settings.places import placeless
from dreamvideo_cli.terminal.output import View
from dreamvideo_cli.terminal.text import count_text, field_lines, size_text, table, time_text

if TYPE_CHECKING:
    from engine.formats.writing import Written
    from registry import Adapter, Draft, Kind, Manifest, Registry
    from registry.content.manifest import Difference, Training
    from registry.names.history import Happened
    from registry.strangers.bundle import Packed
    from registry.strangers.importing import Imported
    from registry.strangers.loose import Loose


SHORT_DIGEST = 12
LONGEST_CELL = 60  # of a difference; lists of sites are longer than any terminal, and whole in JSON
HEAD = {
    "subject": ("NAME", "VERSION", "TAGS", "CLASS", "BASE", "SIZE", "CREATED"),
    "motion": ("NAME", "VERSION", "TAGS", "CAPTION", "BASE", "SIZE", "CREATED"),
    "accelerator": ("NAME", "VERSION", "TAGS", "NOTE", "BASE", "SIZE", "CREATED"),
}


def adapter_view(adapter: Adapter) -> View:
    """One version: its pinned reference."""
    return View(adapter_document(adapter), [str(adapter)])


def adapters_view(adapters: Iterable[Adapter]) -> View:
    """Several versions: a pinned reference a line."""
    found = list(adapters)
    return View([adapter_document(each) for each in found], [str(each) for each in found])


def imported_view(found: Sequence[Imported]) -> View:
    """What came out of a file: a pinned reference a line."""
    return View(_imported_documents(found), [str(each.adapter) for each in found])


def import_plan_view(store: Registry, found: Sequence[Imported]) -> View:
    """What importing would come to."""
    document = {
        "schema": "dv.plan/1",
        "command": "import",
        "adapters": _imported_documents(found),
        "registry": str(store.layout.root),
    }
    rows = [
        (each.adapter.kind, label(each.adapter), "new" if each.is_new else "there already")
        for each in found
    ]
    return View(document, [*table(("KIND", "VERSION", ""), rows), f"registry  {store.layout.root}"])


def _imported_documents(found: Sequence[Imported]) -> list[dict[str, Any]]:
    """Versions with what importing did: whether they are new, and which one was the latest before."""
    return [
        {**adapter_document(each.adapter), "is_new": each.is_new, "latest_before": each.over}
        for each in found
    ]


def listing_view(kind: Kind, adapters: Sequence[Adapter], *, numbered: bool) -> View:
    """A table of versions; ``numbered``: a name alone would not tell them apart."""
    return View(
        [adapter_document(each) for each in adapters],
        table(HEAD[kind], [_row(each) for each in adapters]),
        brief=[label(each) if numbered else each.name for each in adapters],
    )


def card_view(
    adapter: Adapter, manifest: Manifest, versions: Sequence[int], preview: str | None
) -> View:
    """Everything about one version."""
    first, *rest = _card_fields(adapter, manifest)
    numbers = ("versions", " ".join(f"v{number}" for number in versions))
    document = {
        **adapter_document(adapter),
        **manifest_document(manifest),
        "versions": list(versions),
        "preview": preview,
    }
    return View(document, field_lines([first, numbers, *rest, ("preview", preview or "")]))


def contents_view(found: Sequence[Packed | Loose]) -> View:
    """Adapters in a file."""
    lines: list[str] = []
    for k, each in enumerate(found):
        lines += [*([""] if k else []), *field_lines(_draft_fields(each))]
    return View([_draft_document(each) for each in found], lines)


def foreign_view(found: Mapping[str, Any]) -> View:
    """A file of another tool."""
    numbers = f"{found['tensors']}, {count_text(found['params'])} parameters"
    fields = [
        ("file", found["path"]),
        ("holds", found["what"]),
        ("tensors", numbers),
        ("taken by", found["import"]),
    ]
    return View(found, field_lines(fields))


def exported_view(adapter: Adapter, tool: str, written: Written) -> View:
    """A file that another tool reads."""
    document = {
        "schema": "dv.exported/1",
        "path": str(written.path),
        "ref": str(adapter),
        "format": tool,
        "loads_in": written.loads_in,
        "prompt": written.prompt,
    }
    return View(document, [str(written.path)])


def log_view(log: Sequence[Happened]) -> View:
    """What happened to a name, a line each."""
    from dataclasses import asdict

    documents = [{"schema": "dv.event/1", **asdict(each)} for each in log]
    lines = [f"{each.at[:10]} {each.at[11:19]}  {_happened_text(each)}" for each in log]
    return View(documents, lines)


def places_view(kind: Kind, name: str, at: str, places: Mapping[str, int]) -> View:
    """Where the tags of a name were at a time."""
    document = {"schema": "dv.places/1", "kind": kind, "name": name, "at": at, "tags": places}
    return View(document, [f"{name}:{tag} -> {name}:v{number}" for tag, number in places.items()])


def difference_view(left: Adapter, right: Adapter, found: Sequence[Difference]) -> View:
    """What two versions differ in."""
    rows = [{"field": each.field, "left": each.left, "right": each.right} for each in found]
    refs = {"left": str(left), "right": str(right)}
    cells = [(each.field, _cell(each.left), _cell(each.right)) for each in found]
    return View(
        {"schema": "dv.difference/1", **refs, "differences": rows},
        table(("FIELD", label(left), label(right)), cells),
    )


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
    names = ("tool", "base", "adapter", "training", "card", "files")
    return {name: table_of[name] for name in names if name in table_of}


def _row(adapter: Adapter) -> tuple[str, ...]:
    """What a list shows of a version."""
    record = adapter.record
    return (
        adapter.name,
        f"v{adapter.version}",
        " ".join(adapter.tags),
        (record.note if adapter.kind == "accelerator" else record.class_word or record.caption)
        or "",
        placeless(record.base_id),
        size_text(record.size_bytes),
        record.created[:10],
    )


def _card_fields(adapter: Adapter, manifest: Manifest) -> list[tuple[str, str]]:
    """What `show` tells a person."""
    return [
        (adapter.kind, f"{label(adapter)}  {' '.join(adapter.tags)}".rstrip()),
        ("digest", f"sha256:{adapter.digest}"),
        ("created", f"{adapter.record.created} by {manifest.tool}"),
        ("size", size_text(adapter.record.size_bytes)),
        *_manifest_fields(manifest),
    ]


def _manifest_fields(made: Manifest | Draft) -> list[tuple[str, str]]:
    """What an adapter is and how it was learned, for people."""
    prompt, training = made.prompt, made.training
    return [
        ("note", made.note or ""),
        ("sampled by", pairs_text(made.card.get("generate", {}))),
        ("word", f"{prompt.token}, a {prompt.class_word}" if prompt.token else ""),
        ("class", "" if prompt.token else prompt.class_word or ""),
        ("caption", prompt.caption or ""),
        ("base", f"{made.base.id}  {made.base.fingerprint[:12]}"),
        ("licence", made.card.get("licence") or made.base.licence or ""),
        ("method", f"{made.adapter.method}, {count_text(made.adapter.params)} parameters"),
        ("learned", _learned_text(training)),
        ("from", ", ".join(item.name for item in training.inputs)),
        ("left out", ", ".join(item.name for item in training.left_out)),
        ("held out", ", ".join(item.name for item in training.held_out)),
        ("less memory", "; ".join(f"from step {r.step}: {r.text}" for r in training.rungs)),
        ("recipe", pairs_text(training.recipe)),
        ("metrics", pairs_text(training.metrics)),
    ]


def _learned_text(training: Training) -> str:
    """An adapter's file found alone does not say how long it took."""
    return f"in {time_text(training.seconds)} on {training.device}" if training.device else ""


def _draft_document(found: Packed | Loose) -> dict[str, Any]:
    """An adapter in a file as JSON tells of it; one found alone has no digest yet."""
    import msgspec

    digest, draft = _contents(found)
    named = {"schema": "dv.found/1", "kind": found.kind, "name": found.name, "digest": digest}
    return {**named, **msgspec.to_builtins(draft), **named}


def _draft_fields(found: Packed | Loose) -> list[tuple[str, str]]:
    """What `inspect` tells a person of an adapter in a file."""
    digest, draft = _contents(found)
    return [
        (found.kind, found.name or "without a name"),
        ("digest", f"sha256:{digest}" if digest else ""),
        ("made by", draft.tool),
        *_manifest_fields(draft),
    ]


def _contents(found: Packed | Loose) -> tuple[str | None, Draft]:
    """Digest and manifest of an adapter in a file."""
    from registry.strangers.loose import Loose

    return (None, found.draft) if isinstance(found, Loose) else (found.digest, found.manifest)


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


def _happened_text(happened: Happened) -> str:
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
    if len(text) == 64:
        return text[:SHORT_DIGEST]
    return text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 1]}…"
