"""`dv config`: what holds, who says so, and changing it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dreamvideo_cli import setting_files, settings
from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.options import Shell
from dreamvideo_cli.output import print_json, print_lines, print_result, say, table

KeyName = Annotated[str, typer.Argument(metavar="KEY", help=f"One of: {', '.join(settings.KEYS)}.")]
InProject = Annotated[
    bool,
    typer.Option("--project", help=f"In the nearest {settings.PROJECT_FILE}, not the user's file."),
]


def list_settings(shell: Shell) -> None:
    """List every setting, its value, and where that comes from.

    Flags go before DV_* variables, those before the nearest dv.toml in this folder or above it, that before the
    user's file, and that before the defaults.

    Example: dv config list
    """
    documents = [_document(name, _effective(name, shell)) for name in settings.KEYS]
    if shell.json:
        print_json(documents)
    elif shell.quiet:
        print_lines(f"{each['key']}={_text(each['value'])}" for each in documents)
    else:
        rows = [(each["key"], _text(each["value"]), each["origin"]) for each in documents]
        print_lines(table(("KEY", "VALUE", "FROM"), rows))


def get_setting(key: KeyName, shell: Shell) -> None:
    """Print the value of a setting.

    Example: dv config get base
    """
    name = setting_files.check_name(key)
    found = _effective(name, shell)
    print_result(shell, _document(name, found), [_text(found.value)])


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
    name = setting_files.check_name(key)
    path = _file(project=project)
    given = setting_files.read_text(name, value)
    checked = setting_files.check_value(name, given, "on the command line", Path.cwd())
    setting_files.set_value(path, name, _as_written(name, checked, path, project=project))
    say(shell, f"written to {path}")
    _tell_what_goes_before(shell, name, str(path))
    print_result(shell, _document(name, settings.Setting(checked, str(path))), [_text(checked)])


def unset_setting(key: KeyName, shell: Shell, *, project: InProject = False) -> None:
    """Take a setting out of the user's file, or the project's.

    Example: dv config unset device
    """
    path = _file(project=project)
    if not setting_files.unset_value(path, key):
        setting_files.check_name(key)
        say(shell, f"{path} does not say {key}: nothing to do")
    elif key not in settings.KEYS:
        print_result(shell, {"schema": "dv.setting/1", "key": key, "value": None}, [])
        return
    found = settings.look_up(key)
    say(shell, f"{key} is {_text(found.value)} now, from {found.origin}")
    print_result(shell, _document(key, found), [_text(found.value)])


def print_config_path(shell: Shell, *, project: InProject = False) -> None:
    """Print where the user's file of settings lies, or the project's.

    Example: dv config path
    """
    path = _file(project=project)
    document = {"schema": "dv.path/1", "file": "settings", "path": str(path)}
    print_result(shell, {**document, "here": path.is_file()}, [str(path)])


def _file(*, project: bool) -> Path:
    if not project:
        return settings.config_file()
    return settings.project_file() or Path.cwd() / settings.PROJECT_FILE


def _as_written(name: str, value: str | bool, path: Path, *, project: bool) -> str | bool:
    """A project is moved about: its folders are written as seen from its file.

    Raises:
        UsageError: the folder is not within the project.
    """
    if not project or settings.KEYS[name].kind != "path":
        return value
    folder = Path(str(value))
    setting_files.refuse_outside(name, folder, path)
    return f"./{folder.resolve().relative_to(path.parent.resolve())}"


def _effective(name: str, shell: Shell) -> settings.Setting:
    """What holds for this command line, flags included."""
    found = settings.look_up(name)
    flags: dict[str, Any] = {
        "registry": shell.registry and str(settings.registry_root(shell.registry)),
        "progress": shell.progress,
        "no-input": shell.no_input,
    }
    given = flags.get(name)
    if given is None or given in {False, "auto", found.value}:
        return found
    return settings.Setting(given, f"--{name}")


def _tell_what_goes_before(shell: Shell, name: str, written: str) -> None:
    try:
        found = settings.look_up(name)
    except UsageError as error:
        say(shell, f"warning: {error.message}")
        return
    if found.origin != written:
        say(shell, f"but {found.origin} goes before it: {_text(found.value)}")


def _document(name: str, found: settings.Setting) -> dict[str, Any]:
    return {
        "schema": "dv.setting/1",
        "key": name,
        "value": found.value,
        "origin": found.origin,
        "variable": settings.KEYS[name].variable,
    }


def _text(value: str | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else value
