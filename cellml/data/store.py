"""Data folders on this machine or behind s3://, fetched once."""

import hashlib
import json
import os
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.progress import track

from cellml.data import cache, s3
from cellml.errors import UserError


def fetch(uri: str, cache_dir: Path, progress: bool = False, what: str = "data") -> Path:
    """The local folder of a data folder; an `s3://bucket/prefix` is downloaded into the cache.

    The prefix is listed each time and only objects that are new or changed since are downloaded. What a listing gives
    is a folder of its own that never changes, so running trials keep theirs. Credentials, region, endpoint, retries
    and time-outs come from the environment (see `cellml.data.s3`).

    Args:
        uri: a folder, or s3://bucket/prefix.
        cache_dir: where downloads are kept.
        progress: show a progress bar.
        what: the option that the user gave it by, for messages.

    Raises:
        UserError: no such folder, bucket or prefix, wrong credentials, or a store that does not answer.
    """
    if not uri.startswith("s3://"):
        return _local(uri, what)
    bucket, prefix = s3.divided(uri)
    found = s3.listing(uri)
    if not found:
        raise UserError(f"Expected files below {uri}, found none; check the bucket and the prefix")
    client = s3.client()
    where = [client.meta.endpoint_url, bucket, prefix]
    final = cache_dir / "s3" / _hash([where, found])
    if final.is_dir():
        return final
    pool = cache_dir / "s3" / "objects"
    pool.mkdir(parents=True, exist_ok=True)

    def get(item: dict[str, Any]) -> tuple[dict[str, Any], Path]:
        stored = pool / _hash([where, item])
        if not stored.exists():
            s3.asked(uri, lambda: _download(client, bucket, prefix, item, stored))
        return item, stored

    temporary = cache.temporary_beside(final)
    try:
        with ThreadPoolExecutor(s3.THREADS) as threads:
            fetched = threads.map(get, found)
            for item, stored in track(fetched, "Fetching files", total=len(found), disable=not progress):
                target = temporary / item["name"]
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(stored, target)
        cache.publish(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final


def _local(path: str, option: str) -> Path:
    scheme, separator, _ = path.partition("://")
    if separator:
        raise UserError(f"Expected a folder or s3://bucket/prefix as {option}, got {path!r} ({scheme}:// is not known)")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        what = "a file" if folder.exists() else "nothing"
        raise UserError(f"Expected a folder of images at {path}, found {what}; give the folder with -P {option}=")
    return folder


def _download(client: Any, bucket: str, prefix: str, item: dict[str, Any], stored: Path) -> None:
    from boto3.s3.transfer import TransferConfig

    part = stored.with_name(f"{stored.name}.{uuid.uuid4().hex}.part")
    try:
        client.download_file(bucket, prefix + item["name"], str(part), Config=TransferConfig(use_threads=False))
        os.utime(part, (item["modified"], item["modified"]))
        os.replace(part, stored)
    finally:
        part.unlink(missing_ok=True)


def _link(stored: Path, target: Path) -> None:
    try:
        os.link(stored, target)
    except OSError:  # a file system without hard links
        shutil.copy2(stored, target)


def _hash(content: Any) -> str:
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()
