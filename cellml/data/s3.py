"""An S3 store by the usual environment variables: a client, what lies below a prefix, and what is wrong in one line.

AWS_* give credentials, region and retries (AWS_MAX_ATTEMPTS, 5; AWS_RETRY_MODE, standard), AWS_ENDPOINT_URL_S3 or
MLFLOW_S3_ENDPOINT_URL the endpoint, CELLML_S3_TIMEOUT the seconds that an answer may take (60).
"""

import errno
import os
import re
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from typing import Any, TypeVar

from cellml.errors import UserError

THREADS = 16
ATTEMPTS, TIMEOUT = 5, 60
FIRST_ATTEMPTS, FIRST_TIMEOUT = 2, 10  # whether a store answers at all is known within half a minute
CONNECT = 4  # seconds
REFUSED = (
    "401",
    "403",
    "AccessDenied",
    "AllAccessDisabled",
    "ExpiredToken",
    "Forbidden",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "SignatureDoesNotMatch",
)
ABSENT = ("NoSuchBucket",)
GONE = ("404", "NoSuchKey", "NotFound")
ELSEWHERE = ("301", "307", "PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed")
LONGEST = 255  # bytes of a file's name
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}")

T = TypeVar("T")


class Absent(UserError):
    """There is no such bucket."""


class Unreachable(UserError):
    """The store does not answer, or not as a store does."""


def divided(uri: str) -> tuple[str, str]:
    """Bucket and prefix of s3://bucket/prefix; the prefix ends in "/" or is empty.

    Raises:
        UserError: another address, or a name that no bucket can have.
    """
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not _BUCKET.fullmatch(bucket):
        raise UserError(f"Expected s3://bucket/prefix, the bucket of letters, digits, dots and dashes, got {uri!r}")
    return bucket, prefix.strip("/") + "/" if prefix.strip("/") else ""


def client(first: bool = False) -> Any:
    """A client for the store that the environment names.

    Args:
        first: for the first contact, which is to fail soon.

    Raises:
        UserError: an endpoint, a number or a profile that is none.
    """
    from boto3.session import Session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    attempts, timeout = _number("AWS_MAX_ATTEMPTS", ATTEMPTS), _number("CELLML_S3_TIMEOUT", TIMEOUT)
    if first:
        attempts, timeout = min(attempts, FIRST_ATTEMPTS), min(timeout, FIRST_TIMEOUT)
    config = Config(
        retries={"total_max_attempts": attempts, "mode": os.environ.get("AWS_RETRY_MODE") or "standard"},
        connect_timeout=min(CONNECT, timeout),
        read_timeout=timeout,
        max_pool_connections=THREADS,
    )
    try:
        return Session().client("s3", config=config, endpoint_url=endpoint() or None)
    except (BotoCoreError, ValueError) as error:
        raise UserError(
            f"Expected an S3 store in the environment, found none: {_line(error)}; check AWS_* and the endpoint"
        ) from None


def endpoint() -> str:
    """The endpoint that the environment names, "" for Amazon's."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "MLFLOW_S3_ENDPOINT_URL")
    return next((value for name in names if (value := os.environ.get(name))), "")


def listing(uri: str) -> list[dict[str, Any]]:
    """Objects below s3://bucket/prefix, by name: the name relative to the prefix, etag, size and time of change.

    Raises:
        UserError: no such bucket, wrong credentials, a store that does not answer, or names that are no plain paths.
    """
    bucket, prefix = divided(uri)
    early = client(first=True)
    asked(uri, lambda: early.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1))
    return asked(uri, lambda: _listed(client(), bucket, prefix, uri))


def asked(uri: str, ask: Callable[[], T]) -> T:
    """What asking a store gives.

    Raises:
        UserError: it refuses or does not answer (`Absent`, `Unreachable`); says why, and what to do.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

    at = f" at {endpoint()}" if endpoint() else ""
    try:
        return ask()
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise UserError(
            f"Expected credentials for {uri}: {_line(error)}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from None
    except ClientError as error:
        raise _refusal(uri, at, error.response) from None
    except (BotoCoreError, Boto3Error) as error:
        raise Unreachable(
            f"{uri} cannot be read{at}: {_line(error)}; check AWS_ENDPOINT_URL_S3 or MLFLOW_S3_ENDPOINT_URL"
        ) from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"Expected room for the files of {uri}, the disk is full; free some or set CELLML_CACHE"
        ) from None


def _refusal(uri: str, at: str, response: dict[str, Any]) -> UserError:
    error, meta = response.get("Error", {}), response.get("ResponseMetadata", {})
    code = str(error.get("Code", ""))
    if code in ABSENT:
        return Absent(
            f"Expected a bucket at {uri}, found none{at}; check its name and "
            "AWS_ENDPOINT_URL_S3 or MLFLOW_S3_ENDPOINT_URL"
        )
    if code in GONE:
        return UserError(f"Expected at {uri} what it lists, a file is gone{at}; run the command again")
    if code in REFUSED:
        return UserError(f"{uri} refuses these credentials ({code}){at}; check AWS_ACCESS_KEY_ID and its rights")
    if code in ELSEWHERE:
        region = error.get("Region") or meta.get("HTTPHeaders", {}).get("x-amz-bucket-region") or "its own"
        return UserError(f"{uri} lies in another region or store ({code}){at}; set AWS_DEFAULT_REGION to {region}")
    if code == "RequestTimeTooSkewed":
        return UserError(f"{uri} refuses the time of this machine{at}; set its clock")
    kind = Unreachable if meta.get("HTTPStatusCode", 0) >= 500 else UserError
    return kind(f"{uri} cannot be read{at}: {_line(error.get('Message') or code or response)}")


def _listed(client: Any, bucket: str, prefix: str, uri: str) -> list[dict[str, Any]]:
    found = []
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            name = item["Key"][len(prefix) :]
            if not name or name.endswith("/"):
                continue
            if not _plain(name):
                raise UserError(f"Expected keys that are plain paths in {uri}, found {name[:300]!r}; rename it")
            changed = item["LastModified"]
            stamp = changed.timestamp() if isinstance(changed, datetime) else 0.0
            found.append({"name": name, "etag": item["ETag"], "size": item["Size"], "modified": stamp})
    found.sort(key=lambda item: item["name"].split("/"))
    for one, other in pairwise(found):
        if other["name"].startswith(one["name"] + "/"):
            raise UserError(f"Expected {one['name']!r} as a file or a folder in {uri}, found both; rename one")
    return sorted(found, key=lambda item: item["name"])


def _plain(name: str) -> bool:
    """Whether a key is a path that stays below its root on any system."""
    parts = name.split("/")
    return (
        not {"", ".", ".."} & set(parts)
        and "\\" not in name
        and re.match(r"[A-Za-z]:", name) is None
        and not any(ord(letter) < 32 for letter in name)
        and max(len(part.encode()) for part in parts) <= LONGEST
    )


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, "").strip()
    if value and not (value.isdigit() and int(value)):
        raise UserError(f"Expected {name} as a whole number above 0, got {value!r}")
    return int(value or default)


def _line(error: object) -> str:
    return " ".join(str(error).split())[:300]
