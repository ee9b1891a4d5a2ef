"""What is said where a machine does not let one make a user namespace."""

from pathlib import Path

import pytest

from builder.host.namespace import namespace_remedy

KEEP = " (and a file in /etc/sysctl.d, to keep it)"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        pytest.param({"user/max_user_namespaces": "0"}, "user.max_user_namespaces=10000", id="none at all"),
        pytest.param({"kernel/unprivileged_userns_clone": "0"}, "kernel.unprivileged_userns_clone=1", id="Debian"),
        pytest.param(
            {"kernel/apparmor_restrict_unprivileged_userns": "1", "user/max_user_namespaces": "9"},
            "kernel.apparmor_restrict_unprivileged_userns=0",
            id="Ubuntu",
        ),
        pytest.param(
            {"user/max_user_namespaces": "0", "kernel/unprivileged_userns_clone": "0"},
            "user.max_user_namespaces=10000 kernel.unprivileged_userns_clone=1",
            id="two at once",
        ),
    ],
)
def test_the_setting_that_forbids_it(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    for name, value in settings.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{value}\n")
    assert namespace_remedy(tmp_path) == f"as root: sysctl -w {said}{KEEP}"


def test_no_setting(tmp_path: Path) -> None:
    assert namespace_remedy(tmp_path) == (
        "no setting of the kernel forbids it: a chroot never has any, and a container must be started with them"
    )
