"""How the state of a place lies in memory: the arrays both engines read and write, and their
indices.

No physics here, only names. ``P`` pairs (target, ligand), ``T`` targets, ``L`` ligands, ``S``
active cells (cells with sites or batches), ``R`` rows of counts, ``C`` channels, ``E`` event
counters. The tuples are small on purpose: a compiled function takes only the groups it needs.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
I32 = npt.NDArray[np.int32]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
F64 = npt.NDArray[np.float64]

# Compartments of a molecule.
FREE, BOUND, INSIDE, GONE = range(4)
COMPARTMENTS = ("free", "bound", "inside", "outside")

# Kinds of event: of a pair up to BIND, then of a ligand (``network.channels`` says in which order
# propensities are added up).
UNBIND, TRANSPORT, BIND, RETURN, METABOLISE, EXIT, DEGRADE, ARRIVE, RELEASE = range(9)
PAIR_EVENTS = ("unbound", "transported", "bound")
LIGAND_EVENTS = ("returned", "metabolised", "exited", "degraded", "arrived", "released")

# Rows of Store.molecules: x and y are ring coordinates (kernels.displace folds them onto the grid);
# the cell is y * width + x, and the number of cells for a molecule that is bound or gone.
ID, X, Y, CELL, COMPARTMENT, SITE = range(6)
NO_SITE = 0xFFFFFFFF  # fields of molecules are unsigned

# Rows of Store.sites: LIGAND is -1 for an empty site; ROW is the row of the molecule it holds, -1
# when it is empty or held by a clamped ligand, which has no molecules. A site that was taken away
# keeps its number and cell; its TARGET is ``taken_away`` of what it was, which is below zero.
SITE_CELL, TARGET, LIGAND, ROW = range(4)


def taken_away(target: Any) -> Any:
    """What marks a site of ``target`` that was taken away; applied twice, the target again."""
    return -1 - target


# Columns of Store.segments, and entries of Store.meta.
START, END, LIMIT, DEAD = range(4)
STEP, NEXT_ID, FULL, SCHEDULED = range(4)

# Columns of Chemistry.channels and Space.schedule. For binding and its reverse also: the list of
# sites that the site joins, and the list that its molecule leaves or joins (the row of ones if the
# ligand is clamped and has no molecules).
KIND, INDEX, FIRST, SECOND, COUNTER, SITES_TO, MOLECULES = range(7)
DUE_STEP, DUE_SLOT, DUE_LIGAND, DUE_SIZE = range(4)

# Columns of Space.exchange: chance to leave an inactive cell within a step; share of those that
# exit (the rest are degraded); mean arrivals per step in inactive cells that stay, and that leave
# again.
LEAVE, EXIT_SHARE, STAY_MEAN, PASS_MEAN = range(4)


# Space.direct: bits of a word that index it, and the entry that sends to the alias table.
DIRECT_BITS, MIXED = 12, 0xFFFF


# Fields first, molecules second: a kernel that needs two of six fields reads two rows of memory and
# not every third number. Named tuples of arrays, because compiled functions know their fields by
# their place: to look one up costs nothing.


class Store(NamedTuple):
    """The state: all that changes."""

    molecules: U32  # (6, rows); rows grouped by ligand, ascending in id within a ligand
    sites: I32  # (4, sites)
    segments: I64  # (L, 4) where each ligand's rows lie
    meta: I64  # (4)
    totals: I64  # (R - 1) over the place: bound by pair, empty by target, free, inside by ligand
    events: I64  # (E) completed events since the start
    last_s: F64  # (E) time of the latest event of each kind


class Plan(NamedTuple):
    """Sizes, geometry, step and the constant part of the random address."""

    pairs: int
    targets: int
    ligands: int
    width: int
    cells: int
    ring_x: int
    ring_y: int
    fold: bool  # reflecting walls: a ring of 2 L cells folds onto L
    key0: np.uint32
    key1: np.uint32
    origin: np.uint32  # replicate and place, where counter word 3 holds them
    dt: float
    first_step: int  # since which steps are that long, and the time (s) at its beginning
    first_s: float


class Chemistry(NamedTuple):
    """What can happen in a cell: propensity of a channel = rate x count[first] x count[second]."""

    channels: I64  # (C, 7)
    rate: F64  # (C)
    pairs: I64  # (P, 2) target, ligand
    pair_of: I64  # (T, L) pair, -1 where nothing binds
    release_rate: F64  # (L, S) batches per s of each active cell
    release_size: I64  # (L, S)


class Space(NamedTuple):
    """Where things are and how they get about; exchange of cells without a clock; releases to
    come.
    """

    hop: U64  # (2, L, slots) alias tables of ring offsets along x and y
    direct: U16  # (2, L, 4096) short cuts through them
    hop_shift: I64  # (2, L) bits below the slot number; -1: no hop along this axis
    active: U32  # (S) cells with sites or batches, ascending
    is_active: U8  # 1 for each of them, over all cells and the place of those that are in none
    active_bits: U32  # the same as a set of bits
    active_before: U32  # number of active cells before each 32 cells of that set
    first_site: I64  # (S + 1) offsets into site_order
    site_order: I32  # sites by active cell, ascending in id
    inactive: U32  # the other cells
    exchange: F64  # (L, 4)
    schedule: I64  # (n, 4)
    schedule_offset: F64  # (n) time within the step


class Landing(NamedTuple):
    """Scratch: who is in which active cell, and what may happen there."""

    rows: U32  # molecules in active cells, by ligand, ascending in id
    end: I64  # (L)
    follow: I32  # next in the same cell
    head: I32  # (S) first in each cell
    counts: I32  # (R, S)
    total: F64  # (S) total propensity
    waiting: F64  # (S) first uniform number
    ready: I64  # (S + 1)


class Scratch(NamedTuple):
    """Scratch: random words and offsets of a block of rows; the cell that is at work."""

    words: U64
    offsets: U32
    counts: I64  # (R) counts of the cell at work
    members: U32  # who they are, list by list
    first: I64  # (R) where each list begins
    propensity: F64  # (C)
    rate: F64  # (C) of the channels in this cell
    draws: U64
    wait: F64  # waiting times at rate one, and uniform numbers that select
    select: F64
    leaving: U32
    leaving_u: F64


LINE = 64  # bytes of a cache line, and of the widest vector


def in_lines(shape: int | tuple[int, ...], dtype: type[np.generic]) -> npt.NDArray[Any]:
    """Zeros that begin a cache line.

    NumPy promises 16 bytes, and a vector that lies across two lines is loaded as two (7 % of a
    step).
    """
    # Up to a line too much, of which what lies before the first boundary is passed over.
    size = math.prod((shape,) if isinstance(shape, int) else shape) * np.dtype(dtype).itemsize
    room = np.zeros(size + LINE, dtype=np.uint8)
    start = -room.ctypes.data % LINE
    return room[start : start + size].view(dtype).reshape(shape)
