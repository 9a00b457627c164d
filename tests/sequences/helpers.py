"""Every way to cut frames into segments, scored one by one with scipy's distributions."""

import functools
import itertools

import numpy as np
from scipy import special, stats


def transcripts(grammar, longest):
    """All transcripts of at most so many stages that a walk through the automaton spells."""
    found = set()
    walks = [(s,) for s in grammar.initial]
    while walks:
        found |= {tuple(grammar.states[s] for s in walk) for walk in walks if walk[-1] in grammar.final}
        walks = [(*walk, b) for walk in walks if len(walk) < longest for a, b in grammar.arcs if a == walk[-1]]
    return found


def cuts(stages, frames):
    """Lengths of the segments of a transcript in all possible ways."""
    for inner in itertools.combinations(range(1, frames), len(stages) - 1):
        yield tuple(np.diff([0, *inner, frames]))


@functools.cache
def poisson(mean, length, longer):
    """log P(L = length), or log P(L >= length), of a Poisson length above 0."""
    whole = np.log1p(-stats.poisson.pmf(0, mean))
    return (stats.poisson.logsf(length - 1, mean) if longer else stats.poisson.logpmf(length, mean)) - whole


@functools.cache
def histogram(mean, counts, length, longer):
    """The same of observed lengths and one geometric pseudo-count."""
    spread = stats.geom(1 / max(mean, 1.1))
    seen = sum(counts[length - 1 :]) if longer else sum(counts[length - 1 : length])
    share = (seen + (spread.sf(length - 1) if longer else spread.pmf(length))) / (sum(counts) + 1)
    return np.log(max(share, np.finfo(float).tiny))


def score(log_probabilities, stages, lengths, decoder):
    """The score of one division into segments."""
    total = 0.0
    labels = np.repeat(stages, lengths)
    total += decoder.weight * sum(log_probabilities[t, c] - np.log(decoder.priors[c]) for t, c in enumerate(labels))
    for i, (stage, length) in enumerate(zip(stages, lengths, strict=True)):
        first, last = decoder.censored if isinstance(decoder.censored, tuple) else (decoder.censored,) * 2
        cut = (first and i == 0) or (last and i == len(stages) - 1)
        if decoder.max_duration and length > decoder.max_duration and not cut:
            return -np.inf
        if decoder.lengths is not None and decoder.lengths.counts:
            total += histogram(decoder.lengths.means[stage], decoder.lengths.counts[stage], length, cut)
        elif decoder.lengths is not None:
            total += poisson(decoder.lengths.means[stage], length, cut)
    return total


def best(log_probabilities, decoder):
    """The labels of the highest score over all transcripts and cuts, and that score."""
    frames = len(log_probabilities)
    ways = [(stages, lengths) for stages in transcripts(decoder.grammar, frames) for lengths in cuts(stages, frames)]
    scored = [(score(log_probabilities, *way, decoder), way) for way in ways]
    top, way = max(scored, default=(-np.inf, None))
    return (None, top) if top == -np.inf else (np.repeat(*way).tolist(), top)


def segments(labels):
    """Stages and lengths of labels."""
    runs = [(stage, len(list(run))) for stage, run in itertools.groupby(labels)]
    return [stage for stage, _ in runs], [length for _, length in runs]


def answers(rng, frames, classes, labels=None, sharp=1.0):
    """Random log-probabilities (frames, classes), higher for the labels where they are given."""
    logits = rng.normal(size=(frames, classes))
    if labels is not None:
        logits[np.arange(frames), labels] += sharp
    return special.log_softmax(logits, axis=1)
