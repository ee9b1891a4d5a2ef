"""The classic commands against a local region: what their manuals say, and what the originals get wrong."""

import os
import re
import secrets
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from builder.region.control import Status
from tests.support.bundles import ENCRYPTED_1, ENCRYPTED_2, GO, TestBundle, Writer, make_bundle
from tests.support.classic import Shell
from tests.support.regions import client, running

IMAGE = bytes(range(256)) * 40


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="session")
def region(state: Path) -> Iterator[Status]:
    """The region that commands with this state directory find by themselves."""
    with running(state / "ami-factory/region") as status:
        yield status


@pytest.fixture(scope="session")
def s3(region: Status) -> Any:
    return client("s3", region.endpoint_url)


@pytest.fixture
def shell(tmp_path: Path, state: Path, region: Status) -> Shell:
    (tmp_path / "disk.img").write_bytes(IMAGE)
    (tmp_path / "bundles").mkdir()
    return Shell(path=tmp_path, state=state)


@pytest.fixture
def bucket(s3: Any) -> str:
    """One that the test may fill; it is not made yet."""
    return f"test-{secrets.token_hex(8)}"


def keys(s3: Any, bucket: str) -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [each["Key"] for page in pages for each in page.get("Contents", ())]


@pytest.fixture(scope="session")
def plain(region: Status, tmp_path_factory: pytest.TempPathFactory) -> TestBundle:
    """IMAGE in a bundle that another tool made."""
    return make_bundle(tmp_path_factory.mktemp("plain"), region.directory / "identity/certificate.pem", content=IMAGE)


@pytest.fixture
def here(plain: TestBundle, shell: Shell) -> TestBundle:
    """That bundle in bundles/."""
    for name, data in plain.files().items():
        (shell.path / "bundles" / name).write_bytes(data)
    return plain


def foreign(shell: Shell, region: Status, **more: Any) -> TestBundle:
    """A bundle of its own kind, in bundles/."""
    certificate = region.directory / "identity/certificate.pem"
    bundle = make_bundle(shell.path, certificate, **{"content": IMAGE, **more})
    for name, data in bundle.files().items():
        (shell.path / "bundles" / name).write_bytes(data)
    return bundle


def manifest(shell: Shell, name: str = "disk.img") -> str:
    return (shell.path / f"bundles/{name}.manifest.xml").read_text()


# ec2-bundle-image.


def test_what_the_options_say_is_in_the_manifest(shell: Shell) -> None:
    """ec2-ami-tools made one product code "a,b" of two."""
    shell.good(
        "ec2-bundle-image", "-i", "disk.img", "-d", "bundles", "-p", "web", "-r", "i386", "-u", "1234-5678-9012",
        "--productcodes", "A1,B2", "-B", "ami=sda1,root=/dev/sda1", "--kernel", "aki-919dcaf8",
        "--ramdisk", "ari-5d2bd734",
    )  # fmt: skip
    text = manifest(shell, "web")
    assert (
        "<machine_configuration><architecture>i386</architecture><block_device_mapping><mapping><virtual>ami</virtual>"
        "<device>sda1</device></mapping><mapping><virtual>root</virtual><device>/dev/sda1</device></mapping>"
        "</block_device_mapping><kernel_id>aki-919dcaf8</kernel_id><ramdisk_id>ari-5d2bd734</ramdisk_id><product_codes>"
        "<product_code>A1</product_code><product_code>B2</product_code></product_codes></machine_configuration>"
    ) in text
    assert "<image><name>web</name><user>123456789012</user><type>machine</type>" in text


def test_the_machines_architecture_is_assumed_and_said(shell: Shell) -> None:
    done = shell.good("ec2-bundle-image", "-i", "disk.img", "-d", "bundles")
    machine = os.uname().machine
    assert f"note: the architecture is this machine's, {machine}" in done.stderr
    assert f"<architecture>{machine}</architecture>" in manifest(shell)


def test_the_architecture_is_asked_for_at_a_terminal(shell: Shell) -> None:
    code, shown = shell.at_a_terminal("i386\n", "ec2-bundle-image", "-i", "disk.img", "-d", "bundles")
    assert (code, "Please specify a value for arch [" in shown) == (0, True), shown
    assert "<architecture>i386</architecture>" in manifest(shell)


