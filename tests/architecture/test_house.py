"""Rooms: no circle of imports of any size, few files a folder, functions that are paragraphs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("dreamvideo_cli", "engine", "registry")
MOST_FILES = 13
USUAL_LINES, LONG_LINES = 10, 22

Modules = dict[str, ast.Module]


def modules_of(package: str) -> Modules:
    """Every module of a package by its name; a package's own file only hands on what its files define."""
    paths = (path for path in (REPOSITORY / package).rglob("*.py") if path.stem != "__init__")
    return {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts): ast.parse(path.read_text())
        for path in paths
    }


def imports_of(module: ast.Module, known: Modules) -> Iterator[str]:
    """Modules that a module imports anywhere: at its top, in a function or for types alone."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name in known)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_imports_itself_by_way_of_others(package: str) -> None:
    modules = modules_of(package)
    graph = {name: set(imports_of(module, modules)) for name, module in modules.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_every_place_that_contributing_names_is_there() -> None:
    """From the root or from the command line's package; a file without its folder, anywhere."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`([\w/.-]+(?:\.py|\.md|\.toml|/[\w-]+/))`", text))
    roots = [REPOSITORY, *(REPOSITORY / package for package in PACKAGES)]
    lost = [
        name
        for name in sorted(named - {"dv.toml"})
        if not any((root / name).exists() or next(root.glob(f"**/{name}"), None) for root in roots)
    ]
    assert lost == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_folder_is_read_at_a_glance(package: str) -> None:
    folders = [REPOSITORY / package, *(p for p in (REPOSITORY / package).rglob("*") if p.is_dir())]
    files = {folder: [*folder.glob("[!_]*.py")] for folder in folders}
    assert {
        str(folder): len(found) for folder, found in files.items() if len(found) > MOST_FILES
    } == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_most_functions_are_short(package: str) -> None:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = (node for module in modules_of(package).values() for node in ast.walk(module))
    sizes = sorted(node.end_lineno - node.lineno + 1 for node in nodes if isinstance(node, kinds))
    assert median(sizes) <= USUAL_LINES
    assert sizes[int(0.9 * len(sizes))] <= LONG_LINES
