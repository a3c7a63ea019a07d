"""Who may import whom, what a quick start may not load, and how the house is kept."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("dreamvideo_cli", "engine", "registry")
MODULES = sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))
HEAVY = {"torch", "diffusers", "transformers", "accelerate", "numpy", "PIL", "imageio"}
HEAVY |= {"imageio_ffmpeg", "safetensors", "huggingface_hub"}
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "manager", "handler"}
LONGEST_FUNCTION = 45
LONGEST_MODULE = 375  # half again as long as a long file should be
LIGHT = [
    "engine",
    "engine.bases",
    "engine.errors",
    "engine.progress",
    "engine.recipe",
    "registry",
    "dreamvideo_cli.main",
]


def name_of(path):
    return str(path.relative_to(REPOSITORY))


def loaded_by(statement):
    """Top-level names of all modules that are loaded once ``statement`` ran in a fresh process."""
    script = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return set(ran.stdout.splitlines()[-1].split())


def functions_of(tree):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def lines_of(function):
    """Lines of a function from its name to its end, parameters and docstring counted."""
    return function.end_lineno - function.lineno + 1


def test_the_import_contracts_hold():
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as run; run()",
    ]
    ran = subprocess.run(
        [*command, "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("module", LIGHT)
def test_what_a_quick_command_imports_is_light(module):
    assert not loaded_by(f"import {module}") & HEAVY


def names_of(package):
    """Every module of a package."""
    paths = (path for path in (REPOSITORY / package).rglob("*.py") if path.stem[:2] != "__")
    return [".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in paths]


def test_every_module_of_the_command_line_is_light():
    assert not loaded_by(f"import {', '.join(names_of('dreamvideo_cli'))}") & HEAVY


def test_every_module_of_the_registry_is_light():
    assert not loaded_by(f"import {', '.join(names_of('registry'))}") & (HEAVY | {"engine"})


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_named_for_what_it_holds(path):
    assert not {path.stem, path.parent.name} & EMPTY_NAMES


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_functions_are_paragraphs_and_modules_chapters(path):
    source = path.read_text("utf-8")
    functions = functions_of(ast.parse(source))
    long = {f.name: lines_of(f) for f in functions if lines_of(f) > LONGEST_FUNCTION}
    assert not long
    assert len(source.splitlines()) <= LONGEST_MODULE


@pytest.mark.parametrize(
    "path", [path for path in MODULES if "dreamvideo_cli" not in path.parts], ids=name_of
)
def test_only_the_command_line_prints(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if is_print(node)]
    assert not calls


def is_print(node):
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    )