def test_an_image_from_standard_input_into_the_same_bundle(shell: Shell) -> None:
    words = ["ec2-bundle-image", "-i", "-", "--image-size", str(len(IMAGE)), "-p", "piped", "-d", "bundles"]
    with (shell.path / "disk.img").open() as file, shell.start(*words, stdin=file.fileno()) as process:
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    shell.good("ec2-unbundle", "-m", "bundles/piped.manifest.xml", "-d", "again.img")
    assert (shell.path / "again.img").read_bytes() == IMAGE


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        pytest.param(["-i", "gone.img"], 1, "the image gone.img cannot be read: No such file", id="no image"),
        pytest.param(["-i", "-", "-p", "x"], 2, "the size of the image from standard input is not known", id="no size"),
        pytest.param(["-i", "-"], 2, "an image from standard input has no name", id="no name"),
        pytest.param(["-i", "bundles"], 1, "bundles is a directory", id="directory"),
        pytest.param(["-i", "disk.img", "-d", "gone"], 2, "gone is no directory", id="no destination"),
        pytest.param(["-i", "disk.img", "-p", "../x"], 2, '"../x" cannot be the name of a bundle', id="name"),
        pytest.param(["-i", "disk.img", "-c", "c.pem"], 2, "the private key for bundles is missing", id="half a pair"),
        pytest.param(["-i", "disk.img", "--region", "mars"], 2, '"mars" is not a region', id="region"),
        pytest.param(["-i", "disk.img", "--region", "us-gov-east-1"], 4, "no published certificate", id="certificate"),
        pytest.param(["-i", "big.img"], 1, "10737418241 bytes, EC2 takes at most 10737418240 (10 GiB)", id="size"),
    ],
)  # fmt: skip
def test_images_that_are_not_bundled(words: list[str], code: int, why: str, shell: Shell) -> None:
    with (shell.path / "big.img").open("wb") as file:
        file.truncate(10 * 2**30 + 1)
    where = [] if "-d" in words else ["-d", "bundles"]
    done = shell.run("ec2-bundle-image", *where, *words, "-u", "123456789012")
    assert (done.code, why in done.stderr, done.stdout) == (code, True, ""), done.stderr
    assert list((shell.path / "bundles").iterdir()) == []


@pytest.mark.slow
def test_no_size_checks_is_taken_at_its_word(shell: Shell) -> None:
    """In ec2-ami-tools it has no effect."""
    with (shell.path / "big.img").open("wb") as file:
        file.truncate(10 * 2**30 + 1)
    shell.good("ec2-bundle-image", "-i", "big.img", "-d", "bundles", "--no-size-checks")
    assert "<size>10737418241</size>" in manifest(shell, "big.img")


def test_another_bundle_is_replaced_only_when_that_is_agreed(shell: Shell) -> None:
    words = ["-i", "disk.img", "-d", "bundles", "-r", "x86_64"]
    shell.good("ec2-bundle-image", *words)
    first = manifest(shell)
    done = shell.run("ec2-bundle-image", *words)
    assert (done.code, "bundles holds a bundle disk.img already" in done.stderr) == (2, True), done.stderr
    assert "hint: say -y" in done.stderr
    code, _ = shell.at_a_terminal("n\n", "ec2-bundle-image", *words)
    assert (code, manifest(shell) == first) == (2, True)
    code, _ = shell.at_a_terminal("y\n", "ec2-bundle-image", *words)
    assert (code, manifest(shell) == first) == (0, False)
    (shell.path / "bundles/disk.img.manifest.xml").unlink()
    done = shell.run("ec2-bundle-image", *words)
    assert (done.code, "bundles holds files of a bundle disk.img already" in done.stderr) == (1, True), done.stderr
    shell.good("ec2-bundle-image", *words, "-y", "--batch")
    assert manifest(shell) != first


