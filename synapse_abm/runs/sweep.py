"""Many independent tasks on all cores: the same results for any number of workers.

A task is a call of one function whose random numbers are addressed by its own arguments, so
neither order nor worker can matter. ``runs.workers`` does the tasks on any executor of
``concurrent.futures``; if one fails, that is recorded and the rest goes on. Results are kept on
disk while a run is under way, so that the same command continues after Ctrl-C, a crash or a power
cut.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synapse_abm.core.arguments import check_workers
from synapse_abm.core.errors import SynapseError
from synapse_abm.core.files import KEPT, TEMPORARY, UNFINISHED
from synapse_abm.runs.workers import Failure, Tasks, tell

if TYPE_CHECKING:
    from synapse_abm.core.progress import Progress
    from synapse_abm.runs.result_store import ResultStore

__all__ = [
    "KEPT", "UNFINISHED", "Cache", "Failure", "Interrupted", "Kept", "TasksFailed",
    "current_cache", "map_tasks", "outcomes", "tell", "using",
]  # fmt: skip

_STALE_S = 7 * 86400.0  # unfinished work this old is removed


class TasksFailed(SynapseError):
    """Some tasks failed, all others were finished; ``failures`` tells which and why."""

    def __init__(self, failures: Sequence[Failure], count: int) -> None:
        self.failures, self.count = tuple(failures), count
        shown = "".join(f"\n  - {failure}" for failure in self.failures[:5])
        more = len(self.failures) - 5
        rest = f"\n  and {more} more" if more > 0 else ""
        super().__init__(f"{len(self.failures)} of {count} tasks failed:{shown}{rest}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.failures, self.count)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C; the message says what was kept and how to continue."""


# --- how a run is done ----------------------------------------------------------------------------


class Cache:
    """A folder for the results of finished tasks and the checkpoints of one run.

    Parameters
    ----------
    out
        The folder of results; the cache is hidden in it.
    identity
        Everything that the results depend on: another value never sees these files.
    """

    def __init__(self, out: Path, *identity: object) -> None:
        # Plain values only, whose repr is the same in every process; 96 bits never collide by
        # chance.
        key = hashlib.sha256(repr(identity).encode()).hexdigest()[:24]
        self.folder = out / UNFINISHED / key
        self._kept = out / KEPT
        self._stores: list[ResultStore] = []

    def new_series(self, function: Callable[..., Any]) -> ResultStore:
        """Where the next series of the run keeps its results (series are numbered in order)."""
        from synapse_abm.runs.result_store import ResultStore

        # A run calls its series in the same order each time, so a number is enough of a name.
        self._stores.append(ResultStore(self.folder, len(self._stores) + 1, function))
        return self._stores[-1]

    def checkpoint(self, number: int) -> Path | None:
        """Where a long task of that number writes how far it came; None: nowhere."""
        return self.folder / f"{number}.checkpoint"

    def flush(self) -> None:
        """Write what is finished, so that it need not be done again whatever happens next."""
        for store in self._stores:
            store.flush()

    def finish(self) -> None:
        """The run is complete: keep the results of its tasks for :class:`Kept`, instead of those
        of the run that was in the folder before.
        """
        with suppress(OSError):  # the run is on the disk; this saves time later, perhaps
            shutil.rmtree(self._kept, ignore_errors=True)
            self.flush()
            for path in [*self.folder.glob("*.checkpoint"), *self.folder.glob(f".*{TEMPORARY}")]:
                path.unlink(missing_ok=True)
            if self.holds_something():
                self.folder.replace(self._kept)
        self.remove()

    def holds_something(self) -> bool:
        """Whether the same run, started again, would find anything."""
        return self.folder.is_dir() and any(path.name[0] != "." for path in self.folder.iterdir())

    def tidy(self) -> None:
        """Remove what workers left half-written when they were ended; all, if that is all."""
        for path in self.folder.glob(f".*{TEMPORARY}"):
            path.unlink(missing_ok=True)
        if not self.holds_something():
            self.remove()

    def remove(self) -> None:
        """Remove it, and what other runs left long ago."""
        shutil.rmtree(self.folder, ignore_errors=True)
        # Runs with other options leave their unfinished work here too; nobody will ask for it after
        # a week.
        now, parent = time.time(), self.folder.parent
        for other in parent.glob("*"):
            with suppress(OSError):
                if now - other.stat().st_mtime > _STALE_S:
                    shutil.rmtree(other, ignore_errors=True)
        with suppress(OSError):
            parent.rmdir()


