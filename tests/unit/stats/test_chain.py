from __future__ import annotations

import numpy as np

from controller.stats.chain import Passage, Trail

FIRST = Passage(variance_ratio=0.0, mean=0.0, low=-2.5, high=2.5)
SECOND = Passage(variance_ratio=0.4, mean=0.0, low=-2.4, high=2.4)


def masses(trail: Trail, ratio: float) -> bytes:
    return np.concatenate([strip.mass for strip in trail.density(ratio).strips]).tobytes()


def test_a_trail_asked_for_another_step_makes_its_nodes_anew() -> None:
    asked = Trail.of([FIRST, SECOND])
    masses(asked, 0.5)
    assert masses(asked, 0.99) == masses(Trail.of([FIRST, SECOND]), 0.99)
    assert masses(asked, 0.5) != masses(asked, 0.99)


def test_a_trail_goes_on_in_more_than_one_way() -> None:
    trunk = Trail.of([FIRST])
    branch = trunk.then(SECOND._replace(variance_ratio=0.7))
    assert masses(trunk.then(SECOND), 0.8) == masses(Trail.of([FIRST, SECOND]), 0.8)
    assert masses(branch, 0.8) != masses(trunk.then(SECOND), 0.8)