def test_a_terminal_sees_progress(shell: Shell) -> None:
    code, shown = shell.at_a_terminal("", "ec2-bundle-image", "-i", "disk.img", "-d", "bundles", "-r", "i386")
    assert code == 0
    assert re.search(r"\r\x1b\[Kbundle +\d+%  .* of 10\.0 KiB", shown), shown
    code, shown = shell.at_a_terminal(
        "", "ec2-bundle-image", "-i", "disk.img", "-d", "bundles", "-r", "i386", "-y", "--no-progress"
    )
    assert (code, "%" in shown) == (0, False)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_bundle_leaves_nothing(stop: signal.Signals, shell: Shell) -> None:
    words = ["-i", "-", "--image-size", "1048576", "-p", "piped", "-d", "bundles"]
    with shell.start("ec2-bundle-image", *words, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write("x" * 1000)
        process.stdin.flush()
        deadline = time.monotonic() + 30
        while not list((shell.path / "bundles").iterdir()) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(stop)
        process.stdin.close()
        process.stdin = None
        _, stderr = process.communicate(timeout=30)
    assert (process.returncode, list((shell.path / "bundles").iterdir())) == (130, []), stderr
    assert "error: interrupted" in stderr


# Straight to S3, and back from there.


def test_straight_to_s3_and_back(shell: Shell, bucket: str, s3: Any) -> None:
    done = shell.good("ec2-bundle-image", "-i", "disk.img", "-d", f"s3://{bucket}//a/", "--compression", "small")
    assert done.stdout.splitlines() == [
        "Creating bucket...",
        "Bundling image file...",
        f"Uploaded {bucket}/a/disk.img.manifest.xml",
        "ec2-bundle-image complete.",
    ]
    assert list((shell.path / "bundles").iterdir()) == []
    assert all(key.startswith("a/disk.img.") for key in keys(s3, bucket))
    done = shell.good("ec2-unbundle", "-m", f"s3://{bucket}/a/disk.img.manifest.xml", "-d", "again.img")
    assert done.stdout == "Unbundled again.img\n"
    assert (shell.path / "again.img").read_bytes() == IMAGE
    assert shell.good("ec2-register", f"s3://{bucket}/a/disk.img.manifest.xml").stdout.startswith("IMAGE\tami-")


# ec2-upload-bundle.


def test_the_bucket_is_given_with_a_prefix(shell: Shell, here: TestBundle, bucket: str, s3: Any) -> None:
    """To ec2-ami-tools of some versions a path for a bucket was a wrong signature."""
    words = ["-b", f"{bucket}/some/prefix/", "-m", "bundles/disk.img.manifest.xml"]
    shell.good("ec2-upload-bundle", *words)
    assert keys(s3, bucket) == [f"some/prefix/{name}" for name in sorted(here.files())]
    again = shell.good("ec2-upload-bundle", *words)
    assert "were there already, 0 B were sent" in again.stderr


UNPADDED = Writer(name="unpadded", digits="none")


def test_parts_are_taken_in_the_manifests_order(shell: Shell, region: Status, bucket: str, s3: Any) -> None:
    """By name, as ec2-ami-tools sorts them, part 10 comes before part 2."""
    bundle = foreign(shell, region, writer=UNPADDED, part_size=100, content=os.urandom(900))
    assert len(bundle.parts) > 10
    words = ["-b", bucket, "-m", "bundles/disk.img.manifest.xml"]
    done = shell.good("ec2-upload-bundle", *words, "--part", "02", "--skipmanifest")
    sent = list(bundle.parts)[2:]
    assert [line.partition(" ")[2] for line in done.stdout.splitlines() if "Uploaded" in line] == sent
    assert set(keys(s3, bucket)) == set(sent)
    done = shell.run("ec2-upload-bundle", *words, "--part", str(len(bundle.parts)))
    assert (done.code, f"the bundle has {len(bundle.parts)} parts, from 0 to" in done.stderr) == (2, True)
    shell.good("ec2-upload-bundle", *words)
    assert set(keys(s3, bucket)) == set(bundle.files())


def test_parts_in_another_directory(shell: Shell, here: TestBundle, bucket: str, s3: Any) -> None:
    (shell.path / "bundles/disk.img.manifest.xml").rename(shell.path / "disk.img.manifest.xml")
    done = shell.run("ec2-upload-bundle", "-b", bucket, "-m", "disk.img.manifest.xml")
    assert (done.code, "disk.img.part.0 is not there" in done.stderr) == (1, True)
    shell.good("ec2-upload-bundle", "-b", bucket, "-m", "disk.img.manifest.xml", "-d", "bundles")
    assert set(keys(s3, bucket)) == set(here.files())


@pytest.mark.parametrize("location", ["us-east-1", "US", "EU"])
def test_a_location_is_no_matter_here(location: str, shell: Shell, here: TestBundle, bucket: str) -> None:
    """ec2-ami-tools refuses us-east-1."""
    done = shell.good("ec2-upload-bundle", "-b", bucket, "-m", "bundles/disk.img.manifest.xml", "--location", location)
    assert "note: --location has no meaning in the local region" in done.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        pytest.param(["--location", "eu-west-1", "--region", "us-east-1"], "--location eu-west-1 is eu", id="two"),
        pytest.param(["--location", "mars"], '"mars" is not a region', id="no region"),
        pytest.param(["--acl", "private"], '"private" is none of public-read', id="acl"),
        pytest.param(["-a", "KEY"], "the secret access key is missing", id="half of the credentials"),
        pytest.param(["--part", "one"], '--part: "one" is not a whole number', id="part"),
    ],
)
def test_uploads_that_nobody_begins(words: list[str], why: str, shell: Shell, here: TestBundle, bucket: str) -> None:
    done = shell.run("ec2-upload-bundle", "-b", bucket, "-m", "bundles/disk.img.manifest.xml", *words)
    assert (done.code, why in done.stderr, done.stdout) == (2, True, ""), done.stderr


