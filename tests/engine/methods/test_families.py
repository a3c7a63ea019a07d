"""Every method on every family where it makes sense: fresh, at weight 0, its gradients, its file."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from engine.adapters.composition import Composition
from engine.adapters.delta import build_delta
from engine.adapters.file import WORD, load_adapter
from engine.bases import BaseLocation, locate_base
from engine.bases.protocol import Base
from engine.diffusion.losses import Draw
from engine.errors import RecipeError, StoppedError
from engine.learn import learn
from engine.methods import METHODS, check_family, find_method
from engine.methods.protocol import Inputs, Stage
from engine.methods.word import usual_norm
from engine.progress import Event, Progress, StageAdvanced, ignore
from engine.training.result import Draft
from engine.training.saver import SavePolicy
from engine.training.session import Session
from tests.engine.bases.families import BUILDERS, Scene, denoise, draw_scene
from tests.engine.methods.cases import RECIPES
from tests.engine.samples import clip, photos
from tests.tiny import open_tiny, quiet_draws, wake

SPLIT = {"UNet3DConditionModel", "UNetMotionModel"}
CASES = [
    (family, *key)
    for family in sorted(BUILDERS)
    for key, entry in METHODS.items()
    if family in SPLIT or not entry.splits_time
]


@dataclass(frozen=True)
class Case:
    """A method's last stage on a family's tiny base, nothing fitted."""

    base: Base
    session: Session[Any]
    stage: Stage
    scene: Scene
    plain: torch.Tensor
    method: str

    @contextmanager
    def attached(self, weight: float = 1.0):
        assert self.stage.delta is not None
        delta = replace(self.stage.delta, weight=weight)
        with Composition((delta,), None).attached(self.base):
            yield


@cache
def open_family(family: str) -> tuple[BaseLocation, Base, Scene, torch.Tensor]:
    import tempfile

    folder = BUILDERS[family](Path(tempfile.mkdtemp()) / "base")
    base = open_tiny(folder)
    scene = draw_scene(base)
    scene = replace(scene, timesteps=scene.timesteps[:1].expand(2))
    return locate_base(str(folder)), base, scene, denoise(base, scene)


def task(name: str, kind: str) -> tuple[Any, Inputs]:
    """What is learned, and how; a clip of five frames, as Wan takes them."""
    recipe = RECIPES[name, kind]
    if hasattr(recipe, "frames"):
        recipe = msgspec.structs.replace(recipe, frames=5)
    return recipe, Inputs(
        photos=None if kind == "motion" else photos(2, masked=True),
        clips=[] if kind == "subject" else [clip(0, frames=5)],
        token="<rex>" if kind == "subject" else "",
    )


@pytest.fixture(scope="module", params=CASES, ids=" ".join)
def case(request, tmp_path_factory):
    family, name, kind = request.param
    location, base, scene, plain = open_family(family)
    recipe, inputs = task(name, kind)
    method = find_method(name, kind)
    method.check(recipe, inputs, location)
    folder = tmp_path_factory.mktemp("run")
    device = torch.device("cpu")
    session = Session(recipe, location, base, device, None, None, folder, None)
    stages = method.stages(session, inputs, ignore)
    stage = next(stages)
    if stage.delta is None:  # a word is learned first
        stage = next(stages)
    stages.close()
    return Case(base, session, stage, scene, plain, name)


def predict(case: Case) -> torch.Tensor:
    return denoise(case.base, case.scene)


def stirred(case: Case) -> None:
    """Give every layer something to do."""
    bank = case.stage.delta.bank
    if bank is not None:
        bank.condition = None
        with quiet_draws(4):
            wake(bank, 0.3)


def test_no_two_layers_of_an_adapter_have_one_place(case):
    """In its file one of them would be lost."""
    bank = case.stage.delta.bank
    names = [] if bank is None else [site.name for site in bank.sites]
    assert len(set(names)) == len(names)


def test_fresh_is_the_base(case):
    """But for photos, which are read before anything is learned."""
    with case.attached():
        fresh = predict(case)
    assert torch.equal(fresh, case.plain) == (case.method != "reference")


def test_gradients_reach_what_is_learned_and_nothing_else(case):
    objective = case.stage.objective
    wanted = {name: p for name, p in objective.named_parameters() if p.requires_grad}
    reading = getattr(objective, "reference", None)
    draws = [Draw(0, 0, item) for item in {0, case.stage.plan.items - 1}]
    with (
        case.stage.delta.attached(case.base),
        nullcontext() if reading is None else reading.attached(),
    ):
        for part in objective.parts(draws):
            objective(part).sum().backward()
    moved = {name for name, p in wanted.items() if p.grad is not None and p.grad.abs().sum() > 0}
    # Of two low-rank factors the first has no gradient while the second is zero.
    first = ("down.weight", "down.bias", "cond.weight", "cond.bias")
    assert moved >= {name for name in wanted if not name.endswith(first)}
    assert all(p.grad is None for p in case.base.denoiser.parameters())
    objective.zero_grad()


def test_weight_zero_is_the_base_bit_for_bit_and_more_is_not(case):
    stirred(case)
    with case.attached(0.0):
        assert torch.equal(predict(case), case.plain)
    if case.stage.delta.bank is not None:
        with case.attached():
            assert not torch.allclose(predict(case), case.plain, atol=1e-4)


def test_a_file_does_what_was_learned(case):
    stirred(case)
    draft = Draft(case.method, case_storage(case), case.session, case.stage.delta, ())
    path = draft.save(case.session.folder / "adapter.safetensors")
    delta = build_delta(load_adapter(path), case.base)
    held = build_delta(draft.as_read(), case.base)
    outputs = []
    for each in (held, delta):
        with Composition((each,), None).attached(case.base):
            outputs.append(predict(case))
    assert torch.equal(*outputs)
    with case.attached():
        torch.testing.assert_close(outputs[0], predict(case), rtol=1e-2, atol=1e-2)
    assert (
        {t.dtype for t in delta.bank.tensors().values()} <= {delta.bank.stored}
        if delta.bank
        else True
    )


# UNet3D's are in `test_methods`.
@pytest.mark.parametrize(
    ("family", "name", "kind"), [case for case in CASES if case[0] != "UNet3DConditionModel"]
)
def test_a_stopped_run_goes_on_to_the_same_bytes(family, name, kind, tmp_path):
    location, *_ = open_family(family)
    recipe, inputs = task(name, kind)
    policy = SavePolicy()

    def stop(event: Event) -> None:
        if isinstance(event, StageAdvanced) and event.loss is not None and event.step == 2:
            policy.stop.reason = "test"

    def run(folder: str, saves: SavePolicy, progress: Progress = ignore) -> bytes:
        (tmp_path / folder).mkdir(exist_ok=True)
        learned = learn(
            kind,
            recipe,
            inputs,
            location,
            tmp_path / folder,
            method=name,
            device="cpu",
            policy=saves,
            progress=progress,
        )
        return learned.weights.read_bytes()

    with pytest.raises(StoppedError, match="is saved"):
        run("stopped", policy, stop)
    assert run("stopped", SavePolicy()) == run("whole", SavePolicy())


def case_storage(case: Case):
    return find_method(case.method, case.stage.delta.kind).storage


@pytest.mark.parametrize("family", sorted(SPLIT))
def test_sparse_causal_attention_is_in_the_file_and_acts_on_videos_alone(family, tmp_path):
    """At a weight of 0, and on one frame, the base is as it was."""
    location, base, scene, plain = open_family(family)
    recipe, inputs = task("tune-a-video", "motion")
    recipe = msgspec.structs.replace(recipe, sparse_causal=True)
    run = ("motion", recipe, inputs, location, tmp_path)
    learned = learn(*run, method="tune-a-video", device="cpu")
    delta = build_delta(load_adapter(learned.weights), base)
    assert delta.sparse_causal
    for layer in delta.bank.bottlenecks:
        layer.weight.data.zero_()
    still = replace(scene, latents=scene.latents[:, :, :1])
    alone = denoise(base, still)
    with Composition((delta,), None).attached(base):
        assert not torch.allclose(denoise(base, scene), plain, atol=1e-4)
        assert torch.equal(denoise(base, still), alone)
        delta.act(0.0)
        assert torch.equal(denoise(base, scene), plain)
    assert torch.equal(denoise(base, scene), plain)


@pytest.mark.parametrize(("name", "value"), [("vectors", 2), ("word_norm", "keep")])
def test_what_a_word_in_the_table_has_is_refused_where_a_word_is_an_offset(name, value):
    recipe = msgspec.structs.replace(RECIPES["word", "subject"], **{name: value})
    inputs, method = Inputs(photos=photos(1), token="<rex>"), find_method("word", "subject")
    method.check(recipe, inputs, open_family("UNet3DConditionModel")[0])
    with pytest.raises(RecipeError, match=f"{name} is {value}; on wan"):
        method.check(recipe, inputs, open_family("WanTransformer3DModel")[0])


def test_keep_holds_a_words_norm_through_a_whole_run(tmp_path):
    location, base, *_ = open_family("UNet3DConditionModel")
    recipe, inputs = task("word", "subject")
    recipe = msgspec.structs.replace(recipe, word_norm="keep")
    learned = learn("subject", recipe, inputs, location, tmp_path, method="word", device="cpu")
    vector = load_adapter(learned.weights).tensors[WORD]
    assert vector.norm().item() == pytest.approx(usual_norm(base), rel=1e-5)
    assert learned.metrics["word_norm_ratio"] == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("name", ["dreamvideo", "word"])
@pytest.mark.parametrize(
    ("family", "is_measured"), [("UNetMotionModel", True), ("WanTransformer3DModel", False)]
)
def test_a_words_norm_is_told_in_usual_ones_and_that_of_an_offset_is_not(
    name, family, is_measured, tmp_path
):
    location, base, *_ = open_family(family)
    recipe, inputs = task(name, "subject")
    learned = learn("subject", recipe, inputs, location, tmp_path, method=name, device="cpu")
    vector = load_adapter(learned.weights).tensors[WORD]
    ratio = vector.norm().item() / usual_norm(base) if is_measured else None
    assert learned.metrics.get("word_norm_ratio") == (ratio and pytest.approx(ratio, rel=1e-5))


@pytest.mark.parametrize(("name", "kind"), [k for k, e in METHODS.items() if e.splits_time])
def test_a_method_that_needs_layers_along_time_is_refused_where_there_are_none(name, kind):
    location, *_ = open_family("WanTransformer3DModel")
    with pytest.raises(RecipeError, match="looks over all frames at once") as caught:
        check_family(name, kind, location.family)
    assert caught.value.hint == "on this base --method dreamvideo, lora, dreamix"
    check_family(name, kind, open_family("UNet3DConditionModel")[0].family)
