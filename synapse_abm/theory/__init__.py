"""Exact laws and closed forms of binding, competition and transport.

Everything here is exact for the stochastic model its docstring names, unless it says mean field.
The package knows nothing of the simulator that is compared with it.

========================  ==========================================================
clamped ligand            `occupancy`, `open_law`, `occupancy_at`, `OpenPool`
error bars                `time_average_variance`, `snapshot_mean_variance`
finite copies             `closed_law`, `closed_transient_law`, `closed_course`, `morrison_mean`
competition               `gaddum`, `cheng_prusoff_ic50`, `closed_competition_law`
kinetics of two ligands   `motulsky_mahan`, `label_overshoot`
transport, clamped        `transporter_occupancy`, `transport_flux`, `transport_counts`
transport, finite copies  `closed_cycle`, `clearance`, `drained_pool`
arrivals and exits        `immigration_death`, `exit_count`
error of a step           `stepping`, `relaxation` (modules of their own)
hop, then react           `hop_react` (what one molecule does, on which the others are built)
one molecule's life       `Wandering`: waiting times on a grid, in steps too
on a grid                 `grid_law`, `LonePair`
competitor in bursts      `burst_competition`, `burst_load`
a burst that escapes      `UniformTissue`: mean field, hops exact
rebinding                 `SitesOnGrid`: mean field, hops exact
which to use              `which_formula`
========================  ==========================================================
"""

from synapse_abm.theory._chain import Counting as Counting
from synapse_abm.theory._chain import CountMoments as CountMoments
from synapse_abm.theory.averages import effective_snapshots as effective_snapshots
from synapse_abm.theory.averages import effective_window as effective_window
from synapse_abm.theory.averages import snapshot_mean_variance as snapshot_mean_variance
from synapse_abm.theory.averages import time_average_variance as time_average_variance
from synapse_abm.theory.averages import zero_frequency_noise as zero_frequency_noise
from synapse_abm.theory.binding import bound_autocovariance as bound_autocovariance
from synapse_abm.theory.binding import concentration_for_occupancy as concentration_for_occupancy
from synapse_abm.theory.binding import dissociation_constant as dissociation_constant
from synapse_abm.theory.binding import observed_rate as observed_rate
from synapse_abm.theory.binding import occupancy as occupancy
from synapse_abm.theory.binding import occupancy_at as occupancy_at
from synapse_abm.theory.binding import open_law as open_law
from synapse_abm.theory.binding import open_transient_law as open_transient_law
from synapse_abm.theory.binding import relaxation_time as relaxation_time
from synapse_abm.theory.bursts import BurstCompetition as BurstCompetition
from synapse_abm.theory.bursts import burst_competition as burst_competition
from synapse_abm.theory.bursts import burst_load as burst_load
from synapse_abm.theory.closed import closed_course as closed_course
from synapse_abm.theory.closed import closed_law as closed_law
from synapse_abm.theory.closed import closed_relaxation_rate as closed_relaxation_rate
from synapse_abm.theory.closed import closed_transient_law as closed_transient_law
from synapse_abm.theory.closed import mass_action_transient as mass_action_transient
from synapse_abm.theory.closed import morrison_mean as morrison_mean
from synapse_abm.theory.competition import OpenCompetition as OpenCompetition
from synapse_abm.theory.competition import apparent_kd as apparent_kd
from synapse_abm.theory.competition import cheng_prusoff_ic50 as cheng_prusoff_ic50
from synapse_abm.theory.competition import cheng_prusoff_ki as cheng_prusoff_ki
from synapse_abm.theory.competition import closed_competition_law as closed_competition_law
from synapse_abm.theory.competition import gaddum as gaddum
from synapse_abm.theory.competition import open_competition as open_competition
from synapse_abm.theory.competition import wang_mean_field as wang_mean_field
from synapse_abm.theory.coupled import Clearance as Clearance
from synapse_abm.theory.coupled import CoupledLaw as CoupledLaw
from synapse_abm.theory.coupled import PoolMeanField as PoolMeanField
from synapse_abm.theory.coupled import clearance as clearance
from synapse_abm.theory.coupled import closed_cycle as closed_cycle
from synapse_abm.theory.coupled import drained_pool as drained_pool
from synapse_abm.theory.coupled import drained_pool_mean_field as drained_pool_mean_field
from synapse_abm.theory.escape import UniformTissue as UniformTissue
from synapse_abm.theory.formulas import FormulaChoice as FormulaChoice
from synapse_abm.theory.formulas import FormulaOutcome as FormulaOutcome
from synapse_abm.theory.formulas import which_formula as which_formula
from synapse_abm.theory.hop_react import SteppedWaiting as SteppedWaiting
from synapse_abm.theory.hop_react import Waiting as Waiting
from synapse_abm.theory.immigration import ExitMoments as ExitMoments
from synapse_abm.theory.immigration import ImmigrationMoments as ImmigrationMoments
from synapse_abm.theory.immigration import exit_count as exit_count
from synapse_abm.theory.immigration import immigration_death as immigration_death
from synapse_abm.theory.kinetics import Overshoot as Overshoot
from synapse_abm.theory.kinetics import SharedSite as SharedSite
from synapse_abm.theory.kinetics import label_overshoot as label_overshoot
from synapse_abm.theory.kinetics import motulsky_mahan as motulsky_mahan
from synapse_abm.theory.law import JointLaw as JointLaw
from synapse_abm.theory.law import Law as Law
from synapse_abm.theory.life import FreeAgain as FreeAgain
from synapse_abm.theory.life import SteppedWandering as SteppedWandering
from synapse_abm.theory.life import Wandering as Wandering
from synapse_abm.theory.lone_pair import LonePair as LonePair
from synapse_abm.theory.pool import OpenPool as OpenPool
from synapse_abm.theory.pool import open_pool as open_pool
from synapse_abm.theory.sites_on_grid import SitesOnGrid as SitesOnGrid
from synapse_abm.theory.spatial import affinity_on_grid as affinity_on_grid
from synapse_abm.theory.spatial import grid_law as grid_law
from synapse_abm.theory.transport import TransporterOccupancy as TransporterOccupancy
from synapse_abm.theory.transport import TransportRates as TransportRates
from synapse_abm.theory.transport import drug_apparent_kd as drug_apparent_kd
from synapse_abm.theory.transport import michaelis_constant as michaelis_constant
from synapse_abm.theory.transport import transport_counts as transport_counts
from synapse_abm.theory.transport import transport_fano as transport_fano
from synapse_abm.theory.transport import transport_flux as transport_flux
from synapse_abm.theory.transport import transporter_occupancy as transporter_occupancy
