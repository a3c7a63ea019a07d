"""Arrays by what they hold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # levels of 0 to 255, channels last
Floats = npt.NDArray[np.float64]
