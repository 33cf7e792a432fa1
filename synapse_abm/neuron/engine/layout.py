"""Numbers by which the neuron's engine finds its way in arrays, and the arrays themselves.

Prefixes say what a number counts: ``L_`` lists of a place, ``C_`` channels, ``P_`` parameters
(``NeuronState.numbers``), ``I_`` integrals that are recorded, ``M_`` entries of ``meta``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from synapse_abm.synapse.engine.layout import F64, I64, U32, U64

# Lists of a place: molecules that are free or inside; transporters and receptors by what they hold.
L_FREE, L_POOL, L_OPEN, L_BOUND, L_BLOCKED, L_R_OPEN, L_R_SEROTONIN, L_R_ANTAGONIST = range(8)
LISTS = 8
WITH_SEROTONIN, WITH_DRUG = (L_BOUND, L_R_SEROTONIN), (L_BLOCKED, L_R_ANTAGONIST)  # sites

# Channels of a place, in the order in which propensities are added up.
(
    C_UNBIND,
    C_TRANSPORT,
    C_UNBLOCK,
    C_BIND,
    C_BLOCK,
    C_LOSE,
    C_DEGRADE,
    C_SYNTHESISE,
    C_LEAK,
    C_R_UNBIND,
    C_R_UNBLOCK,
    C_R_BIND,
    C_R_BLOCK,
) = range(13)
CHANNELS = 13
RELEASED = CHANNELS  # one more counter: molecules released by spikes

# NeuronState.numbers: what the spikes depend on.
(
    P_TRAINS,
    P_RELAXATION,
    P_TOP,  # rate without feedback, Hz
    P_FEEDBACK,  # feedback per receptor fully activated
    P_EFFICACY,  # of the antagonist
    P_CONTENT,  # molecules per spike of one train at the resting pool; terminal, then soma
    _,
    P_POOL,  # resting pool; terminal, then soma
    _,
    P_DESENSITISATION,
    P_RESTING,  # receptors bound at rest (mean field)
    P_FOLD,  # baselines per free molecule at the terminal
    P_POSTSYNAPTIC,
    P_THRESHOLD_POWER,
    P_POWER,
    P_POSTSYNAPTIC_STRENGTH,
) = range(16)
NUMBERS = 16

# Recorded per step, integrals over it: five lists of each place, then what drives the slow
# variables, and the rate.
I_FREE, I_POOL, I_BOUND, I_BLOCKED, I_RECEPTORS = range(5)
PER_PLACE = 5
I_ACTIVATION, I_SENSITIVITY, I_HILL, I_POSTSYNAPTIC, I_RATE, I_SPIKES = range(10, 16)
INTEGRALS = 16

# NeuronState.meta.
# Steps done; number of the next serotonin molecule; spikes of all trains; whether room is wanted;
# number of the next drug molecule.
M_STEP, M_NEXT_ID, M_SPIKES, M_FULL, M_NEXT_DRUG = range(5)

CLOCK, RELEASE = np.uint32(0), np.uint32(1)  # entities of random numbers
CLOCK_BUFFER = 32  # blocks of random numbers drawn at a time


class NeuronState(NamedTuple):
    """State of a neuron and its two places, and the numbers it runs by."""

    counts: I64  # (2, LISTS)
    members: U32  # (2, LISTS, room) ids of molecules, numbers of sites
    occupants: U32  # (2, sites) number of the molecule in a site, of serotonin or of a drug
    events: I64  # (2, CHANNELS + 1)
    meta: I64  # (5)
    rate: F64  # (1) of firing, Hz
    rates: F64  # (2, CHANNELS) constants, with concentrations of clamped ligands in them
    numbers: F64  # (NUMBERS)


class Scratch(NamedTuple):
    """Scratch of the clock."""

    propensity: F64  # (2, CHANNELS)
    since: F64  # (4) time to which integrals of places, slow drives and rate are complete
    draws: U64
    wait: F64
    select: F64
    release: U64
    at: I64  # (2) next draw for releases, and how many have been made


class Plan(NamedTuple):
    """Step and the constant part of the random address."""

    key0: np.uint32
    key1: np.uint32
    origin: np.uint32
    dt: float
