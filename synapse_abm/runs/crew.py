"""Worker processes that do independent pieces of work, and are replaced when they are killed.

On Linux workers are copies of this process; elsewhere, or beside other threads, they start afresh.
They take blocks of pieces, so that short ones cost little to pass on. What the results are, and
what of them is kept, is not known here: see :mod:`synapse_abm.runs.sweep`.
"""

from __future__ import annotations

import functools
import importlib.util
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from synapse_abm.core.errors import SynapseError

_BLOCK_S = 0.1  # a block of short pieces takes about as long: the cost of passing it on is hidden
_TICK_S = 0.2  # a worker tells how far it is at most this often
_LIVES = 3  # a piece whose worker was killed so often is given up
_HEAD_START_S = 0.5  # work done here first, where starting a worker costs a second

_told: ContextVar[Callable[[int], None] | None] = ContextVar("_told", default=None)


@dataclass(frozen=True, slots=True)
class Failure:
    """A piece that failed: its name, with the seed, and what went wrong."""

    name: str
    message: str
    details: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


def tell(done: int) -> None:
    """From within a piece: so many of its ticks are done. Costs next to nothing."""
    told = _told.get()
    if told is not None:
        told(done)


class Work:
    """A function, its pieces, and two ways to get them done: each piece with its outcome.

    Parameters
    ----------
    function, pieces, names
        What to call, with what, and what to call it in messages.
    told
        Is told (number of the piece, ticks done) of what :func:`tell` says within a piece.
    settle
        A worker process calls it before its first piece; at the top of a module.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        pieces: Sequence[tuple[Any, ...]],
        names: list[str],
        told: Callable[[int, int], None],
        settle: Callable[[], None],
    ) -> None:
        self.function, self.pieces, self.names = function, pieces, names
        self.told, self.settle = told, settle

    def here(self, todo: Sequence[int]) -> Generator[tuple[int, Any]]:
        """One after another, in this process."""
        for at in todo:
            token = _told.set(functools.partial(self.told, at))
            try:
                yield at, _attempt(self.function, self.pieces[at], self.names[at])
            finally:
                _told.reset(token)

    def spread(self, todo: Sequence[int], workers: int) -> Generator[tuple[int, Any]]:
        """On worker processes, in the order in which they finish."""
        waiting = list(todo)
        if not _can_fork():
            if not _can_be_found(self.function):
                yield from self.here(waiting)
                return
            started = time.perf_counter()
            while waiting and time.perf_counter() - started < _HEAD_START_S:
                yield from self.here([waiting.pop(0)])
        crew = _Crew(self, min(workers, len(waiting)))
        try:
            yield from crew.work_off(waiting)
        finally:
            crew.dismiss()


def _attempt(function: Callable[..., Any], piece: tuple[Any, ...], name: str) -> Any:
    """The result, or what went wrong; errors of the user's are raised."""
    try:
        return function(*piece)
    except SynapseError:
        raise
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        return Failure(name, message, traceback.format_exc())


@dataclass(slots=True, eq=False)
class _Hand:
    """A worker process as its employer sees it, and the block it is at."""

    process: BaseProcess
    connection: Connection
    block: list[int] = field(default_factory=list)
    since: float = 0.0


