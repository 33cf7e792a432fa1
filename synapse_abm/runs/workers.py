"""Tasks done by the workers of an executor of ``concurrent.futures``, or here.

By default that is a pool of processes of this machine: on Linux copies of this process, elsewhere,
or beside other threads, fresh ones. Tasks that spend their time in compiled code, which lets other
threads run, are done by threads of this process, which start at once. Short tasks go out in
bundles, so that each costs little to pass on. A pool whose worker is killed is replaced, and what
is not finished is given again. What the results are, and what of them is kept, is not known here:
see :mod:`synapse_abm.runs.sweep`.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from concurrent.futures.process import ProcessPoolExecutor
from concurrent.futures.thread import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import connection
from typing import Any

from synapse_abm.core.errors import SynapseError
from synapse_abm.core.progress import interrupted, stop_if_interrupted

_BUNDLE_S = 0.1  # a bundle of short tasks takes about as long: the cost of passing it on is hidden
_LOOK_S = 0.2  # how often it is looked up how far workers are
_LIVES = 3  # a task whose worker was killed so often is given up
_HEAD_START_S = 0.5  # work done here first, where starting a worker costs a second
_MOST_THREADS = 8  # beyond, they would wait for each other's Python code: then processes
_LOAD_S = 1.5  # loading kernels takes less, compiling them more
_SWITCH_S = 0.0005  # after so long a thread that runs Python lets another one
_MOST_ON_WINDOWS = 61  # workers of a pool: Windows waits for no more processes at once

_told: ContextVar[Callable[[int], None] | None] = ContextVar("_told", default=None)
_ticks: Any = None  # in a worker of this machine: ticks done of each task, shared with its parent


@dataclass(frozen=True, slots=True)
class Failure:
    """A task that failed: its name, with the seed, and what went wrong."""

    name: str
    message: str
    details: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


def tell(done: int) -> None:
    """From within a task: so many of its ticks are done. Costs next to nothing."""
    stop_if_interrupted()
    told = _told.get()
    if told is not None:
        told(done)


@dataclass(frozen=True, slots=True)
class Tasks:
    """Calls of one function, and what to call them in messages.

    Attributes
    ----------
    function, arguments, names
        What to call, with what, and the name of each call.
    told
        Is told (index of the task, ticks done) of what :func:`tell` says within a task.
    settle
        A worker calls it before its first task; at the top of a module.
    prepare
        Is called here before this process is copied: what it loads, the copies need not load.
    compiled
        Whether the tasks spend most of their time in compiled code that lets other threads run.
    meanwhile
        Is called beside threads: what it imports is needed later.
    """

    function: Callable[..., Any]
    arguments: Sequence[tuple[Any, ...]]
    names: Sequence[str]
    told: Callable[[int, int], None]
    settle: Callable[[], None]
    prepare: Callable[[], object] | None = None
    compiled: bool = False
    meanwhile: Callable[[], object] | None = None

    def done(
        self, todo: Sequence[int], workers: int, executor: Executor | None
    ) -> Generator[tuple[int, Any]]:
        """Index and outcome of each task of ``todo``, in the order in which they finish."""
        waiting = deque(todo)
        if executor is not None:
            yield from self._fed(executor, workers, waiting, Counter())
            return
        workers = min(workers, len(todo), _MOST_ON_WINDOWS if os.name == "nt" else workers)
        if self.compiled and 1 < workers <= _MOST_THREADS:
            yield from self._in_threads(workers, waiting)
            return
        # A function made within another one cannot travel to another process: its tasks are done
        # here.
        if workers < 2 or not _can_be_found(self.function):
            yield from self._here(waiting)
            return
        # Fresh processes (macOS, Windows) import everything first: what is done here meanwhile may
        # be all there is to do, and then none is started.
        started = time.perf_counter()
        while waiting and not _can_fork() and time.perf_counter() - started < _HEAD_START_S:
            yield from self._here([waiting.popleft()])
        # A pool that lost a worker is broken as a whole (BrokenProcessPool); the next one goes on
        # with what is left.
        deaths = Counter[int]()
        while waiting:
            yield from self._in_a_pool(min(workers, len(waiting)), waiting, deaths)

    def _here(self, todo: Sequence[int]) -> Generator[tuple[int, Any]]:
        """One after another, in this process."""
        for at in todo:
            token = _told.set(partial(self.told, at))
            try:
                yield at, _attempt(self.function, self.arguments[at], self.names[at])
            finally:
                _told.reset(token)

    def _in_threads(self, workers: int, waiting: deque[int]) -> Generator[tuple[int, Any]]:
        """The same in threads of this process."""
        stopped, loaded, ticks = threading.Event(), threading.Event(), [0] * len(self.names)

        def import_beside() -> None:
            # Two threads that import wait for each other, so what the tasks need comes first; but
            # compiling, which takes longer, lets others run most of its time.
            loaded.wait(_LOAD_S)
            if self.meanwhile is not None:
                self.meanwhile()

        beside, interval_s = threading.Thread(target=import_beside), sys.getswitchinterval()
        pool = ThreadPoolExecutor(workers, initializer=interrupted.set, initargs=(stopped.is_set,))
        try:
            beside.start()
            if self.prepare is not None:
                self.prepare()
            loaded.set()
            # Runs come back from compiled code every millisecond, and would wait for Python's usual
            # five while the other thread imports.
            sys.setswitchinterval(_SWITCH_S)
            yield from self._fed(pool, workers, waiting, Counter(), ticks)
        finally:
            # At the end nothing is left to stop; before, a thread goes on to the end of its call of
            # compiled code, which is a fraction of a second.
            stopped.set()
            loaded.set()
            pool.shutdown(wait=True, cancel_futures=True)
            beside.join()
            sys.setswitchinterval(interval_s)

    def _in_a_pool(
        self, workers: int, waiting: deque[int], deaths: Counter[int]
    ) -> Generator[tuple[int, Any]]:
        """The same on processes, until all is done or one of them is killed."""
        fork = _can_fork()
        if fork and self.prepare is not None:
            self.prepare()
        # A copied process shares what its parent has loaded, kernels above all; "forkserver", the
        # default from Python 3.14 on, would load them once for each worker.
        context: Any = multiprocessing.get_context("fork" if fork else "spawn")
        # Shared memory without a lock: each place has one writer, and a reader that sees the old
        # value only shows it a moment longer.
        ticks = context.RawArray("q", len(self.names))
        pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(ticks,))
        try:
            yield from self._fed(pool, workers, waiting, deaths, ticks)
        except BaseException:
            _kill(pool)
            raise
        finally:
            # Waited for, so that no process outlives the command.
            pool.shutdown(wait=True, cancel_futures=True)

    def _fed(
        self, executor: Executor, workers: int, waiting: deque[int], deaths: Counter[int],
        ticks: Any = None,
    ) -> Generator[tuple[int, Any]]:  # fmt: skip
        """The same on an executor, which is kept busy: each worker has a bundle, and another waits.

        Nobody says which of the workers of a broken pool was the first to die, so all tasks that
        were out are given again, one by one; the last time each alone, so that no other is blamed.
        """
        out, mean_s = dict[Future[Any], list[int]](), 0.0
        function = _ByFile(self.function)
        try:
            while waiting or out:
                while waiting and len(out) < 2 * workers:
                    died = deaths[waiting[0]]
                    last_try = any(deaths[bundle[0]] == _LIVES - 1 for bundle in out.values())
                    if out and (died == _LIVES - 1 or last_try):
                        break
                    # Until a time is known, and after a death, one by one. At the end small
                    # bundles: none should wait for the last one.
                    size = int(_BUNDLE_S / mean_s) if mean_s > 0 and not died else 1
                    size = max(1, min(size, len(waiting) // (4 * workers)))
                    bundle = list(islice(waiting, size))
                    calls = [(at, self.arguments[at], self.names[at]) for at in bundle]
                    # Python warns that copying a process with threads may deadlock. Those here
                    # belong to BLAS and to tqdm, which hold no lock between calls.
                    with warnings.catch_warnings():  # threads of libraries only, and at rest
                        warnings.simplefilter("ignore", DeprecationWarning)
                        # Processes have a list of their own, shared with this one.
                        own = ticks if isinstance(ticks, list) else None
                        future = executor.submit(_do_bundle, function, self.settle, calls, own)
                    out[future] = [waiting.popleft() for _ in bundle]
                # Woken now and then to move the progress bar of tasks that take long.
                ready, _ = wait(out, _LOOK_S if ticks else None, FIRST_COMPLETED)
                for at in (at for bundle in out.values() for at in bundle if ticks):
                    self.told(at, ticks[at])
                for future in ready:
                    results, seconds = self._result(future, out[future])
                    mean_s = seconds / len(results)
                    yield from zip(out.pop(future), results, strict=True)
        except BrokenExecutor:
            if ticks is None:  # an executor that is not ours: we cannot replace it
                raise
            # Whose death it was cannot be known, so all that were out carry the blame until one of
            # them is alone.
            lost = sorted(at for bundle in out.values() for at in bundle)
            deaths.update(lost)
            waiting.extendleft(at for at in reversed(lost) if deaths[at] < _LIVES)
            for at in (at for at in lost if deaths[at] >= _LIVES):
                yield at, Failure(self.names[at], f"its worker was killed {_LIVES} times")
        finally:
            for future in out:
                future.cancel()

    def _result(self, future: Future[Any], bundle: list[int]) -> tuple[list[Any], float]:
        """What came of a bundle, and the time it took, s."""
        try:
            result: tuple[list[Any], float] = future.result()
        except (SynapseError, BrokenExecutor):
            raise
        except Exception as error:  # of pickling, or of a foreign executor
            told = f"cannot be passed on: {type(error).__name__}: {error}"
            return [Failure(self.names[at], told) for at in bundle], 0.0
        return result


def _attempt(function: Callable[..., Any], arguments: tuple[Any, ...], name: str) -> Any:
    """The result, or what went wrong; errors of the user's are raised."""
    try:
        return function(*arguments)
    except SynapseError:
        raise
    except Exception as error:
        # The traceback travels as text: the exception itself may not survive pickling.
        message = f"{type(error).__name__}: {error}"
        return Failure(name, message, traceback.format_exc())


