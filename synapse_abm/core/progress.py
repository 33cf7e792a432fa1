"""How far something has come, for whoever watches."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Protocol

#: In a thread that works for another one: whether that one was interrupted.
interrupted: ContextVar[Callable[[], bool] | None] = ContextVar("interrupted", default=None)


def stop_if_interrupted() -> None:
    """For what takes long: raise ``KeyboardInterrupt`` if whoever waits for it was interrupted.

    Python gives Ctrl-C to its main thread alone, and no thread can be ended from outside.
    """
    asked = interrupted.get()
    if asked is not None and asked():
        raise KeyboardInterrupt


class Progress(Protocol):
    """Passes ``items`` on, one by one, and may tell somebody how far it got."""

    def __call__[T](
        self, items: Iterable[T], /, *, total: int | None = None, label: str = ""
    ) -> Iterable[T]:
        """The same items; ``total`` is their number if ``items`` cannot tell it."""


def silent[T](items: Iterable[T], /, *, total: int | None = None, label: str = "") -> Iterable[T]:
    """A :class:`Progress` that says nothing."""
    return items


def bar[T](items: Iterable[T], /, *, total: int | None = None, label: str = "") -> Iterable[T]:
    """A :class:`Progress` bar on a terminal, for what takes over a second; elsewhere nothing."""
    from tqdm import tqdm

    # A terminal that reports no size (some containers) would get an invisible bar from tqdm.
    width, height = shutil.get_terminal_size()
    # disable=None: a bar on terminals only, so that logs stay readable.
    return tqdm(
        items, total=total, desc=label or None, disable=None, delay=1.0, leave=False,
        ncols=min(width, 100), nrows=height,
    )  # fmt: skip
