"""What must hold for every plan, every schedule of looks and every set of sums."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.aggregation.statistics import Moments
from controller.analysis.look import take_look
from controller.analysis.report import LookInput, LookReport
from controller.experiments.canonical import canonical_json
from controller.experiments.metrics import Direction, MetricType
from controller.experiments.policies import Futility, OecRules
from controller.experiments.slots import Guardrail
from controller.stats.futility import FutilityLook, FutilityPlan, next_futility
from controller.stats.group_sequential import SequentialPlan, boundaries
from controller.stats.results import Inconclusive
from controller.stats.score import ArmMoments, EpochMoments, Null, score, variance_ratio
from controller.stats.spending import Spending, SpendingShape
from controller.stats.stagewise import stagewise_p
from tests.chances import crossing_probability
from tests.worlds import EVEN, metric, plan, statistics

FEW = settings(max_examples=40)

fractions = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=8, unique=True).map(sorted)
spendings = st.one_of(
    st.builds(
        Spending, shape=st.sampled_from([SpendingShape.OBRIEN_FLEMING, SpendingShape.POCOCK])
    ),
    st.builds(
        Spending,
        shape=st.just(SpendingShape.HWANG_SHIH_DECANI),
        parameter=st.floats(-8.0, 4.0),
    ),
    st.builds(Spending, shape=st.just(SpendingShape.KIM_DEMETS), parameter=st.floats(0.5, 5.0)),
)
plans = st.builds(
    SequentialPlan,
    alpha=st.floats(1e-4, 0.3),
    sides=st.sampled_from([1, 2]),
    spending=spendings,
)


def apart(times: list[float]) -> bool:
    """Looks that bring something new; nearer ones are not taken."""
    return all(b - a > 0.002 * b for a, b in itertools.pairwise(times))


@FEW
@given(plan=plans, times=fractions.filter(apart))
def test_alpha_spent_never_falls_and_is_never_more_than_alpha(
    plan: SequentialPlan, times: list[float]
) -> None:
    taken = boundaries(plan, times)
    spent = [look.alpha_spent for look in taken]
    assert spent == sorted(spent)
    assert spent[-1] <= plan.alpha * (1.0 + 1e-12)
    assert crossing_probability(plan, taken) == pytest.approx(spent[-1], rel=1e-6)


@FEW
@given(plan=plans, times=fractions.filter(apart))
def test_a_bound_is_never_below_the_one_of_a_single_look(
    plan: SequentialPlan, times: list[float]
) -> None:
    taken = boundaries(plan, times)
    only = boundaries(plan, times[-1:])[0]
    assert taken[-1].critical_value >= only.critical_value - 1e-9


@FEW
@given(plan=plans, times=fractions.filter(apart), drift=st.floats(0.5, 6.0))
def test_futility_never_passes_efficacy_and_leaves_it_alone(
    plan: SequentialPlan, times: list[float], drift: float
) -> None:
    taken = boundaries(plan, times)
    futility = FutilityPlan(drift=drift)
    given_up: list[FutilityLook] = []
    for index, look in enumerate(taken):
        given_up.append(next_futility(plan, futility, taken[:index], given_up, look))
        assert given_up[-1].better_below <= look.critical_value
        assert not given_up[-1].stops(look.critical_value)
    assert taken == boundaries(plan, times)


@FEW
@given(plan=plans, times=fractions.filter(apart), z=st.floats(-6.0, 6.0))
def test_p_and_bound_agree(plan: SequentialPlan, times: list[float], z: float) -> None:
    taken = boundaries(plan, times)
    crossed = (abs(z) if plan.sides == 2 else z) >= taken[-1].critical_value
    p = stagewise_p(plan, taken, z)
    assert 0.0 <= p <= 1.0
    if abs((abs(z) if plan.sides == 2 else z) - taken[-1].critical_value) > 1e-6:
        assert crossed == (p <= taken[-1].alpha_spent)


numbers = st.one_of(
    st.floats(-1e12, 1e12, allow_subnormal=False),
    st.sampled_from([0.0, 1.0, 1e-12, 1e9, -1e200, 1e200]),
)


@st.composite
def arms(draw: st.DrawFn) -> ArmMoments:
    n = draw(st.sampled_from([0, 1, 2, 3, 50, 10_000]))
    if n == 0:
        return ArmMoments(n=0, mean=0.0, m2=0.0, nonzero=0)
    spread = abs(draw(numbers)) if n > 1 else 0.0
    return ArmMoments(n=n, mean=draw(numbers), m2=spread, nonzero=draw(st.integers(0, n)))


epochs = st.lists(st.tuples(arms(), arms()), max_size=3).map(
    lambda pairs: [
        EpochMoments(epoch=number, control=a, treatment=b) for number, (a, b) in enumerate(pairs)
    ]
)


@given(found=epochs, equal=st.booleans(), scale=st.sampled_from([1.0, 0.9, 1.1]))
def test_a_score_is_finite_or_names_why_not(
    found: list[EpochMoments], equal: bool, scale: float
) -> None:
    result = score(found, null=Null(scale=scale), equal_weights=equal)
    if isinstance(result, Inconclusive):
        assert result.reason
        return
    units = sum(e.control.n + e.treatment.n for e in found)
    assert math.isfinite(result.z)
    # The null variance holds the difference itself: no z outgrows the root of the units.
    assert abs(result.z) <= math.sqrt(units) * (1.0 + 1e-9)
    assert variance_ratio(result.counts, result) == 1.0
    assert score(list(reversed(found)), null=Null(scale=scale), equal_weights=equal) == result


@given(found=epochs, equal=st.booleans())
def test_swapping_the_arms_turns_the_sign_of_the_score(
    found: list[EpochMoments], equal: bool
) -> None:
    swapped = [e._replace(control=e.treatment, treatment=e.control) for e in found]
    there, back = score(found, equal_weights=equal), score(swapped, equal_weights=equal)
    if isinstance(there, Inconclusive) or isinstance(back, Inconclusive):
        assert type(there) is type(back)
        return
    assert back.z == pytest.approx(-there.z, rel=1e-9, abs=1e-12)


@given(found=epochs, exponent=st.integers(-30, 30))
def test_the_unit_of_the_metric_does_not_matter(found: list[EpochMoments], exponent: int) -> None:
    factor = 2.0**exponent  # exact, so that only the mathematics is tested

    def scaled(arm: ArmMoments) -> ArmMoments:
        return arm._replace(mean=arm.mean * factor, m2=arm.m2 * factor * factor)

    there = score(found)
    here = score(
        [e._replace(control=scaled(e.control), treatment=scaled(e.treatment)) for e in found]
    )
    if isinstance(there, Inconclusive) or isinstance(here, Inconclusive):
        return
    assert here.z == pytest.approx(there.z, rel=1e-9)


def as_sums(arm: ArmMoments) -> Moments:
    return Moments(n=arm.n, nonzero=arm.nonzero, mean=arm.mean, m2=arm.m2)


@FEW
@given(
    looks=st.lists(epochs, min_size=1, max_size=3),
    kind=st.sampled_from([MetricType.BINARY, MetricType.MEAN, MetricType.RATIO]),
    ages=st.sampled_from([None, 1.0, 1e9]),
    data=st.data(),
)
def test_no_sums_make_a_look_fail_or_say_nan_and_it_can_be_taken_again(
    looks: list[list[EpochMoments]], kind: MetricType, ages: float | None, data: st.DataObject
) -> None:
    chosen = plan(
        horizon=5000,
        oec=metric("value", type=kind, denominator="visits"),
        guardrails={
            "cost": (
                metric("cost", type=kind, denominator="visits", direction=Direction.DECREASE),
                Guardrail(metric="cost", margin_relative=0.1),
            )
        },
        rules=OecRules(futility=Futility.NON_BINDING),
    )
    previous = None
    for number, found in enumerate(looks, start=1):
        cells = {
            (key, e.epoch, name): replace(
                as_sums(arm),
                denominator_mean=data.draw(numbers) if kind is MetricType.RATIO else 0.0,
            )
            for key in ("value", "cost")
            for e in found
            for name, arm in (("champion", e.control), ("challenger", e.treatment))
        }
        seen = statistics(cells, weights=(EVEN, EVEN, EVEN), ages={"value": ages, "cost": ages})
        look = LookInput(plan=chosen, statistics=seen, number=number, previous=previous)
        report: LookReport = take_look(look)
        stored = canonical_json(report.document())
        assert stored == canonical_json(take_look(look).document())
        previous = json.loads(canonical_json(report.memory))


@FEW
@given(sums=st.tuples(arms(), arms()), number=st.integers(0, 5), shift=st.floats(-1e3, 1e3))
def test_whether_values_vary_does_not_depend_on_a_shift(
    sums: tuple[ArmMoments, ArmMoments], number: int, shift: float
) -> None:
    epoch = EpochMoments(epoch=number, control=sums[0], treatment=sums[1])
    plain, moved = (score([epoch], null=Null(shift=by)) for by in (0.0, shift))
    if not isinstance(moved, Inconclusive):
        assert moved.varies == (not isinstance(plain, Inconclusive))
