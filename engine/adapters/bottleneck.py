"""The bottleneck that both adapters are made of."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import gelu


class Bottleneck(nn.Module):
    """``y = x + W_up·GELU(W_down·(x + λ·W_cond·c))``, the identity when fresh.

    ``W_up`` and its bias start at zero. The skip carries the unconditioned x. ``W_cond`` has a bias, so that a vector
    of zeros is a condition of its own; λ = 0 leaves the condition out.

    Paper: arXiv 2312.04433, equations 2 and 4.
    Differs: ``W_cond`` starts at zero, of which the paper does not speak. A clip shows few looks; what a fresh matrix
    makes of any other is random, training leaves it so, and a subject's look would move the stream at random.
    """

    def __init__(self, width: int, hidden: int, condition_width: int | None = None) -> None:
        """Build a bottleneck for a stream of ``width`` through ``hidden``, conditioned or not."""
        super().__init__()
        self.down = nn.Linear(width, hidden)
        self.up = nn.Linear(hidden, width)
        self.cond = None if condition_width is None else nn.Linear(condition_width, width)
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
        if self.cond is None or c is None:
            return self._squeeze(x)
        shift = self.cond(c) * _per_sample(strength)
        shift = shift.repeat_interleave(x.shape[0] // c.shape[0], dim=0)
        return self._squeeze(x + shift[:, None, :].to(x.dtype))

    def forward(self, x: Tensor, c: Tensor | None = None, strength: Tensor | float = 1.0) -> Tensor:
        """The stream with the delta added, (b·k, n, d); arguments as for `delta`."""
        return x + self.delta(x, c, strength)

    def _squeeze(self, x: Tensor) -> Tensor:
        out: Tensor = self.up(gelu(self.down(x)))
        return out


def _per_sample(strength: Tensor | float) -> Tensor | float:
    """λ as it multiplies (b, d): a column where there is one for each sample."""
    return strength[:, None] if isinstance(strength, Tensor) and strength.ndim == 1 else strength
