"""Arrays and a header in one file, portable, without pickle, that shows whether it is whole.

A line that names the format, a header in JSON (with the types and shapes of the arrays), the bytes
of the arrays in little-endian order, and a SHA-256 of all that came before. The checksum shows
damage, not who wrote it: a file may be anybody's, so nothing in it is believed before it is
checked, and no array is made before its size is known to be in the file.
"""

from __future__ import annotations

import hashlib
import json
import math
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from synapse_abm.core.errors import SynapseError
from synapse_abm.core.version import __version__

#: Largest file that is read, bytes.
MOST_BYTES = 2**33
#: Longest header: its JSON takes up to twenty times as much memory once it is parsed.
MOST_HEADER = 2**25
#: Most arrays of a file, and most axes of each.
MOST_ARRAYS, MOST_AXES = 100_000, 8
#: Types of arrays: numbers, whose every pattern of bits is a value.
DTYPES = frozenset(["|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<f4", "<i8", "<u8", "<f8"])
_DIGEST = hashlib.sha256().digest_size


class CheckpointError(SynapseError, ValueError):
    """A file that is not a whole checkpoint of this version: which file, why, and what to do."""

    def __init__(
        self, path: Path, what: str, fix: str = "use an earlier checkpoint, or start again"
    ) -> None:
        super().__init__(f"checkpoint {str(path)!r}: {what}; {fix}")
        self.path, self.what, self.fix = path, what, fix

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors travel between processes by their parts."""
        return type(self), (self.path, self.what, self.fix)


class Header(BaseModel):
    """What every file says of itself; each kind of file adds its own."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    version: str
    arrays: list[Any]


def sealed(magic: bytes, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """A file of any kind: the line that names its format, header, arrays, checksum.

    Raises
    ------
    ValueError
        If the header holds a number that is not finite, or is longer than :data:`MOST_HEADER`.
    """
    little = {n: np.asarray(a, dtype=a.dtype.newbyteorder("<")) for n, a in arrays.items()}
    listed = [[name, a.dtype.str, list(a.shape)] for name, a in little.items()]
    whole = {"version": __version__, **header, "arrays": listed}
    # not sorted: the order of ligands and targets is part of the scenario
    text = json.dumps(whole, separators=(",", ":"), allow_nan=False).encode()
    if len(text) > MOST_HEADER:
        raise ValueError(f"a header of {len(text)} bytes, at most {MOST_HEADER} are read again")
    body = magic + len(text).to_bytes(8, "little") + text
    # All in the order of memory of C, whatever order they had: shapes alone then say how to read
    # them.
    body += b"".join(a.tobytes() for a in little.values())
    return body + _checksum(body)


def contents(path: Path) -> bytes:
    """The bytes of a checkpoint, or an error that says why not.

    Raises
    ------
    CheckpointError
        If there is no such file, or it cannot be read, or is longer than :data:`MOST_BYTES`.
    """
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):  # a pipe or a device may never end
            raise CheckpointError(path, "it cannot be read (no regular file)", "check the path")
        if about.st_size > MOST_BYTES:
            raise CheckpointError(path, f"{about.st_size} bytes, at most {MOST_BYTES} are read")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            path, f"it cannot be read ({error.strerror})", "check the path"
        ) from error
    except ValueError as error:  # a null character in the name
        raise CheckpointError(path, f"it cannot be read ({error})", "check the path") from error


