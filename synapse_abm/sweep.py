"""Many independent pieces of work on all cores: the same results for any number of workers.

A piece is a call of one function whose random numbers are addressed by its own arguments, so
neither order nor worker can matter. Worker processes take blocks of pieces; if one is killed, its
pieces are done again by another; if a piece fails, that is recorded and the rest goes on. Finished
pieces are kept on disk while a run is under way, so that the same command continues after Ctrl-C,
a crash or a power cut.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import multiprocessing
import operator
import os
import pickle
import secrets
import shutil
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synapse_abm.errors import InputError, SynapseError
from synapse_abm.results import TEMPORARY, write_atomic

if TYPE_CHECKING:
    from synapse_abm.runs.experiment import Progress

#: Most workers that may be asked for.
MOST_WORKERS = 256
#: Where unfinished work is kept, inside the folder of results.
UNFINISHED = ".unfinished"

_BLOCK_S = 0.1  # a block of short pieces takes about as long: the cost of passing it on is hidden
_KEEP_S = 2.0  # finished pieces go to the disk this often
_TICK_S = 0.2  # a worker tells how far it is at most this often
_LIVES = 3  # a piece whose worker was killed so often is given up
_HEAD_START_S = 0.5  # work done here first, where starting a worker costs a second
_STALE_S = 7 * 86400.0  # unfinished work this old is removed
_MAGIC = b"synapse_abm pieces 1\n"
_DIGEST = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class Failure:
    """A piece that failed: its name, with the seed, and what went wrong."""

    name: str
    message: str
    details: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


class PiecesFailed(SynapseError):
    """Some pieces failed, all others were finished; ``failures`` tells which and why."""

    def __init__(self, failures: Sequence[Failure], count: int) -> None:
        self.failures, self.count = tuple(failures), count
        shown = "".join(f"\n  - {each}" for each in self.failures[:5])
        more = len(self.failures) - 5
        rest = f"\n  and {more} more" if more > 0 else ""
        super().__init__(f"{len(self.failures)} of {count} pieces failed:{shown}{rest}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.failures, self.count)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C; the message says what was kept and how to continue."""


# --- how a run is done ----------------------------------------------------------------------------


def all_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), MOST_WORKERS)
    return min(os.cpu_count() or 1, MOST_WORKERS)


def check_workers(value: object, name: str = "workers") -> int:
    """``value`` as a number of workers; None means all cores.

    Raises
    ------
    InputError
        If it is no whole number from 1 to :data:`MOST_WORKERS`, given as an integer or as digits.
    """
    if value is None:
        return all_cores()
    workers = 0
    if isinstance(value, str):
        if value.isascii() and value.isdigit() and len(value) <= len(str(MOST_WORKERS)):
            workers = int(value)
    elif hasattr(value, "__index__") and not isinstance(value, bool):
        workers = operator.index(value)
    if not 1 <= workers <= MOST_WORKERS:
        allowed = f"a whole number from 1 to {MOST_WORKERS}"
        raise InputError(name, value, allowed, f"use {all_cores()}, the number of cores here")
    return workers


class Cache:
    """A folder for the finished pieces and the checkpoints of one run.

    Parameters
    ----------
    out
        The folder of results; the cache is hidden in it.
    identity
        Everything that the results depend on: another value never sees these files.
    """

    def __init__(self, out: Path, *identity: object) -> None:
        key = hashlib.sha256(repr(identity).encode()).hexdigest()[:24]
        self.folder = out / UNFINISHED / key
        self._series = 0

    def new_series(self) -> _Kept:
        """Where the next series of the run keeps its pieces (series are numbered in order)."""
        self._series += 1
        return _Kept(self.folder, self._series)

    def holds_something(self) -> bool:
        """Whether the same run, started again, would find anything."""
        return self.folder.is_dir() and any(path.name[0] != "." for path in self.folder.iterdir())

    def tidy(self) -> None:
        """Remove what workers left half-written when they were dismissed; all, if that is all."""
        for path in self.folder.glob(f".*{TEMPORARY}"):
            path.unlink(missing_ok=True)
        if not self.holds_something():
            self.remove()

    def remove(self) -> None:
        """Remove it, and what other runs left long ago."""
        shutil.rmtree(self.folder, ignore_errors=True)
        now, parent = time.time(), self.folder.parent
        for other in parent.glob("*"):
            with suppress(OSError):
                if now - other.stat().st_mtime > _STALE_S:
                    shutil.rmtree(other, ignore_errors=True)
        with suppress(OSError):
            parent.rmdir()


