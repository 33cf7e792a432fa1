"""Arguments of public functions: what is refused is named, shortened and harmless."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scenarios import crowded

from synapse_abm import Simulation, SynapseModel, pharmacology
from synapse_abm.core.arguments import check_seed, choice, instance, number, whole_number
from synapse_abm.core.errors import (
    InputError,
    InputErrors,
    OutputError,
    UnknownName,
    collected,
    raise_faults,
    shown,
)
from synapse_abm.core.sealed import CheckpointError
from synapse_abm.neuron.agents.model import NeuronModel
from synapse_abm.neuron.scenario import neuron
from synapse_abm.runs.simulate import simulate
from synapse_abm.synapse.engine import checkpoint
from synapse_abm.synapse.scenario import (
    Batch,
    Grid,
    Kinetics,
    Ligand,
    RunSettings,
    Scenario,
    Target,
)

NO_NUMBER = [None, "1", True, np.True_, 1j, Decimal(1), np.arange(2), np.ones(1), [1], math.nan]


@pytest.mark.parametrize("value", [*NO_NUMBER, -1, 4, 1.0, 10**400, np.array(1.0)], ids=shown)
def test_what_is_no_whole_number_within_limits_is_refused(value: object) -> None:
    with pytest.raises(InputError, match=r"^n = .* allowed is a whole number of bugs from 0 to 3"):
        whole_number("n", value, 0, 3, of="bugs")


@pytest.mark.parametrize("value", [*NO_NUMBER, 0, -1, 4, math.inf, 10**400], ids=shown)
def test_what_is_no_finite_number_within_limits_is_refused(value: object) -> None:
    with pytest.raises(InputError, match=r"^t = .* allowed is a number > 0 and <= 3, in s$"):
        number("t", value, above=0, most=3, unit="s")


def test_what_is_accepted_comes_in_the_types_of_python() -> None:
    for value in (3, np.int8(3), np.uint64(3)):
        assert type(whole_number("n", value)) is int
    for value in (3, 3.0, np.float32(3), np.int64(3), Fraction(3)):
        assert type(number("x", value)) is float
    assert check_seed("12") == whole_number("n", "12", digits=True) == 12
    assert choice("walls", "periodic", ("reflecting", "periodic")) == "periodic"
    assert instance("title", "x", str) == "x"


@pytest.mark.parametrize("value", ["1.5", "-1", "9" * 5000, "\u0663", ""])
def test_digits_that_are_no_whole_number_are_refused(value: str) -> None:
    with pytest.raises(InputError, match="seed = "):
        check_seed(value)


@pytest.mark.parametrize("value", ["reflectin", np.arange(2), None, ["periodic"]], ids=shown)
def test_a_word_that_is_no_choice_is_refused(value: object) -> None:
    with pytest.raises(UnknownName, match="allowed is one of periodic, reflecting"):
        choice("walls", value, ("reflecting", "periodic"))


def test_a_wrong_type_is_refused() -> None:
    with pytest.raises(InputError, match=r"^e = None: allowed is an InputError; make one$"):
        instance("e", None, InputError, fix="make one")


HOSTILE = "\x1b[31mred\r\n\u202etext\ud800\x9b"
MESSAGES: list[Callable[[], Exception]] = [
    lambda: InputError(HOSTILE, HOSTILE, HOSTILE, HOSTILE),
    lambda: UnknownName(HOSTILE, HOSTILE, [HOSTILE]),
    lambda: OutputError(HOSTILE, HOSTILE, HOSTILE),
]


@pytest.mark.parametrize("make", MESSAGES)
def test_nothing_in_a_message_is_obeyed_by_a_terminal(make: Callable[[], Exception]) -> None:
    error = make()
    for message in (str(error), str(pickle.loads(pickle.dumps(error)))):
        assert message.isprintable()  # one line, no control character
        message.encode()
    if isinstance(error, InputError):
        assert str(InputErrors([error, error])).replace("\n  - ", "").isprintable()


class Sullen:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    "value",
    [
        10**5000,
        -(10**5000),
        "x" * 10**6,
        list(range(10**6)),
        np.arange(10**6),
        Sullen(),
        {"a": "b"},
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_shown_in_a_few_characters(value: Any) -> None:
    assert 0 < len(shown(value)) <= 80
    assert shown(value).isprintable()


def test_a_message_lists_a_few_of_many_names() -> None:
    error = UnknownName("ligand", "name_77", [f"name_{i}" for i in range(10**4)])
    assert len(str(error)) < 1000
    assert "and 9950 more; did you mean name_77" in str(error)


def test_faults_are_collected() -> None:
    faults: list[InputError] = []
    for value in (1, -1, "x"):
        with collected(faults):
            number("x", value, least=0)
    with collected(faults):
        raise_faults(list(faults))
    assert [fault.value for fault in faults] == [-1, "x", -1, "x"]


# --- public functions ----------------------------------------------------------------------------

ARRAY = np.arange(3)
#: A call that cannot be, and the argument that its message names.
CALLS: list[tuple[str, Callable[[SynapseModel], object]]] = [
    ("scenario", lambda _: Simulation(None, 1)),  # type: ignore[arg-type]
    ("scenario", lambda _: SynapseModel(None)),  # type: ignore[arg-type]
    ("scenario", lambda _: SynapseModel(ARRAY)),  # type: ignore[arg-type]
    *(
        (name, lambda model, name=name, value=value: Simulation(model.synapse, **{name: value}))
        for name in ("seed", "replicate", "place")
        for value in (ARRAY, True, "1", -1, 10**5000)
    ),
    *(
        (name, lambda model, name=name, value=value: SynapseModel(model.synapse, **{name: value}))
        for name in ("rng", "replicate", "engine", "agent_classes", "collect_every")
        for value in (ARRAY, True, "x", -(10**5000))
    ),
    ("steps", lambda model: model.run(ARRAY)),
    ("steps", lambda model: model.simulation.run(2.5)),  # type: ignore[arg-type]
    ("every", lambda model: model.run(2, every=ARRAY)),
    ("every", lambda model: model.run(2**38 - 1, every=1)),
    ("collector", lambda model: model.run(2, collector="x")),
    ("duration", lambda model: model.run_for("x")),  # type: ignore[arg-type]
    ("end_time", lambda model: model.run_until(None)),  # type: ignore[arg-type]
    ("target", lambda model: model.occupancy(ARRAY, "serotonin")),
    ("ligand", lambda model: model.occupancy("SERT", ARRAY)),
    ("ligand", lambda model: model.free(ARRAY)),
    ("ligand", lambda model: model.run(1).bound("SERT", "sertonin")),
    ("event", lambda model: model.run(1).count("bind", "serotonin", "SERT")),
    ("target", lambda model: model.run(1).count("bound", "serotonin")),
    ("ligand", lambda _: pharmacology.ligand(1)),  # type: ignore[arg-type]
    *(
        ("path", lambda model, call=call: call(model))
        for call in (
            lambda _: SynapseModel.resume(3),  # type: ignore[arg-type]
            lambda _: NeuronModel.resume(ARRAY),  # type: ignore[arg-type]
            lambda _: checkpoint.load(None),  # type: ignore[arg-type]
            lambda _: checkpoint.load_recorded(None),  # type: ignore[arg-type]
            lambda model: model.save(None),
        )
    ),
    ("ligand", lambda _: pharmacology.ligand(ARRAY)),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("call", range(len(CALLS)), ids=lambda n: f"{CALLS[n][0]}-{n}")
def test_a_call_that_cannot_be_names_the_argument(call: int) -> None:
    name, attempt = CALLS[call]
    model = SynapseModel(crowded())
    with pytest.raises(InputError, match=f"^{name} = .{{1,80}}: allowed is ") as caught:
        attempt(model)
    assert len(str(caught.value)) < 400
    assert model.time == 0 or name in ("ligand", "event", "target")


def test_a_distance_between_records_that_is_never_reached_records_nothing() -> None:
    assert SynapseModel(crowded()).run(2, every=10**400).step.size == 0


# --- parts of a scenario made in Python -----------------------------------------------------------

PARTS: dict[str, Callable[[], object]] = {
    r"Grid\.width = 0: allowed is a whole number from 1 to 32767": lambda: Grid(width=0),
    r"Grid\.width = True: ": lambda: Grid(width=np.True_),  # type: ignore[arg-type]
    r"Grid\.spacing_um = True: ": lambda: Grid(spacing_um=np.True_),  # type: ignore[arg-type]
    r"Grid\.height = 4\.5: ": lambda: Grid(height=4.5),  # type: ignore[arg-type]
    r"a key of Grid = 'hight': .* did you mean height": lambda: Grid(hight=1),  # type: ignore
    r"Grid = 4: allowed is arguments by name: width=": lambda: Grid(4),  # type: ignore[call-arg]
    r"Target, sites = None: allowed is either 'sites'": lambda: Target(),
    r"Kinetics, kon_per_nM_s = None: allowed is any two of kd": lambda: Kinetics(kd_nM=3.0),
    r"Scenario\.grid = 'x': allowed is a table": lambda: Scenario(grid="x"),  # type: ignore
    r"ligand\.x\.start_cell = \(99, 99\): allowed is a cell of the grid": lambda: Scenario(
        ligands={"x": Ligand(start_cell=(99, 99))}
    ),
    r"Scenario\.ligands\.x = 3: allowed is a ": lambda: Scenario(ligands={"x": 3}),  # type: ignore[dict-item]
    r"Grid\.width = 4: .* make a changed copy by \.model_copy": lambda: setattr(Grid(), "width", 4),
    r"Ligand, taken_from = '.x1b\[31m': .* printable": lambda: Ligand(taken_from="\x1b[31m"),
}
TITLES = ["", " ", "\x1b[31m", "a/b", "a\\b", "\u202e", "two\nlines", "x" * 201, 1, None]


@pytest.mark.parametrize("words", PARTS)
def test_a_part_that_cannot_be_is_told_in_one_line(words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        PARTS[words]()
    assert "\n" not in str(caught.value) and "http" not in str(caught.value)


@pytest.mark.parametrize("title", TITLES, ids=repr)
def test_the_name_of_a_scenario_does_no_harm(title: Any) -> None:
    with pytest.raises(InputError, match=r"^Scenario[,.] ?name = "):
        Scenario(name=title)


def test_a_run_without_a_scenario_or_a_length_is_told() -> None:
    with pytest.raises(InputError, match=r"^scenario = 3: allowed is a Scenario"):
        simulate(3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^scenario\.run = None: .* how long it is run"):
        simulate(Scenario())
    with pytest.raises(CheckpointError, match="null"):
        SynapseModel.resume("a\0b")
    assert neuron(spike_trains=np.int64(20)) == neuron(spike_trains=20)


def test_all_faults_of_a_part_are_told_at_once() -> None:
    with pytest.raises(InputErrors, match=r"(?s)Grid\.width.*Grid\.spacing_um"):
        Grid(width=0, spacing_um=-1.0)


def test_numbers_and_arrays_of_numpy_are_numbers_and_lists() -> None:
    assert Grid(width=np.int64(4), spacing_um=np.float32(0.5)) == Grid(width=4, spacing_um=0.5)
    assert Target(cells=np.array([[0, 1]])) == Target(cells=((0, 1),))  # type: ignore[arg-type]
    batch = Batch(size=np.uint8(3), cell=np.array([0, 1]), times_s=np.array([0.1]))  # type: ignore
    assert batch == Batch(size=3, cell=(0, 1), times_s=(0.1,))
    run = RunSettings(duration_s=np.int64(9), replicates=np.int16(2), seed=np.uint64(2**64 - 1))
    assert run == RunSettings(duration_s=9, replicates=2, seed=2**64 - 1)
    assert type(run.seed) is int