class Tired(ThreadingHTTPServer):
    """Stands before the region, and answers the first two times that each object is put with 503."""

    daemon_threads = True

    def __init__(self, endpoint: str) -> None:
        super().__init__(("127.0.0.1", 0), _Tired)
        self.endpoint = endpoint
        self.times: dict[str, list[float]] = {}
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def tired_of(self, path: str) -> bool:
        with self.lock:
            times = self.times.setdefault(path.partition("?")[0], [])
            times.append(time.monotonic())
            return len(times) <= 2


class _Tired(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Tired

    def _serve(self) -> None:
        if self.headers.get("Expect") == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.command == "PUT" and ".part." in self.path and self.server.tired_of(self.path):
            self._answer(503, b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>")
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "expect")}
        request = urllib.request.Request(
            self.server.endpoint + self.path, data=body or None, headers=headers, method=self.command
        )
        try:
            with urllib.request.urlopen(request) as answer:
                self._answer(answer.status, answer.read(), dict(answer.headers))
        except urllib.error.HTTPError as error:
            self._answer(error.code, error.read(), dict(error.headers))

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _serve

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_a_retry_waits(shell: Shell, here: TestBundle, region: Status, bucket: str, s3: Any) -> None:
    """ec2-ami-tools says "Retrying in 5s" and does not wait; here every command tries again, and later each time."""
    with Tired(region.endpoint_url) as tired:
        threading.Thread(target=tired.serve_forever, daemon=True).start()
        done = shell.good(
            "ec2-upload-bundle", "-b", bucket, "-m", "bundles/disk.img.manifest.xml", "--retry", "--url", tired.url
        )
        tired.shutdown()
    assert "note: --retry has no meaning any more: a failed request is always tried again, after a wait" in done.stderr
    assert set(keys(s3, bucket)) == set(here.files())
    for first, second, third in tired.times.values():
        assert third - first > 0.05
        assert second > first


# ec2-download-bundle, ec2-unbundle.


@pytest.fixture
def stored(plain: TestBundle, bucket: str, s3: Any) -> TestBundle:
    """A bundle in the bucket, under a/b, where EC2 can read it; nothing of it is on this machine."""
    s3.create_bucket(Bucket=bucket, ObjectOwnership="ObjectWriter")
    for name, data in plain.files().items():
        s3.put_object(Bucket=bucket, Key=f"a/b/{name}", Body=data, ACL="aws-exec-read")
    return plain


