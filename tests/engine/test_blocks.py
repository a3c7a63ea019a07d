"""A denoiser's blocks compiled while they learn: the same numbers, taken back whole, and only where it pays."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from engine import blocks
from engine.blocks import CLOCKED, Compiler, compile_blocks, recompute_blocks
from engine.errors import DeviceError
from engine.progress import Note
from engine.training.fit import fit, open_accelerator
from tests.engine.test_learning import plan
from tests.engine.training.test_saver import CPU, Slope, saver


class Block(nn.Module):
    """x·w², and how often it was computed and compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(3.0))

    def forward(self, x: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
        return scale * x * self.weight.square()


class Blocks:
    """A base of two blocks."""

    def __init__(self) -> None:
        self.one, self.two = Block(), Block()

    def blocks(self) -> dict[str, nn.Module]:
        return {"one": self.one, "two": self.two}


@pytest.fixture(autouse=True)
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of what is compiled, by a compiler that changes nothing."""
    shapes: list[tuple[int, ...]] = []

    def backend(graph, inputs):
        shapes.extend(tuple(each.shape) for each in inputs if each.ndim == 1)
        return graph.forward

    monkeypatch.setattr(blocks, "BACKEND", backend)
    torch._dynamo.reset()
    return shapes


def gradient(block: nn.Module, x: torch.Tensor) -> torch.Tensor:
    block.zero_grad()
    block(x, scale=2.0).sum().backward()
    return block.weight.grad


@pytest.mark.parametrize("is_lean", [False, True])
@pytest.mark.parametrize("is_compiled_first", [False, True])
def test_compiled_blocks_give_the_same_and_are_taken_back(
    compiled: list, is_lean: bool, is_compiled_first: bool
) -> None:
    base, x = Blocks(), torch.arange(4.0)
    acts = [lambda: compile_blocks(base), lambda: recompute_blocks(base) if is_lean else None]
    undo, *_ = [found for act in (acts if is_compiled_first else acts[::-1]) if (found := act())]
    for block in base.blocks().values():
        assert gradient(block, x) == 2 * 6 * 6.0
    assert set(compiled) == {(4,)}
    with torch.no_grad():
        base.one(torch.arange(5.0))
    assert set(compiled) == {(4,)}
    undo()
    gradient(base.one, torch.arange(6.0))
    assert set(compiled) == {(4,)}
    assert isinstance(base.one.forward, blocks._Recomputed) is is_lean


def test_a_copy_computes_with_its_own_modules(compiled: list) -> None:
    base = Blocks()
    compile_blocks(base)
    twin = copy.deepcopy(base.one)
    twin.weight.data.fill_(1.0)
    assert gradient(twin, torch.ones(2)) == 2 * 2 * 2.0
    assert gradient(base.one, torch.ones(2)) == 2 * 2 * 6.0


def clocked(compiler: Compiler, seconds: float, left: int) -> bool:
    """Whether blocks are compiled after as many steps of so many seconds as it wants to see."""
    for _ in range(CLOCKED + 1):
        compiler.before_step(left)
        compiler.after_step(seconds)
    compiler.before_step(left)
    return compiler.is_on


@pytest.mark.parametrize(
    ("wanted", "seconds", "left", "is_on"),
    [
        (None, 1.0, 1000, True),
        (None, 0.1, 1000, False),
        (None, 1.0, 100, False),
        (True, 0.1, 1, True),
        (False, 1.0, 100000, False),
    ],
)
def test_blocks_are_compiled_where_the_steps_that_are_left_pay_for_it(
    wanted, seconds, left, is_on
) -> None:
    assert clocked(Compiler(Blocks(), wanted=wanted), seconds, left) is is_on


@pytest.mark.parametrize(("wanted", "is_kept"), [(None, False), (True, True)])
def test_what_compiling_brought_is_told_and_taken_back_where_it_brought_nothing(
    wanted, is_kept
) -> None:
    for now, told in ((0.5, "in place of 1 s, paid back after 80 steps"), (1.5, "1.5 s")):
        notes: list[Note] = []
        base = Blocks()
        compiler = Compiler(base, wanted=wanted, progress=notes.append)
        assert clocked(compiler, 1.0, 10_000)
        compiler.after_step(40.0)
        for _ in range(CLOCKED):
            compiler.after_step(now)
        assert "takes a while" in notes[0].text
        assert told in notes[1].text
        assert compiler.is_on is (is_kept or now < 1.0)
        assert isinstance(base.one.forward, blocks._Compiled) is compiler.is_on


class Broken(Slope):
    """Cannot be compiled."""

    def __init__(self, compiler: Compiler) -> None:
        super().__init__(0.0)
        self.compiler = compiler

    def forward(self, draws):
        if self.compiler.is_on:
            raise torch._dynamo.exc.InternalTorchDynamoError("no compiler is here")
        return super().forward(draws)


def test_a_base_that_cannot_be_compiled_learns_the_same_without(monkeypatch) -> None:
    monkeypatch.setattr(blocks, "WARM_UP_S", 0.0)
    whole, notes = Slope(0.0), []
    losses = fit(whole, plan(steps=9), open_accelerator(CPU, "fp32"), lambda _: None)
    auto = Compiler(Blocks(), wanted=None, progress=notes.append)
    objective = Broken(auto)
    accelerator = open_accelerator(CPU, "fp32")
    assert fit(objective, plan(steps=9), accelerator, lambda _: None, compiler=auto) == losses
    assert torch.equal(objective.weight, whole.weight)
    assert "cannot be compiled here, so they are not: no compiler is here" in notes[1].text
    must = Compiler(Blocks(), wanted=True)
    with pytest.raises(DeviceError, match="no compiler is here") as caught:
        fit(Broken(must), plan(steps=9), accelerator, lambda _: None, compiler=must)
    assert caught.value.hint == "--compile off"


def test_a_stage_that_was_compiled_goes_on_compiled(tmp_path) -> None:
    base = Blocks()
    compiler = Compiler(base, wanted=True)
    held = saver(tmp_path)
    steps = CLOCKED + 3
    accelerator = open_accelerator(CPU, "fp32")
    fit(Slope(0.0), plan(steps=steps), accelerator, lambda _: None, saver=held, compiler=compiler)
    assert not compiler.is_on
    again = Compiler(base, wanted=True)
    seen: list[bool] = []
    fit(
        Slope(0.0),
        plan(steps=steps + 1),
        accelerator,
        lambda _: seen.append(again.is_on),
        saver=saver(tmp_path),
        compiler=again,
    )
    assert seen[1]
