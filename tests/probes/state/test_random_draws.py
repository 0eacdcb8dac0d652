"""Waiting until the program's other threads draw no random numbers."""

from __future__ import annotations

import random

import numpy as np
import pytest

from saldiag_probes.state.random_draws import MAX_WAIT_SECONDS, QUIET_SECONDS, wait_for_draws


class Time:
    """A clock that moves on when somebody sleeps, and what happens meanwhile."""

    def __init__(self, draws, draw):
        self.now, self.draws, self.draw = 0.0, draws, draw

    def sleep(self, seconds):
        self.now += seconds
        if self.draws:
            self.draws -= 1
            self.draw()


@pytest.mark.parametrize("draw", [random.random, np.random.rand], ids=["random", "numpy"])
@pytest.mark.parametrize(("draws", "quiet"), [(0, True), (8, True), (10**6, False)])
def test_waits_for_the_last_draw_and_not_for_ever(draw, draws, quiet):
    time = Time(draws, draw)
    assert wait_for_draws(lambda: time.now, time.sleep) == quiet
    assert time.now >= QUIET_SECONDS
    assert time.now <= MAX_WAIT_SECONDS + QUIET_SECONDS
    assert (time.draws == 0) == quiet
