import os
import socket
import threading
import time

import boto3
import pytest
from moto.server import ThreadedMotoServer

from cellml.data import s3
from cellml.errors import UserError


@pytest.fixture(scope="module")
def server():
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def environment(server, monkeypatch):
    for name in [n for n in os.environ if n.startswith("AWS_") or n in ("MLFLOW_S3_ENDPOINT_URL", "CELLML_S3_TIMEOUT")]:
        monkeypatch.delenv(name)
    for name, value in [("ACCESS_KEY_ID", "key"), ("SECRET_ACCESS_KEY", "secret"), ("DEFAULT_REGION", "us-east-1")]:
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server)
    return monkeypatch


@pytest.fixture
def bucket(environment, server, request):
    made = boto3.resource("s3", endpoint_url=server).Bucket(f"b-{abs(hash(request.node.name))}")
    made.create()
    return made


@pytest.fixture
def silent():
    """An endpoint that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def answering():
    """An endpoint that gives its answers (status, headers, body) one after the other, and the last one from then on."""
    listeners = []

    def make(*answers):
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        left = list(answers)

        def serve():
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                status, headers, body = left.pop(0) if len(left) > 1 else left[0]
                lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", body]
                with client:
                    client.recv(65536)
                    client.sendall("\r\n".join(lines).encode())

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield make
    for listener in listeners:
        listener.close()


def test_a_listing_is_by_name_below_the_prefix(bucket):
    for name in ("cells/b.png", "cells/a/x.png", "cells/a.png", "cells-more/other.png", "cells/empty/"):
        bucket.put_object(Key=name, Body=name.encode())
    found = s3.listing(f"s3://{bucket.name}/cells")
    assert [item["name"] for item in found] == ["a.png", "a/x.png", "b.png"]
    assert [item["size"] for item in found] == [11, 13, 11]
    assert all(abs(item["modified"] - time.time()) < 60 for item in found)
    assert s3.listing(f"s3://{bucket.name}/none") == []


@pytest.mark.parametrize(
    "key",
    [
        "../x.png",
        "a/../../x.png",
        "/etc/x.png",
        "..\\x.png",
        "a\\..\\x.png",
        "C:/x.png",
        "a" * 256 + ".png",
    ],
)
def test_keys_cannot_leave_their_root(bucket, key):
    bucket.put_object(Key=f"cells/{key}", Body=b"x")
    with pytest.raises(UserError, match=r"plain paths in s3://.*rename it"):
        s3.listing(f"s3://{bucket.name}/cells")


def test_a_key_with_a_zero_byte_is_no_plain_path():
    assert not s3._plain("a\0b.png")
    assert not s3._plain("a\nb.png")
    assert s3._plain("Zelle 7 é/画像.png")


def test_a_key_that_is_a_file_and_a_folder(bucket):
    for name in ("a", "a.b", "a/b"):
        bucket.put_object(Key=name, Body=b"x")
    with pytest.raises(UserError, match=r"Expected 'a' as a file or a folder .* found both"):
        s3.listing(f"s3://{bucket.name}")


@pytest.mark.parametrize("uri", ["s3://", "s3:///x", "s3://a b/x", "s3://../x", "gs://bucket/x", "bucket/x"])
def test_names_that_no_bucket_has(uri):
    with pytest.raises(UserError, match="s3://bucket/prefix"):
        s3.listing(uri)


def test_an_absent_bucket(environment, server):
    with pytest.raises(s3.Absent, match=rf"Expected a bucket at s3://absent/x, found none at {server}; check its name"):
        s3.listing("s3://absent/x")


@pytest.mark.slow
def test_an_unreachable_endpoint_is_told_within_half_a_minute(environment, silent):
    started = time.monotonic()
    environment.setenv("AWS_ENDPOINT_URL_S3", silent)
    with pytest.raises(UserError, match=rf"s3://cells/x cannot be read at {silent}: Read timeout.*AWS_ENDPOINT_URL_S3"):
        s3.listing("s3://cells/x")
    assert time.monotonic() - started < 30


def test_an_answer_may_take_as_long_as_the_environment_says(environment, silent):
    started = time.monotonic()
    environment.setenv("AWS_ENDPOINT_URL_S3", silent)
    environment.setenv("CELLML_S3_TIMEOUT", "1")
    environment.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(UserError, match="Read timeout"):
        s3.listing("s3://cells/x")
    assert time.monotonic() - started < 5


def test_retries_and_times_come_from_the_environment(environment):
    plain = s3.client().meta.config
    assert (plain.retries["total_max_attempts"], plain.retries["mode"]) == (5, "standard")
    assert (plain.connect_timeout, plain.read_timeout) == (4, 60)
    environment.setenv("AWS_MAX_ATTEMPTS", "9")
    environment.setenv("AWS_RETRY_MODE", "adaptive")
    environment.setenv("CELLML_S3_TIMEOUT", "300")
    set_ = s3.client().meta.config
    assert (set_.retries["total_max_attempts"], set_.retries["mode"], set_.read_timeout) == (9, "adaptive", 300)
    for value in ("many", "0", "-1", "1.5"):
        environment.setenv("AWS_MAX_ATTEMPTS", value)
        with pytest.raises(UserError, match=f"AWS_MAX_ATTEMPTS as a whole number above 0, got '{value}'"):
            s3.client()


def test_a_store_that_fails_once_is_asked_again(environment, answering):
    item = "<Key>x/a.png</Key><LastModified>2026-01-02T00:00:00Z</LastModified><ETag>e</ETag><Size>3</Size>"
    xml = ["Content-Type: application/xml"]
    busy = ("503 Slow Down", xml, "<Error><Code>SlowDown</Code></Error>")
    listed = (
        "200 OK",
        xml,
        f"<ListBucketResult><IsTruncated>false</IsTruncated><Contents>{item}</Contents></ListBucketResult>",
    )
    environment.setenv("AWS_ENDPOINT_URL_S3", answering(busy, listed, busy, busy, listed))
    (found,) = s3.listing("s3://cells/x")
    assert (found["name"], found["size"]) == ("a.png", 3)


def test_another_region_is_named(environment, answering):
    body = "<Error><Code>PermanentRedirect</Code><Message>Use the endpoint.</Message></Error>"
    url = answering(("301 Moved", ["x-amz-bucket-region: eu-central-1", "Content-Type: application/xml"], body))
    environment.setenv("AWS_ENDPOINT_URL_S3", url)
    with pytest.raises(
        UserError, match=rf"s3://cells/x lies in another region or store .PermanentRedirect. at {url}; set AWS"
    ):
        s3.listing("s3://cells/x")
    body = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>wrong</Message><Region>eu-west-3</Region></Error>"
    environment.setenv("AWS_ENDPOINT_URL_S3", answering(("400 Bad Request", ["Content-Type: application/xml"], body)))
    with pytest.raises(UserError, match="set AWS_DEFAULT_REGION to eu-west-3"):
        s3.listing("s3://cells/x")


def test_what_is_no_s3_store_is_told_in_one_line(environment, answering):
    environment.setenv("AWS_ENDPOINT_URL_S3", answering(("200 OK", ["Content-Type: text/html"], "<html><p>Hello")))
    with pytest.raises(UserError, match=r"s3://cells/x cannot be read at http") as caught:
        s3.listing("s3://cells/x")
    assert "\n" not in str(caught.value)
    environment.setenv("AWS_ENDPOINT_URL_S3", "store:8333")
    with pytest.raises(UserError, match=r"Expected an S3 store .* store:8333"):
        s3.client()
