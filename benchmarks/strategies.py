"""Seconds and peak memory of every sampling strategy on embeddings, beside imbalanced-learn's own on the same input.

python benchmarks/strategies.py [--rows 15000] [--features 1536] [--only smote enn] [--no-peers] [--out strategies.json]

Each measurement has its own process. Processor seconds are those of all threads: on two idle cores the elapsed time is
about half of them.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SHARES = (0.8, 0.17, 0.03)  # of the rows, by class
PEERS = {
    "smote": "SMOTE",
    "borderline_smote_1": "BorderlineSMOTE",
    "borderline_smote_2": "BorderlineSMOTE",
    "adasyn": "ADASYN",
    "tomek": "TomekLinks",
    "enn": "EditedNearestNeighbours",
    "smote_enn": "SMOTEENN",
}
LIMIT = 900  # seconds a measurement may take


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds and peak memory of every sampling strategy.")
    parser.add_argument("--rows", type=int, default=15000)
    parser.add_argument("--features", type=int, default=1536)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("build/strategies.json"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, given.peer, given.rows, given.features)))
        return
    from cellml.sampling.strategies import STRATEGIES

    found = {}
    print(f"{given.rows} x {given.features}: elapsed s, processor s, peak GiB (imbalanced-learn's own after /)")
    for name in given.only or STRATEGIES:
        found[name] = [apart(name, False, given)]
        if name in PEERS and not given.no_peers:
            found[name].append(apart(name, True, given))
        columns = zip(
            *([_shown(r, key) for key in ("elapsed", "processor", "memory")] for r in found[name]), strict=True
        )
        print(f"{name:<20}" + "".join(f"{' / '.join(column):>20}" for column in columns), flush=True)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(given.out)


def apart(name: str, peer: bool, given: argparse.Namespace) -> dict[str, float] | None:
    """Measure in a process of its own; None where it took too long or too much memory."""
    command = [sys.executable, __file__, "--one", name, "--rows", str(given.rows), "--features", str(given.features)]
    try:
        done = subprocess.run([*command, *["--peer"] * peer], capture_output=True, text=True, timeout=LIMIT, check=True)
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
        return None
    return json.loads(done.stdout.splitlines()[-1])


def measure(name: str, peer: bool, rows: int, features: int) -> dict[str, float]:
    """Elapsed and processor seconds, and the process's peak memory in GiB, imports and input included."""
    step = _library(name, rows, features) if peer else _ours(name, rows, features)
    elapsed, processor = time.perf_counter(), time.process_time()
    step()
    return {
        "elapsed": time.perf_counter() - elapsed,
        "processor": time.process_time() - processor,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def _ours(name: str, count: int, dim: int) -> Callable[[], object]:
    from cellml.sampling.base import TrainingRows
    from cellml.sampling.strategies import resample

    targets, values = _blobs(count, dim)
    names = np.array([f"cell {i}" for i in range(count)], dtype=object)
    rows = TrainingRows(names, targets, names, ("A", "B", "C"), spaces={"embeddings": lambda: values})
    return lambda: resample(name, {}, rows, 0)


def _library(name: str, count: int, dim: int) -> Callable[[], object]:
    from imblearn import combine, over_sampling, under_sampling

    targets, values = _blobs(count, dim)
    for room in (combine, over_sampling, under_sampling):
        if hasattr(room, PEERS[name]):
            peer = getattr(room, PEERS[name])()
    if name == "borderline_smote_2":
        peer.set_params(kind="borderline-2")
    return lambda: peer.fit_resample(values, targets)


def _blobs(count: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes and embeddings like a network's: not negative, in overlapping clouds."""
    rng = np.random.default_rng(0)
    numbers = [round(share * count) for share in SHARES]
    numbers[0] += count - sum(numbers)
    targets = rng.permutation(np.repeat(np.arange(len(SHARES)), numbers))
    places = rng.normal(size=(20, dim)) * 0.5
    clouds = (targets * 4 + rng.integers(0, 10, count)) % 20
    values = rng.standard_normal((count, dim), dtype=np.float32)
    values += places[clouds].astype(np.float32)
    return targets, np.maximum(values, 0)


def _shown(result: dict[str, float] | None, key: str) -> str:
    return "-" if result is None else f"{result[key]:.2f}"


if __name__ == "__main__":
    main()
