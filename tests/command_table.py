"""The README's table of commands, written from the tree: ``python -m tests.command_table``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from dreamvideo_cli.app.tree import ROOT, Branch
from registry import KINDS

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- commands: python -m tests.command_table -->\n", "<!-- end of commands -->"
PLACE = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)


def table() -> str:
    """Every command and its line; what all kinds of adapters share stands once."""
    rows = [f"| `dv {words}` | {summary} |" for words, summary in _rows()]
    return "\n".join(["| command | |", "|---|---|", *rows]) + "\n"


def in_readme() -> str:
    """The table as the README has it."""
    found = PLACE.search(README.read_text("utf-8"))
    return found.group().removeprefix(BEGIN).removesuffix(END).strip() + "\n" if found else ""


def main() -> None:
    """Write the table into the README."""
    text = README.read_text("utf-8")
    README.write_text(PLACE.sub(lambda _: f"{BEGIN}\n{table()}\n{END}", text), "utf-8")


def _rows() -> Iterator[tuple[str, str]]:
    for name, entry in ROOT.entries.items():
        if not isinstance(entry, Branch):
            yield name, entry.summary
        elif name == "subject":
            for kind in ("subject", "motion"):
                yield f"{kind} learn", ROOT.entries[kind].entries["learn"].summary
            yield from (
                (f"{{{','.join(KINDS)}}} {verb}", _of_any(leaf.summary))
                for verb, leaf in entry.entries.items()
                if verb != "learn"
            )
        elif name not in KINDS:
            yield from ((f"{name} {verb}", leaf.summary) for verb, leaf in entry.entries.items())


def _of_any(summary: str) -> str:
    return summary.replace("a subject", "one").replace("subjects", "ones")


if __name__ == "__main__":
    main()
