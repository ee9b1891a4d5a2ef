"""What of a volume goes into its image."""

import pytest

from builder.bundles.volume_rules import OF_THIS_MACHINE, Rules, Verdict, is_sensitive, paths
from builder.errors import RecipeError


@pytest.mark.parametrize(
    "path",
    [
        "key.pem", "etc/pki/tls/cert.pem", "a\nb.pem", "root/.ssh/id_rsa", "root/.ssh/id_rsa.pub", "my-id_dsa-old",
        "home/u/.ssh/id_ed25519", "x/id_ecdsa", "root/.ssh/authorized_keys", ".ssh/authorized_keys", "x/.bash_history",
        ".bash_history", "etc/passwd~", "x/#saved#", "x/.#lock", ".x.swp", ".x.swo", ".x.sw", "ring.gpg", "store.jks",
        "k.priv", "\udcff.pem",
    ],
)  # fmt: skip
def test_sensitive_names(path: str) -> None:
    assert is_sensitive(path)
    assert Rules().verdict(path) is Verdict.SENSITIVE
    assert Rules(filtered=False).verdict(path) is Verdict.KEPT


@pytest.mark.parametrize(
    "path",
    ["etc/passwd", "authorized_keys", "x/authorized_keys", "a.ssh/authorized_keys", "my.bash_history", "#half", "pem",
     "x.pem/y", "x.pemx", "swo", "a.PEM"],
)  # fmt: skip
def test_other_names(path: str) -> None:
    assert not is_sensitive(path)
    assert Rules().verdict(path) is Verdict.KEPT


RULES = Rules(
    exclude=frozenset({"var/cache", "etc/secret", "sys"}),
    include=frozenset({"etc/pki/tls", "a/b.pem", "keys.gpg/public.pem"}),
    emptied=frozenset({"dev", "proc", "mnt", "out"}),
    own=frozenset({"root/my-key"}),
)


@pytest.mark.parametrize(
    ("path", "options", "verdict"),
    [
        ("var/cache", {"directory": True}, Verdict.EXCLUDED),
        ("etc/secret", {}, Verdict.EXCLUDED),
        ("root/my-key", {}, Verdict.OWN),
        (OF_THIS_MACHINE[0], {}, Verdict.OWN),
        ("proc", {"directory": True}, Verdict.EMPTIED),
        ("sys", {"directory": True}, Verdict.EMPTIED),  # though it is excluded
        ("proc", {}, Verdict.KEPT),  # a link or a file of that name
        ("srv/proc", {"directory": True}, Verdict.KEPT),
        ("run/sock", {"socket": True}, Verdict.SOCKET),
        ("etc/pki/tls/certs/ca.pem", {}, Verdict.KEPT),
        ("etc/pki/tlsx/ca.pem", {}, Verdict.SENSITIVE),
        ("a/b.pem", {}, Verdict.KEPT),
        ("a/c.pem", {}, Verdict.SENSITIVE),
        ("keys.gpg", {"directory": True}, Verdict.SENSITIVE),
        ("keys.gpg/public.pem", {"inside": True}, Verdict.KEPT),
        ("keys.gpg/other", {"inside": True}, Verdict.SENSITIVE),
    ],
)
def test_verdicts(path: str, options: dict[str, bool], verdict: Verdict) -> None:
    assert RULES.verdict(path, **options) is verdict


def test_directories_are_entered_for_what_is_included_below_them() -> None:
    assert [path for path in ("keys.gpg", "a", "etc/pki", "var", "a/b.pem") if RULES.enters(path)] == [
        "keys.gpg",
        "a",
        "etc/pki",
    ]


@pytest.mark.parametrize(
    ("words", "volume", "expected"),
    [
        (("/var/cache", "/tmp/"), "/", {"var/cache", "tmp"}),
        (("/var/cache",), "/srv/tree", {"var/cache"}),
        (("/srv/tree/var",), "/srv/tree", {"var"}),
        (("/srv/treehouse",), "/srv/tree", {"srv/treehouse"}),
        (("//a//b/./c", "", "/x"), "/", {"a/b/c", "x"}),
        ((), "/", set()),
    ],
)
def test_paths(words: tuple[str, ...], volume: str, expected: set[str]) -> None:
    assert paths(words, volume=volume, option="--exclude") == expected


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("var/cache", "is not an absolute path"),
        ("/../etc", "leads out of the volume"),
        ("/a/../../b", "leads out of the volume"),
        ("/", "is the whole volume"),
        ("/srv/tree", "is the whole volume"),
        ("/.", "is the whole volume"),
    ],
)
def test_paths_that_are_none(word: str, why: str) -> None:
    with pytest.raises(RecipeError, match=f"--exclude: .*{why}"):
        paths((word,), volume="/srv/tree", option="--exclude")
