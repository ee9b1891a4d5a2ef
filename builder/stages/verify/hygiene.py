"""What must not be let loose with an image: rules over its whole tree, beside rules.py's.

AWS's rules for shared AMIs are the start (EC2 User Guide, "Recommendations for creating shared Linux AMIs"): no
authorised keys, host keys, passwords, shell history. The rest is what users of other builders found in theirs.
"""

import re
import stat
from collections.abc import Iterator

from builder.stages.verify.facts import Facts
from builder.stages.verify.secrets import PRIVATE_KEY
from builder.stages.verify.spec import VerifySpec

Wrong = tuple[str, str, str]
"""Path, why, remedy."""
_REMOVE = "remove it in the script that made it"
_HISTORY = re.compile(
    r"\.(bash|zsh|ash|sh|fish|ksh|python|mysql|psql|sqlite|redis-cli|node_repl|irb)_?(history|hist)|\.viminfo|\.lesshst"
)
_CREDENTIALS = re.compile(
    r".*/(\.aws/credentials|\.netrc|\.git-credentials|\.pgpass|\.my\.cnf|\.pypirc|\.boto|\.s3cfg|\.vault-token"
    r"|\.docker/config\.json|\.kube/config|\.gnupg/private-keys-v1\.d/[^/]+\.key|\.config/gcloud/credentials\.db)"
)
_CLOUD_INIT = re.compile(r"/var/lib/cloud/(instance|instances|data|sem|seed)(/.*)?")
_STATE = {
    "/var/lib/dbus/machine-id": "all instances would have this id",
    "/var/lib/systemd/credential.secret": "all instances would seal credentials with this secret",
    "/var/lib/NetworkManager/secret_key": "all instances would make their addresses with this secret",
}
_LEASES = re.compile(r"/var/lib/(dhcp|dhclient|dhcpcd|NetworkManager)/[^/]+\.leases?")
_CACHES = {
    "/var/cache/apt/archives": r".*\.deb",
    "/var/lib/apt/lists": r".*_(Packages|Sources|Release|InRelease)(\..*)?",
    "/var/cache/dnf": r".*",
    "/var/cache/libdnf5": r".*",
    "/var/cache/yum": r".*",
    "/var/cache/zypp": r".*",
    "/root/.cache/pip": r".*",
}
_ACCOUNTS = ("/etc/shadow", "/etc/passwd")
_HASH = re.compile(r"[!*]*(\$[0-9a-z]|_[A-Za-z0-9./]{19}$|[A-Za-z0-9./]{13}$)")
"""A password in one of crypt(5)'s forms; passwd(1) locks it with a ! before it."""
_PASSWORDS = ("/etc/shadow", "/etc/shadow-", "/etc/passwd", "/etc/passwd-", "/etc/gshadow", "/etc/gshadow-")


