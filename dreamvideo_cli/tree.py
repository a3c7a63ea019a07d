"""The tree of commands."""

from collections.abc import Callable, Mapping
from typing import Any

import typer
from typer.core import TyperGroup

from dreamvideo_cli import adapters, bases, bundles, demo, gen, history, learn, store
from dreamvideo_cli.options import command

VERBS: Mapping[str, Callable[..., None]] = {
    "list": adapters.list_adapters,
    "show": adapters.show_adapter,
    "tag": adapters.tag_adapter,
    "untag": adapters.untag_adapter,
    "rename": history.rename_adapter,
    "log": history.show_log,
    "diff": history.show_difference,
    "rm": adapters.remove_adapters,
    "restore": adapters.restore_adapter,
    "export": bundles.export_adapters,
    "path": adapters.print_path,
}

ORDER = ("demo", "subject", "motion", "gen", "resolve", "import", "inspect", "base", "registry")


class Root(TyperGroup):
    """The outermost group, its commands in the order in which a newcomer needs them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the commands; Typer by itself puts groups last."""
        return sorted(super().list_commands(ctx), key=ORDER.index)


def overview(context: typer.Context) -> None:
    """A group without a command tells what it has."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def build() -> typer.Typer:
    """`dv` with all its commands."""
    tree = _group(
        "Learn a subject from photos, a motion from a clip, and make videos of both.", Root
    )
    for kind, learner in (("subject", learn.learn_subject), ("motion", learn.learn_motion)):
        group = _group(f"Learn, list and tag {kind}s.")
        group.command("learn")(command(learner))
        for verb, function in VERBS.items():
            group.command(verb)(command(function, kind=kind))
        tree.add_typer(group, name=kind)
    tree.command("gen")(command(gen.gen))
    tree.command("resolve")(command(adapters.resolve))
    tree.command("import")(command(bundles.import_adapters))
    tree.command("inspect")(command(bundles.inspect_file))
    base_group = _group("Show and choose bases, the frozen models that adapters are learned on.")
    for verb, function in bases.VERBS.items():
        base_group.command(verb)(command(function))
    tree.add_typer(base_group, name="base")
    registry_group = _group("Check, clean and mend the registry, where adapters lie.")
    for verb, function in store.VERBS.items():
        registry_group.command(verb)(command(function))
    tree.add_typer(registry_group, name="registry")
    tree.command("demo")(command(demo.demo))
    return tree


def _group(help_text: str, cls: type[TyperGroup] = TyperGroup) -> typer.Typer:
    """A group in plain text: markup would double the time of every help."""
    group = typer.Typer(
        help=help_text,
        cls=cls,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    group.callback(invoke_without_command=True)(overview)
    return group


app = build()