class Kept(Cache):
    """The results that a complete run left in its folder: read, never written."""

    def __init__(self, out: Path) -> None:
        super().__init__(out)
        self.folder = self._kept

    def new_series(self, function: Callable[..., Any]) -> ResultStore:
        """The results of the next series; what is added is not written."""
        store = super().new_series(function)
        store.is_written = False
        return store

    def checkpoint(self, number: int) -> None:
        """Nowhere."""

    def holds_something(self) -> bool:
        """Nothing that an interrupted run could continue from."""
        return False

    def finish(self) -> None:
        """Nothing was written."""

    def tidy(self) -> None:
        """Nothing was written."""


@dataclass(frozen=True, slots=True)
class _Settings:
    workers: int = 1
    cache: Cache | None = None
    executor: Executor | None = None
    meanwhile: Callable[[], object] | None = None


_settings: ContextVar[_Settings] = ContextVar("_settings", default=_Settings())  # noqa: B039


@contextmanager
def using(
    workers: int | None = None, cache: Cache | None = None, executor: Executor | None = None,
    *, meanwhile: Callable[[], object] | None = None,
) -> Iterator[None]:  # fmt: skip
    """Within, :func:`map_tasks` uses so many workers (None: all cores) and keeps its results.

    When the body succeeds the results stay for who draws them again (:class:`Kept`). Outside of
    it tasks are done one after another.

    Parameters
    ----------
    executor
        Any executor of ``concurrent.futures``, or one with the same interface, where tasks are
        done instead of on processes of this machine; ``workers`` then says how many it has. It is
        left running.
    meanwhile
        Is called while threads of this process are at work, as what it imports takes time too.
    """
    # A context variable, not a global: runs in several threads do not see each other.
    token = _settings.set(_Settings(check_workers(workers), cache, executor, meanwhile))
    try:
        yield
        if cache is not None:
            cache.finish()
    except Exception:
        # A mistake in what comes after the tasks, in a figure say, should not cost them.
        if cache is not None:
            with suppress(OSError):
                cache.flush()
        raise
    except KeyboardInterrupt as error:
        # Nothing was kept, so nothing is promised.
        if cache is None or not cache.holds_something() or isinstance(error, Interrupted):
            raise
        raise Interrupted("interrupted; the same command continues where it was") from None
    finally:
        _settings.reset(token)
        if cache is not None:
            cache.tidy()


def _alone() -> None:
    """For a worker: series within a task are done where it is done, and not kept."""
    _settings.set(_Settings())


def current_cache() -> Cache | None:
    """The cache of :func:`using`, if any."""
    return _settings.get().cache


# --- the one function -----------------------------------------------------------------------------