# --- in a worker ----------------------------------------------------------------------------------


def _begin(ticks: Any) -> None:
    """Make a process of a pool ready: it ends with its parent, and Ctrl-C is for its parent."""
    global _ticks
    _ticks = ticks
    # A terminal sends Ctrl-C to the whole group of processes; only the parent decides what is kept.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:  # were the parent killed outright, nobody else would end this process
        connection.wait([parent.sentinel])
        # sys.exit would end this thread alone, and the task would go on.
        os._exit(1)

    # A daemon thread: it must not keep the process alive when its work is done.
    threading.Thread(target=watch, daemon=True).start()


def _do_bundle(
    function: _ByFile, settle: Callable[[], None], calls: list[tuple[int, tuple[Any, ...], str]],
    ticks: list[int] | None = None,
) -> tuple[list[Any], float]:  # fmt: skip
    """Outcomes of a bundle of tasks, and the time it took, s."""
    settle()
    shared = _ticks if ticks is None else ticks
    started, outcomes = time.perf_counter(), list[Any]()
    for at, arguments, name in calls:
        if shared is not None:
            _told.set(partial(shared.__setitem__, at))
        outcomes.append(_attempt(function.function, arguments, name))
    return outcomes, time.perf_counter() - started


# --- processes ------------------------------------------------------------------------------------


def _kill(pool: ProcessPoolExecutor) -> None:
    """End all workers of a pool, whatever they are at (from Python 3.14 on: ``kill_workers``)."""
    # Private, but the only handle that Python 3.12 and 3.13 offer.
    for process in list((pool._processes or {}).values()):
        process.kill()


def _can_fork() -> bool:
    """Whether a copy of this process is safe to make: on Linux, with no other thread of Python's.

    Starting afresh instead costs each worker a second of imports.
    """
    # tqdm keeps a monitor thread that does nothing but sleep.
    others = [thread for thread in threading.enumerate() if type(thread).__name__ != "TMonitor"]
    return sys.platform == "linux" and len(others) == 1


def _can_be_found(function: Callable[..., Any]) -> bool:
    """Whether a fresh process can find the function by its module's file and its name."""
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    name = getattr(function, "__qualname__", "")
    return getattr(module, name, None) is function and bool(getattr(module, "__file__", None))


class _ByFile:
    """A function that travels by its module's name and file (experiments have no package)."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __getstate__(self) -> tuple[str, str, str]:
        # pickle would look for a package of that name; an experiment is a file without one.
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
