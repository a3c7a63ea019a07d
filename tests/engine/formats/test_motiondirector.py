"""MotionDirector's lists: the order in which its code walks the network, written out here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from engine.errors import IncompatibleError
from tests.engine.formats import files
from tests.engine.formats.conftest import Convert

PARTS = {
    "TransformerTemporalModel": ("attn1", "attn2", "ff"),
    "Transformer2DModel": ("attn1", "ff"),
}


def walk(unet: torch.nn.Module, ancestor: str) -> Iterator[tuple[str, torch.nn.Linear]]:
    """Literally: every ancestor of that class in the order of modules, and in it every linear layer in one of its
    parts, a part being found by its letters in the layer's path."""
    for start, module in unet.named_modules():
        if type(module).__name__ != ancestor:
            continue
        for path, layer in module.named_modules():
            if isinstance(layer, torch.nn.Linear) and any(part in path for part in PARTS[ancestor]):
                yield f"{start}.{path}", layer


@pytest.mark.parametrize(
    ("ancestor", "kind"),
    [("TransformerTemporalModel", "motion"), ("Transformer2DModel", "subject")],
)
def test_every_matrix_of_a_list_comes_to_its_layer(
    ancestor: str, kind: str, bases, converted: Convert, tmp_path: Path
) -> None:
    """B comes before A; nothing in the file says where they belong."""
    draws, matrices, expected = files.Draws(), [], {}
    for path, layer in walk(bases["unet3d"].denoiser, ancestor):
        up, down = draws(layer.out_features, 2), draws(2, layer.in_features)
        matrices += [up, down]
        expected[f"{path}.up.weight"], expected[f"{path}.down.weight"] = up, down
    torch.save(matrices, tmp_path / "50_unet.pt")
    (adapter,) = converted(tmp_path / "50_unet.pt", "unet3d")
    assert (adapter.facts.kind, adapter.facts.method) == (kind, "motiondirector")
    assert adapter.tensors.keys() == expected.keys()
    assert all(torch.equal(adapter.tensors[name], t) for name, t in expected.items())


def test_a_list_of_another_length_tells_both_lengths(converted: Convert, tmp_path: Path) -> None:
    torch.save([torch.ones(4, 2), torch.ones(2, 4)], tmp_path / "list.pt")
    with pytest.raises(IncompatibleError, match=r"list of 2 matrices .* has \d+ \(temporal\)"):
        converted(tmp_path / "list.pt", "unet3d")


def test_a_matrix_of_another_width_is_named_with_its_layer(
    bases, converted: Convert, tmp_path: Path
) -> None:
    matrices = []
    for _, layer in walk(bases["unet3d"].denoiser, "TransformerTemporalModel"):
        matrices += [torch.ones(layer.out_features, 2), torch.ones(2, layer.in_features + 1)]
    torch.save(matrices, tmp_path / "list.pt")
    with pytest.raises(IncompatibleError, match=r"matrices 0 and 1 .* transformer_in"):
        converted(tmp_path / "list.pt", "unet3d")
