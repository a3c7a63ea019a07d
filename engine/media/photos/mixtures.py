"""How often a colour occurs in a part of a picture: mixtures of normal distributions, fitted with weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.media.pixels import Floats

ROUNDS = 6
# No part is narrower than this, in levels of 0 to 255: what a camera's noise and JPEG do to one colour.
LEAST_SPREAD = 5.0
# Any colour may occur anywhere, so often: a density over cubic levels.
STRAY = 6e-10


@dataclass(frozen=True, slots=True)
class Mixture:
    """k normal distributions over colours: ``shares`` (k,), ``means`` (k, 3), ``covariances`` (k, 3, 3)."""

    shares: Floats
    means: Floats
    covariances: Floats

    def log_density(self, colours: Floats) -> Floats:
        """Logarithm of the density, (n,), at ``colours``, (n, 3) in 0 to 255."""
        return np.asarray(np.log(self._densities(colours).sum(1) + STRAY))

    def _densities(self, colours: Floats) -> Floats:
        """What each part adds to the density, (n, k)."""
        away = colours[:, None] - self.means
        square = np.einsum("nki,kij,nkj->nk", away, np.linalg.inv(self.covariances), away)
        height = self.shares / np.sqrt((2 * np.pi) ** 3 * np.linalg.det(self.covariances))
        return np.asarray(height * np.exp(-square / 2))

    def owners(self, colours: Floats) -> Floats:
        """Probability that each part made each colour, (n, k)."""
        parts = self._densities(colours) + 1e-30
        return np.asarray(parts / parts.sum(1, keepdims=True))


def fit_mixture(colours: Floats, weights: Floats, parts: int) -> Mixture:
    """The mixture of ``parts`` under which ``colours``, (n, 3), each of a weight (n,), are most likely.

    It starts from the colours cut in two, again and again, across the direction in which a part is widest; so equal
    input gives an equal mixture.

    Paper: Orchard and Bouman, "Color quantization of images", IEEE Trans. Signal Processing 39, 1991.
    """
    part_of = np.zeros(len(colours), int)
    for new in range(1, parts):
        mixture = _moments(colours, weights, np.eye(new)[part_of])
        values, vectors = np.linalg.eigh(mixture.covariances)
        widest = int(np.argmax(values[:, -1] * mixture.shares))
        beyond = (colours - mixture.means[widest]) @ vectors[widest, :, -1] > 0
        part_of[(part_of == widest) & beyond] = new
    mixture = _moments(colours, weights, np.eye(parts)[part_of])
    for _ in range(ROUNDS):
        mixture = _moments(colours, weights, mixture.owners(colours))
    return mixture


def _moments(colours: Floats, weights: Floats, owners: Floats) -> Mixture:
    """Share, mean and covariance of each part, (n, k) of which own the colours."""
    mass = owners * weights[:, None]
    total = mass.sum(0) + 1e-9
    means = mass.T @ colours / total[:, None]
    away = colours[:, None] - means
    covariances = np.einsum("nk,nki,nkj->kij", mass, away, away) / total[:, None, None]
    return Mixture(total / total.sum(), means, covariances + np.eye(3) * LEAST_SPREAD**2)
