"""Threads that share a bank do not see each other's condition or stream."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import torch
from torch import nn

from engine.adapters.bank import Bank, Condition, fresh_bank
from engine.bases.protocol import Site

WIDTH, LOOK = 16, 6


def conditioned_bank() -> tuple[Bank, nn.Module]:
    denoiser = nn.Sequential(nn.Linear(WIDTH, WIDTH))
    bank = fresh_bank([Site("only", "0", "0", WIDTH)], 0.5, LOOK, seed=0)
    with torch.no_grad():
        for weight in bank.parameters():
            weight.add_(0.1)
    return bank, denoiser


def test_threads_at_once_give_what_each_gives_alone() -> None:
    bank, denoiser = conditioned_bank()
    together = Barrier(2)
    looks = [torch.full((1, LOOK), value) for value in (1.0, -2.0)]

    def through(look: torch.Tensor, *, wait: bool) -> torch.Tensor:
        bank.condition = Condition(look)
        if wait:
            together.wait()
        return denoiser(look[:, :1].expand(1, WIDTH))

    with bank.attached(denoiser), torch.no_grad():
        alone = [through(look, wait=False) for look in looks]
        with ThreadPoolExecutor(2) as pool:
            for _ in range(20):
                shared = pool.map(lambda look: through(look, wait=True), looks)
                assert all(map(torch.equal, shared, alone))


def test_a_thread_that_set_no_condition_has_the_last() -> None:
    bank, _ = conditioned_bank()
    bank.condition = Condition(torch.zeros(1, LOOK))
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: bank.condition).result() is bank.condition
