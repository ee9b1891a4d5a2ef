"""Every rule of hygiene, by an image that keeps all of them and one fault at a time."""

import dataclasses
import stat
from typing import Any

import pytest

from builder.stages.verify import rules
from builder.stages.verify.facts import Facts, File, Secret
from builder.stages.verify.packages import Owned, Packages
from builder.stages.verify.run import refusal
from builder.stages.verify.spec import FINDINGS, AccountKeys, VerifySpec, Waiver
from builder.stages.verify.table import table
from builder.stages.verify.tree import Entry, Tree
from builder.stages.verify.waivers import waived
from tests.unit.stages.verify import test_disk_rules, test_rules
from tests.unit.stages.verify.test_rules import FILES, link, regular

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIG1lIG1lIG1lIG1lIG1lIG1lIG1lIG1lIG1lIG1l"
SPEC = dataclasses.replace(
    test_rules.SPEC, authorized_keys=(AccountKeys(user="root", keys=(f"ssh-ed25519 {KEY} me",)),)
)
ENTRIES = {
    "/usr/bin/su": Entry(mode=stat.S_IFREG | 0o4755, size=9),
    "/usr/bin/ping": Entry(mode=stat.S_IFREG | 0o755, size=9, capability=True),
    "/usr/local/lib": Entry(mode=stat.S_IFDIR | 0o2775),
    "/tmp": Entry(mode=stat.S_IFDIR | 0o1777),
    "/dev/null": Entry(mode=stat.S_IFCHR | 0o666),
    "/var/log/wtmp": Entry(mode=stat.S_IFREG | 0o664),
    "/usr/bin/sh": Entry(mode=stat.S_IFLNK | 0o777, size=4),
    "/var/lib/cloud": Entry(mode=stat.S_IFDIR | 0o755),
    "/var/lib/cloud/instances": Entry(mode=stat.S_IFDIR | 0o755),
    "/root/.bash_history": Entry(mode=stat.S_IFREG | 0o600),
    "/usr/share/doc/bash_history": Entry(mode=stat.S_IFREG | 0o644, size=5),
}
RPM = Packages(
    kind="rpm",
    owned={"/usr/bin/su": Owned(mode=0o104755), "/usr/bin/ping": Owned(mode=0o100755, capability=True)},
)
GOOD = dataclasses.replace(test_rules.GOOD, tree=Tree(entries=ENTRIES), packages=RPM)


def found(facts: Facts, of: VerifySpec = SPEC) -> list[tuple[str, str]]:
    return [(each.id, each.path) for each in rules.judge(of, facts)]


def with_entry(path: str, mode: int = 0o644, kind: int = stat.S_IFREG, **other: Any) -> Facts:
    entry = Entry(mode=kind | mode, **{"size": 9, **other})
    return dataclasses.replace(GOOD, tree=Tree(entries={**ENTRIES, path: entry}))


def with_file(path: str, file: File | str) -> Facts:
    return dataclasses.replace(GOOD, files={**FILES, path: regular(file) if isinstance(file, str) else file})


def secret(kind: str, path: str) -> Facts:
    return dataclasses.replace(GOOD, secrets=(Secret(kind=kind, path=path, offset=4096),))


def test_a_good_tree_keeps_all_rules() -> None:
    assert rules.judge(SPEC, GOOD) == ()
    owner_known_only = dataclasses.replace(GOOD, packages=Packages(kind="dpkg", owned={p: Owned() for p in RPM.owned}))
    assert rules.judge(SPEC, owner_known_only) == ()