@pytest.mark.parametrize(
    "which", [["-m", "disk.img.manifest.xml"], ["-p", "disk.img"], []], ids=["manifest", "prefix", "the only one"]
)
def test_download(which: list[str], stored: TestBundle, shell: Shell, bucket: str) -> None:
    done = shell.good("ec2-download-bundle", "-b", f"{bucket}/a/b", "-d", "bundles", *which)
    assert done.stdout.splitlines() == [
        f"Downloading manifest disk.img.manifest.xml from {bucket} to bundles/disk.img.manifest.xml ...",
        *(f"Downloaded {name} from {bucket}" for name in stored.parts),
    ]
    assert {path.name: path.read_bytes() for path in (shell.path / "bundles").iterdir()} == stored.files()


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        pytest.param(
            ["-m", "a/b/disk.img.manifest.xml"], 2, "the path belongs to the bucket: -b BUCKET/PATH", id="path"
        ),
        pytest.param(["-m", "x.manifest.xml", "-p", "y"], 2, "-m and -p name two bundles", id="two names"),
        pytest.param(["-p", "nothere"], 4, "nothere.manifest.xml", id="not there"),
        pytest.param(["-b", "BUCKET/elsewhere"], 2, "elsewhere holds 0 bundles", id="no bundle"),
        pytest.param(["-d", "gone"], 2, "gone is no directory", id="no directory"),
        pytest.param(["-k", "gone.pem"], 2, "the private key gone.pem cannot be read", id="no key"),
    ],
)
def test_downloads_that_fail(
    words: list[str], code: int, why: str, stored: TestBundle, shell: Shell, bucket: str
) -> None:
    words = [word.replace("BUCKET", bucket) for word in words]
    done = shell.run("ec2-download-bundle", "-b", f"{bucket}/a/b", *words)
    assert (done.code, why in done.stderr) == (code, True), done.stderr


@pytest.mark.parametrize("writer", [ENCRYPTED_1, ENCRYPTED_2, GO], ids=lambda writer: writer.name)
def test_a_bundle_of_another_tool_comes_down_and_opens(
    writer: Writer, shell: Shell, region: Status, bucket: str, s3: Any
) -> None:
    """Encrypted manifests of 2006 among them."""
    bundle = foreign(shell, region, writer=writer)
    s3.create_bucket(Bucket=bucket)
    for name, data in bundle.files().items():
        s3.put_object(Bucket=bucket, Key=name, Body=data)
        (shell.path / "bundles" / name).unlink()
    shell.variables["EC2_PRIVATE_KEY"] = str(bundle.user_key)
    shell.good("ec2-download-bundle", "-b", bucket, "-d", "bundles")
    done = shell.good("ec2-unbundle", "-m", "bundles/disk.img.manifest.xml", "-d", "again.img")
    assert (shell.path / "again.img").read_bytes() == IMAGE
    assert "warning" not in done.stderr


def test_unbundle_finds_the_parts(shell: Shell, here: TestBundle) -> None:
    """Where -s says; here, as the manual has it; or beside the manifest."""
    words = ["ec2-unbundle", "-k", str(here.user_key), "-d", "again.img", "-y"]
    shell.good(*words, "-m", "bundles/disk.img.manifest.xml")
    for name in here.parts:
        (shell.path / "bundles" / name).rename(shell.path / name)
    shell.good(*words, "-m", "bundles/disk.img.manifest.xml")
    shell.good(*words, "-m", "bundles/disk.img.manifest.xml", "-s", ".")
    done = shell.run(*words, "-m", "bundles/disk.img.manifest.xml", "-s", "bundles")
    assert (done.code, "disk.img.part.0" in done.stderr) == (1, True)


def test_an_image_that_is_there_stays(shell: Shell, here: TestBundle) -> None:
    words = ["-k", str(here.user_key), "-m", "bundles/disk.img.manifest.xml"]
    (shell.path / "disk.img").write_bytes(b"mine")
    done = shell.run("ec2-unbundle", *words)
    assert (done.code, (shell.path / "disk.img").read_bytes()) == (2, b"mine"), done.stderr
    shell.good("ec2-unbundle", *words, "-y")
    assert (shell.path / "disk.img").read_bytes() == IMAGE


def test_no_name_leads_out_of_the_destination(shell: Shell, region: Status) -> None:
    """ec2-unbundle of ec2-ami-tools extracts the archive's member where its name says."""
    outside = Writer(name="outside", tar=("--format=gnu", "--absolute-names", "--transform=s,^,../,"))
    bundle = foreign(shell, region, writer=outside)
    (shell.path / "images").mkdir()
    words = ["ec2-unbundle", "-k", bundle.user_key, "-m", "bundles/disk.img.manifest.xml", "-d"]
    done = shell.run(*words, "images/inner.img")
    assert (done.code, "../disk.img" in done.stderr) == (1, True), done.stderr
    text = bundle.manifest.replace(b"<name>disk.img</name>", b"<name>../../evil</name>")
    (shell.path / "bundles/disk.img.manifest.xml").write_bytes(text)
    done = shell.run(*words, "images")
    assert (done.code, "../../evil" in done.stderr) == (1, True), done.stderr
    assert list((shell.path / "images").iterdir()) == []
    assert not list(shell.path.glob("**/evil"))
    assert (shell.path / "disk.img").read_bytes() == IMAGE


