"""The bucket: made when the store answers, saved to a folder, and loaded from one.

python docker/bucket.py make URI; check URI; save URI FOLDER; load URI FOLDER. URI is s3://BUCKET, the environment names
the store (see cellml/data/s3.py). `check` fails where the bucket is absent or the keys are wrong, not where the store
is away; `save` downloads what is new or changed, and deletes in the folder what the bucket no longer holds.
"""

import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from os import utime
from pathlib import Path

from cellml.data import s3
from cellml.errors import UserError

PATIENCE = 120.0  # seconds until the store must answer


def make(uri: str) -> str:
    """Create the bucket, as soon as the store answers; one that is there is left as it is."""
    bucket, _ = s3.divided(uri)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            s3.asked(uri, lambda: s3.client(first=True).list_objects_v2(Bucket=bucket, MaxKeys=1))
            return f"{uri} is there"
        except s3.Absent:
            s3.asked(uri, lambda: _create(bucket))
            return f"{uri} made"
        except s3.Unreachable:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def check(uri: str) -> str:
    """Whether the bucket can be listed; a store that does not answer may do so later."""
    bucket, _ = s3.divided(uri)
    try:
        s3.asked(uri, lambda: s3.client(first=True).list_objects_v2(Bucket=bucket, MaxKeys=1))
    except s3.Unreachable as error:
        return f"warning: {error}"
    return f"{uri} is there"


def save(uri: str, folder: Path) -> str:
    """Make a folder hold what the bucket holds."""
    bucket, prefix = s3.divided(uri)
    found, client = {item["name"]: item for item in s3.listing(uri)}, s3.client()
    stale = [path for path in _files(folder) if path.relative_to(folder).as_posix() not in found]
    for path in stale:
        path.unlink()

    def get(name: str) -> bool:
        item, path = found[name], folder / name
        stamp = int(item["modified"])
        if path.is_file() and (path.stat().st_size, int(path.stat().st_mtime)) == (item["size"], stamp):
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        s3.asked(uri, lambda: client.download_file(bucket, prefix + name, str(part)))
        utime(part, (stamp, stamp))
        part.replace(path)
        return True

    with ThreadPoolExecutor(s3.THREADS) as threads:
        fetched = sum(threads.map(get, found))
    return f"{uri}: {len(found)} objects in {folder}, {fetched} of them fetched, {len(stale)} files deleted"


def load(uri: str, folder: Path) -> str:
    """Upload what a folder holds."""
    bucket, prefix = s3.divided(uri)
    client, paths = s3.client(), _files(folder)
    if not paths:
        raise UserError(f"Expected a saved bucket in {folder}, found no files; name the folder that `save` wrote")

    def put(path: Path) -> None:
        name = prefix + path.relative_to(folder).as_posix()
        s3.asked(uri, lambda: client.upload_file(str(path), bucket, name))

    with ThreadPoolExecutor(s3.THREADS) as threads:
        list(threads.map(put, paths))
    return f"{uri}: {len(paths)} objects loaded from {folder}"


def main(words: Sequence[str]) -> str:
    """One of the four commands."""
    match words:
        case ["check", uri]:
            return check(uri)
        case ["make", uri]:
            return make(uri)
        case ["save", uri, folder]:
            return save(uri, Path(folder))
        case ["load", uri, folder]:
            return load(uri, Path(folder))
    raise UserError(
        f"Expected make URI, check URI, save URI FOLDER or load URI FOLDER, got {' '.join(words) or 'nothing'}"
    )


def _create(bucket: str) -> None:
    client = s3.client(first=True)
    if client.meta.region_name in ("us-east-1", "aws-global"):  # the one region that may not be named
        client.create_bucket(Bucket=bucket)
    else:
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": client.meta.region_name})


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


if __name__ == "__main__":
    try:
        print(main(sys.argv[1:]))
    except UserError as error:
        sys.exit(f"error: {error}")
