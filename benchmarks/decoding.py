"""Seconds to decode the stages of many sequences under a grammar with durations, and of a plain loop beside it.

The loop is the same dynamic programme as one would write it down, over frames, states and lengths in Python; it runs on
a few short sequences and its time is scaled by the cells of the programme. Both must find the same stages.

    python benchmarks/decoding.py [--sequences 1000] [--frames 500] [--stages 6] [--max-duration 500] [--threads 2]
        [--out build/decoding.json]
"""

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cellml.sequences import grammar
from cellml.sequences.decode import Decoder, Lengths, decode_all

LOOPED, SHORT = 4, 60  # sequences and frames of the plain loop


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds to decode stages under a grammar with durations.")
    parser.add_argument("--sequences", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--stages", type=int, default=6)
    parser.add_argument("--max-duration", type=int, default=None)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/decoding.json"))
    given = parser.parse_args()
    means = np.full(given.stages, given.frames / given.stages)
    order = grammar.ordered(given.stages, cyclic=True)
    priors = np.full(given.stages, 1 / given.stages)
    decoder = Decoder(order, tuple(priors), Lengths(tuple(means)), max_duration=given.max_duration)
    answers = simulated(given.sequences, given.frames, given.stages, seed=0)

    begun = time.perf_counter()
    parts = [answers[i :: given.threads] for i in range(given.threads)]
    with ThreadPoolExecutor(given.threads) as pool:
        list(pool.map(lambda part: decode_all(part, decoder), parts))
    seconds = time.perf_counter() - begun

    few = [one[:SHORT] for one in answers[:LOOPED]]
    begun = time.perf_counter()
    plain = [looped(one, decoder) for one in few]
    scale = given.sequences * given.frames**2 / (LOOPED * SHORT**2)
    loop = (time.perf_counter() - begun) * scale
    assert all((a == b).all() for a, b in zip(plain, decode_all(few, decoder), strict=True))
    result = vars(given) | {"seconds": seconds, "loop_seconds": loop, "ratio": loop / seconds}
    print(
        f"{given.sequences} sequences of {given.frames} frames, {given.stages} stages: {seconds:.1f} s; "
        f"plain loop {loop:.0f} s (scaled): {loop / seconds:.0f} times as long"
    )
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2, default=str) + "\n", encoding="utf-8")


def simulated(sequences: int, frames: int, stages: int, seed: int) -> list[np.ndarray]:
    """Noisy answers (frames, stages) for cells that pass through the stages in turn."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(sequences):
        lengths = rng.poisson(frames / stages, size=3 * stages) + 1
        labels = np.repeat(np.arange(len(lengths)) + rng.integers(stages), lengths)[:frames] % stages
        logits = rng.normal(size=(frames, stages)) + np.eye(stages)[labels]
        found.append(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    return found


def looped(answers: np.ndarray, decoder: Decoder) -> np.ndarray:
    """The programme written down: every frame, state, length and state before."""
    frames, grammar = len(answers), decoder.grammar
    assert decoder.lengths is not None
    exact, tail = decoder.lengths.tables(frames)
    scores = np.cumsum(np.vstack([np.zeros(answers.shape[1]), answers - np.log(decoder.priors)]), axis=0)
    best: dict[tuple[int, int], tuple[float, int, int]] = {}
    for t in range(1, frames + 1):
        for state, stage in enumerate(grammar.states):
            edge = tail if t == frames else exact
            ways = []
            for length in range(1, t + 1):
                gain = float(scores[t, stage] - scores[t - length, stage])
                if length == t:
                    ways += [(gain + float(tail[stage, length - 1]), length, -1)]
                    continue
                gain += float(edge[stage, length - 1])
                ways += [(best[t - length, a][0] + gain, length, a) for a, b in grammar.arcs if b == state]
            best[t, state] = max(ways)
    labels, t, state = np.empty(frames, dtype=np.int64), frames, max(grammar.final, key=lambda s: best[frames, s][0])
    while t:
        _, length, before = best[t, state]
        labels[t - length : t] = grammar.states[state]
        t, state = t - length, before
    return labels


if __name__ == "__main__":
    main()
