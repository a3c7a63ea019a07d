"""Putting completion where a shell finds it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from dreamvideo_cli.errors import UsageError

SHELLS = ("bash", "zsh", "fish")
MARK = "# completion of dv"


def script(shell: str) -> str:
    """The text that teaches a shell to ask `dv`."""
    from importlib import resources

    return (resources.files("dreamvideo_cli.app") / "shells" / f"dv.{shell}").read_text("utf-8")


def choose_shell(named: str | None, environment: Mapping[str, str]) -> str:
    """The shell that was named, or the user's own.

    Raises:
        UsageError: it is none of those that are known.
    """
    shell = named or Path(environment.get("SHELL", "")).name
    if shell not in SHELLS:
        which = repr(shell) if shell else "no shell is known"
        hint = "say which: dv --install-completion bash, zsh or fish"
        raise UsageError(f"no completion for {which}" if shell else which, hint=hint)
    return shell


def install(shell: str) -> tuple[Path, Path | None]:
    """Write the script, and once a line that loads it; returns the script and the file of that line.

    Raises:
        OSError: a file cannot be written.
    """
    if shell == "fish":
        home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        return _write(home / "fish" / "completions" / "dv.fish", shell), None
    import platformdirs

    folder = platformdirs.user_data_path("dreamvideo", appauthor=False) / "completion"
    path = _write(folder / f"dv.{shell}", shell)
    start = Path.home() / ".bashrc"
    if shell == "zsh":
        start = Path(os.environ.get("ZDOTDIR") or Path.home()) / ".zshrc"
    _add_line(start, path)
    return path, start


def _write(path: Path, shell: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script(shell), "utf-8")
    return path


def _add_line(start: Path, path: Path) -> None:
    """Behind everything else, and only where it is not there yet."""
    import shlex

    quoted = shlex.quote(str(path))
    line = f"[ ! -r {quoted} ] || . {quoted}  {MARK}\n"
    text = start.read_text("utf-8", errors="surrogateescape") if start.exists() else ""
    if line not in text:
        with start.open("a", encoding="utf-8") as file:
            file.write(line if not text or text.endswith("\n") else f"\n{line}")
