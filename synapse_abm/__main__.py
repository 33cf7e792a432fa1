"""The command ``synapse-abm``, which is ``python -m synapse_abm`` too."""

import signal
import threading


def main() -> int:
    """Run the command of ``sys.argv`` and return its exit status.

    While modules are imported, Ctrl-C ends the process at once: nothing has been begun, and an
    exception in the middle of an import would only show as a traceback.
    """
    if threading.current_thread() is not threading.main_thread():
        from synapse_abm.cli import main as command

        return command()
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from synapse_abm.cli import main as command

    signal.signal(signal.SIGINT, before)
    return command()


if __name__ == "__main__":
    raise SystemExit(main())
