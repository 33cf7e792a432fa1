"""Make ``outputs/gallery`` anew: figures, the tables that others read, and records.

``python tests/gallery.py [NAME ...]`` runs the experiments at full size (all of them unless named),
one after the other, about five minutes of one quiet core together: ``limits``, ``gene``,
``transient``, ``feedback``, ``benefit`` and ``lag`` take 20 to 60 s each, the others 15 s or less.
A folder is replaced only once its run has passed. PNG go into 128 colours, which no eye tells apart
and which takes a third of the room. ``bench`` is measured by ``synapse-abm bench``; its figure is
drawn anew from its record.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from synapse_abm.bench import BenchReport, Row
from synapse_abm.core.progress import bar
from synapse_abm.plotting import saved, speeds
from synapse_abm.runs.experiment import experiments, perform

GALLERY = Path(__file__).parents[1] / "outputs" / "gallery"
#: Files kept beside the record and the figures as PNG.
KEPT = {
    "hyperbola": ("hyperbola.csv", "hyperbola.parquet", "hyperbola.svg"),
    "benefit": ("benefit.csv", "predictions.csv"),
    "feedback": ("feedback.csv", "predictions.csv"),
    "gene": ("gene.csv", "published.csv", "predictions.csv"),
    "lag": ("antagonist.csv", "predictions.csv"),
    "lag_sensitivity": ("lag_sensitivity.csv", "predictions.csv"),
    "limits": ("landmarks.csv", "points.csv", "safe.csv"),
    "timestep": (
        "timestep.csv",
        "timestep_cost.csv",
        "timestep_factor.csv",
        "timestep_limits.csv",
        "timestep_simulated.csv",
    ),
    "transient": ("peak_and_decay.csv", "predictions.csv"),
}
COLOURS = 128


def small(png: bytes) -> bytes:
    """The picture in few colours."""
    out = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def step_rows() -> list[str]:
    """Rows of the tables in the guide's page on the time step, from what lies in the gallery."""

    def rows(table: str) -> list[dict[str, str]]:
        text = (GALLERY / "timestep" / f"{table}.csv").read_text("utf-8")
        return list(csv.DictReader(text.splitlines()))

    def ms(seconds: str) -> str:
        return f"{1e3 * float(seconds):.3g} ms"

    def percent(share: str) -> str:
        return f"{100 * float(share):.2g} %"

    costs = [
        [row["sites"], percent(row["accuracy"]), ms(row["plain_dt_s"]), ms(row["adjusted_dt_s"]),
         ms(row["announced_dt_s"]), f"{float(row['saved_by_announced']):.2g} x"]
        for row in rows("timestep_cost")
    ]  # fmt: skip
    limits = [
        [
            row["case"],
            ms(row["dt_s"]),
            *(percent(row[key]) for key in ("announced", "error", "plain")),
        ]
        for row in rows("timestep_limits")
        if float(row["times_auto"]) == 1
    ]
    return [f"| {' | '.join(cells)} |" for cells in [*costs, *limits]]


def make(name: str) -> None:
    """One folder of the gallery."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / name
        command = f"synapse-abm run {name}"
        result = perform(experiments()[name], out=out, progress=bar, command=command)
        assert result.passed, f"{name}: {result.verdict}"
        pictures = {path.name: small(path.read_bytes()) for path in out.glob("*.png")}
        others = {file: (out / file).read_bytes() for file in ("run.json", *KEPT.get(name, ()))}
    shutil.rmtree(GALLERY / name, ignore_errors=True)
    (GALLERY / name).mkdir(parents=True)
    for file, data in (pictures | others).items():
        (GALLERY / name / file).write_bytes(data)


def bench_of_record(record: dict[str, Any]) -> BenchReport:
    """The bench that a ``bench.json`` tells of."""
    rows = [Row(**{key: v for key, v in row.items() if key != "void"}) for row in record["rows"]]
    return BenchReport(rows, 0, 0.0, 0.0, None, None, date=record["date"])


def speed_table(report: BenchReport) -> str:
    """The guide's table: typical rates and ratios on the same work, fastest first."""
    rounds = max((len(row.round_seconds) for row in report.rows), default=0)
    head = f"compiled engine is faster by (least to most of {rounds} rounds)"
    lines = [f"| on the same work | rate | {head} |", "|---|---|---|"]
    for place, unit in (("", "molecule-steps/s"), ("one cell: ", "events/s")):
        for row in report.comparable(well_mixed=bool(place)):
            ratio = ""
            if row.engine in report.ratios:
                numbers = (report.ratios[row.engine], *report.ratio_ranges[row.engine])
                ratio = "{} ({} to {}) ".format(*(f"{float(f'{x:.2g}'):g}" for x in numbers))
            rate = f"{row.speeds[0]:.1e}".replace("e+0", "e")
            lines.append(f"| {place}{row.name} | {rate} {unit} | {ratio}|")
    return "\n".join(lines)


def draw_bench() -> None:
    """The figure of the speeds, from their record."""
    folder = GALLERY / "bench"
    report = bench_of_record(json.loads((folder / "bench.json").read_text()))
    for file, data in saved("bench", speeds(report)).items():
        (folder / file).write_bytes(small(data) if file.endswith(".png") else data)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make outputs/gallery anew.")
    parser.add_argument("names", nargs="*", default=[*experiments(), "bench"])
    for chosen in parser.parse_args().names:
        if chosen == "bench":
            draw_bench()
        else:
            make(chosen)