@dataclass(frozen=True, slots=True)
class _Settings:
    workers: int = 1
    cache: Cache | None = None


_settings: ContextVar[_Settings] = ContextVar("_settings", default=_Settings())  # noqa: B039
_told: ContextVar[Callable[[int], None] | None] = ContextVar("_told", default=None)


@contextmanager
def using(workers: int | None = None, cache: Cache | None = None) -> Iterator[None]:
    """Within, :func:`map_pieces` uses so many workers (None: all cores) and keeps its pieces.

    When the body succeeds the cache is removed. Outside of it pieces are done one after another.
    """
    token = _settings.set(_Settings(check_workers(workers), cache))
    try:
        yield
        if cache is not None:
            cache.remove()
    except KeyboardInterrupt as error:
        if cache is None or not cache.holds_something() or isinstance(error, Interrupted):
            raise
        raise Interrupted("interrupted; the same command continues where it was") from None
    finally:
        _settings.reset(token)
        if cache is not None:
            cache.tidy()


def current_cache() -> Cache | None:
    """The cache of :func:`using`, if any."""
    return _settings.get().cache


def tell(done: int) -> None:
    """From within a piece: so many of its ticks are done. Costs next to nothing."""
    told = _told.get()
    if told is not None:
        told(done)


# --- the one function -----------------------------------------------------------------------------


def map_pieces[R](
    function: Callable[..., R], pieces: Sequence[tuple[Any, ...]], *, names: Sequence[str] = (),
    progress: Progress | None = None, label: str = "", ticks: int = 1,
) -> list[R]:  # fmt: skip
    """``[function(*piece) for piece in pieces]`` on the workers of :func:`using`.

    Parameters
    ----------
    function
        Defined at the top of a module; what it returns can be pickled and depends on nothing but
        its arguments.
    pieces
        The arguments of each call.
    names
        A name for each piece, with its seed, for messages.
    progress, label
        Whom to tell how far it got, and what to call it.
    ticks
        Parts of a piece that :func:`tell` counts.

    Raises
    ------
    PiecesFailed
        If pieces failed, after all others are finished.
    SynapseError
        At once, if a piece met something that the user can put right (bad input, a full disk).
    Interrupted
        After Ctrl-C; finished pieces are kept if there is a cache.
    """
    found = outcomes(function, pieces, names=names, progress=progress, label=label, ticks=ticks)
    failures = [each for each in found if isinstance(each, Failure)]
    if failures:
        raise PiecesFailed(failures, len(found))
    return [each for each in found if not isinstance(each, Failure)]


def outcomes[R](
    function: Callable[..., R], pieces: Sequence[tuple[Any, ...]], *, names: Sequence[str] = (),
    progress: Progress | None = None, label: str = "", ticks: int = 1,
) -> list[R | Failure]:  # fmt: skip
    """As :func:`map_pieces`, with a :class:`Failure` in the place of each piece that failed."""
    settings = _settings.get()
    kept = settings.cache.new_series() if settings.cache else None
    found: dict[int, Any] = kept.load(len(pieces)) if kept else {}
    todo = [at for at in range(len(pieces)) if at not in found]
    named = list(names) or [f"piece {at}" for at in range(len(pieces))]
    bar = _Bar(progress, len(todo), label, ticks)
    work = _Work(function, pieces, named, bar)
    alone = settings.workers == 1 or len(todo) < 2
    source = work.here(todo) if alone else work.spread(todo, min(settings.workers, len(todo)))
    try:
        with closing(source):
            for at, outcome in source:
                found[at] = outcome
                bar.finished(at)
                if kept and not isinstance(outcome, Failure):
                    kept.add(at, outcome)
    except KeyboardInterrupt:
        raise _interrupted(settings.cache, kept, len(found), len(pieces)) from None
    except BaseException:
        if kept:
            with suppress(OSError):  # the first trouble is the one to tell
                kept.flush()
        raise
    bar.close()
    if kept and any(isinstance(each, Failure) for each in found.values()):
        kept.flush()  # the same command tries only those again that failed
    return [found[at] for at in range(len(pieces))]


