"""`dv grid`: one labelled video and picture over versions, weights and seeds: look before you tag."""

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.generation.grid import make_grid, plan_grid
from dreamvideo_cli.generation.options import GridOptions
from dreamvideo_cli.settings.places import open_registry
from dreamvideo_cli.terminal.options import Shell
from dreamvideo_cli.terminal.output import info, show
from dreamvideo_cli.terminal.processes import read_rank
from dreamvideo_cli.views.videos import grid_plan_view, grid_view


def grid(options: GridOptions, shell: Shell) -> None:
    """Compare versions, weights and seeds in one labelled video and one picture.

    The base alone is the first column.

    Example: dv grid "a fox zigzag" --subject fox --motion zigzag --weights 0.5,1 --seeds 0..2
    """
    if read_rank().world_size > 1:
        raise UsageError("a grid is made by one process", hint="start it without a launcher")
    plan = plan_grid(open_registry(shell.registry), options)
    for note in dict.fromkeys(note for column in plan.columns for note in column.sampling.notes):
        info(shell, note)
    if options.dry_run:
        show(shell, grid_plan_view(plan))
        return
    make_grid(plan, shell)
    show(shell, grid_view(plan))
