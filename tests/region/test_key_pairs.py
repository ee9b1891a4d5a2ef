"""Key pairs, as any AWS client sees them, held against what openssl and ssh-keygen say of the same keys."""

import base64
import hashlib
import re
import secrets
import subprocess
from pathlib import Path
from typing import Any

import pytest

from builder.region import control
from builder.region.control import Status
from tests.support.regions import client, refused

ID = re.compile(r"key-[0-9a-f]{17}")


@pytest.fixture
def name() -> str:
    return f"key-{secrets.token_hex(6)}"


def run(*command: str | Path, data: bytes | None = None) -> bytes:
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def written(work: Path, material: str) -> Path:
    path = work / "key.pem"
    path.touch(mode=0o600)
    path.write_text(material)
    return path


def described(ec2: Any, name: str) -> dict[str, Any]:
    (found,) = ec2.describe_key_pairs(KeyNames=[name], IncludePublicKey=True)["KeyPairs"]
    return dict(found)


@pytest.fixture(scope="module")
def rsa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rsa") / "key"
    run("ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-C", "me at home", "-f", path)
    return path


@pytest.fixture(scope="module")
def ed25519(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ed25519") / "key"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me", "-f", path)
    return path


class TestCreate:
    def test_rsa(self, ec2: Any, name: str, work: Path) -> None:
        made = ec2.create_key_pair(KeyName=name)
        key = written(work, made["KeyMaterial"])
        inner = run("openssl", "pkcs8", "-topk8", "-nocrypt", "-in", key, "-outform", "DER")
        digest = hashlib.sha1(inner).hexdigest()
        assert made["KeyMaterial"].startswith("-----BEGIN RSA PRIVATE KEY-----\n")
        assert (made["KeyName"], made["KeyFingerprint"]) == (name, ":".join(re.findall("..", digest)))
        assert ID.fullmatch(made["KeyPairId"])
        found = described(ec2, name)
        assert found["PublicKey"] == f"{run('ssh-keygen', '-y', '-f', key).decode().strip()} {name}"
        assert (found["KeyType"], found["KeyPairId"], found["KeyFingerprint"], found["Tags"]) == (
            "rsa", made["KeyPairId"], made["KeyFingerprint"], [],
        )  # fmt: skip

    def test_ed25519(self, ec2: Any, name: str, work: Path) -> None:
        made = ec2.create_key_pair(KeyName=name, KeyType="ed25519", KeyFormat="pem")
        key = written(work, made["KeyMaterial"])
        shown = run("ssh-keygen", "-l", "-f", key).decode().split()[1]
        assert f"{shown}=" == f"SHA256:{made['KeyFingerprint']}"
        found = described(ec2, name)
        assert found["PublicKey"].split()[:2] == run("ssh-keygen", "-y", "-f", key).decode().split()[:2]
        assert found["KeyType"] == "ed25519"

    def test_the_private_key_is_kept_nowhere(self, region: Status, ec2: Any, name: str) -> None:
        secret = ec2.create_key_pair(KeyName=name)["KeyMaterial"].splitlines()[5].encode()
        files = [path for path in region.directory.rglob("*") if path.is_file()]
        assert [path for path in files if secret in path.read_bytes()] == []
        assert any(name.encode() in path.read_bytes() for path in files)

    def test_a_name_is_taken_once(self, ec2: Any, name: str, ed25519: Path) -> None:
        made = ec2.create_key_pair(KeyName=name, KeyType="ed25519")
        with refused("InvalidKeyPair.Duplicate", f"'{name}' already exists"):
            ec2.create_key_pair(KeyName=name)
        with refused("InvalidKeyPair.Duplicate"):
            ec2.import_key_pair(KeyName=name, PublicKeyMaterial=ed25519.with_suffix(".pub").read_bytes())
        assert described(ec2, name)["KeyFingerprint"] == made["KeyFingerprint"]

    @pytest.mark.parametrize("bad", ["", " ", "a ", " a", "a\nb", "ü", "x" * 256, "a\tb"])
    def test_names(self, ec2: Any, bad: str) -> None:
        with refused("InvalidParameterValue", "keyName"):
            ec2.create_key_pair(KeyName=bad)

    def test_the_longest_name(self, ec2: Any, name: str) -> None:
        longest = f"{name} {'x' * (254 - len(name))}"
        assert ec2.create_key_pair(KeyName=longest, KeyType="ed25519")["KeyName"] == longest

    def test_what_is_not_offered(self, ec2: Any, name: str) -> None:
        with refused("UnsupportedOperation", "ppk"):
            ec2.create_key_pair(KeyName=name, KeyFormat="ppk")
        with refused("InvalidParameterValue", "keyType"):
            ec2.create_key_pair(KeyName=name, KeyType="dsa")
        with refused("DryRunOperation"):
            ec2.create_key_pair(KeyName=name, DryRun=True)
        with refused("InvalidKeyPair.NotFound"):
            ec2.describe_key_pairs(KeyNames=[name])


