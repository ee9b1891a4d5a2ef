import pytest

from builder.catalog.renderers import readers, renderer
from builder.errors import RecipeError

QUICKSTART = [("systemd", "252.39"), ("libpam-systemd", "252.39"), ("init-system-helpers", "1.65")]
FEDORA = [("systemd", "258"), ("NetworkManager", "1:1.54.0")]
FEDORA_35 = [("systemd", "249"), ("NetworkManager", "1:1.32.12")]
CENTOS_6 = [("initscripts", "9.03.61")]


@pytest.mark.parametrize(
    ("packages", "found"),
    [
        pytest.param(QUICKSTART, ("networkd",), id="quickstart"),
        pytest.param(FEDORA, ("networkmanager",), id="fedora"),
        pytest.param(FEDORA_35, ("networkmanager", "ifcfg"), id="fedora-35"),
        pytest.param([*FEDORA, ("systemd-networkd", "258")], ("networkmanager", "networkd"), id="fedora-networkd"),
        pytest.param(
            [("NetworkManager", "1.40.16"), ("NetworkManager-initscripts-ifcfg-rh", "1.40.16")],
            ("networkmanager", "ifcfg"),
            id="fedora-37-with-the-plugin",
        ),
        pytest.param(CENTOS_6, ("ifcfg",), id="centos-6"),
        pytest.param([("initscripts", "10.20")], (), id="initscripts-without-scripts"),
        pytest.param([("network-scripts", "10.00.18"), ("initscripts", "10.00.18")], ("ifcfg",), id="rhel-8"),
        pytest.param([("systemd", "258")], (), id="fedora-without"),
        pytest.param([("NetworkManager", "git")], ("networkmanager", "ifcfg"), id="no-number"),
    ],
)
def test_readers(packages: list[tuple[str, str]], found: tuple[str, ...]) -> None:
    assert readers(packages) == found


def test_renderer() -> None:
    assert renderer(QUICKSTART, "auto") == "networkd"
    assert renderer(FEDORA, "auto") == renderer(FEDORA, "networkmanager") == "networkmanager"
    assert renderer(FEDORA_35, "ifcfg") == "ifcfg"
    assert renderer(CENTOS_6, "auto") == "ifcfg"


def test_nobody_reads_it() -> None:
    with pytest.raises(RecipeError) as caught:
        renderer(FEDORA, "ifcfg")
    assert caught.value.brief == 'network.renderer: nothing among the packages reads "ifcfg" (they read networkmanager)'
    assert caught.value.hint == (
        "add network-scripts or NetworkManager-initscripts-ifcfg-rh, where the release still has them to "
        'distribution.packages, or write "auto"'
    )
    with pytest.raises(RecipeError, match="none of the packages configures a network"):
        renderer([("bash", "5")], "auto")
