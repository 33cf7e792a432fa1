"""Files and folders that appear whole or not at all: written aside, flushed, then renamed."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from synapse_abm.core.errors import InputError, OutputError
from synapse_abm.core.terminal import stream_of, write_stream

#: The record of a run, written last.
RECORD = "run.json"
#: Where unfinished work is kept, inside the folder of results; and results of the tasks of a run
#: that is complete.
UNFINISHED, KEPT = ".unfinished", ".kept"
#: How names of files end that are still being written.
TEMPORARY = ".partial"
_STALE_S = 3600.0  # a temporary file this old belongs to a run that was killed


def sha256(data: bytes) -> str:
    """The SHA-256 of ``data`` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


@contextmanager
def output_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """The folder ``path``, made and shown to be writable before any work starts.

    If the body fails, folders made here are removed again as long as they are empty.

    Raises
    ------
    OutputError
        If the folder cannot be made or written to, or the disk is full.
    """
    # Absolute from here on: an experiment may change the working folder.
    folder = Path(os.path.abspath(path))
    # What can be refused is refused now, not after an hour of simulation.
    made: list[Path] = []
    try:
        _make_folders(folder, made)
        try:
            _probe(folder)
        except OSError as error:
            raise OutputError.from_os(folder, error) from error
        yield folder
    except BaseException:
        _remove_empty(made)
        raise


def write_folder(folder: Path, files: Mapping[str, bytes], record: str = RECORD) -> None:
    """Put ``files`` into ``folder``: all complete, or the folder as it was.

    All are on disk under temporary names before the first takes its place. An older record goes
    first and the new one comes last, so that a record never describes files of another run; should
    the machine stop between two renames, the folder holds complete files and no record.

    Raises
    ------
    OutputError
        If a file cannot be written; names the file and the remedy.
    """
    # False sorts before True: the record comes last, the others stay in their order.
    in_order = sorted(files, key=lambda name: name == record)
    staged: dict[str, Path] = {}
    name = record
    try:
        _remove_stale(folder)
        for name in in_order:
            _refuse_folder(folder / name)
            staged[name] = _stage(folder / name, files[name])
        name = record
        if record in files:
            (folder / record).unlink(missing_ok=True)
            _sync_folder(folder)
        for name in in_order:
            staged[name].replace(folder / name)
        _sync_folder(folder)
    except OSError as error:
        raise OutputError.from_os(folder / name, error) from error
    finally:
        # Those that were renamed are gone from here; unlink says nothing of them.
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)


def file_path(path: object, name: str = "path") -> Path:
    """``path``, text or a path, as a path.

    Raises
    ------
    InputError
        If it is anything else; calls it ``name``.
    """
    if isinstance(path, str | os.PathLike):
        return Path(path)
    raise InputError(name, path, "a path: text, or a pathlib.Path")


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write one file: complete, or not at all, an older one staying as it was.

    A link is followed; a device or pipe is written to as it is, and what standard output goes to
    (``/dev/stdout``) gets ``data`` behind what was printed.

    Raises
    ------
    OutputError
        If it cannot be written; names the file and the remedy.
    """
    target = file_path(path)
    try:
        if (descriptor := stream_of(target)) is not None:
            write_stream(descriptor, data)
            return
        if _is_stream(target):
            with target.open("wb") as stream:
                stream.write(data)
            return
        # A rename would replace a link by a file; what is meant is the file behind it.
        target = Path(os.path.realpath(target))
        _refuse_folder(target)
        temporary = _stage(target, data)
        try:
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
    except OSError as error:
        raise OutputError.from_os(path, error) from error


def check_file(path: str | os.PathLike[str]) -> None:
    """Make sure that :func:`write_atomic` can write ``path``, before a long computation.

    Raises
    ------
    OutputError
        If its folder is missing or cannot be written to.
    """
    target = file_path(path)
    try:
        if _is_stream(target):  # looking at it fails where the name is too long
            return
        target = Path(os.path.realpath(target))
        _refuse_folder(target)
        _probe(target.parent)
    except OSError as error:
        raise OutputError.from_os(path, error) from error


def _make_folders(folder: Path, made: list[Path]) -> None:
    """Make ``folder`` and its parents; add the ones that were missing to ``made``, outermost first,
    whatever happens on the way.
    """
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        for path in reversed(missing):
            made.append(path)  # before it is made: an interrupt may come between the two
            try:
                path.mkdir()
            except OSError:  # somebody else's, if there is one now
                made.pop()
                raise
            _sync_folder(path.parent)
        if not folder.is_dir():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    except OSError as error:
        raise OutputError.from_os(folder, error) from error


def _remove_empty(made: Sequence[Path]) -> None:
    for folder in reversed(made):
        with suppress(OSError):
            # Removes a folder only if it is empty: what anybody has put there meanwhile stays.
            folder.rmdir()


def _probe(folder: Path) -> None:
    """Write a block to ``folder`` and remove it again."""
    # A block is written, not just a name: a full disk often still takes empty files.
    _stage(folder / "probe", bytes(4096)).unlink()


def _stage(target: Path, data: bytes) -> Path:
    """A complete temporary file beside ``target`` holding ``data``, safe on disk."""
    # Beside the target, as only within one file system is a rename one step; random, as two runs
    # may write at once.
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}{TEMPORARY}")
    try:
        # x: a name that exists is not ours to overwrite.
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            # Without it some file systems rename first and write later: after a power cut the file
            # is empty.
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` outlast a power cut, where the file system lets us."""
    if os.name == "nt":
        return
    try:
        # A rename is an entry of its folder, which has to reach the disk too. Windows cannot do it.
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder one may write to but not list
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)


def _remove_stale(folder: Path) -> None:
    """Remove temporary files left by a run that was killed outright."""
    now = time.time()
    for path in folder.glob(f".*{TEMPORARY}"):
        with suppress(OSError):
            # Younger ones may belong to a run that is at work in the same folder.
            if now - path.stat().st_mtime > _STALE_S:
                path.unlink()


def _refuse_folder(target: Path) -> None:
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


def _is_stream(path: Path) -> bool:
    """Whether ``path`` is a device or pipe, which a rename would replace instead of filling."""
    # /dev/stdout is a link to whatever it is redirected to: known by its name before it is looked
    # at.
    named = str(path).startswith(("/dev/std", "/dev/fd/"))
    return named or (path.exists() and not path.is_file() and not path.is_dir())
