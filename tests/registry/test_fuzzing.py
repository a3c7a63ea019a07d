"""Some thousands of mutated files; `python -m tests.stress` reads very many more."""

from __future__ import annotations

from pathlib import Path

from tests.stress.fuzzing import fuzz


def test_mutated_files_are_refused_or_what_was_exported(tmp_path: Path) -> None:
    ends = fuzz(tmp_path, 3_000, seed=0)
    assert ends.total() == 3_000
    refused = {"bundle.damaged", "bundle.unsafe", "manifest.damaged", "tensors.unsafe"}
    assert refused <= ends.keys()
