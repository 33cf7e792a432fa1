"""A case of group O run at a 32nd of its step: what stands for an exact number where there is none.

    python -m synapse_abm.validation.finer_steps O9 --size 2000 --seed 7

prints the mean of every number of the case and its standard error, as they stand in the file. The
announced error of kinetics falls as the square of the step, so a 32nd of it leaves a thousandth.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import replace

from synapse_abm.core.address import Address
from synapse_abm.validation.cases import SHIPPED, Case, read_cases
from synapse_abm.validation.grid_kinetics import kinetics_on_a_grid
from synapse_abm.validation.quantities import Number
from synapse_abm.validation.trials import Trial

PARTS = 32


def at_finer_steps(
    case: Case, size: int, seed: int, parts: int = PARTS
) -> Mapping[str, list[float]]:
    """Estimate and standard error of each number of a case in steps ``parts`` times shorter.

    Parameters
    ----------
    size
        Observations: runs, or pieces of a series.
    """
    numbers = dict[str, list[float]]()
    for at, trial in enumerate(kinetics_on_a_grid(replace(case, budget=math.inf), parts)):
        assert isinstance(trial, Trial), "nothing takes too long for this budget"
        sample = trial.observe(Address(seed, at), None)
        sample.grow(size)
        for number in trial.quantities:
            if isinstance(number, Number):
                estimate = number.measure(sample)
                numbers[number.name] = [estimate.value, estimate.se]
    return numbers


def main() -> None:
    """Print what stands in the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case")
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--parts", type=int, default=PARTS)
    options = parser.parse_args()
    cases = {case.id: case for case in read_cases(SHIPPED)}
    case = cases[options.case]
    print(json.dumps(at_finer_steps(case, options.size, options.seed, options.parts), indent=1))


if __name__ == "__main__":
    main()
