"""One thread for linear algebra: tests run on every core already, and waiting threads spin."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
