"""``python -m synapse_abm`` is the command ``synapse-abm``."""

from synapse_abm.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
