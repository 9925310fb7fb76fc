"""An exposure is checked against the hash its rollout splits with."""

from __future__ import annotations

from controller.assignment.hashing import SHA256, XXH3, bucket, hash_unit
from controller.experiments.slots import Hash
from controller.storage.sql.database import Database
from tests import worlds
from tests.traffic import SALT, World, ago


def arm(unit: str, algo: int) -> str:
    mine = bucket(hash_unit(SALT, "customer", unit, algo=algo)[1], 10_000)
    return "champion" if mine < 5000 else "challenger"


def test_arms_are_recomputed_with_the_rollouts_own_hash(database: Database) -> None:
    world = World(database, [worlds.metric("cost", window_seconds=10.0)], split_by=Hash.XXH3)
    units = [unit for unit in map(str, range(60)) if arm(unit, XXH3) != arm(unit, SHA256)]
    assert len(units) > 10
    right = [world.exposure(unit, ago(100), arm=arm(unit, XXH3)) for unit in units[:5]]
    wrong = [world.exposure(unit, ago(100), arm=arm(unit, SHA256)) for unit in units[5:10]]
    seen = world.run([*right, *wrong])
    assert sum(seen.exposed.values()) == 5
    assert seen.excluded == {"arm_mismatch": 5}
    assert all(world.target.bucket_arm(unit, 1) == arm(unit, XXH3) for unit in units)
