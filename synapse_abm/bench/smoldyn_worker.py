"""Smoldyn in its own interpreter: reads one JSON line for each repetition, answers with one.

Run by ``peers`` with the Python 3.10 that Smoldyn's wheel needs, as a plain script: nothing of this
package is imported here. The first line read is the problem (``molecules, sites, box_um, accuracy,
diffusion_um2_per_s, kon_um3_per_s, koff_per_s, dt_s``), each further one ``{"steps": n}``; the
answers are ``{"version"}``, then ``{"cpu_s", "bound"}``.
"""

import json
import os
import sys
import time
from typing import Any


def main() -> None:
    """Answer until the input ends."""
    # The pipe is kept under another number before the first is given to the null device.
    answers = os.fdopen(os.dup(1), "w")
    silence = os.open(os.devnull, os.O_WRONLY)  # Smoldyn tells each run on both streams
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    import smoldyn
    from smoldyn import _smoldyn

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    problem = json.loads(sys.stdin.readline())
    simulation, dt, done = build(smoldyn, problem), problem["dt_s"], 0
    answer(version=smoldyn.__version__)
    for line in sys.stdin:
        steps = json.loads(line)["steps"]
        start = time.process_time()
        simulation.run(start=done * dt, stop=(done + steps) * dt, dt=dt, log_level=5)
        # By its own clock: what passing messages costs is not Smoldyn's.
        used = time.process_time() - start
        done += steps
        bound = simulation.getMoleculeCount("bound", _smoldyn.MolecState.soln)
        answer(cpu_s=used, bound=bound)


def build(smoldyn: Any, problem: Any) -> Any:
    """Free molecules, fixed sites and fixed bound sites, each species in a list of its own."""
    simulation = smoldyn.Simulation(low=[0, 0, 0], high=problem["box_um"], boundary_type="r")
    simulation.seed = 1
    diffusion = problem["diffusion_um2_per_s"]
    drug = simulation.addSpecies("drug", difc=diffusion, mol_list="moving")
    site = simulation.addSpecies("site", difc=0, mol_list="sites")
    bound = simulation.addSpecies("bound", difc=0, mol_list="bound")
    simulation.addReaction("on", subs=[drug, site], prds=[bound], rate=problem["kon_um3_per_s"])
    off = simulation.addReaction("off", subs=[bound], prds=[drug, site], rate=problem["koff_per_s"])
    # pgemmax, the greatest probability of geminate recombination: so far apart that at most one
    # released pair in five binds again at once.
    off.productPlacement("pgemmax", 0.2)
    simulation.addMolecules(drug, problem["molecules"])
    simulation.addMolecules(site, problem["sites"])
    simulation.setSimParams(accuracy=problem["accuracy"])
    return simulation


if __name__ == "__main__":
    main()
