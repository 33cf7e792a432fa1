"""What the program says when it cannot go on: the name, the value, what is allowed, and the fix.

Every error here is one readable sentence, survives pickling (so that a worker process can send it
home), and ends the command line with :data:`EXIT_BAD_INPUT` instead of a traceback. Errors of input
are also ``ValueError``, errors of output also ``OSError``, so that ordinary handlers catch them.
"""

from __future__ import annotations

import difflib
import errno
import os
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence

#: Exit status of the command line for anything the user can put right.
EXIT_BAD_INPUT = 2
#: Known names that a message lists.
MOST_NAMES = 50


def escaped(text: str) -> str:
    """``text`` on one line that no terminal obeys: what cannot be printed, as Python spells it.

    Control characters (colours, cursor movements, line ends), marks that turn the direction of
    writing, and halves of characters, which no encoding has.
    """
    # The usual case, and one look at the text.
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class _Short(reprlib.Repr):
    """Representations cut while they are made: a list of a million entries costs nothing."""

    def repr_int(self, x: int, level: int) -> str:
        """Digits, unless there are many: making them takes long, and Python refuses 4300."""
        if x.bit_length() < 128:
            return repr(x)
        return f"a whole number of about {int(x.bit_length() * 0.30103) + 1} digits"


_SHORT = _Short(maxlevel=3, maxdict=4, maxstring=80, maxother=80)


def shown(value: object) -> str:
    """``value`` as a person would recognise it: at most 80 characters that no terminal obeys."""
    # Runs of spaces and line ends become one space: a message stays a sentence.
    text = escaped(" ".join(_SHORT.repr(value).split()))
    return text if len(text) <= 80 else f"{text[:77]}..."


class SynapseError(Exception):
    """Anything a user can put right; the message says how."""

    def __str__(self) -> str:
        # Messages hold names and text from files: nothing in them may reach a terminal raw.
        return "\n".join(map(escaped, super().__str__().split("\n")))


class InputError(SynapseError, ValueError):
    """One input that cannot be used.

    Parameters
    ----------
    name
        What was given, in the user's words: ``"--seed"``, ``"concentration_nM"``.
    value
        The value as it was given.
    allowed
        What would be accepted, with its unit: ``"a number > 0, in nM"``.
    fix
        The likely remedy as an imperative: ``"use 0.1 for 100 pM"``. May be empty.
    """

    def __init__(self, name: str, value: object, allowed: str, fix: str = "") -> None:
        super().__init__(_sentence(f"{name} = {shown(value)}: allowed is {allowed}", fix))
        self.name = name
        self.value = value
        self.allowed = allowed
        self.fix = fix

    def __reduce__(self) -> tuple[type[InputError], tuple[object, ...]]:
        # Exceptions are pickled by their args, which is the message here; made anew from its parts
        # instead.
        return type(self), (self.name, self.value, self.allowed, self.fix)

    def within(self, place: str) -> InputError:
        """The same fault, of a file that is named at ``place``."""
        return InputError(f"{place}, {self.name}", self.value, self.allowed, self.fix)


class UnknownName(InputError):
    """A name that is not in a list of known names; the nearest ones are offered.

    Parameters
    ----------
    name
        What is being named: ``"drug"``, ``"experiment"``.
    value
        The unknown name.
    known
        All names that would have been accepted.
    """

    def __init__(self, name: str, value: object, known: Iterable[str]) -> None:
        self.known = tuple(sorted(known))
        self.nearest = nearest_names(value, self.known) if isinstance(value, str) else ()
        listed = ", ".join(self.known[:MOST_NAMES])
        more = len(self.known) - MOST_NAMES
        listed += f" and {more} more" if more > 0 else ""
        allowed = f"one of {listed}" if listed else "none, nothing is known here"
        fix = f"did you mean {' or '.join(self.nearest)}?" if self.nearest else ""
        super().__init__(name, value, allowed, fix)

    def __reduce__(self) -> tuple[type[InputError], tuple[object, ...]]:
        return type(self), (self.name, self.value, self.known)


