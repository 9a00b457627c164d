"""Optuna's plots of a study: pictures for the MLflow UI, and one interactive page."""

import warnings
from pathlib import Path

import optuna

from cellml.sweep import study as studies

PLOTS = {
    "history": "plot_optimization_history",
    "importances": "plot_param_importances",
    "slice": "plot_slice",
    "parallel_coordinates": "plot_parallel_coordinate",
}


def save(study: optuna.Study, folder: Path) -> None:
    """Write `<plot>.png` for each plot and `optuna.html` with all of them, zoomable.

    Importances need two parameters that differ among complete trials, and trials that differ in their value; they
    are left out otherwise.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    complete = studies.complete(study)
    values = {name: {str(t.params.get(name)) for t in complete} for t in complete for name in t.params}
    varied = len({t.value for t in complete}) > 1 and sum(len(seen) > 1 for seen in values.values()) > 1
    parts: list[str] = []
    with warnings.catch_warnings(), mpl.rc_context():  # Optuna sets a style for all figures to come
        warnings.simplefilter("ignore")  # experimental, and one a missing parameter
        for name, function in PLOTS.items():
            if not complete or (name == "importances" and not varied):
                continue
            _picture(study, function, folder / f"{name}.png")
            figure = getattr(optuna.visualization, function)(study)
            parts.append(figure.to_html(full_html=False, include_plotlyjs=not parts))
    if parts:
        head = f"<meta charset=utf-8><title>{study.study_name}</title>"
        (folder / "optuna.html").write_text(
            f"<!doctype html><html><head>{head}</head><body>{''.join(parts)}</body></html>"
        )


def _picture(study: optuna.Study, function: str, path: Path) -> None:
    import matplotlib.pyplot as plt

    drawn = getattr(optuna.visualization.matplotlib, function)(study)
    axes = drawn if hasattr(drawn, "figure") else drawn.flat[0]
    axes.figure.set_size_inches(max(8, axes.figure.get_size_inches()[0]), 5)
    axes.figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(axes.figure)
