"""The three standard streams, made fit to print to, whatever the command was started with.

A closed stream, an ASCII terminal, a window five columns wide, a reader that went away, a full
disk: none of them is a reason for a traceback or for losing the files of a run.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from synapse_abm.core.errors import OutputError

#: Help is laid out for at least so many columns: the parser never ends in a narrower window.
NARROWEST = 40


def prepare_streams() -> None:
    """Give a closed stream a place to write to, and let none fail for want of a letter.

    A descriptor that is closed at the start would be handed out to the next file that is opened:
    what a library prints to descriptor 2 would end in a table of results. So it is opened on the
    null device first. Python itself leaves ``sys.stderr`` None then, which progress bars trip over.
    """
    # Ascending: the lowest free number is what os.open returns.
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # os.open takes the lowest number that is free: this one
            os.open(os.devnull, os.O_RDONLY if descriptor == 0 else os.O_WRONLY)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            # A letter that the terminal's encoding lacks is then spelled out instead of ending the
            # run.
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def wide_enough() -> Iterator[None]:
    """While the body runs, a window too narrow for help passes as one of ``NARROWEST`` columns."""
    before = os.environ.get("COLUMNS")
    if shutil.get_terminal_size().columns >= NARROWEST:
        yield
        return
    # Whatever asks for the width (shutil, rich) believes this variable before the terminal.
    os.environ["COLUMNS"] = str(NARROWEST)
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


class StreamError(OutputError):
    """Standard output cannot be written to: the disk behind it is full, say."""


@contextmanager
def printing() -> Iterator[None]:
    """Whatever the body prints has been passed on when it ends, however it ends.

    Raises
    ------
    BrokenPipeError
        If the reader has gone.
    StreamError
        If it cannot be written for another reason.
    """
    try:
        try:
            yield
        finally:
            # At the end Python would flush by itself, and complain in a traceback that nobody can
            # catch.
            sys.stdout.flush()
    except (BrokenPipeError, OutputError):
        raise
    except OSError as error:
        raise StreamError.from_os("standard output", error) from error


def say(text: str) -> None:
    """Print a line at once; raises as :func:`printing` does."""
    with printing():
        print(text)


def announce(text: str) -> None:
    """Tell something at once, beside what a command prints."""
    print(text, file=sys.stderr, flush=True)


def discard_output() -> None:
    """Send what is still to be printed nowhere, so that the interpreter's last flush succeeds."""
    with suppress(OSError, ValueError):
        # dup2 puts the null device under the same number: whoever still holds the stream writes
        # there.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def stream_of(path: str | os.PathLike[str]) -> int | None:
    """The descriptor of standard output or error if ``path`` names what it writes to, else None.

    ``/dev/stdout`` redirected into a file *is* that file: opening it anew would cut off what has
    been printed before.
    """
    for descriptor in (1, 2):
        with suppress(OSError):
            # By device and inode: names do not tell, as /dev/stdout may be a link to any file.
            if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                return descriptor
    return None


def write_stream(descriptor: int, data: bytes) -> None:
    """Write all of ``data`` behind what has been printed."""
    stream = sys.stdout if descriptor == 1 else sys.stderr
    if stream is not None:
        stream.flush()
    # os.write may take only a part: a pipe holds 64 kB.
    while data:
        data = data[os.write(descriptor, data) :]
