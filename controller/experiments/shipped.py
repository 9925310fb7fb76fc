"""The policies that come with the product; a project may change its copies."""

from __future__ import annotations

from typing import Final

from controller.experiments.policies import (
    DAY,
    Autonomy,
    Bake,
    Deadlines,
    Gate,
    Policy,
    Stage,
)

HOUR = 3600.0
WEEK_TO_START: Final = Deadlines(validating=7 * DAY)
LOOK_EVERY_SECONDS: Final = 60.0

CAUTIOUS: Final = Policy(
    name="cautious",
    description="Small steps over a week, two people promote; the machine only ever retreats.",
    autonomy=Autonomy.L2,
    ramp=(
        Stage(enrolled=0.02, dwell_seconds=DAY, min_units=200),
        Stage(enrolled=0.10, dwell_seconds=2 * DAY, min_units=1_000, min_matured=500),
        Stage(enrolled=0.50, dwell_seconds=2 * DAY, min_units=2_000, min_matured=1_000),
        Stage(enrolled=1.00, dwell_seconds=2 * DAY, min_units=2_000, min_matured=1_000),
    ),
    approvals={"promote": Gate(quorum=2)},
    deadlines=WEEK_TO_START,
    look_every_seconds=LOOK_EVERY_SECONDS,
)

STANDARD: Final = Policy(
    name="standard",
    description="The machine ramps in three steps over three days, two people promote.",
    autonomy=Autonomy.L3,
    ramp=(
        Stage(enrolled=0.10, dwell_seconds=DAY, min_units=500, min_matured=200),
        Stage(enrolled=0.50, dwell_seconds=DAY, min_units=1_000, min_matured=500),
        Stage(enrolled=1.00, dwell_seconds=DAY, min_units=1_000, min_matured=500),
    ),
    approvals={"promote": Gate(quorum=2)},
    deadlines=WEEK_TO_START,
    look_every_seconds=LOOK_EVERY_SECONDS,
)

AB_TEST: Final = Policy(
    name="ab-test",
    description="One stage with everybody enrolled: a plain A/B test that people decide.",
    autonomy=Autonomy.L2,
    ramp=(Stage(enrolled=1.00, dwell_seconds=DAY),),
    approvals={"promote": Gate(quorum=2)},
    deadlines=WEEK_TO_START,
    look_every_seconds=LOOK_EVERY_SECONDS,
)

SOLO: Final = Policy(
    name="solo",
    description="For one person alone: the requester may approve, and it is marked unreviewed.",
    autonomy=Autonomy.L3,
    ramp=(
        Stage(enrolled=0.10, dwell_seconds=HOUR, min_units=100),
        Stage(enrolled=1.00, dwell_seconds=DAY),
    ),
    approvals={
        "promote": Gate(quorum=1, requester_may_approve=True, author_may_approve=True),
    },
    deadlines=WEEK_TO_START,
    bake=Bake(duration_seconds=3 * DAY),
    look_every_seconds=LOOK_EVERY_SECONDS,
)

SHIPPED_POLICIES: Final = (CAUTIOUS, STANDARD, AB_TEST, SOLO)
