"""`dv runs`: learning that is going on, was stopped, or is done."""

from pathlib import Path
from typing import Annotated

import typer

from dreamvideo_cli.learning.options import read_deadline
from dreamvideo_cli.learning.publish import draft_of_save
from dreamvideo_cli.learning.resume import read_plan
from dreamvideo_cli.learning.train import RunOptions, train
from dreamvideo_cli.runs.folders import (
    DamagedRun,
    Run,
    find_any_run,
    find_run,
    read_runs,
    refuse_running,
    remove_run,
    state_of,
)
from dreamvideo_cli.runs.history import read_history, state_files
from dreamvideo_cli.settings.places import runs_folder
from dreamvideo_cli.terminal.options import MaxTime, Note, Removing, Shell, Tags, Yes
from dreamvideo_cli.terminal.output import View, ask_consent, info, print_lines, show
from dreamvideo_cli.views.adapters import adapter_view
from dreamvideo_cli.views.learning import learned_view, next_lines, stopping_in_time
from dreamvideo_cli.views.runs import run_document, run_view, runs_view
from registry import NotFoundError, open_registry

RunId = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id, or a beginning that no other has.")
]


def list_runs(shell: Shell) -> None:
    """List the learning runs, the oldest first.

    Example: dv runs list
    """
    found = read_runs(runs_folder())
    if shell.quiet and not shell.json:
        print_lines(run.id for run in found)
        return
    show(shell, runs_view(found))
    for damaged in (run for run in found if isinstance(run, DamagedRun)):
        info(shell, f"{damaged.id} is damaged: {damaged.message}")
    if not found:
        info(shell, "no run yet: dv subject learn --help")


def show_run(
    run: RunId,
    shell: Shell,
    *,
    report: Annotated[
        bool, typer.Option("--report", help="Write its report anew and print where it lies.")
    ] = False,
) -> None:
    """Show a learning run: how far it is, what it saved, how it ended.

    Example: dv runs show fox
    """
    found = find_run(runs_folder(), run)
    if not report:
        show(shell, run_view(found))
        return
    from dreamvideo_cli.runs.report import write_report

    path = str(write_report(found))
    show(shell, View({**run_document(found), "report": path}, [path]))


def resume_run(
    run: RunId,
    shell: Shell,
    *,
    max_time: MaxTime = None,
) -> None:
    """Go on with a stopped run from its last save; of a finished one print what it published.

    Example: dv runs resume fox-3f9a2c1e-1
    """
    deadline = read_deadline(max_time)
    found = find_run(runs_folder(), run)
    store = open_registry(Path(found.facts.settings.registry))
    if state_of(found) == "finished":
        adapter = store.resolve(read_history(found).published or "", kind=found.facts.kind)
        info(shell, f"{found.id} is finished: nothing to do")
        show(shell, learned_view(adapter))
        return
    plan = read_plan(found)
    with stopping_in_time(shell):
        learned = train(shell, store, plan, RunOptions(run=found, deadline=deadline))
    if learned is not None:
        show(shell, learned_view(learned))
        for line in next_lines(store, learned):
            info(shell, line)


def promote_run(
    run: RunId,
    shell: Shell,
    *,
    step: Annotated[int, typer.Option(metavar="N", help="The step whose save to publish.")],
    tag: Tags = None,
    note: Note = None,
) -> None:
    """Publish an adapter as it was at an earlier save of a run.

    Example: dv runs promote fox-3f9a2c1e-1 --step 400 --tag best
    """
    found = find_run(runs_folder(), run)
    files = state_files(found)
    if step not in files:
        raise NotFoundError(
            f"{found.id} has no save of step {step} that can be published",
            hint="there are: " + (" ".join(str(each) for each in files) or "none"),
            code="run.no_state",
        )
    store = open_registry(Path(found.facts.settings.registry))
    kind, name = found.facts.kind, found.facts.name
    store.check_publish(kind, name, tag or [])
    draft = draft_of_save(found, step, note)
    adapter = store.publish(kind, name, draft, {"weights": files[step]}, tag or [])
    show(shell, adapter_view(adapter))


def remove_runs(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids of runs.")],
    shell: Shell,
    *,
    dry_run: Removing = False,
    yes: Yes = False,
) -> None:
    """Delete runs with their saves, for good; what they published stays.

    Example: dv runs rm fox-3f9a2c1e-1
    """
    chosen = [find_any_run(runs_folder(), text) for text in runs]
    found = list({each.id: each for each in chosen}.values())
    for each in found:
        refuse_running(each)
    if not dry_run:
        unfinished = [
            each.id for each in found if not isinstance(each, Run) or state_of(each) == "stopped"
        ]
        if unfinished and not yes:
            ask_consent(shell, "delete", f"{', '.join(unfinished)}, which could go on")
        for each in found:
            remove_run(each)
    ids = [each.id for each in found]
    show(shell, View({"schema": "dv.runs_removed/1", "dry_run": dry_run, "runs": ids}, ids))