class TestImport:
    def test_rsa_in_every_form(self, ec2: Any, name: str, rsa: Path, work: Path) -> None:
        public = rsa.with_suffix(".pub")
        outer = run("openssl", "rsa", "-in", rsa, "-pubout", "-outform", "DER")
        forms = {
            "openssh": public.read_bytes(),
            "bare": b" ".join(public.read_bytes().split()[:2]),
            "pem": run("openssl", "rsa", "-in", rsa, "-pubout"),
            "pkcs1": run("openssl", "rsa", "-in", rsa, "-RSAPublicKey_out"),
            "rfc4716": run("ssh-keygen", "-e", "-m", "RFC4716", "-f", public),
            "dos": run("ssh-keygen", "-e", "-m", "RFC4716", "-f", public).replace(b"\n", b"\r\n"),
            "der": base64.b64encode(outer),
        }
        fingerprint = ":".join(re.findall("..", hashlib.md5(outer).hexdigest()))
        line = " ".join(public.read_text().split()[:2])
        for form, material in forms.items():
            made = ec2.import_key_pair(KeyName=f"{name}-{form}", PublicKeyMaterial=material)
            assert (form, made["KeyFingerprint"]) == (form, fingerprint)
            found = described(ec2, f"{name}-{form}")
            assert (found["PublicKey"], found["KeyType"]) == (f"{line} {name}-{form}", "rsa")

    def test_ed25519(self, ec2: Any, name: str, ed25519: Path) -> None:
        public = ed25519.with_suffix(".pub")
        made = ec2.import_key_pair(KeyName=name, PublicKeyMaterial=public.read_bytes())
        assert f"SHA256:{made['KeyFingerprint']}" == run("ssh-keygen", "-l", "-f", public).decode().split()[1] + "="
        assert described(ec2, name)["KeyType"] == "ed25519"

    @pytest.mark.parametrize(
        ("material", "saying"),
        [
            (b"", "can be read"),
            (b"nonsense", "can be read"),
            (b"ssh-rsa", "can be read"),
            (b"ssh-rsa AAAA me", "can be read"),
            (b"\xff\xfe", "can be read"),
            (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "can be read"),
            (b"---- BEGIN SSH2 PUBLIC KEY ----\n\n---- END SSH2 PUBLIC KEY ----", "can be read"),
            (b"ssh-rsa AAAA\nssh-rsa BBBB", "more than one line"),
            (b"ssh-rsa " + b"A" * 20000, "more than 16384 bytes"),
        ],
        ids=["nothing", "nonsense", "no-key", "cut", "bytes", "pem", "ssh2", "lines", "long"],
    )
    def test_what_is_no_key(self, ec2: Any, name: str, material: bytes, saying: str) -> None:
        with refused("InvalidKey.Format", saying):
            ec2.import_key_pair(KeyName=name, PublicKeyMaterial=material)

    def test_keys_that_ec2_does_not_take(self, ec2: Any, name: str, rsa: Path, ed25519: Path, work: Path) -> None:
        run("ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", work / "ecdsa")
        with refused("InvalidKey.Format", "neither RSA nor Ed25519"):
            ec2.import_key_pair(KeyName=name, PublicKeyMaterial=(work / "ecdsa.pub").read_bytes())
        for private in (rsa, ed25519):
            with refused("InvalidKey.Format", "a private key"):
                ec2.import_key_pair(KeyName=name, PublicKeyMaterial=private.read_bytes())
        with refused("InvalidKey.Format", "can be read"):  # options would run commands in the guest
            line = b'command="id" ' + rsa.with_suffix(".pub").read_bytes()
            ec2.import_key_pair(KeyName=name, PublicKeyMaterial=line)