def test_who_signed_is_looked_at(shell: Shell, here: TestBundle, region: Status) -> None:
    words = ["-k", str(here.user_key), "-m", "bundles/disk.img.manifest.xml", "-d", "again.img", "-y"]
    shell.good("ec2-unbundle", *words, "-c", str(here.user_certificate))
    done = shell.run("ec2-unbundle", *words, "-c", str(region.directory / "identity/certificate.pem"))
    assert (done.code, "was not signed by the owner of this certificate" in done.stderr) == (1, True)
    text = here.manifest.replace(b"aki-919dcaf8", b"aki-00000000")
    (shell.path / "bundles/disk.img.manifest.xml").write_bytes(text)
    done = shell.good("ec2-unbundle", *words)
    assert "warning: the manifest is not signed by the owner of this key" in done.stderr


def test_the_regions_own_key_opens_it_too(shell: Shell, here: TestBundle, region: Status) -> None:
    key = region.directory / "identity/private-key.pem"
    shell.good("ec2-unbundle", "-k", key, "-m", "bundles/disk.img.manifest.xml", "-d", "again.img")
    assert (shell.path / "again.img").read_bytes() == IMAGE


# ec2-delete-bundle.


def test_delete_takes_one_bundle_and_no_neighbour(stored: TestBundle, shell: Shell, bucket: str, s3: Any) -> None:
    neighbours = ["a/b/disk.img.part.0.bak", "a/b/disk.img2.part.0", "a/b/disk.im", "a/bc", "a/b/c/disk.img.part.0"]
    for key in neighbours:
        s3.put_object(Bucket=bucket, Key=key, Body=b"mine")
    before = keys(s3, bucket)
    words = ["-b", f"{bucket}/a/b", "-p", "disk.img"]
    done = shell.run("ec2-delete-bundle", *words)
    assert (done.code, keys(s3, bucket)) == (2, before)
    assert "and nobody was asked\nhint: say -y" in done.stderr
    code, shown = shell.at_a_terminal("n\n", "ec2-delete-bundle", *words)
    assert (code, keys(s3, bucket), "Continue? [y/n]" in shown) == (2, before, True)
    code, shown = shell.at_a_terminal("y\n", "ec2-delete-bundle", *words, "--clear")
    assert (code, sorted(keys(s3, bucket))) == (0, sorted(neighbours)), shown
    assert f"the bucket {bucket} stays: it is not empty" in shown
    done = shell.good("ec2-delete-bundle", *words, "-y")
    assert (done.stdout, "there are no files of the bundle disk.img" in done.stderr) == (
        "ec2-delete-bundle complete.\n",
        True,
    )


@pytest.mark.parametrize("local", [False, True], ids=["in the bucket", "here"])
def test_delete_by_manifest(local: bool, stored: TestBundle, shell: Shell, bucket: str, s3: Any) -> None:
    if local:
        (shell.path / stored.manifest_name).write_bytes(stored.manifest)
    shell.good("ec2-delete-bundle", "-b", f"{bucket}/a/b", "-m", stored.manifest_name, "-y")
    assert keys(s3, bucket) == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "which bundle? None was named"),
        (["-p", "x", "-m", "y"], "which bundle? More than one was named"),
        (["-m", "gone/x.manifest.xml"], "the manifest gone/x.manifest.xml cannot be read"),
        (["--local-manifest", "x.manifest.xml"], "the manifest x.manifest.xml cannot be read"),
    ],
)
def test_deletions_that_nobody_begins(
    words: list[str], why: str, stored: TestBundle, shell: Shell, bucket: str, s3: Any
) -> None:
    done = shell.run("ec2-delete-bundle", "-b", f"{bucket}/a/b", "-y", *words)
    assert (done.code, why in done.stderr, done.stdout) == (2, True, ""), done.stderr
    assert len(keys(s3, bucket)) == len(stored.files())


