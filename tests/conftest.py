"""How the tests share two cores: one thread for linear algebra, and files that belong together."""

import os

import pytest

# Tests run on every core already, and threads that wait for work spin.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

#: Files of tests whose subjects are neurons: kernels compiled once, baselines calibrated once.
OF_NEURONS = (
    "test_benefit", "test_course_kept", "test_feedback", "test_gene", "test_hostile_courses",
    "test_lag", "test_moments", "test_neuron", "test_treatment",
)  # fmt: skip
#: Few tests that take long, which would come last, with more of their kind.
WITH = {"test_fuzz": "test_scenario_file", "test_transient": "test_chapters"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file stays with one worker, as its fixtures are made once, and all neurons do.

    What has most tests is handed out first, which is the neurons: about a third of the time.
    """
    for item in items:
        file = item.path.stem
        group = "neurons" if file.startswith(OF_NEURONS) else WITH.get(file, file)
        item.add_marker(pytest.mark.xdist_group(group))
