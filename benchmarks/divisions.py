"""Agreement of decoded divisions with a tracker's, on a btrack recording: states as they are, smoothed, decoded.

The decoder is learned from the numbers of divisions in the other half of the families, never from when they happen.

    python benchmarks/divisions.py --data DATA/mdck-tracks [--tolerance 3] [--seed 0] [--out build/divisions.json]
"""

import argparse
from pathlib import Path

from cellml.errors import UserError
from cellml.sequences import divisions


def main() -> None:
    parser = argparse.ArgumentParser(description="Agreement of decoded divisions with a tracker's.")
    parser.add_argument("--data", type=Path, required=True, help="folder of tracks.csv, properties.csv and graph.json")
    parser.add_argument("--tolerance", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/divisions.json"))
    given = parser.parse_args()
    try:
        table = divisions.table(given.data, given.tolerance, given.seed)
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
    print(table.round(3).to_string(index=False))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    table.to_json(given.out, orient="records", indent=2)


if __name__ == "__main__":
    main()