class InputErrors(SynapseError, ValueError):
    """Several faults of one input, reported together so that they can be mended together."""

    def __init__(self, faults: Sequence[InputError]) -> None:
        self.faults = tuple(faults)
        lines = "".join(f"\n  - {fault}" for fault in self.faults)
        super().__init__(f"{len(self.faults)} inputs cannot be used:{lines}")

    def __reduce__(self) -> tuple[type[InputErrors], tuple[object, ...]]:
        return type(self), (self.faults,)


class OutputError(SynapseError, OSError):
    """A file or folder that could not be written.

    Parameters
    ----------
    path
        What was to be written.
    reason
        Why it failed: ``"the disk is full"``.
    fix
        The likely remedy as an imperative.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str, fix: str = "") -> None:
        super().__init__(_sentence(f"cannot write {os.fspath(path)}: {reason}", fix))
        self.path = os.fspath(path)
        self.reason = reason
        self.fix = fix

    def __reduce__(self) -> tuple[type[OutputError], tuple[object, ...]]:
        return type(self), (self.path, self.reason, self.fix)

    @classmethod
    def from_os(cls, path: str | os.PathLike[str], error: OSError) -> OutputError:
        """The same failure in words, with a remedy for the usual causes."""
        if error.errno is None:
            return cls(path, str(error) or type(error).__name__)
        # The usual causes in our words, others in those of the system.
        reason, fix = _OS_REASONS.get(error.errno, (os.strerror(error.errno), ""))
        return cls(path, reason, fix)


_ELSEWHERE = "choose another place"
_OS_REASONS: Mapping[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", f"free some space or {_ELSEWHERE}"),
    errno.EDQUOT: ("the disk quota is used up", f"free some space or {_ELSEWHERE}"),
    errno.EFBIG: ("the file would exceed the size limit", f"raise the limit or {_ELSEWHERE}"),
    errno.EACCES: ("permission denied", f"{_ELSEWHERE} or change its permissions"),
    errno.EPERM: ("permission denied", f"{_ELSEWHERE} or change its permissions"),
    errno.EROFS: ("the file system is read-only", _ELSEWHERE),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", _ELSEWHERE),
    errno.EEXIST: ("a file of that name is in the way", f"{_ELSEWHERE} or move the file"),
    errno.EISDIR: ("a folder of that name is in the way", f"{_ELSEWHERE} or move the folder"),
    errno.ENAMETOOLONG: ("the name is too long", "shorten it"),
    errno.ENOENT: ("there is no such folder", f"make it first or {_ELSEWHERE}"),
}


def nearest_names(value: str, known: Iterable[str], at_most: int = 3) -> tuple[str, ...]:
    """The known names most like ``value``, best first, ignoring case; empty if none is close."""
    # Who writes Citalopram means citalopram; the name is offered as it is spelled here.
    by_folded = {name.casefold(): name for name in known}
    # The time of a comparison grows with the square of the length; no name is that long.
    close = difflib.get_close_matches(value[:100].casefold(), by_folded, n=at_most, cutoff=0.6)
    return tuple(by_folded[folded] for folded in close)


class collected:  # noqa: N801 (used like a function)
    """Adds what is raised as wrong with an input to ``faults``, so that all is told at once.

    ``with collected(faults): value = check(...)`` goes on behind the block, without a value.
    """

    def __init__(self, faults: list[InputError]) -> None:
        self.faults = faults

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        """Whether this was a fault of an input; others go on."""
        if isinstance(error, InputErrors):
            self.faults.extend(error.faults)
        elif isinstance(error, InputError):
            self.faults.append(error)
        return isinstance(error, InputErrors | InputError)


def tried[**P, T](
    faults: list[InputError], check: Callable[P, T], *arguments: P.args, **options: P.kwargs
) -> T | None:
    """What ``check(...)`` returns; None if it raised what is wrong, which is then in ``faults``."""
    with collected(faults):
        return check(*arguments, **options)
    return None


def raise_faults(faults: Sequence[InputError]) -> None:
    """Raise what was found wrong: nothing, the one fault, or all of them together.

    Raises
    ------
    InputError
        If there is exactly one fault.
    InputErrors
        If there are more.
    """
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise InputErrors(faults)


def _sentence(what: str, fix: str) -> str:
    return escaped(f"{what}; {fix}" if fix else what)
