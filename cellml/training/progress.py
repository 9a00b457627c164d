"""Progress of a fit: a bar on a terminal, a line now and then elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from torch import Tensor

_BAR_SECONDS = 0.2  # between looks at the loss, which waits for a GPU
_LINE_SECONDS = 5.0


class Bar:
    """Epoch, step, loss and the monitored metric of a fit; prints nothing when `shown` is false.

    Example:
        >>> with Bar("resnet10t", epochs=2, steps=3, shown=False) as bar:
        ...     bar.epoch(1, {"train/loss": 0.7})
    """

    def __init__(self, title: str, epochs: int, steps: int, shown: bool, console: Console | None = None) -> None:
        self.title = title
        self.epochs = epochs
        self.steps = steps
        self.shown = shown
        self.console = console or Console(stderr=True)
        self._live = self._columns() if shown and self.console.is_terminal else None
        self._done = 0
        self._last = 0.0
        self._text = ""

    def __enter__(self) -> "Bar":
        if self._live is not None:
            self._live.start()
            self._task = self._live.add_task(self.title, total=self.epochs * self.steps, text="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def step(self, loss: Tensor) -> None:
        """One optimiser step was taken."""
        self._done += 1
        if self._live is None or time.monotonic() - self._last < _BAR_SECONDS:
            return
        self._last = time.monotonic()
        epoch = min(-(-self._done // self.steps), self.epochs)
        text = f"epoch {epoch}/{self.epochs}  loss {loss.item():.3f}{self._text}"
        self._live.update(self._task, completed=self._done, text=text)
        self._live.refresh()

    def reach(self, done: int) -> None:
        """So many of the steps are done; there is no loss to show."""
        self._done = done
        if self._live is not None:
            self._live.update(self._task, completed=done)
            self._live.refresh()

    def epoch(self, number: int, record: dict[str, float], monitor: str | None = None) -> None:
        """An epoch ended with these figures; `monitor` names the one to show."""
        if not self.shown:
            return
        value = record.get(f"val/{monitor}") if monitor else None
        self._text = "" if value is None else f"  val {monitor} {value:.3f}"
        text = f"epoch {number}/{self.epochs}  loss {record['train/loss']:.3f}{self._text}"
        if self._live is not None:
            self._live.update(self._task, completed=self._done, text=text)
            self._live.refresh()
        elif number == self.epochs or time.monotonic() - self._last >= _LINE_SECONDS:
            self._last = time.monotonic()
            self.console.print(f"{self.title}  {text}", highlight=False, markup=False, soft_wrap=True)

    def _columns(self) -> Progress:
        columns: list[ProgressColumn] = [
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}", markup=False),
            TimeRemainingColumn(),
        ]
        return Progress(*columns, console=self.console, auto_refresh=False, transient=True)
