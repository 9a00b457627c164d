"""What is left of a sweep whose workers are killed, again and again: asked trials, orphaned runs, anything twice.

One command leaves its trials to workers (`sweep --workers 0`); two workers are kept up, as compose or Kubernetes would.
Whichever works on a trial gets SIGKILL after a random share of the time that a trial takes.

    python benchmarks/kill.py [--kills 200] [--trials 120] [--out build/kill.json]
"""

import argparse
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from mlflow import MlflowClient
from optuna.trial import TrialState

from cellml import cli
from cellml.sweep import queue, storage

EXPERIMENT = """
name: killed
data: {source: simulated, group: slide, options: {count: 240, size: 32, slides: 12}}
input: {size: 32}
model: {backbone: test_resnet}
train: {epochs: EPOCHS, batch_size: 32, checkpoint: 0, threads: 1}
sweep: {trials: TRIALS, workers: 0, strategies: [none, balanced]}
explain: {count: 0}
"""
WORKERS = 2
LIMIT = 7200.0  # seconds
RUNNING = (TrialState.RUNNING,)
Worker = multiprocessing.context.ForkServerProcess
context = multiprocessing.get_context("forkserver")  # importing the libraries takes longer than a trial
context.set_forkserver_preload(["cellml.commands", "cellml.sweep.join"])


def main() -> None:
    parser = argparse.ArgumentParser(description="A sweep whose workers are killed.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--trials", type=int, default=120)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/kill.json"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cellml-kill-") as name:
        found = measure(Path(name), given.kills, given.trials, given.epochs, given.seed)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


def measure(folder: Path, kills: int, trials: int, epochs: int, seed: int) -> dict[str, Any]:
    """Kill workers until `kills` have died or no trial is left, wait for the end, and count what is there."""
    text = EXPERIMENT.replace("TRIALS", str(trials)).replace("EPOCHS", str(epochs))
    (folder / "killed.yaml").write_text(text, encoding="utf-8")
    os.environ |= {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "CELLML_CACHE": str(folder / "cache")}
    url, draw, start = f"sqlite:///{folder}/optuna.db", random.Random(seed), time.monotonic()
    with process(folder, "sweep", "--experiment", "killed.yaml", "--storage", url) as sweep:
        study = _study(url, sweep)
        asked = (folder, url, study.study_name)
        with _workers(asked) as pool:
            done = _kill(study, asked, pool, sweep, kills, draw, start)
            while sweep.poll() is None:
                _keep_up(asked, pool)
                _in_time(start)
                time.sleep(0.2)
        if sweep.returncode:
            raise SystemExit((folder / "sweep.log").read_text(encoding="utf-8")[-3000:])
    return {"kills": done, "seconds": round(time.monotonic() - start)} | _counted(study, trials, epochs)


def _kill(
    study: optuna.Study,
    asked: tuple[Path, str, str],
    pool: list[Worker],
    sweep: subprocess.Popen,
    kills: int,
    draw: random.Random,
    start: float,
) -> int:
    done = 0
    while done < kills and sweep.poll() is None:
        _in_time(start)
        _keep_up(asked, pool)
        usual = _usual(study)
        busy = [t.user_attrs["process"]["pid"] for t in study.get_trials(False, RUNNING) if "process" in t.user_attrs]
        alive = [one for one in pool if one.pid in busy and one.is_alive()]
        if not alive:
            time.sleep(0.2)
            continue
        time.sleep(draw.uniform(0, 1.2 * usual))
        victim = draw.choice(alive)
        if victim.is_alive():
            victim.kill()
            victim.join()
            done += 1
    return done


def _usual(study: Any) -> float:
    """Seconds that a trial takes."""
    ended = [t.duration.total_seconds() for t in study.get_trials(False, (TrialState.COMPLETE,)) if t.duration]
    return sorted(ended)[len(ended) // 2] if ended else 2.0


def _counted(study: Any, trials: int, epochs: int) -> dict[str, Any]:
    client = MlflowClient()
    ids = [found.experiment_id for found in client.search_experiments()]
    runs, token = [], None
    while True:
        page = client.search_runs(ids, max_results=1000, page_token=token)
        runs += page
        if not (token := page.token):
            break
    complete = [t for t in queue.finished(study) if t.state == TrialState.COMPLETE]
    ended = [r for r in runs if r.info.status == "FINISHED" and r.data.tags.get("cellml.kind") == "trial"]
    keys = Counter(r.data.tags["cellml.key"] for r in ended)
    steps = [
        sorted(m.step for m in client.get_metric_history(r.info.run_id, "train/loss")) == list(range(1, epochs + 1))
        for r in ended
    ]
    return {
        "asked": trials,
        "complete": len(complete),
        "failed": len(queue.finished(study)) - len(complete),
        "interrupted": sum(queue.interrupted(t) for t in study.get_trials(False)),
        "runs_finished": len(ended),
        "runs_killed": sum(r.info.status == "KILLED" for r in runs),
        "orphans": sum(r.info.status == "RUNNING" for r in runs),
        "twice": sum(count - 1 for count in keys.values()),
        "curves_whole": sum(steps),
    }


def _work(folder: Path, url: str, name: str) -> None:
    """What `cellml worker` does, in a process that finds its libraries imported."""
    os.chdir(folder)
    log = os.open("workers.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = ["cellml", "worker", "--storage", url, "--study", name]
    cli.main()


def _worker(*asked: Any) -> Worker:
    made = context.Process(target=_work, args=asked)
    made.start()
    return made


def _keep_up(asked: tuple[Path, str, str], pool: list[Worker]) -> None:
    for place, one in enumerate(pool):
        if one.exitcode is not None:
            pool[place] = _worker(*asked)


@contextmanager
def _workers(asked: tuple[Path, str, str]) -> Iterator[list[Worker]]:
    pool = [_worker(*asked) for _ in range(WORKERS)]
    try:
        yield pool
    finally:
        for one in pool:
            one.terminate()
        for one in pool:
            one.join(60)


@contextmanager
def process(folder: Path, *words: str) -> Iterator[subprocess.Popen]:
    """A command of the platform for the length of a block."""
    with open(folder / "sweep.log", "ab") as log:
        started = subprocess.Popen([sys.executable, "-m", "cellml", *words], cwd=folder, stdout=log, stderr=log)
    try:
        yield started
    finally:
        if started.poll() is None:
            started.terminate()
            started.wait(60)


def _study(url: str, sweep: subprocess.Popen) -> Any:
    """The study as soon as its command has described it."""
    while sweep.poll() is None:
        if Path(url.removeprefix("sqlite:///")).exists():
            opened = storage.open_storage(url)
            for found in opened.get_all_studies():
                if "session" in found.user_attrs:
                    return optuna.load_study(study_name=found.study_name, storage=opened)
        time.sleep(0.2)
    raise SystemExit("the sweep's command has ended")


def _in_time(start: float) -> None:
    if time.monotonic() - start > LIMIT:
        raise SystemExit(f"not at an end after {LIMIT:.0f} s")


if __name__ == "__main__":
    main()