def _interrupted(cache: Cache | None, kept: _Kept | None, done: int, count: int) -> Interrupted:
    if kept is not None and cache is not None:
        with suppress(OSError):
            kept.flush()
        if cache.holds_something():
            return Interrupted(
                f"interrupted; {done} of {count} pieces are complete and kept: the same command"
                " continues from there"
            )
    return Interrupted("interrupted; nothing unfinished was kept")


class _Bar:
    """Advances a progress by ticks; a piece that is finished has done all of its own."""

    def __init__(self, progress: Progress | None, pieces: int, label: str, ticks: int) -> None:
        total = pieces * ticks
        items = range(total)
        self._steps = iter(progress(items, total=total, label=label) if progress else items)
        self._ticks, self._told = ticks, dict[int, int]()

    def tell(self, at: int, done: int) -> None:
        """Piece ``at`` has done so many of its ticks."""
        for _ in range(min(done, self._ticks) - self._told.get(at, 0)):
            next(self._steps, None)
        self._told[at] = max(done, self._told.get(at, 0))

    def finished(self, at: int) -> None:
        """Piece ``at`` is done."""
        self.tell(at, self._ticks)

    def close(self) -> None:
        """All is done."""
        for _ in self._steps:
            pass


# --- doing the pieces -----------------------------------------------------------------------------


class _Work:
    """A function, its pieces, and two ways to get them done."""

    def __init__(
        self,
        function: Callable[..., Any],
        pieces: Sequence[tuple[Any, ...]],
        names: list[str],
        bar: _Bar,
    ) -> None:
        self.function, self.pieces, self.names, self.bar = function, pieces, names, bar

    def here(self, todo: Sequence[int]) -> Generator[tuple[int, Any]]:
        """One after another, in this process."""
        for at in todo:
            token = _told.set(functools.partial(self.bar.tell, at))
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

    def __init__(self, work: _Work, count: int) -> None:
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
            args=(_Found(work.function), work.pieces, work.names, theirs, others),
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
                    self._work.bar.tell(*answer)
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
    found: _Found, pieces: Sequence[tuple[Any, ...]], names: list[str], connection: Connection,
    others: list[Connection],
) -> None:  # fmt: skip
    """What a worker does: blocks of pieces, until nobody is there any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who gives the work
    for each in others:
        each.close()
    _leave_with_parent()
    _settings.set(_Settings())
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


# --- pieces on disk -------------------------------------------------------------------------------


class _Kept:
    """Finished pieces of one series: files with a checksum, each whole or absent.

    They hold pickles: they are made to be read by the same program a little later.
    """

    def __init__(self, folder: Path, series: int) -> None:
        self._folder, self._series = folder, series
        self._new: dict[int, Any] = {}
        self._since = time.perf_counter()

    def load(self, count: int) -> dict[int, Any]:
        """Results by number of the piece; files that are not whole are not used."""
        found: dict[int, Any] = {}
        for path in sorted(self._folder.glob(f"{self._series}-*.pieces")):
            with suppress(OSError):
                found |= opened(path.read_bytes()) or {}
        return {at: result for at, result in found.items() if 0 <= at < count}

    def add(self, at: int, result: Any) -> None:
        """Keep a result; it is on the disk within seconds."""
        self._new[at] = result
        self.flush_if_long()

    def flush_if_long(self) -> None:
        """Write what is new if that is worth it."""
        if time.perf_counter() - self._since > _KEEP_S:
            self.flush()

    def flush(self) -> None:
        """Write what is new."""
        if self._new:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{self._series}-{secrets.token_hex(8)}.pieces"
            write_atomic(path, closed(self._new))
            self._new = {}
        self._since = time.perf_counter()


def closed(results: dict[int, Any]) -> bytes:
    """Results as the contents of a file: a line that names the format, a pickle, a SHA-256."""
    body = _MAGIC + pickle.dumps(results)
    return body + hashlib.sha256(body).digest()


def opened(data: bytes) -> dict[int, Any] | None:
    """The inverse of :func:`closed`; None if the file is truncated or was changed."""
    body, digest = data[:-_DIGEST], data[-_DIGEST:]
    if not body.startswith(_MAGIC) or hashlib.sha256(body).digest() != digest:
        return None
    try:
        found: dict[int, Any] = pickle.loads(body[len(_MAGIC) :])
    except Exception:  # whole, but of classes that are no longer there
        return None
    return found
