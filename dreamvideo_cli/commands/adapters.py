"""The verbs that subjects, motions and accelerators share; ``kind`` is bound when the groups are built."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dreamvideo_cli.settings.places import open_registry
from dreamvideo_cli.terminal.options import Kind, Removing, Shell, Yes, option
from dreamvideo_cli.terminal.output import View, ask_consent, info, show, write_stderr
from dreamvideo_cli.terminal.text import read_time
from dreamvideo_cli.views.adapters import (
    adapter_view,
    adapters_view,
    card_view,
    difference_view,
    label,
    listing_view,
    log_view,
    places_view,
)

if TYPE_CHECKING:
    from registry import Adapter

Reference = Annotated[
    str, typer.Argument(metavar="REF", help="NAME, NAME:TAG, NAME:vN or NAME@DIGEST.")
]
# What comes first has most of it; among equals the order of names and versions stays.
SORT_KEYS: Mapping[str, Callable[["Adapter"], Any]] = {
    "created": lambda row: row.record.created,
    "size": lambda row: row.record.size_bytes,
}
References = Annotated[list[str], typer.Argument(metavar="REF...", help="References.")]


@dataclass(frozen=True, slots=True)
class ListOptions:
    """Which adapters are listed, and in which order."""

    pattern: Annotated[
        str | None, typer.Argument(metavar="[GLOB]", help="Only names that match, such as 'c*'.")
    ] = None
    all_versions: bool = option("Every version, not only the latest.", default=False)
    removed: bool = option("Versions that were removed and can be restored.", default=False)
    tag: str | None = option("Only versions with this tag.", metavar="TAG")
    base: str | None = option("Only versions of this base or fingerprint.", metavar="BASE")
    method: str | None = option("Only versions that were learned by it.", metavar="METHOD")
    sort: Literal["name", "created", "size"] = option(
        "By name, or newest or largest first.", default="name"
    )


def list_adapters(kind: Kind, asked: ListOptions, shell: Shell) -> None:
    """List the KINDs in the registry.

    Example: dv KIND list
    """
    store, method = open_registry(shell.registry), asked.method
    filters = {
        name: getattr(asked, name) for name in ("pattern", "all_versions", "removed", "tag", "base")
    }
    listing = store.list(kind, **filters)
    rows = [
        row
        for row in listing.rows
        if method is None or store.manifest(row).adapter.method == method
    ]
    if asked.sort in SORT_KEYS:
        rows.sort(key=SORT_KEYS[asked.sort], reverse=True)
    for problem in listing.problems:
        write_stderr(f"warning: {problem}")  # also with -q: nothing is left out of a list silently
    show(shell, listing_view(kind, rows, numbered=asked.all_versions or asked.removed))
    if not rows:
        is_all = not method and not any(
            filters[name] for name in ("pattern", "removed", "tag", "base")
        )
        first = (
            "import FILE --kind accelerator" if kind == "accelerator" else f"{kind} learn --help"
        )
        info(shell, f"no {kind} yet: dv {first}" if is_all else f"no such {kind}")


def show_adapter(kind: Kind, ref: Reference, shell: Shell) -> None:
    """Show a KIND: what it is, what it was learned from, and how.

    Example: dv KIND show NAME:best
    """
    store = open_registry(shell.registry)
    adapter = store.resolve(ref, kind=kind)
    manifest = store.manifest(adapter)
    rows = store.list(kind, adapter.name, all_versions=True).rows
    files = {file.role: str(store.layout.blob(file.digest)) for file in manifest.files}
    versions = [row.version for row in rows]
    show(shell, card_view(adapter, manifest, versions, files.get("preview")))


def tag_adapter(
    kind: Kind,
    ref: Reference,
    tag: Annotated[str, typer.Argument(metavar="TAG", help="Any word but latest, prev and vN.")],
    shell: Shell,
    *,
    move: Annotated[
        bool, typer.Option("--move", help="Take it from the version it is on.")
    ] = False,
    if_at: Annotated[
        str | None,
        typer.Option(metavar="REF", help="Only if it is on this version now."),
    ] = None,
) -> None:
    """Tag a version of a KIND.

    Example: dv KIND tag NAME:v2 best
    """
    moved = open_registry(shell.registry).tag(ref, tag, kind=kind, move=move, if_at=if_at)
    if moved.was not in {None, moved.adapter.version}:
        info(shell, f"{moved.adapter.name}:{tag} was on v{moved.was}")
    show(shell, adapter_view(moved.adapter))


def untag_adapter(
    kind: Kind,
    ref: Annotated[str, typer.Argument(metavar="NAME:TAG", help="The tag to take off.")],
    shell: Shell,
) -> None:
    """Take a tag off a KIND; the version stays.

    Example: dv KIND untag NAME:best
    """
    adapter = open_registry(shell.registry).untag(ref, kind=kind)
    show(shell, adapter_view(adapter))


def remove_adapters(
    kind: Kind,
    refs: References,
    shell: Shell,
    *,
    whole: Annotated[bool, typer.Option("--all", help="Every version of the names given.")] = False,
    dry_run: Removing = False,
    yes: Yes = False,
) -> None:
    """Remove versions of a KIND; restore undoes it.

    Example: dv KIND rm NAME:v1
    """
    store = open_registry(shell.registry)
    plan = store.plan_removal(refs, kind=kind, whole=whole)
    if not dry_run:
        if plan.needs_consent and not yes:
            named = (
                label(each) + (f" ({', '.join(each.tags)})" if each.tags else "")
                for each in plan.adapters
            )
            ask_consent(shell, "remove", ", ".join(named))
        gone = store.remove(plan)
    else:
        gone = plan.adapters
    show(shell, adapters_view(gone))
    if gone and not dry_run:
        info(shell, f"undo: dv {kind} restore {label(gone[0])}")


def restore_adapter(kind: Kind, ref: Reference, shell: Shell) -> None:
    """Put a removed version of a KIND back, with its tags.

    Example: dv KIND restore NAME:v1
    """
    restored = open_registry(shell.registry).restore(ref, kind=kind)
    if restored.was_live:
        info(shell, f"{label(restored.adapter)} was not removed: nothing to restore")
    for tag in restored.tags_elsewhere:
        info(
            shell,
            f"the tag {restored.adapter.name}:{tag} is on another version by now and stays there",
        )
    show(shell, adapter_view(restored.adapter))


def print_path(
    kind: Kind,
    ref: Reference,
    shell: Shell,
    file: Annotated[str, typer.Option(metavar="ROLE", help="Which of its files.")] = "weights",
) -> None:
    """Print where a KIND's file lies, its bytes checked.

    Example: dv KIND path NAME
    """
    store = open_registry(shell.registry)
    adapter = store.resolve(ref, kind=kind)
    path = store.file(adapter, file)
    document = {"schema": "dv.path/1", "ref": str(adapter), "file": file, "path": str(path)}
    show(shell, View(document, [str(path)]))


def resolve(refs: References, shell: Shell) -> None:
    """Print what references stand for now, pinned.

    Example: dv resolve fox motion/zigzag
    """
    store = open_registry(shell.registry)
    show(shell, adapters_view([store.resolve(ref) for ref in refs]))


def rename_adapter(
    kind: Kind,
    old: Annotated[str, typer.Argument(metavar="OLD", help="The name now.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="A name that was never used.")],
    shell: Shell,
) -> None:
    """Rename a KIND: versions, tags and log go along, and digests stay.

    Example: dv KIND rename OLD NEW
    """
    store = open_registry(shell.registry)
    store.rename(old, new, kind)
    show(shell, adapters_view(store.list(kind, new, all_versions=True).rows))


def show_log(
    kind: Kind,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name.")],
    shell: Shell,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Where the tags were then: a date, a time, yesterday, or 'last tuesday'.",
        ),
    ] = None,
) -> None:
    """Tell what happened to a KIND, and where its tags were.

    Example: dv KIND log NAME --at "last tuesday"
    """
    store = open_registry(shell.registry)
    if at is not None:
        when = read_time(at, datetime.now(UTC).astimezone())
        places = store.places_at(name, kind, when)
        show(shell, places_view(kind, name, when.isoformat(), places))
        if not places:
            info(shell, f"{name} had no version then")
        return
    show(shell, log_view(store.log(name, kind)))


def show_difference(
    kind: Kind,
    left: Annotated[str, typer.Argument(metavar="REF", help="A version.")],
    right: Annotated[str, typer.Argument(metavar="REF", help="The version to compare it with.")],
    shell: Shell,
) -> None:
    """Compare two versions of a KIND: settings, inputs, scores and files.

    Example: dv KIND diff NAME:prev NAME:latest
    """
    store = open_registry(shell.registry)
    pair = store.resolve(left, kind=kind), store.resolve(right, kind=kind)
    found = store.diff(*pair)
    show(shell, difference_view(*pair, found))
    if not found:
        info(shell, "no difference")