class TestDescribe:
    def test_filters_and_tags(self, ec2: Any, name: str, ed25519: Path) -> None:
        tags = [{"Key": "team", "Value": name}]
        made = ec2.import_key_pair(
            KeyName=name,
            PublicKeyMaterial=ed25519.with_suffix(".pub").read_bytes(),
            TagSpecifications=[{"ResourceType": "key-pair", "Tags": tags}],
        )
        assert made["Tags"] == tags
        for filter_, value in (
            ("key-name", f"{name[:-1]}?"),
            ("key-pair-id", made["KeyPairId"]),
            ("tag:team", name),
        ):
            (found,) = ec2.describe_key_pairs(Filters=[{"Name": filter_, "Values": [value]}])["KeyPairs"]
            assert (found["KeyName"], found["Tags"], "PublicKey" in found) == (name, tags, False)
        by_fingerprint = [{"Name": "fingerprint", "Values": [made["KeyFingerprint"]]}]
        assert name in [each["KeyName"] for each in ec2.describe_key_pairs(Filters=by_fingerprint)["KeyPairs"]]
        with refused("InvalidParameterValue", "'colour' is invalid"):
            ec2.describe_key_pairs(Filters=[{"Name": "colour", "Values": ["red"]}])

    def test_tags_come_and_go(self, ec2: Any, name: str) -> None:
        identifier = ec2.create_key_pair(KeyName=name, KeyType="ed25519")["KeyPairId"]
        ec2.create_tags(Resources=[identifier], Tags=[{"Key": "a", "Value": "b"}])
        own = [{"Name": "resource-id", "Values": [identifier]}]
        assert ec2.describe_tags(Filters=own)["Tags"] == [
            {"ResourceId": identifier, "ResourceType": "key-pair", "Key": "a", "Value": "b"}
        ]
        ec2.delete_key_pair(KeyPairId=identifier)
        assert ec2.describe_tags(Filters=own)["Tags"] == []
        with refused("InvalidKeyPair.NotFound"):
            ec2.create_tags(Resources=[identifier], Tags=[{"Key": "a", "Value": "b"}])

    def test_tags_for_something_else(self, ec2: Any, name: str) -> None:
        with refused("InvalidParameterValue", "taggable"):
            ec2.create_key_pair(KeyName=name, TagSpecifications=[{"ResourceType": "image", "Tags": []}])


class TestDelete:
    def test_is_gone(self, ec2: Any, name: str) -> None:
        made = ec2.create_key_pair(KeyName=name, KeyType="ed25519")
        answer = ec2.delete_key_pair(KeyName=name)
        assert (answer["Return"], answer["KeyPairId"]) == (True, made["KeyPairId"])
        with refused("InvalidKeyPair.NotFound", f"'{name}' does not exist"):
            ec2.describe_key_pairs(KeyNames=[name])
        with refused("InvalidKeyPair.NotFound", made["KeyPairId"]):
            ec2.describe_key_pairs(KeyPairIds=[made["KeyPairId"]])

    def test_what_is_not_there(self, ec2: Any, name: str) -> None:
        answer = ec2.delete_key_pair(KeyName=name)
        assert (answer["Return"], "KeyPairId" in answer) == (True, False)
        with refused("MissingParameter"):
            ec2.delete_key_pair()

    def test_both_must_be_meant(self, ec2: Any, name: str) -> None:
        one = ec2.create_key_pair(KeyName=name, KeyType="ed25519")
        ec2.create_key_pair(KeyName=f"{name}-2", KeyType="ed25519")
        ec2.delete_key_pair(KeyName=f"{name}-2", KeyPairId=one["KeyPairId"])
        assert len(ec2.describe_key_pairs(KeyNames=[name, f"{name}-2"])["KeyPairs"]) == 2


def test_key_pairs_survive_a_restart(tmp_path: Path) -> None:
    try:
        ec2 = client("ec2", control.start(tmp_path).endpoint_url)
        made = ec2.create_key_pair(KeyName="mine", KeyType="ed25519")
        control.stop(tmp_path)
        ec2 = client("ec2", control.start(tmp_path).endpoint_url)
        assert described(ec2, "mine")["KeyFingerprint"] == made["KeyFingerprint"]
    finally:
        control.stop(tmp_path)
