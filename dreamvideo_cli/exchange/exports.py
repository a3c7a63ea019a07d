"""Adapters out of the registry as files of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dreamvideo_cli.terminal.options import Shell
from dreamvideo_cli.terminal.output import View, info

if TYPE_CHECKING:
    from registry import Adapter, Registry


def export_foreign(
    store: Registry,
    adapter: Adapter,
    tool: str,
    path: Path,
    shell: Shell,
    *,
    expert: str | None,
    overwrite: bool,
) -> View:
    """Write an adapter as a file of another tool, and say what reads it.

    Raises:
        RegistryError: see `Registry.file`.
        EngineError: see `engine.formats.writing.write_foreign`.
    """
    from engine.formats.writing import write_foreign

    written = write_foreign(
        store.file(adapter),
        tool,
        path,
        label=f"{adapter.name}:v{adapter.version}",
        expert=expert,
        overwrite=overwrite,
    )
    info(shell, f"for {written.loads_in}; prompts say {written.prompt!r}")
    document = {
        "schema": "dv.exported/1",
        "path": str(path),
        "ref": str(adapter),
        "format": tool,
        "loads_in": written.loads_in,
        "prompt": written.prompt,
    }
    return View(document, [str(path)])
