"""A tree with a fault of every class of hygiene, and what verify has to say of it. For root, or root of a namespace:
the owners of files do not matter, devices are not made."""

import base64
import hashlib
import os
import random
import subprocess
from pathlib import Path

_BODY = base64.encodebytes(random.Random(2).randbytes(300)).decode()
_DASHES = "-----"
_KEY = f"{_DASHES}BEGIN RSA PRIVATE KEY{_DASHES}\n{_BODY}{_DASHES}END RSA PRIVATE KEY{_DASHES}\n"
_OTHER = _KEY.replace(_BODY[:8], "MIIEpAIB")
_ID = f"{'AKIA'}J2UAZ5QXP7TWM3CN"
_AWS = f"aws_access_key_id={_ID}\naws_secret_access_key=wq2Fr8Lh0kZy/Tn4vXb6Uc1Ms9Ed+Ga7Pj3RiOl5\n"
GONE = "srv/gone"
"""A file that is removed from the image afterwards."""


def seed(root: Path) -> None:
    """Put the faults into a tree that keeps all rules."""
    texts = {
        "srv/server.pem": "listen on 443\n" + _KEY,
        "srv/job.sh": _AWS,
        "usr/share/shipped/key.pem": _OTHER,
        GONE: _OTHER,
        "home/eve/.ssh/authorized_keys": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG1lIG1lIG1lIG1lIG1l eve\n",
        "etc/shadow": "root:*:1::::::\neve:$6$salt$hash:1::::::\n",
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\neve:x:1000:1000::/home/eve:/bin/sh\n" + "#" * 1_000_000 + "\n",
        "var/lib/dbus/machine-id": "0123\n",
        "root/.bash_history": "mysql -psecret\n",
        "root/.aws/credentials": "[default]\n",
        "var/lib/cloud/instances/i-1/boot-finished": "1\n",
        "opt/setuid": "",
        "opt/open": "",
        "opt/two\nlines\x1b[2J": "",
        "opt/capable": "",
        "var/log/build.log": "built\n",
        "var/cache/apt/archives/a_1_all.deb": "deb",
        "var/lib/dpkg/info/su.list": "/.\n/bin/su\n/usr/share/shipped/key.pem\n",
    }
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
        (root / name).chmod(0o644)
    shipped = hashlib.md5(texts["usr/share/shipped/key.pem"].encode(), usedforsecurity=False).hexdigest()
    (root / "var/lib/dpkg/info/su.md5sums").write_text(f"{shipped}  usr/share/shipped/key.pem\n")
    (root / "bin").symlink_to("usr/bin")
    (root / "usr/bin").mkdir(exist_ok=True)
    (root / "usr/bin/su").touch()
    modes = {"opt/setuid": 0o4755, "usr/bin/su": 0o4755, "opt/open": 0o666, "opt/two\nlines\x1b[2J": 0o666}
    for name, mode in modes.items():
        (root / name).chmod(mode)
    (root / "opt/capable").chmod(0o755)
    (root / "opt/dir").mkdir()
    (root / "opt/dir").chmod(0o777)
    (root / "opt/loop").symlink_to("loop")
    with (root / "opt/enormous").open("wb") as file:
        os.truncate(file.fileno(), 2**40)
    with (root / "etc/enormous").open("wb") as file:
        os.truncate(file.fileno(), 2**40)
    os.close(os.open(os.fsencode(root) + b"/opt/\xff", os.O_CREAT | os.O_WRONLY, 0o644))


FOUND = [
    "error private-key /srv/server.pem",
    "error aws-key /srv/job.sh",
    "error deleted-secret /",
    "error password-hash /etc/shadow",
    "error machine-state /var/lib/dbus/machine-id",
    "error shell-history /root/.bash_history",
    "error credentials /root/.aws/credentials",
    "error cloud-init /var/lib/cloud/instances/i-1/boot-finished",
    "error setuid /opt/setuid",
    "error capability /opt/capable",
    "error world-writable /opt/dir",
    "error world-writable /opt/open",
    "error world-writable /opt/two?lines?[2J",
    "error device-node /opt/mem",
    "error unreadable /opt/\\xff",
    "error authorized-keys /home/eve/.ssh/authorized_keys",
    "warning log /var/log/build.log",
    "warning package-cache /var/cache/apt/archives",
]


def finish(image: Path) -> None:
    """What a tree does not have: a removed file, a device, a capability (linux/capability.h: of the second revision,
    effective, cap_net_raw)."""
    capability = "0x0100000200200000000000000000000000000000"
    script = f"rm /{GONE}\ncd /opt\nmknod mem c 1 1\nea_set /opt/capable security.capability -f {image}.cap\n"
    Path(f"{image}.cap").write_bytes(bytes.fromhex(capability.removeprefix("0x")))
    subprocess.run(["debugfs", "-w", "-f", "-", image], input=script.encode(), check=True, capture_output=True)
