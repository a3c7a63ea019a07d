"""The bottleneck that subjects and motions are made of.

Letters: b batch, k rows a sample, n tokens, d width of the stream.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, conv2d, conv3d, gelu, linear, pad

# The layers that `FullRank` can stand beside.
FULL_RANK = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Bottleneck(nn.Module):
    """``y = x + W_up·GELU(W_down·(x + λ·W_cond·c))``, the identity when fresh.

    ``W_up`` and its bias start at zero. The skip carries the unconditioned x. ``W_cond`` has a bias, so that a vector
    of zeros is a condition of its own; λ = 0 leaves the condition out.

    Paper: arXiv 2312.04433, equations 2 and 4.
    Differs: ``W_cond`` starts at zero, of which the paper does not speak. A clip shows few looks; what a fresh matrix
    makes of any other is random, training leaves it so, and a subject's look would move the stream at random.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        condition_width: int | None = None,
        *,
        look_at: Literal["stream", "hidden"] = "stream",
    ) -> None:
        """Build a bottleneck for a stream of ``width`` through ``hidden``, conditioned or not.

        With ``look_at`` hidden W_down·W_cond is one matrix, of ``hidden`` rows.
        """
        super().__init__()
        self.look_at = look_at
        self.down = nn.Linear(width, hidden)
        self.up = nn.Linear(hidden, width)
        self.cond = (
            None
            if condition_width is None
            else nn.Linear(condition_width, hidden if look_at == "hidden" else width)
        )
        if self.cond is not None:
            nn.init.zeros_(self.cond.weight)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def delta(self, x: Tensor, c: Tensor | None = None, strength: Tensor | float = 1.0) -> Tensor:
        """What the bottleneck adds to the stream.

        Args:
            x: the residual stream, (b·k, n, d), with the b samples outermost.
            c: condition vectors (b, d_c), one a sample, or None.
            strength: λ, one number or one a sample, (b,).

        Returns:
            (b·k, n, d).
        """
        hidden = _cast(self.down, x)
        if self.cond is not None and c is not None:
            # W_down·(x + s) = W_down·x + W_down·s: a shift of the few hidden units, not of every token's stream.
            shift = _cast(self.cond, c.to(x.dtype)) * _per_sample(strength)
            if self.look_at == "stream":
                shift = linear(shift.to(x.dtype), self.down.weight.to(x.dtype))
            shift = shift.to(x.dtype)
            hidden = hidden + shift.repeat_interleave(x.shape[0] // c.shape[0], dim=0)[:, None, :]
        return _cast(self.up, gelu(hidden))

    def forward(self, x: Tensor, c: Tensor | None = None, strength: Tensor | float = 1.0) -> Tensor:
        """The stream with the delta added, (b·k, n, d); arguments as for `delta`."""
        return x + self.delta(x, c, strength)


class LowRank(nn.Module):
    """``Δ = W_up·W_down·x`` beside a linear layer or a convolution of single pixels, nothing when fresh.

    ``W_down`` starts as a linear layer of torch does and ``W_up`` at zero. The scale α/r is part of ``W_up``.

    Paper: arXiv 2106.09685 (LoRA), section 4.1.
    """

    def __init__(self, width: int, out_width: int, rank: int, *, axis: int = -1) -> None:
        """Build ``rank`` dimensions beside a layer from ``width`` to ``out_width``, which lie along ``axis``."""
        super().__init__()
        self.axis = axis
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, out_width, bias=False)
        nn.init.zeros_(self.up.weight)

    is_held: bool = False  # it acts, and no gradient reaches its weights

    def delta(self, x: Tensor, c: Tensor | None = None, strength: Tensor | float = 1.0) -> Tensor:  # noqa: ARG002
        """What is added to the layer's output, (…, out_width), for its input (…, width); no condition is read."""
        down, up = self.down.weight.to(x.dtype), self.up.weight.to(x.dtype)
        if self.is_held:
            down, up = down.detach(), up.detach()
        if self.axis == -1:
            return linear(linear(x, down), up)
        return linear(linear(x.movedim(self.axis, -1), down), up).movedim(-1, self.axis)


class FullRank(nn.Module):
    """``Δ = ΔW * x`` beside a linear layer or a convolution of any number of dimensions; nothing when fresh.

    What a fine-tune of the layer itself would change of its weight W, which stays as it is.
    """

    def __init__(self, layer: nn.Module) -> None:
        """Stand beside ``layer``."""
        super().__init__()
        assert isinstance(layer, FULL_RANK)
        self.weight = nn.Parameter(torch.zeros(layer.weight.shape))
        self._convolution = (
            None
            if isinstance(layer, nn.Linear)
            else (layer.stride, layer.padding, layer.dilation, layer.groups)
        )

    def delta(self, x: Tensor, c: Tensor | None = None, strength: Tensor | float = 1.0) -> Tensor:  # noqa: ARG002
        """What is added to the layer's output, in its shape, for its input; no condition is read."""
        weight = self.weight.to(x.dtype)
        if self._convolution is None:
            return linear(x, weight)
        convolve: Any = {3: conv1d, 4: conv2d, 5: conv3d}[weight.ndim]
        convolved: Tensor = convolve(x, weight, None, *self._convolution)
        return convolved


class ReferenceRank(LowRank):
    """Low-rank layers that meet the tokens of one reference alone; see `engine.adapters.reference`."""

    # the first of these tokens and the one behind the last, or None where there are none
    span: tuple[int, int] | None = None

    def delta(self, x: Tensor, c: Tensor | None = None, strength: Tensor | float = 1.0) -> Tensor:
        """As of `LowRank`, zero outside of ``span``."""
        first, end = self.span or (0, 0)
        part = super().delta(x[:, first:end], c, strength)
        return pad(part, (0, 0, first, x.shape[1] - end))


def _cast(layer: nn.Linear, x: Tensor) -> Tensor:
    """The layer in x's dtype: while it learns its weights are fp32 and are rounded to what the base computes in."""
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    return linear(x, layer.weight.to(x.dtype), bias)


def _per_sample(strength: Tensor | float) -> Tensor | float:
    """λ as it multiplies (b, d): a column where there is one for each sample."""
    return strength[:, None] if isinstance(strength, Tensor) and strength.ndim == 1 else strength
