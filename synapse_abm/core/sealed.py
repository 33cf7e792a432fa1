"""Arrays and a header in one file, portable, without pickle, that shows whether it is whole.

A line that names the format, a header in JSON (with the types and shapes of the arrays), the bytes
of the arrays in little-endian order, and a SHA-256 of all that came before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from synapse_abm import __version__
from synapse_abm.core.errors import SynapseError

_DIGEST = hashlib.sha256().digest_size


class CheckpointError(SynapseError, ValueError):
    """A file that is not a whole checkpoint of this version: which file, why, and what to do."""

    def __init__(self, path: Path, what: str, fix: str) -> None:
        super().__init__(f"checkpoint {str(path)!r}: {what}; {fix}")
        self.path, self.what, self.fix = path, what, fix

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors travel between processes by their parts."""
        return type(self), (self.path, self.what, self.fix)


def sealed(magic: bytes, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """A file of any kind: the line that names its format, header, arrays, checksum."""
    # not sorted: the order of ligands and targets is part of the scenario
    text = json.dumps(header, separators=(",", ":")).encode()
    body = magic + len(text).to_bytes(8, "little") + text
    body += b"".join(a.tobytes() for a in arrays.values())
    return body + hashlib.sha256(body).digest()


def described(arrays: Mapping[str, np.ndarray]) -> list[Any]:
    """Name, type and shape of each, as a header holds them."""
    return [[name, a.dtype.str, list(a.shape)] for name, a in arrays.items()]


def contents(path: Path) -> bytes:
    """The bytes of a checkpoint, or an error that says why not.

    Raises
    ------
    CheckpointError
        If there is no such file, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            path, f"it cannot be read ({error.strerror})", "check the path"
        ) from error


def _unpacked(header: dict[str, Any], body: bytes) -> dict[str, np.ndarray]:
    arrays, at = {}, 0
    for name, dtype, shape in header["arrays"]:
        size = int(np.dtype(dtype).itemsize * np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(body[at : at + size], dtype=dtype).reshape(shape)
        at += size
    return arrays


def opened(magic: bytes, data: bytes, path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a file that :func:`sealed` wrote; ``path`` is for messages.

    Raises
    ------
    CheckpointError
        If it is truncated, changed, of another kind or of another version.
    """
    if not data.startswith(magic):
        newer = data.startswith(magic[: magic.index(b" 1")])
        what = "its format is not known here" if newer else "this is something else"
        raise CheckpointError(path, what, "give a checkpoint written by this version")
    body, digest = data[:-_DIGEST], data[-_DIGEST:]
    if hashlib.sha256(body).digest() != digest:
        what = "its checksum does not fit: it is truncated or was changed"
        raise CheckpointError(path, what, "use an earlier checkpoint, or start the run again")
    at = len(magic)
    length = int.from_bytes(body[at : at + 8], "little")
    header = json.loads(body[at + 8 : at + 8 + length])
    if header["version"] != __version__:
        what = f"it was written by version {header['version']}, this is {__version__}"
        raise CheckpointError(path, what, "install the version that wrote it")
    return header, _unpacked(header, body[at + 8 + length :])
