"""`dv`, from the arguments to the exit code.

Nothing heavy is imported here: `--version` is answered before Typer, and the engine only by the command that needs it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence

from dreamvideo_cli import __version__
from dreamvideo_cli.settings import process
from dreamvideo_cli.terminal.signals import STOPPING, Stopped, stopped, unwinding
from dreamvideo_cli.terminal.streams import drop_stdout, open_missing_streams, write_any_text

STDOUT_CLOSED = 141
AS_CALLED = {"prog_name": "dv", "standalone_mode": False}
ANSWERED = {"--version", "-V", "--install-completion", "--show-completion"}
# Read by the libraries when they are imported, so they must stand before any command runs.
LIBRARY_SETTINGS = {
    "OMP_WAIT_POLICY": "passive",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, by default the process's own, and return its exit code."""
    if arguments is None:
        process.claim()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    open_missing_streams()
    write_any_text()
    if "_DV_COMPLETE" in os.environ:
        return _complete(arguments)
    for name, value in LIBRARY_SETTINGS.items():
        os.environ.setdefault(name, value)
    process.stay_offline()
    with unwinding():
        try:
            is_answered = arguments and arguments[0] in ANSWERED
            returned = _answer(arguments) if is_answered else _app()(list(arguments), **AS_CALLED)
            sys.stdout.flush()
            exit_code = returned if isinstance(returned, int) else 0
        except BaseException as error:  # noqa: BLE001 - the boundary: nothing may pass it as a traceback
            exit_code = _exit_code(error, arguments)
    _die_of_signal(exit_code)
    return exit_code


def _app() -> Callable[..., object]:
    """The tree of commands, loaded when it is needed."""
    from dreamvideo_cli.app.groups import app

    return app()


def _exit_code(error: BaseException, arguments: Sequence[str]) -> int:
    """The exit code of a command that raised; what failed is told on stderr."""
    # Typer turns a closed pipe into exit 1 and keeps the reason only as the context.
    if isinstance(error, BrokenPipeError) or (
        isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError)
    ):
        drop_stdout()
        return STDOUT_CLOSED
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return _report(error, as_json="--json" in options, typed=options)


def _complete(arguments: Sequence[str]) -> int:
    """Tell a shell what may stand at the cursor; a fault must not land in the line that is being typed."""
    try:
        from dreamvideo_cli.app.completion import answer

        lines = answer(os.environ["_DV_COMPLETE"], arguments, os.environ)
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
    except Exception:  # noqa: BLE001 - see above
        return 1
    return 0


def _answer(arguments: Sequence[str]) -> int:
    """What is asked of `dv` itself, before Typer is imported."""
    if arguments[0] in {"--version", "-V"}:
        sys.stdout.write(f"dv {__version__}\n")
        return 0
    return _teach_shell(arguments)


def _teach_shell(arguments: Sequence[str]) -> int:
    """Print the script that completes in a shell, or put it where the shell finds it."""
    from dreamvideo_cli.app.install_completion import choose_shell, install, script
    from dreamvideo_cli.terminal.output import print_lines, write_stderr

    named = arguments[1] if len(arguments) > 1 else None
    shell = choose_shell(named, os.environ)
    if arguments[0] == "--show-completion":
        print_lines([script(shell).rstrip("\n")])
        return 0
    path, start = install(shell)
    write_stderr(f"{start} loads it: start a new {shell}" if start else f"start a new {shell}")
    print_lines([str(path)])
    return 0


def _report(error: BaseException, *, as_json: bool, typed: Sequence[str]) -> int:
    """Tell what failed, even where the installation is too broken to tell it well."""
    if not isinstance(error, Stopped):
        error = stopped() or error
    try:
        from dreamvideo_cli.app.suggestions import translate
        from dreamvideo_cli.terminal.failures import report
    except ImportError as broken:
        sys.stderr.write(f"error: this installation of dv is broken: {broken}\n")
        return 1
    return report(translate(error), as_json=as_json, typed=typed)


def _die_of_signal(exit_code: int) -> None:
    """On a terminal, end as the signal would have ended it: a loop of the shell stops only then."""
    number = exit_code - 128
    if number in STOPPING and sys.stderr.isatty() and os.name == "posix":
        sys.stdout.flush()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
