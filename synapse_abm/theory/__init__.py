"""Exact laws and closed forms of binding, competition and transport.

Everything here is exact for the stochastic model its docstring names, unless it says mean field.
The package knows nothing of the simulator it judges.

========================  ==========================================================
clamped ligand            `occupancy`, `open_law`, `occupancy_at`, `OpenPool`
error bars                `time_average_variance`, `snapshot_mean_variance`
finite copies             `closed_law`, `closed_transient_law`, `morrison_mean`
competition               `gaddum`, `cheng_prusoff_ic50`, `closed_competition_law`
kinetics of two ligands   `motulsky_mahan`, `label_overshoot`
transport, clamped        `transporter_occupancy`, `transport_flux`, `transport_counts`
transport, finite copies  `closed_cycle`, `clearance`, `drained_pool`
arrivals and exits        `immigration_death`, `exit_count`
error of a step           `stepping` (a module of its own)
hop, then react           `hop_react` (what one molecule does, on which the others are built)
one molecule's life       `Wandering`: waiting times on a grid, in steps too
on a grid                 `grid_law`, `LonePair`
competitor in bursts      `burst_competition`, `burst_load`
a burst that escapes      `UniformTissue`: mean field, hops exact
which to use              `which_formula`
========================  ==========================================================
"""

from synapse_abm.theory._chain import Counting, CountMoments
from synapse_abm.theory.averages import (
    effective_snapshots,
    effective_window,
    snapshot_mean_variance,
    time_average_variance,
    zero_frequency_noise,
)
from synapse_abm.theory.binding import (
    bound_autocovariance,
    concentration_for_occupancy,
    dissociation_constant,
    observed_rate,
    occupancy,
    occupancy_at,
    open_law,
    open_transient_law,
    relaxation_time,
)
from synapse_abm.theory.bursts import BurstCompetition, burst_competition, burst_load
from synapse_abm.theory.closed import (
    closed_law,
    closed_relaxation_rate,
    closed_transient_law,
    mass_action_transient,
    morrison_mean,
)
from synapse_abm.theory.competition import (
    OpenCompetition,
    apparent_kd,
    cheng_prusoff_ic50,
    cheng_prusoff_ki,
    closed_competition_law,
    gaddum,
    open_competition,
    wang_mean_field,
)
from synapse_abm.theory.coupled import (
    Clearance,
    CoupledLaw,
    PoolMeanField,
    clearance,
    closed_cycle,
    drained_pool,
    drained_pool_mean_field,
)
from synapse_abm.theory.escape import UniformTissue
from synapse_abm.theory.formulas import FormulaChoice, Judged, which_formula
from synapse_abm.theory.hop_react import SteppedWaiting, Waiting
from synapse_abm.theory.immigration import (
    ExitMoments,
    ImmigrationMoments,
    exit_count,
    immigration_death,
)
from synapse_abm.theory.kinetics import Overshoot, SharedSite, label_overshoot, motulsky_mahan
from synapse_abm.theory.law import JointLaw, Law
from synapse_abm.theory.life import FreeAgain, SteppedWandering, Wandering
from synapse_abm.theory.lone_pair import LonePair
from synapse_abm.theory.pool import OpenPool, open_pool
from synapse_abm.theory.spatial import affinity_on_grid, grid_law
from synapse_abm.theory.transport import (
    TransporterOccupancy,
    TransportRates,
    drug_apparent_kd,
    michaelis_constant,
    transport_counts,
    transport_fano,
    transport_flux,
    transporter_occupancy,
)

__all__ = [
    "BurstCompetition",
    "Clearance",
    "CountMoments",
    "Counting",
    "CoupledLaw",
    "ExitMoments",
    "FormulaChoice",
    "FreeAgain",
    "ImmigrationMoments",
    "JointLaw",
    "Judged",
    "Law",
    "LonePair",
    "OpenCompetition",
    "OpenPool",
    "Overshoot",
    "PoolMeanField",
    "SharedSite",
    "SteppedWaiting",
    "SteppedWandering",
    "TransportRates",
    "TransporterOccupancy",
    "UniformTissue",
    "Waiting",
    "Wandering",
    "affinity_on_grid",
    "apparent_kd",
    "bound_autocovariance",
    "burst_competition",
    "burst_load",
    "cheng_prusoff_ic50",
    "cheng_prusoff_ki",
    "clearance",
    "closed_competition_law",
    "closed_cycle",
    "closed_law",
    "closed_relaxation_rate",
    "closed_transient_law",
    "concentration_for_occupancy",
    "dissociation_constant",
    "drained_pool",
    "drained_pool_mean_field",
    "drug_apparent_kd",
    "effective_snapshots",
    "effective_window",
    "exit_count",
    "gaddum",
    "grid_law",
    "immigration_death",
    "label_overshoot",
    "mass_action_transient",
    "michaelis_constant",
    "morrison_mean",
    "motulsky_mahan",
    "observed_rate",
    "occupancy",
    "occupancy_at",
    "open_competition",
    "open_law",
    "open_pool",
    "open_transient_law",
    "relaxation_time",
    "snapshot_mean_variance",
    "time_average_variance",
    "transport_counts",
    "transport_fano",
    "transport_flux",
    "transporter_occupancy",
    "wang_mean_field",
    "which_formula",
    "zero_frequency_noise",
]