SHADOW = "root:*:19000::::::\n"


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param(secret("private-key", "/srv/key.pem"), ("private-key", "/srv/key.pem"), id="private-key"),
        pytest.param(secret("aws-key", "/srv/job.sh"), ("aws-key", "/srv/job.sh"), id="aws-key"),
        pytest.param(secret("private-key", ""), ("deleted-secret", "/"), id="deleted-key"),
        pytest.param(secret("aws-key", ""), ("deleted-secret", "/"), id="deleted-aws-key"),
        pytest.param(
            with_file("/root/.ssh/authorized_keys", f"ssh-ed25519 {KEY.replace('1', '2')} eve"),
            ("authorized-keys", "/root/.ssh/authorized_keys"),
            id="another-key",
        ),
        pytest.param(
            with_file("/root/.ssh/authorized_keys2", f'command="x" ssh-ed25519 {KEY.replace("1", "2")}'),
            ("authorized-keys", "/root/.ssh/authorized_keys2"),
            id="a-key-with-options",
        ),
        pytest.param(
            with_file("/home/ann/.ssh/authorized_keys", regular(f"ssh-ed25519 {KEY}", 0o600)),
            ("authorized-keys", "/home/ann/.ssh/authorized_keys"),
            id="the-key-of-another-user",
        ),
        pytest.param(
            with_file("/etc/shadow", f"{SHADOW}ann:$y$j9T$x:1::::::\n"), ("password-hash", "/etc/shadow"), id="hash"
        ),
        pytest.param(
            with_file("/etc/shadow", f"{SHADOW}ann:!$6$x$y:1::::::\n"),
            ("password-hash", "/etc/shadow"),
            id="locked-hash",
        ),
        pytest.param(
            with_file("/etc/shadow", f"{SHADOW}ann::1::::::\n"), ("password-hash", "/etc/shadow"), id="no-password"
        ),
        pytest.param(with_file("/etc/shadow-", "root:$6$x$y:1:\n"), ("password-hash", "/etc/shadow-"), id="backup"),
        pytest.param(
            with_entry("/var/lib/dbus/machine-id"), ("machine-state", "/var/lib/dbus/machine-id"), id="machine-id"
        ),
        pytest.param(
            with_entry("/var/lib/dhcp/dhclient.leases"),
            ("machine-state", "/var/lib/dhcp/dhclient.leases"),
            id="lease",
        ),
        pytest.param(with_entry("/home/ann/.bash_history"), ("shell-history", "/home/ann/.bash_history"), id="history"),
        pytest.param(with_entry("/root/.viminfo"), ("shell-history", "/root/.viminfo"), id="editor"),
        pytest.param(with_entry("/root/.aws/credentials"), ("credentials", "/root/.aws/credentials"), id="credentials"),
        pytest.param(
            with_entry("/var/lib/cloud/instances/i-1/sem/config"),
            ("cloud-init", "/var/lib/cloud/instances/i-1/sem/config"),
            id="cloud-init",
        ),
        pytest.param(with_entry("/opt/x", 0o4755), ("setuid", "/opt/x"), id="setuid"),
        pytest.param(with_entry("/opt/x", 0o2755), ("setuid", "/opt/x"), id="setgid"),
        pytest.param(with_entry("/usr/bin/su", 0o6755), ("setuid", "/usr/bin/su"), id="more-than-its-package"),
        pytest.param(with_entry("/opt/x", 0o755, capability=True), ("capability", "/opt/x"), id="capability"),
        pytest.param(with_entry("/opt/x", 0o666), ("world-writable", "/opt/x"), id="world-writable"),
        pytest.param(with_entry("/opt", 0o777, stat.S_IFDIR), ("world-writable", "/opt"), id="not-sticky"),
        pytest.param(with_entry("/opt/mem", 0o600, stat.S_IFCHR), ("device-node", "/opt/mem"), id="device"),
        pytest.param(
            with_entry("/etc/shadow-", 0o600, size=2**40), ("unreadable", "/etc/shadow-"), id="too-large-to-read"
        ),
        pytest.param(with_entry("/var/log/dnf.log"), ("log", "/var/log/dnf.log"), id="log"),
        pytest.param(
            with_entry("/var/cache/apt/archives/a_1_all.deb"), ("package-cache", "/var/cache/apt/archives"), id="cache"
        ),
        pytest.param(
            dataclasses.replace(GOOD, packages=Packages()), ("package-database", "/var/lib"), id="no-database"
        ),
        pytest.param(
            dataclasses.replace(GOOD, tree=Tree(entries=ENTRIES, unnamed=("/opt/\\xff",))),
            ("unreadable", "/opt/\\xff"),
            id="a-name-that-is-no-text",
        ),
        pytest.param(
            with_file("/etc/dropbear/dropbear_rsa_host_key", "k"),
            ("host-keys", "/etc/dropbear/dropbear_rsa_host_key"),
            id="dropbear",
        ),
    ],
)
def test_one_fault_at_a_time(facts: Facts, expected: tuple[str, str]) -> None:
    assert found(facts) == [expected]


