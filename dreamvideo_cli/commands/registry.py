"""The registry itself: what is in it, whether it is whole, what can go, what can be mended."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dreamvideo_cli.settings.places import cache_folder, open_registry, registry_root, state_folder
from dreamvideo_cli.terminal.options import Removing, Shell
from dreamvideo_cli.terminal.output import View, info, show
from dreamvideo_cli.terminal.text import field_lines, size_text

if TYPE_CHECKING:
    from registry.maintenance.verify import Finding


def show_info(shell: Shell) -> None:
    """Tell where the registry lies and how much is in it.

    Example: dv registry info
    """
    store = open_registry(shell.registry)
    rows = store.list(all_versions=True).rows
    stored = store.stored_sizes()
    document: dict[str, Any] = {
        "schema": "dv.registry/1",
        "path": str(store.layout.root),
        "subjects": len({row.name for row in rows if row.kind == "subject"}),
        "motions": len({row.name for row in rows if row.kind == "motion"}),
        "versions": len(rows),
        "removed": len(store.list(removed=True).rows),
        "files": len(stored),
        "size_bytes": sum(stored),
        "cache_bytes": _folder_bytes(cache_folder()),
        "runs_bytes": _folder_bytes(state_folder() / "runs"),
    }
    pairs = [
        (name.removesuffix("_bytes"), size_text(value) if name.endswith("_bytes") else str(value))
        for name, value in document.items()
        if name != "schema"
    ]
    show(shell, View(document, field_lines(pairs)))


def verify(shell: Shell) -> None:
    """Hash everything again and follow every name; exit 5 where something is damaged.

    What was found is the result and goes to stdout, with exit 5 as well; the error goes to stderr.

    Example: dv registry verify
    """
    found = open_registry(shell.registry).verify()
    document = {
        "schema": "dv.verified/1",
        "versions": found.versions,
        "files": found.files,
        "size_bytes": found.size_bytes,
        "findings": [_finding_document(finding) for finding in found.findings],
    }
    size = size_text(found.size_bytes)
    lines = [line for finding in found.findings for line in _finding_lines(finding)]
    lines.append(
        f"{found.versions} versions, {found.files} files, {size}: {_verdict(found.findings)}"
    )
    show(shell, View(document, lines))
    _fail_on_damage(found.findings)


def collect(
    shell: Shell,
    *,
    dry_run: Removing = False,
) -> None:
    """Delete the bytes that no version and no recent removal needs.

    A removal is recent for seven days by the clock: where that is far ahead, look with -n first.

    Example: dv registry gc -n
    """
    store = open_registry(shell.registry)
    plan = store.find_garbage()
    done = plan if dry_run else store.delete_garbage(plan)
    paths = [str(path.relative_to(store.layout.root)) for path in done.files]
    document = {
        "schema": "dv.collection/1",
        "dry_run": dry_run,
        "size_bytes": done.size_bytes,
        "files": paths,
    }
    show(shell, View(document, paths))
    info(
        shell,
        f"{size_text(done.size_bytes)} {'would be' if dry_run else ''} freed".replace("  ", " "),
    )


def diagnose(
    shell: Shell,
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Carry out the repairs; each can be undone.")
    ] = False,
) -> None:
    """Tell what is odd in the registry, and what would mend it.

    What was found is the result and goes to stdout; exit 5 where damage is left. A repair never
    deletes: what it replaces goes to the registry's folder `aside`.

    Example: dv registry doctor --fix
    """
    from registry.maintenance import doctor
    from registry.storage.layout import Layout

    # A damaged header is for the doctor, not for open.
    layout = Layout(registry_root(shell.registry))
    found = (*doctor.diagnose(layout), *_damaged_runs())
    mended = doctor.repair(layout, found) if fix else ()
    left = [each for each in found if each not in mended]
    document = {
        "schema": "dv.diagnosis/1",
        "mended": [{**_finding_document(each), "remedy": each.remedy} for each in mended],
        "found": [{**_finding_document(each), "remedy": each.remedy} for each in left],
    }
    lines = [f"mended: {each.where}: {each.remedy}" for each in mended]
    lines += [line for each in left for line in _finding_lines(each)]
    show(shell, View(document, lines or ["nothing odd"]))
    if any(each.repair for each in left):
        info(shell, "dv registry doctor --fix mends what can be mended")
    _fail_on_damage(left)


def _damaged_runs() -> "list[Finding]":
    """A finding for each learning run that cannot be read; nothing published depends on one."""
    from dreamvideo_cli.runs.folders import damaged_runs
    from registry.maintenance.verify import odd

    return [
        odd(run.error.code, f"runs/{run.id}", run.message, run.error.hint)
        for run in damaged_runs(state_folder() / "runs")
    ]


def _folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder; none where it is not there."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _verdict(findings: "Sequence[Finding]") -> str:
    damaged = sum(finding.is_damage for finding in findings)
    return f"{damaged} damaged" if damaged else "whole"


def _fail_on_damage(findings: "Sequence[Finding]") -> None:
    """The result is printed; the exit code says that it is no good news."""
    from registry import IntegrityError

    damaged = [finding for finding in findings if finding.is_damage]
    if damaged:
        message = f"{len(damaged)} damaged: {damaged[0].where}: {damaged[0].message}"
        raise IntegrityError(message, hint=damaged[0].hint, code=damaged[0].code)


def _finding_document(finding: "Finding") -> dict[str, Any]:
    fields = ("code", "where", "message", "hint", "is_damage")
    return {field: getattr(finding, field) for field in fields}


def _finding_lines(finding: "Finding") -> list[str]:
    word = "damaged" if finding.is_damage else "odd"
    hint = [f"  {finding.hint}"] if finding.hint else []
    remedy = [f"  --fix would {finding.remedy}"] if finding.remedy else []
    return [f"{word}: {finding.where}: {finding.message}", *hint, *remedy]