def map_tasks[R](
    function: Callable[..., R], tasks: Sequence[tuple[Any, ...]], *, names: Sequence[str] = (),
    progress: Progress | None = None, label: str = "", ticks: int = 1,
    prepare: Callable[[], object] | None = None, compiled: bool = False,
) -> list[R]:  # fmt: skip
    """``[function(*task) for task in tasks]`` on the workers of :func:`using`.

    Parameters
    ----------
    function
        Defined at the top of a module; what it returns depends on nothing but its arguments. Kept
        is what consists of plain values, arrays of numbers, and the dataclasses and named tuples
        that its annotation names (see ``core.values``).
    tasks
        The arguments of each call.
    names
        A name for each task, with its seed, for messages.
    progress, label
        Whom to tell how far it got, and what to call it.
    ticks
        Parts of a task that :func:`tell` counts.
    prepare
        Called before worker processes are made as copies of this one: it may load what they need.
    compiled
        Whether tasks spend most of their time in compiled code that lets other threads run, as
        :class:`Simulation` does: then a few workers are threads, which start at once.

    Raises
    ------
    TasksFailed
        If tasks failed, after all others are finished.
    SynapseError
        At once, if a task met something that the user can put right (bad input, a full disk).
    Interrupted
        After Ctrl-C; results are kept if there is a cache.
    """
    results = outcomes(
        function, tasks, names=names, progress=progress, label=label, ticks=ticks, prepare=prepare,
        compiled=compiled,
    )  # fmt: skip
    failures = [result for result in results if isinstance(result, Failure)]
    if failures:
        raise TasksFailed(failures, len(results))
    return [result for result in results if not isinstance(result, Failure)]


def outcomes[R](
    function: Callable[..., R], tasks: Sequence[tuple[Any, ...]], *, names: Sequence[str] = (),
    progress: Progress | None = None, label: str = "", ticks: int = 1,
    prepare: Callable[[], object] | None = None, compiled: bool = False,
) -> list[R | Failure]:  # fmt: skip
    """As :func:`map_tasks`, with a :class:`Failure` in the place of each task that failed."""
    settings = _settings.get()
    store = settings.cache.new_series(function) if settings.cache else None
    results: dict[int, Any] = store.load(len(tasks)) if store else {}
    # What an earlier, interrupted run finished is read, not computed again: it would come out the
    # same.
    todo = [at for at in range(len(tasks)) if at not in results]
    bar = _Bar(progress, len(todo), label, ticks)
    named = list(names) or [f"task {at}" for at in range(len(tasks))]
    series = Tasks(function, tasks, named, bar.tell, _alone, prepare, compiled, settings.meanwhile)
    try:
        # Closed at once when something is raised, so that no worker outlives the message.
        with closing(series.done(todo, settings.workers, settings.executor)) as source:
            for at, outcome in source:
                results[at] = outcome
                bar.finished(at)
                if store and not isinstance(outcome, Failure):
                    store.add(at, outcome)
    except KeyboardInterrupt:
        raise _interrupted(settings.cache, store, len(tasks)) from None
    except BaseException:
        if store:
            with suppress(OSError):  # the first trouble is the one to tell
                store.flush()
        raise
    bar.close()
    if store and any(isinstance(result, Failure) for result in results.values()):
        store.flush()  # the same command tries only those again that failed
    return [results[at] for at in range(len(tasks))]


def _interrupted(cache: Cache | None, store: ResultStore | None, count: int) -> Interrupted:
    if store is not None and cache is not None:
        with suppress(OSError):
            store.flush()
        if cache.holds_something():
            return Interrupted(
                f"interrupted; {store.count} of {count} tasks are complete and kept: the same"
                " command continues from there"
            )
    return Interrupted("interrupted; nothing unfinished was kept")


class _Bar:
    """Advances a progress by ticks; a task that is finished has done all of its own."""

    def __init__(self, progress: Progress | None, tasks: int, label: str, ticks: int) -> None:
        total = tasks * ticks
        # A progress passes items on; here they stand for ticks, and each is taken when its tick is
        # done.
        items = range(total)
        self._steps = iter(progress(items, total=total, label=label) if progress else items)
        self._ticks, self._told = ticks, dict[int, int]()

    def tell(self, at: int, done: int) -> None:
        """Task ``at`` has done so many of its ticks."""
        for _ in range(min(done, self._ticks) - self._told.get(at, 0)):
            next(self._steps, None)
        # A task whose worker was killed counts from nothing again; a bar does not go back.
        self._told[at] = max(done, self._told.get(at, 0))

    def finished(self, at: int) -> None:
        """Task ``at`` is done."""
        self.tell(at, self._ticks)

    def close(self) -> None:
        """All is done."""
        for _ in self._steps:
            pass