def test_keys_of_the_recipe() -> None:
    """With another comment, and behind a link to the home."""
    assert found(with_file("/root/.ssh/authorized_keys", f"# mine\nssh-ed25519 {KEY} elsewhere\n")) == []
    without_recipe = dataclasses.replace(SPEC, authorized_keys=None)
    [finding] = rules.judge(without_recipe, with_file("/root/.ssh/authorized_keys", f"ssh-ed25519 {KEY} me"))
    assert (finding.id, finding.severity, finding.why) == (
        "authorized-keys", "warning", "the key of me is not in the recipe"
    )  # fmt: skip


def test_names_are_fit_for_a_terminal() -> None:
    [finding] = rules.judge(SPEC, with_entry("/opt/a\n\x1b[2Jb", 0o666))
    assert (finding.path, finding.remedy) == ("/opt/a??[2Jb", "chmod o-w /opt/a??[2Jb")


def test_no_rule_tells_for_ever() -> None:
    many = {f"/opt/{number:06}": Entry(mode=stat.S_IFREG | 0o666) for number in range(5000)}
    findings = rules.judge(SPEC, dataclasses.replace(GOOD, tree=Tree(entries=many)))
    assert len(findings) == 1001
    assert (findings[-1].path, findings[-1].why) == ("/", "there are more than 1000")
    assert refusal(list(findings)).detail.splitlines()[-1] == "and 901 more"


def test_a_million_accounts_are_read_in_time() -> None:
    passwd = "".join(f"u{number}:x:{number}:1::/h/{number}:/bin/sh\n" for number in range(20_000))
    assert found(with_file("/etc/passwd", passwd)) == []
    assert found(with_file("/etc/passwd", "root:x:0:0" + ":a" * 1_000_000)) == []
    assert found(with_file("/etc/passwd", "#" * 1_000_000)) == []


def test_waivers() -> None:
    facts = dataclasses.replace(
        GOOD,
        tree=Tree(entries={**ENTRIES, **{p: Entry(mode=stat.S_IFREG | 0o4755) for p in ("/opt/a/x", "/srv/x")}}),
    )
    waivers = (
        Waiver(id="setuid", path="/opt/*", reason="the vendor wants it"),
        Waiver(id="private-key", path="*", reason="of the tests"),
    )
    told = waived(rules.judge(SPEC, facts), waivers)
    assert [(each.id, each.path, each.severity, each.waived) for each in told] == [
        ("setuid", "/opt/a/x", "error", "the vendor wants it"),
        ("setuid", "/srv/x", "error", ""),
        ("unused-waiver", "*", "warning", ""),
    ]


def test_the_list_of_ids_is_whole() -> None:
    """The recipe's words, and docs/verify.md."""
    told = [*rules.rules_for(test_disk_rules.SPEC), *rules.rules_for(SPEC), *rules.WARNINGS]
    assert sorted(FINDINGS) == sorted(set(told))
    page = (test_rules.ROOT / "docs/verify.md").read_text()
    assert table() in page, "run: python -m builder.stages.verify.table"


def test_links_are_no_files() -> None:
    assert found(dataclasses.replace(GOOD, files={**FILES, "/etc/x": link("/etc/x")})) == []
