"""How far something has come, for whoever watches."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from typing import Protocol


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
