"""One molecule on a grid: how its bound number relaxes, in time and in steps."""

from __future__ import annotations

import numpy as np
import pytest

from synapse_abm.theory import LonePair
from synapse_abm.theory.relaxation import LoneMolecule, Relaxation
from synapse_abm.theory.stepping import OCCUPIED, Split, TinyGrid

STEPS = [None, 0.02, 0.7, 5.0]  # s; None is time itself


def molecule(width: int, height: int, sites: dict[int, tuple[float, float]]) -> LoneMolecule:
    bind, unbind = np.array(list(sites.values())).T
    return LoneMolecule(width, height, 2.0, np.array(list(sites)), bind, unbind)


def numbers(relaxation: Relaxation) -> list[float]:
    return [relaxation.main_rate, relaxation.correlation_s, relaxation.association_s]


@pytest.mark.parametrize("dt", STEPS)
def test_one_cell_relaxes_as_the_two_state_chain(dt: float | None) -> None:
    """Rate b + k_off, whatever the step; bound b/(b + k_off) in the end."""
    alone = molecule(1, 1, {0: (1.5, 0.4)})
    relaxation = alone.relaxation(dt)
    assert numbers(relaxation) == pytest.approx([1.9, 1 / 1.9, 1 / 1.9], rel=1e-9)
    assert relaxation.mean_at(60.0) == pytest.approx(1.5 / 1.9, rel=1e-9)
    assert alone.first_binding_s(dt) == pytest.approx(1 / 1.5, rel=1e-12)


@pytest.mark.parametrize("dt", STEPS)
def test_where_all_cells_are_alike_space_plays_no_part(dt: float | None) -> None:
    alike = molecule(4, 3, dict.fromkeys(range(12), (1.5, 0.4)))
    assert numbers(alike.relaxation(dt)) == pytest.approx([1.9, 1 / 1.9, 1 / 1.9], rel=1e-9)
    assert alike.first_binding_s(dt) == pytest.approx(1 / 1.5, rel=1e-9)


@pytest.mark.parametrize("dt", STEPS)
def test_a_molecule_that_may_be_lost(dt: float | None) -> None:
    """Time bound from now on, if bound now: (1 + b/l)/k_off, with b/l returns on average."""
    lost = LoneMolecule(1, 1, 0.0, np.array([0]), np.array([1.5]), np.array([0.4]), leave=0.3)
    if dt is None or dt < 1:  # nothing is left of it after 30 s
        correlation = lost.relaxation(dt).correlation_s
        assert correlation == pytest.approx((1 + 1.5 / 0.3) / 0.4, rel=1e-9)


def chain(width: int, height: int, site: int) -> tuple[Split, np.ndarray, np.ndarray]:
    """The same by exploring states, with its number bound, and its law when free anywhere."""
    tiny = TinyGrid(
        width=width, height=height, sites=(site,), molecules=1, hop=2.0, bind=1.5, unbind=0.4
    ).split()
    bound = np.array([state[-1] == OCCUPIED for state in tiny.states], dtype=float)
    free = tiny.stationary() * (bound == 0)
    return tiny, bound, free / free.sum()


@pytest.mark.parametrize("dt", STEPS)
def test_two_codes_agree(dt: float | None) -> None:
    tiny, bound, free = chain(4, 3, 5)
    alone = molecule(4, 3, {5: (1.5, 0.4)}).relaxation(dt)
    assert numbers(tiny.relaxation(bound, free, dt)) == pytest.approx(numbers(alone), rel=1e-9)


def test_it_is_the_lone_pair() -> None:
    """Noise of a long average: 2 p (1 - p) x correlation time; slowest mode."""
    pair = LonePair(4, 3, (1, 1), 2.0, 1.5, 0.4)
    alone, p = molecule(4, 3, {5: (1.5, 0.4)}).relaxation(), pair.occupancy
    noise = 2 * p * (1 - p) * alone.correlation_s
    assert noise == pytest.approx(pair.zero_frequency_noise, rel=1e-9)
    assert alone.main_rate == pytest.approx(1 / pair.relaxation_s, rel=1e-9)
    # Mean of the wait from anywhere: Collins and Kimball's sum of two resistances.
    first = molecule(4, 3, {5: (1.5, 0.4)}).first_binding_s()
    assert first == pytest.approx((1 + pair.resistance_ratio) * 12 / 1.5, rel=1e-9)


def test_sites_of_a_cell_may_be_one_entry_or_several() -> None:
    one = molecule(4, 3, {5: (3.0, 0.4), 7: (1.5, 0.4)})
    cells, bind = np.array([5, 5, 7]), np.full(3, 1.5)
    several = LoneMolecule(4, 3, 2.0, cells, bind, np.full(3, 0.4))
    for dt in STEPS:
        assert numbers(several.relaxation(dt)) == pytest.approx(numbers(one.relaxation(dt)))
        assert several.first_binding_s(dt) == pytest.approx(one.first_binding_s(dt))


def test_short_steps_are_time() -> None:
    """Error of second order where hops are resolved: four times smaller at half the step."""
    alone = molecule(4, 3, {5: (1.5, 0.4), 6: (0.7, 2.0)})

    def error(dt: float) -> float:
        return abs(alone.relaxation(dt).main_rate / alone.relaxation().main_rate - 1)

    assert error(0.01) / error(0.005) == pytest.approx(4.0, rel=0.02)


def test_a_factor_keeps_equilibrium_and_changes_rates() -> None:
    alone = molecule(4, 3, {5: (1.5, 0.4), 6: (0.7, 2.0)})
    for factor in (1.0, [1.2, 1.05]):
        late = alone.adjusted(factor).relaxation(0.5).mean_at(1e4)
        assert late == pytest.approx(float(alone.relaxation().mean_at(1e4)), rel=1e-9)
    # The control: a factor on binding alone.
    biased = LoneMolecule(4, 3, 2.0, alone.cells, 1.2 * alone.bind, alone.unbind)
    assert biased.relaxation(0.5).mean_at(1e4) != pytest.approx(float(late), rel=1e-3)


def test_two_ligands_made_of_molecules_keep_equilibrium() -> None:
    """Two of each on three cells, two sites: the whole law, at any step; 1e-12."""
    tiny = TinyGrid(
        width=3, sites=(1, 2), molecules=2, hop=2.0, bind=1.0, unbind=0.5, block=0.7, unblock=0.3,
        competitors=2, competitor_hop=1.5,
    ).split()  # fmt: skip
    for dt in (0.3, 30.0):
        assert np.abs(tiny.stationary(dt) - tiny.stationary()).max() < 1e-12
    # A competitor is a molecule as any other: exchanged names give the exchanged law.
    swapped = TinyGrid(
        width=3, sites=(1, 2), molecules=2, hop=1.5, bind=0.7, unbind=0.3, block=1.0, unblock=0.5,
        competitors=2, competitor_hop=2.0,
    ).split()  # fmt: skip
    free = tiny.mean(tiny.stationary(), 0, 1, 2)
    assert free == pytest.approx(swapped.mean(swapped.stationary(), 5, 6, 7), rel=1e-9)
