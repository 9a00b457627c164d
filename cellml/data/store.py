"""Data folders on this machine or behind s3://, fetched once."""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from rich.progress import track

from cellml.data import cache
from cellml.errors import UserError

THREADS = 16
ATTEMPTS = 5
REFUSED = ("403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")
ABSENT = ("NoSuchBucket", "404", "NotFound")

T = TypeVar("T")


def fetch(uri: str, cache_dir: Path, progress: bool = False, what: str = "data") -> Path:
    """The local folder of a data folder; an `s3://bucket/prefix` is downloaded into the cache.

    The prefix is listed each time and only objects that are new or changed since are downloaded. What a listing gives
    is a folder of its own that never changes, so running trials keep theirs. Credentials, region and endpoint come
    from the usual environment (AWS_*, AWS_ENDPOINT_URL_S3, or MLFLOW_S3_ENDPOINT_URL).

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
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
    if not bucket:
        raise UserError(f"Expected s3://bucket/prefix, got {uri!r}")
    client = _client()
    found = _asked(uri, lambda: _listing(client, bucket, prefix))
    if not found:
        raise UserError(f"Expected files below {uri}, found none; check the bucket and the prefix")
    where = [client.meta.endpoint_url, bucket, prefix]
    final = cache_dir / "s3" / _hash([where, found])
    if final.is_dir():
        return final
    pool = cache_dir / "s3" / "objects"
    pool.mkdir(parents=True, exist_ok=True)

    def get(item: dict[str, Any]) -> tuple[dict[str, Any], Path]:
        stored = pool / _hash([where, item])
        if not stored.exists():
            _asked(uri, lambda: _download(client, bucket, prefix, item, stored))
        return item, stored

    temporary = cache.temporary_beside(final)
    try:
        with ThreadPoolExecutor(THREADS) as threads:
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


def _client() -> Any:
    from boto3.session import Session
    from botocore.config import Config

    config = Config(
        retries={"max_attempts": ATTEMPTS, "mode": "standard"},
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=THREADS,
    )
    given = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return Session().client("s3", config=config, endpoint_url=given or os.environ.get("MLFLOW_S3_ENDPOINT_URL") or None)


def _listing(client: Any, bucket: str, prefix: str) -> list[dict[str, Any]]:
    found = []
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            name = item["Key"][len(prefix) :]
            if not name or name.endswith("/"):
                continue
            if name.startswith("/") or {"", ".", ".."} & set(name.split("/")):
                raise UserError(
                    f"Expected keys that are plain paths in s3://{bucket}/{prefix}, found {name!r}; rename it"
                )
            changed = item["LastModified"]
            stamp = changed.timestamp() if isinstance(changed, datetime) else 0.0
            found.append({"name": name, "etag": item["ETag"], "size": item["Size"], "modified": stamp})
    return sorted(found, key=lambda item: item["name"])


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


def _asked(uri: str, ask: Callable[[], T]) -> T:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

    try:
        return ask()
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise UserError(
            f"Expected credentials for {uri}: {error}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from None
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in ABSENT:
            raise UserError(f"Expected a bucket at {uri}, found none; check its name and AWS_ENDPOINT_URL_S3") from None
        if code in REFUSED:
            raise UserError(
                f"{uri} refuses these credentials ({code}); check AWS_ACCESS_KEY_ID and its rights"
            ) from None
        raise UserError(f"{uri} cannot be read: {error}") from None
    except (BotoCoreError, Boto3Error) as error:
        raise UserError(f"{uri} cannot be read: {' '.join(str(error).split())}; check AWS_ENDPOINT_URL_S3") from None
