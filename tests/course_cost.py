"""What a course costs: ``python tests/course_cost.py``.

Six weeks at 85 % with 75, 150, 300 and 600 windows of the default neuron, in CPU time of one core
and in rounds, so that a busy machine weighs on all alike. Cost that is linear in the number of
windows shows as the same time per window. Windows of shorter steps have less to settle, so that
falls to a floor; time per simulated second is the same in every row. Beside it what six weeks of
150 windows cost from the start of the interpreter on, with what their error bars are.
"""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np

from synapse_abm import pharmacology
from synapse_abm.neuron.calibration import calibrate
from synapse_abm.neuron.scenario import neuron
from synapse_abm.treatment.course import Course
from synapse_abm.treatment.treatment import Treatment, constant

WINDOWS = (75, 150, 300, 600)
WHOLE = """
from synapse_abm.neuron.scenario import neuron
from synapse_abm.treatment.course import Course
from synapse_abm.treatment.treatment import Treatment, constant
Course(Treatment(neuron(), constant(6.8))).run().table()
import time
print(time.process_time())
"""


def plan(windows: int) -> Treatment:
    """Six weeks at 85 %."""
    kinetics = pharmacology.ligand("citalopram").kinetics("SERT")
    nM = kinetics.koff / kinetics.kon * 0.85 / 0.15
    return Treatment(neuron(), constant(nM), windows=windows)


def main(rounds: int = 2) -> None:
    """Print the cost by number of windows, and that of the whole."""
    rest = calibrate(neuron(), 1)
    least = dict.fromkeys(WINDOWS, np.inf)
    simulated = dict.fromkeys(WINDOWS, 0)
    for _ in range(rounds):
        for windows in WINDOWS:
            course = Course(plan(windows), rest)
            begun = time.process_time()
            course.run()
            least[windows] = min(least[windows], time.process_time() - begun)
            simulated[windows] = sum(int(each.seconds) for each in course.neurons)
            if windows == 150:
                shown = course
    print("windows   CPU s   ms per window   us per simulated second   (as shares of those of 150)")
    for windows, seconds in least.items():
        each, second = seconds / windows, seconds / simulated[windows]
        shares = each / least[150] * 150, second / least[150] * simulated[150]
        print(
            f"{windows:7} {seconds:7.2f} {1e3 * each:9.2f} ({shares[0]:.3f})"
            f" {1e6 * second:14.0f} ({shares[1]:.3f})"
        )
    for _ in range(rounds):
        done = subprocess.run(
            [sys.executable, "-c", WHOLE], capture_output=True, text=True, check=True
        )
        print(f"150 windows, interpreter and baseline included: {float(done.stdout):.2f} s of CPU")
    for name in ("terminal_occupancy", "soma_occupancy", "receptor_occupancy"):
        print(f"largest standard error, {name}: {shown.se(name).max():.4f}")
    for name in ("terminal_nM", "soma_nM"):
        share = (shown.se(name) / shown.mean(name)).max()
        print(f"largest standard error, {name}: {100 * share:.1f} %")


if __name__ == "__main__":
    main()
