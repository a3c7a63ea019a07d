"""`dv config`: what holds, who says so, and changing it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.settings.files import (
    PROJECT_FILE,
    config_file,
    project_file,
    refuse_outside,
    set_value,
    unset_value,
)
from dreamvideo_cli.settings.keys import KEYS, check_name, check_value, read_text
from dreamvideo_cli.settings.lookup import Setting, look_up
from dreamvideo_cli.settings.places import locate, registry_root
from dreamvideo_cli.terminal.options import Shell
from dreamvideo_cli.terminal.output import View, info, show
from dreamvideo_cli.terminal.text import table

KeyName = Annotated[str, typer.Argument(metavar="KEY", help=f"One of: {', '.join(KEYS)}.")]
InProject = Annotated[
    bool,
    typer.Option("--project", help=f"In the nearest {PROJECT_FILE}, not the user's file."),
]


def list_settings(shell: Shell) -> None:
    """List every setting, its value, and where that comes from.

    Flags go before DV_* variables, those before the nearest dv.toml in this folder or above it, that before the
    user's file, and that before the defaults.

    Example: dv config list
    """
    documents = [_document(name, _effective(name, shell)) for name in KEYS]
    rows = [(each["key"], _text(each["value"]), each["origin"]) for each in documents]
    brief = [f"{key}={value}" for key, value, _ in rows]
    show(shell, View(documents, table(("KEY", "VALUE", "FROM"), rows), brief))


def get_setting(key: KeyName, shell: Shell) -> None:
    """Print the value of a setting.

    Example: dv config get base
    """
    name = check_name(key)
    found = _effective(name, shell)
    show(shell, _view(name, found))


def set_setting(
    key: KeyName,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="What is to hold.")],
    shell: Shell,
    *,
    project: InProject = False,
) -> None:
    """Write a setting into the user's file, or the project's; the file's comments stay.

    Example: dv config set device cpu
    """
    name = check_name(key)
    path = _file(project=project)
    given = read_text(name, value)
    checked = check_value(name, given, "on the command line", Path.cwd())
    if name == "base":
        locate(str(checked))
    set_value(path, name, _as_written(name, checked, path, project=project))
    info(shell, f"written to {path}")
    _tell_what_goes_before(shell, name, str(path))
    show(shell, _view(name, Setting(checked, str(path))))


def unset_setting(key: KeyName, shell: Shell, *, project: InProject = False) -> None:
    """Take a setting out of the user's file, or the project's.

    Example: dv config unset device
    """
    path = _file(project=project)
    if not unset_value(path, key):
        check_name(key)
        info(shell, f"{path} does not say {key}: nothing to do")
    elif key not in KEYS:
        show(shell, View({"schema": "dv.setting/1", "key": key, "value": None}))
        return
    found = look_up(key)
    info(shell, f"{key} is {_text(found.value)} now, from {found.origin}")
    show(shell, _view(key, found))


def print_config_path(shell: Shell, *, project: InProject = False) -> None:
    """Print where the user's file of settings lies, or the project's.

    Example: dv config path
    """
    path = _file(project=project)
    document = {"schema": "dv.path/1", "file": "settings", "path": str(path)}
    show(shell, View({**document, "here": path.is_file()}, [str(path)]))


def _file(*, project: bool) -> Path:
    if not project:
        return config_file()
    return project_file() or Path.cwd() / PROJECT_FILE


def _as_written(name: str, value: str | bool, path: Path, *, project: bool) -> str | bool:
    """A project is moved about: its folders are written as seen from its file."""
    if not project or KEYS[name].kind != "path":
        return value
    folder = Path(str(value))
    refuse_outside(name, folder, path)
    return f"./{folder.resolve().relative_to(path.parent.resolve())}"


def _effective(name: str, shell: Shell) -> Setting:
    """What holds for this command line, flags included."""
    found = look_up(name)
    flags: dict[str, Any] = {
        "registry": shell.registry and str(registry_root(shell.registry)),
        "progress": shell.progress,
        "no-input": shell.no_input,
    }
    given = flags.get(name)
    if given is None or given in {False, "auto", found.value}:
        return found
    return Setting(given, f"--{name}")


def _tell_what_goes_before(shell: Shell, name: str, written: str) -> None:
    try:
        found = look_up(name)
    except UsageError as error:
        info(shell, f"warning: {error.message}")
        return
    if found.origin != written:
        info(shell, f"but {found.origin} goes before it: {_text(found.value)}")


def _view(name: str, found: Setting) -> View:
    return View(_document(name, found), [_text(found.value)])


def _document(name: str, found: Setting) -> dict[str, Any]:
    return {
        "schema": "dv.setting/1",
        "key": name,
        "value": found.value,
        "origin": found.origin,
        "variable": KEYS[name].variable,
    }


def _text(value: str | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else value
