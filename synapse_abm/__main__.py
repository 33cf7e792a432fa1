"""The command ``synapse-abm``, which is ``python -m synapse_abm`` too."""

import gc
import os
import signal
import sys
import threading
from importlib.util import cache_from_source, find_spec


def keep_byte_code() -> None:
    """Where Python may not write byte code, and nobody did, keep it beside the compiled kernels.

    Without it every start compiles a thousand files, which takes seconds.
    """
    numpy = find_spec("numpy")  # found, not imported: it speaks for all dependencies
    if not sys.dont_write_bytecode or numpy is None or numpy.origin is None:
        return
    # If somebody compiled NumPy (an installer, an image), the rest is compiled too.
    if not os.path.exists(cache_from_source(numpy.origin)):
        from platformdirs import user_cache_dir

        base = os.environ.get("SYNAPSE_ABM_CACHE") or user_cache_dir("synapse_abm", appauthor=False)
        # Python reads and writes byte code below this folder, by the full path of each source.
        sys.pycache_prefix = os.path.join(base, "byte_code")
        sys.dont_write_bytecode = False


def main() -> int:
    """Run the command of ``sys.argv`` and return its exit status.

    While modules are imported, Ctrl-C ends the process at once: nothing has been begun, and an
    exception in the middle of an import would only show as a traceback.
    """
    here = threading.current_thread() is threading.main_thread()  # others may set no handler
    before = signal.signal(signal.SIGINT, signal.SIG_DFL) if here else None
    keep_byte_code()
    # Two hundred thousand objects of imported libraries stay to the end: Python would look through
    # them over and over for garbage, which takes a tenth of a short command's time.
    gc.set_threshold(50_000, 20, 100)
    from synapse_abm.cli import main as command

    if here:
        signal.signal(signal.SIGINT, before)
    try:
        return command()
    finally:
        gc.freeze()  # nor need it look when the process ends


if __name__ == "__main__":
    raise SystemExit(main())