# ec2-register.


def test_what_is_said_at_registering_is_registered(
    stored: TestBundle, shell: Shell, region: Status, bucket: str
) -> None:
    done = shell.good(
        "ec2-register", f"/{bucket}/a/b/disk.img.manifest.xml", "-n", f"{bucket} (web)", "-d", "a server", "-a",
        "x86_64", "-b", "/dev/sdb=ephemeral0", "-b", "sdc=none", "--kernel", "aki-919dcaf8", "-O", "KEY", "-W", "S",
    )  # fmt: skip
    image_id = done.stdout.removeprefix("IMAGE\t").strip()
    ec2 = client("ec2", region.endpoint_url)
    image = ec2.describe_images(ImageIds=[image_id])["Images"][0]
    assert (image["Name"], image["Description"], image["Architecture"]) == (f"{bucket} (web)", "a server", "x86_64")
    assert image["BlockDeviceMappings"] == [
        {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"},
        {"DeviceName": "sdc", "NoDevice": ""},
    ]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        pytest.param(["-a", "i386"], "the manifest says x86_64", id="architecture"),
        pytest.param(["--kernel", "aki-12345678"], "The image id '[aki-12345678]' does not exist", id="kernel"),
        pytest.param(["-b", "/dev/sdb=floppy0"], "Invalid virtual name 'floppy0'", id="mapping"),
        pytest.param(["-b", "/dev/sdb=snap-12345678"], "no EBS volumes", id="volume"),
        pytest.param(["-n", "a:b"], "AMI names must be between 3 and 128 characters", id="name"),
    ],
)
def test_ec2_refuses_in_its_own_words(
    words: list[str], why: str, stored: TestBundle, shell: Shell, bucket: str
) -> None:
    done = shell.run("ec2-register", f"{bucket}/a/b/disk.img.manifest.xml", *words)
    assert (done.code, why in done.stderr, done.stdout) == (4, True, ""), done.stderr


def test_a_dry_run_registers_nothing(stored: TestBundle, shell: Shell, bucket: str) -> None:
    line = ["ec2-register", f"{bucket}/a/b/disk.img.manifest.xml"]
    done = shell.good(*line, "--auth-dry-run")
    assert (done.stdout, "Request would have succeeded" in done.stderr) == ("", True)
    shell.good(*line)


# What all of them have in common.


def test_no_secret_is_ever_told(shell: Shell, here: TestBundle, region: Status, bucket: str) -> None:
    """Not with --debug, not in errors; and not in what the region keeps."""
    given = ["-a", "AKIDWELLKNOWN", "-s", "s3cr3t-w0rd", "-t", "t0k3n-w0rd", "--debug"]
    line = ["ec2-upload-bundle", "-m", "bundles/disk.img.manifest.xml", *given]
    told = [shell.good(*line, "-b", bucket), shell.run(*line, "-b", "No_Bucket"), shell.run(*line, "-b", bucket, "-z")]
    told += [shell.run(*line, "-b", bucket, "--url", "http://127.0.0.1:9")]
    said = "".join(done.stdout + done.stderr for done in told)
    assert "debug: PutObject: 200, request " in said
    assert [word for word in ("s3cr3t-w0rd", "t0k3n-w0rd") if word in said] == []
    assert "s3cr3t-w0rd" not in region.log.read_text()


def test_credentials_come_from_the_environment_too(shell: Shell, bucket: str) -> None:
    shell.variables |= {"AWS_ACCESS_KEY": "KEY", "AWS_SECRET_KEY": ""}
    done = shell.run("ec2-delete-bundle", "-b", bucket, "-p", "x", "-y")
    assert (done.code, "the secret access key is missing" in done.stderr) == (2, True)


def test_a_region_that_does_not_answer(shell: Shell, here: TestBundle, bucket: str) -> None:
    shell.variables["S3_URL"] = "http://127.0.0.1:9"
    done = shell.run("ec2-upload-bundle", "-b", bucket, "-m", "bundles/disk.img.manifest.xml")
    assert (done.code, "http://127.0.0.1:9" in done.stderr) == (4, True)
    assert "Traceback" not in done.stderr