def private_key(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """No private key is in a file, in PEM's or OpenSSH's form, but where a package brings it for everybody."""
    for each in facts.secrets:
        if each.path and each.kind == PRIVATE_KEY:
            yield each.path, f"it holds a private key, as all instances would {_at(each.offset, each.path)}", _REMOVE


def aws_key(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """No access key of AWS is in a file, with its secret beside it."""
    for each in facts.secrets:
        if each.path and each.kind != PRIVATE_KEY:
            why = f"it holds an AWS access key and its secret {_at(each.offset, each.path)}"
            yield each.path, why, "make that key inactive now (IAM), remove it, and give instances a role"


def deleted_secret(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """No private key or AWS key lies where a removed file was: whoever has the image can read that too."""
    for each in facts.secrets:
        if not each.path:
            what = "a private key" if each.kind == PRIVATE_KEY else "an AWS access key and its secret"
            yield (
                "/",
                f"byte {each.offset} of the image begins {what} that no file has any more",
                "build the image again from its tree, or overwrite what is free: zerofree IMAGE",
            )


def authorized_keys(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """Nobody's key lets them in whom the recipe does not name."""
    known = {(each.user, _key(line)) for each in spec.authorized_keys or () for line in each.keys}
    for path, who in _key_files(facts):
        for line in (facts.text(path) or "").splitlines():
            key = _key(line)
            if key and not any((user, key) in known for user in who):
                owner = line.split(key, 1)[1].strip() or key[-12:]
                yield path, f"the key of {owner} is not in the recipe", f"{_REMOVE}, or name it in the recipe"


def password_hash(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """No account has a password, not even one that is locked: it would be the same in all instances."""
    for path in _PASSWORDS:
        for line in (facts.text(path) or "").splitlines():
            name, colon, rest = line.partition(":")
            secret = rest.partition(":")[0]
            if not colon:
                continue
            if name == "root" and path in _ACCOUNTS and not secret.startswith(("!", "*")):
                continue  # root-password says it
            if not secret and name and path in _ACCOUNTS:
                yield path, f"{name} logs in without a password", f"passwd --lock {name}"
            elif _HASH.match(secret):
                yield path, f"{name} has a password, the same in all instances", f"passwd --delete --lock {name}"


def machine_state(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """Nothing that one machine has for itself: ids, secrets, leases of addresses."""
    for path, why in _STATE.items():
        found = facts.tree.entries.get(path)
        if found is not None and found.regular and found.size:
            yield path, why, _REMOVE
    for path, each in facts.tree.below("/var/lib"):
        if each.size and _LEASES.fullmatch(path):
            yield path, "it is the lease of an address of the machine that built the image", _REMOVE


def shell_history(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """No shell, client or editor remembers what was typed."""
    for path, each in facts.tree.files():
        if each.size and _HISTORY.fullmatch(path.rpartition("/")[2]):
            yield path, "it is the history of whoever worked in the image", _REMOVE


def credentials(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """No file in which programs keep passwords and tokens."""
    for path, each in facts.tree.files():
        if each.size and _CREDENTIALS.fullmatch(path):
            yield path, "it is where passwords or tokens are kept", f"{_REMOVE}, and fetch such things at boot"


def cloud_init(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """cloud-init has not run: it would take a new instance for the one that it ran in."""
    found = [path for path, each in facts.tree.entries.items() if _CLOUD_INIT.fullmatch(path)]
    held = [path for path in found if not stat.S_ISDIR(facts.tree.entries[path].mode)]
    if held:
        yield held[0], f"cloud-init has run in the image ({len(held)} such files)", "cloud-init clean --logs --seed"


def privileged(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """No file is set-user-id or set-group-id that is not so from its package."""
    if not facts.packages.kind:
        return
    for path, each in facts.tree.files():
        bits = each.mode & (stat.S_ISUID | stat.S_ISGID)
        if not bits:
            continue
        owned = facts.packages.owned.get(path)
        mode = f"its mode is {stat.S_IMODE(each.mode):04o}, and"
        if owned is None:
            yield path, f"{mode} no package owns it", f"chmod ug-s {path}, or remove it"
        elif owned.mode is not None and bits & ~owned.mode:
            yield path, f"{mode} its package has it with {stat.S_IMODE(owned.mode):04o}", f"chmod ug-s {path}"


def capability(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """No file gets capabilities that it does not have from its package."""
    if not facts.packages.kind:
        return
    for path, each in facts.tree.files():
        owned = facts.packages.owned.get(path)
        if each.capability and owned is None:
            yield path, "it has capabilities, and no package owns it", f"setcap -r {path}, or remove it"
        elif each.capability and owned is not None and owned.capability is False:
            yield path, "it has capabilities that its package does not give it", f"setcap -r {path}"


def world_writable(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """Nobody can change a file, or remove one from a directory, that is not theirs."""
    for path, each in facts.tree.entries.items():
        if not each.mode & stat.S_IWOTH:
            continue
        if each.regular:
            yield path, "everybody can write it", f"chmod o-w {path}"
        elif stat.S_ISDIR(each.mode) and not each.mode & stat.S_ISVTX:
            yield path, "everybody can remove what others have in it", f"chmod o-w {path}, or chmod +t {path}"


def device_node(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """Devices are in /dev only, where the guest's kernel makes them."""
    for path, each in facts.tree.entries.items():
        if (stat.S_ISBLK(each.mode) or stat.S_ISCHR(each.mode)) and not path.startswith("/dev/"):
            yield path, "it is a device, outside /dev", _REMOVE


def unreadable(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """All that must be looked at can be."""
    for path in facts.tree.unnamed:
        yield path, "its name is not UTF-8, so nothing could be asked about it", "rename it"
    for path in (*_PASSWORDS, "/etc/fstab"):
        entry = facts.tree.entries.get(facts.tree.resolve(path))
        read = facts.find(path)
        if entry is not None and entry.size and (read is None or not read.data):
            yield path, f"it is not read: {entry.size} bytes are no such file", "make it what its name says"


def log(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """Logs are empty: they tell of the machine that built the image, and fill it."""
    for path, each in facts.tree.below("/var/log"):
        if each.size:
            yield (
                path,
                f"it is a log of {each.size} bytes, of the machine that built the image",
                f"truncate -s 0 {path}",
            )


def package_cache(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """What a package manager can fetch again is not in the image."""
    for directory, wanted in _CACHES.items():
        sizes = [each.size for path, each in facts.tree.below(directory) if re.fullmatch(wanted, path) and each.size]
        if sizes:
            why = f"{len(sizes)} files of a package manager's, {sum(sizes) // 1024} KiB"
            yield directory, why, "clean it in the script that filled it: dnf clean all, apt-get clean"


def package_database(spec: VerifySpec, facts: Facts) -> Iterator[Wrong]:
    """rpm or dpkg says whose the files are; without it nobody knows which may be set-user-id."""
    if facts.tree.entries and not facts.packages.kind:
        yield (
            "/var/lib",
            "there is no package database that this machine's rpm or dpkg reads: set-user-id files are not judged",
            "look at them yourself: find / -xdev -perm /6000",
        )


RULES = {
    "private-key": private_key,
    "aws-key": aws_key,
    "deleted-secret": deleted_secret,
    "authorized-keys": authorized_keys,
    "password-hash": password_hash,
    "machine-state": machine_state,
    "shell-history": shell_history,
    "credentials": credentials,
    "cloud-init": cloud_init,
    "setuid": privileged,
    "capability": capability,
    "world-writable": world_writable,
    "device-node": device_node,
    "unreadable": unreadable,
}
WARNINGS = {
    "log": log,
    "package-cache": package_cache,
    "package-database": package_database,
}


def _at(offset: int, path: str) -> str:
    return f"(byte {offset} of the image)" if path == "/" else "of it"


def _key_files(facts: Facts) -> Iterator[tuple[str, frozenset[str]]]:
    """Files of authorised keys, and the users who log in by them."""
    homes: dict[str, set[str]] = {}
    for line in (facts.text("/etc/passwd") or "").splitlines():
        fields = line.split(":")
        if len(fields) == 7:
            homes.setdefault(fields[5].rstrip("/"), set()).add(fields[0])
    for path in sorted(facts.files):
        if path.rpartition("/")[2] in ("authorized_keys", "authorized_keys2"):
            yield path, frozenset(homes.get(path.rpartition("/.ssh/")[0], ()))


def _key(line: str) -> str:
    """The key of a line of an authorized_keys file, without its options and comment (sshd(8)); "" for a comment."""
    found = re.search(r"(?:^|\s)(AAAA[A-Za-z0-9+/]{8,}={0,2})(?:\s|$)", line)
    return found[1] if found and not line.lstrip().startswith("#") else ""
