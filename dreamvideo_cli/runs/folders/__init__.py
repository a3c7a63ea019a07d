"""Learning runs: a folder each, whose owner is the process that last took it.

::

    <id>/run.toml        RunFacts: what is learned, from what, by which command
    <id>/recipe.toml     the recipe as it was asked for
    <id>/events.ndjson   one JSON object a line; a torn last line is ignored
    <id>/owners/1        the process that began it; each that continues it makes the next number
    <id>/checkpoints/    whole states to continue from; they go when the run is published
    <id>/states/         adapters as they were at saves, to be promoted later
    <id>/previews/       videos made on the way
    <id>/inputs.png  <id>/report.html

The folder's name is made of name, key and a number, and making it is what starts a run: of two
processes that begin the same at once one fails.
"""

from dreamvideo_cli.runs.folders.events import EventLog, read_events
from dreamvideo_cli.runs.folders.lifecycle import (
    State,
    claim,
    end_run,
    refuse_running,
    remove_run,
    start_run,
    state_of,
)
from dreamvideo_cli.runs.folders.reading import (
    DamagedRun,
    Run,
    RunFacts,
    damaged_runs,
    find_any_run,
    find_run,
    list_runs,
    read_runs,
    runs_for,
)

__all__ = [
    "DamagedRun",
    "EventLog",
    "Run",
    "RunFacts",
    "State",
    "claim",
    "damaged_runs",
    "end_run",
    "find_any_run",
    "find_run",
    "list_runs",
    "read_events",
    "read_runs",
    "refuse_running",
    "remove_run",
    "runs_for",
    "start_run",
    "state_of",
]