class _Crew:
    """Worker processes: fed with blocks, replaced when they are killed."""

    def __init__(self, work: Work, count: int) -> None:
        self._work = work
        self._mean_s = 0.0  # of a piece, so far
        self._deaths: dict[int, int] = {}
        self._hands: list[_Hand] = []
        try:
            for _ in range(count):
                self._hire()
        except BaseException:
            self.dismiss()
            raise

    def _hire(self) -> _Hand:
        fork = _can_fork()
        context: Any = multiprocessing.get_context("fork" if fork else "spawn")
        ours, theirs = context.Pipe()
        # A forked child holds copies of our ends; it closes them, or nobody's death is noticed.
        others = [ours, *(hand.connection for hand in self._hands)] if fork else []
        work = self._work
        process = context.Process(
            target=_serve,
            args=(_Found(work.function), work.pieces, work.names, work.settle, theirs, others),
            daemon=True,
        )
        with warnings.catch_warnings():  # only the threads of libraries are there, and at rest
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        theirs.close()
        hand = _Hand(process, ours)
        self._hands.append(hand)
        return hand

    def work_off(self, waiting: list[int]) -> Generator[tuple[int, Any]]:
        """All of ``waiting``, each with its outcome."""
        for hand in self._hands:
            self._feed(hand, waiting)
        while any(hand.block for hand in self._hands):
            busy = {hand.connection: hand for hand in self._hands if hand.block}
            for connection in wait(list(busy)):
                hand = busy[connection]  # type: ignore[index]
                try:
                    answer = hand.connection.recv()
                except (EOFError, OSError, pickle.UnpicklingError):
                    yield from self._bury(hand, waiting)
                    continue
                if isinstance(answer, BaseException):
                    raise answer
                if isinstance(answer, tuple):
                    self._work.told(*answer)
                    continue
                self._mean_s = (time.perf_counter() - hand.since) / len(hand.block)
                yield from zip(hand.block, answer, strict=True)
                hand.block = []
                self._feed(hand, waiting)

    def _feed(self, hand: _Hand, waiting: list[int]) -> None:
        """Give a worker its next block: short at first and at the end, never long."""
        if not waiting:
            return
        size = int(_BLOCK_S / self._mean_s) if self._mean_s > 0 else 1
        size = max(1, min(size, len(waiting) // (4 * len(self._hands))))
        hand.block, waiting[:size] = waiting[:size], []
        hand.since = time.perf_counter()
        with suppress(OSError):  # a worker that has just died is noticed when it is listened to
            hand.connection.send(hand.block)

    def _bury(self, hand: _Hand, waiting: list[int]) -> Generator[tuple[int, Any]]:
        """A worker was killed: its pieces go back, one by one, and another takes its place."""
        hand.connection.close()
        hand.process.join()
        self._hands.remove(hand)
        for at in reversed(hand.block):
            self._deaths[at] = deaths = self._deaths.get(at, 0) + 1
            if deaths < _LIVES:
                waiting.insert(0, at)
                continue
            message = f"its worker was killed {deaths} times (exit status {hand.process.exitcode})"
            yield at, Failure(self._work.names[at], message)
        self._mean_s = 0.0  # so that the next blocks are single pieces
        if waiting:
            self._feed(self._hire(), waiting)

    def dismiss(self) -> None:
        """End all workers, whatever they are at."""
        for hand in self._hands:
            hand.connection.close()
            hand.process.kill()
        for hand in self._hands:
            hand.process.join()
        self._hands = []


def _serve(
    found: _Found, pieces: Sequence[tuple[Any, ...]], names: list[str],
    settle: Callable[[], None], connection: Connection, others: list[Connection],
) -> None:  # fmt: skip
    """What a worker does: blocks of pieces, until nobody is there any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who gives the work
    for each in others:
        each.close()
    _leave_with_parent()
    settle()
    with suppress(EOFError, OSError):
        while True:
            answer = []
            for at in connection.recv():
                _told.set(_teller(connection, at))
                try:
                    answer.append(_attempt(found.function, pieces[at], names[at]))
                except SynapseError as error:
                    connection.send(error)
                    return
            _send(connection, answer)


def _send(connection: Connection, answer: list[Any]) -> None:
    """Results home; one that cannot travel is a failure."""
    try:
        connection.send(answer)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        connection.send([Failure("result", f"cannot be passed on: {error}") for _ in answer])


def _teller(connection: Connection, at: int) -> Callable[[int], None]:
    last = time.perf_counter()

    def told(done: int) -> None:
        nonlocal last
        if (now := time.perf_counter()) - last > _TICK_S:
            last = now
            connection.send((at, done))

    return told


def _leave_with_parent() -> None:
    """End this worker as soon as the process that started it is gone, were it in mid-piece."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _can_fork() -> bool:
    """Whether a copy of this process is safe to make: on Linux, with no other thread of Python's.

    Starting afresh instead costs each worker a second of imports.
    """
    others = [each for each in threading.enumerate() if type(each).__name__ != "TMonitor"]
    return sys.platform == "linux" and len(others) == 1


def _can_be_found(function: Callable[..., Any]) -> bool:
    """Whether a fresh process can find the function by its module's file and its name."""
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    name = getattr(function, "__qualname__", "")
    return getattr(module, name, None) is function and bool(getattr(module, "__file__", None))


class _Found:
    """A function that travels by its module's name and file (experiments have no package)."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __getstate__(self) -> tuple[str, str, str]:
        name = self.function.__module__
        return name, str(sys.modules[name].__file__), self.function.__qualname__

    def __setstate__(self, state: tuple[str, str, str]) -> None:
        name, file, function = state
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            spec = importlib.util.spec_from_file_location(name, file)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
        self.function = getattr(module, function)
