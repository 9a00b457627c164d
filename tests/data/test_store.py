import os
import socket
import time

import boto3
import pytest
from moto.server import ThreadedMotoServer

from cellml.data import store
from cellml.errors import UserError


@pytest.fixture(scope="module")
def server():
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(server, monkeypatch, request):
    for name in [n for n in os.environ if n.startswith("AWS_") or n == "MLFLOW_S3_ENDPOINT_URL"]:
        monkeypatch.delenv(name)
    for name, value in [("ACCESS_KEY_ID", "key"), ("SECRET_ACCESS_KEY", "secret"), ("DEFAULT_REGION", "us-east-1")]:
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", server)
    made = boto3.resource("s3", endpoint_url=server).Bucket(f"b-{abs(hash(request.node.name))}")
    made.create()
    return made


@pytest.fixture
def downloads(monkeypatch):
    names = []
    real = store._download

    def spy(client, bucket, prefix, item, stored):
        names.append(item["name"])
        return real(client, bucket, prefix, item, stored)

    monkeypatch.setattr(store, "_download", spy)
    return names


def _content(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_prefix_is_fetched_once_and_only_what_changed_after(bucket, tmp_path, downloads):
    content = {f"A/{n}.png": os.urandom(50 + n) for n in range(30)} | {"B/deep/x.png": b"x"}
    for name, body in content.items():
        bucket.put_object(Key=f"cells/one/{name}", Body=body)
    bucket.put_object(Key="cells/one/empty/", Body=b"")
    bucket.put_object(Key="cells/one-more/other.png", Body=b"other")
    uri = f"s3://{bucket.name}/cells/one"
    first = store.fetch(uri, tmp_path)
    assert _content(first) == content
    assert sorted(downloads) == sorted(content)
    assert store.fetch(uri + "/", tmp_path) == first
    assert len(downloads) == len(content)
    time.sleep(1)
    bucket.put_object(Key="cells/one/A/3.png", Body=b"new")
    bucket.Object("cells/one/A/4.png").delete()
    second = store.fetch(uri, tmp_path)
    assert second != first
    assert _content(second) == {n: b for n, b in content.items() if n != "A/4.png"} | {"A/3.png": b"new"}
    assert downloads[len(content) :] == ["A/3.png"]
    assert _content(first) == content
    same = {name: (first / name).stat().st_mtime_ns for name in ("A/5.png", "B/deep/x.png")}
    assert same == {name: (second / name).stat().st_mtime_ns for name in same}


def test_a_download_that_was_cut_off_goes_on_where_it_was(bucket, tmp_path, downloads, monkeypatch):
    for n in range(40):
        bucket.put_object(Key=f"{n}.png", Body=bytes([n]))
    real, left = store._link, iter(range(10))

    def cut(stored, target):
        if next(left, None) is None:
            raise KeyboardInterrupt
        real(stored, target)

    monkeypatch.setattr(store, "_link", cut)
    with pytest.raises(KeyboardInterrupt):
        store.fetch(f"s3://{bucket.name}", tmp_path)
    assert not list((tmp_path / "s3").glob("*.tmp"))
    monkeypatch.setattr(store, "_link", real)
    assert len(_content(store.fetch(f"s3://{bucket.name}", tmp_path))) == 40
    assert sorted(downloads) == sorted(f"{n}.png" for n in range(40))


def test_the_own_endpoint_variable_comes_first(bucket, tmp_path, monkeypatch, server):
    bucket.put_object(Key="a/x.png", Body=b"x")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server)
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", "http://127.0.0.1:1")
    assert _content(store.fetch(f"s3://{bucket.name}/a", tmp_path)) == {"x.png": b"x"}


def test_what_is_absent_or_refused_is_the_users_to_mend(bucket, tmp_path, monkeypatch, server):
    with pytest.raises(UserError, match=r"files below s3://.*/none, found none"):
        store.fetch(f"s3://{bucket.name}/none", tmp_path)
    with pytest.raises(UserError, match="Expected a bucket at s3://absent-bucket/x, found none at http://"):
        store.fetch("s3://absent-bucket/x", tmp_path)
    with pytest.raises(UserError, match="s3://bucket/prefix"):
        store.fetch("s3:///x", tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(UserError, match=r"cannot be read at http.*: Could not connect.*check AWS_ENDPOINT_URL_S3"):
        store.fetch(f"s3://{bucket.name}/x", tmp_path)
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", server)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"credentials.*AWS_ACCESS_KEY_ID"):
        store.fetch(f"s3://{bucket.name}/x", tmp_path)


def test_wrong_credentials_are_named(bucket, tmp_path, server):
    import requests

    requests.post(f"{server}/moto-api/reset-auth", data=b"0", timeout=10)
    try:
        with pytest.raises(UserError, match=r"refuses these credentials .InvalidAccessKeyId"):
            store.fetch(f"s3://{bucket.name}/x", tmp_path)
    finally:
        requests.post(f"{server}/moto-api/reset-auth", data=b"inf", timeout=10)


def test_local_folders_are_given_back(tmp_path):
    assert store.fetch(str(tmp_path), tmp_path / "cache") == tmp_path
    with pytest.raises(UserError, match=r"found nothing; give the folder with -P data="):
        store.fetch(str(tmp_path / "none"), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="found a file"):
        store.fetch(str(tmp_path / "file"), tmp_path)
    with pytest.raises(UserError, match="gs:// is not known"):
        store.fetch("gs://bucket/x", tmp_path)