def opened[H: Header](
    magic: bytes, data: bytes, path: Path, schema: type[H]
) -> tuple[H, dict[str, np.ndarray]]:
    """Header and arrays of a file that :func:`sealed` wrote; ``path`` is for messages.

    Raises
    ------
    CheckpointError
        If it is truncated, changed, of another kind or of another version, or not as ``schema``
        and the types and shapes of its arrays say.
    """
    # Another format's file, or an older one's, is told apart before anything is parsed.
    if not data.startswith(magic):
        # The words before the number of the format.
        newer = data.startswith(magic[: magic.index(b" 1")])
        what = "its format is not known here" if newer else "this is something else"
        raise CheckpointError(path, what, "give a checkpoint written by this version")
    # First the checksum: what comes after may trust that the file is as long as it was.
    body, digest = data[:-_DIGEST], data[-_DIGEST:]
    if _checksum(body) != digest:
        raise CheckpointError(path, "its checksum does not fit: it is truncated or was changed")
    begin = len(magic) + 8
    length = int.from_bytes(body[len(magic) : begin], "little")
    if length > min(len(body) - begin, MOST_HEADER):
        what = f"a header of {length} bytes, at most {MOST_HEADER} and no more than the file has"
        raise CheckpointError(path, what)
    try:
        # The version is looked at before the schema, which belongs to this version alone.
        parsed = json.loads(body[begin : begin + length], parse_constant=_not_finite)
        written_by = parsed.get("version") if isinstance(parsed, dict) else None
        if isinstance(written_by, str) and written_by != __version__:
            what = f"it was written by version {written_by[:40]!r}, this is {__version__}"
            raise CheckpointError(path, what, "install the version that wrote it")
        header = schema.model_validate(parsed)
        return header, dict(_unpacked(header.arrays, memoryview(body)[begin + length :]))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"][:3]))
        raise CheckpointError(path, f"its header is wrong at {where!r}: {first['msg']}") from error
    except RecursionError:
        raise CheckpointError(path, "its header is nested too deep") from None
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(path, f"its header is wrong: {str(error)[:200]}") from error


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def _not_finite(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _unpacked(described: list[Any], body: memoryview) -> Iterable[tuple[str, np.ndarray]]:
    """Name and array of each; all is compared before anything is made."""
    places, at = dict[str, tuple[str, list[int], int]](), 0
    if len(described) > MOST_ARRAYS:
        raise ValueError(f"{len(described)} arrays, at most {MOST_ARRAYS} are read")
    for entry in described:
        match entry:
            case [str(name), str(dtype), [*shape]] if (
                name not in places and dtype in DTYPES and len(shape) <= MOST_AXES
                and all(type(n) is int and 0 <= n <= MOST_BYTES for n in shape)
            ):  # fmt: skip
                places[name] = dtype, shape, at
                # Python's whole numbers: a shape that multiplies beyond 2**64 does not wrap around
                # to a small one.
                at += np.dtype(dtype).itemsize * math.prod(shape)
            case _:
                raise ValueError(f"no array is described by {str(entry)[:100]}")
    if at != len(body):
        raise ValueError(f"arrays of {str(at)[:30]} bytes, {len(body)} are there")
    for name, (dtype, shape, start) in places.items():
        array = np.ndarray(shape, dtype, body, start)
        # a copy of its own, in the machine's order: what is read may be written to
        yield name, array.astype(array.dtype.newbyteorder("="))


def check_arrays(
    arrays: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], free: Mapping[str, int]
) -> None:
    """That arrays have the names, types and shapes of those expected.

    Parameters
    ----------
    free
        Names of arrays whose length along an axis is theirs to choose, and that axis.

    Raises
    ------
    ValueError
        If one has not; says which.
    """
    # Compiled code finds its way by position and size alone: one wrong shape, and it writes beyond.
    if arrays.keys() != expected.keys():
        odd = sorted(arrays.keys() ^ expected.keys())[0]
        raise ValueError(f"array {odd[:40]!r} is {'missing' if odd in expected else 'not known'}")
    for name, array in arrays.items():
        like, shape = expected[name], list(array.shape)
        if name in free and len(shape) == like.ndim:
            # This length is the file's to choose, so it is not compared.
            shape[free[name]] = like.shape[free[name]]
        if array.dtype != like.dtype or shape != list(like.shape):
            kinds = [f"{a.dtype} {list(a.shape)}" for a in (array, like)]
            raise ValueError(f"array {name!r} is {kinds[0]}, {kinds[1]} is expected")
