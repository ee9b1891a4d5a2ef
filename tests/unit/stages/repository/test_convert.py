"""What an RPM says that stands for a Debian package."""

from dataclasses import replace

from builder.formats.deb import Control, Relation, Version
from builder.stages.repository.convert import describe
from builder.stages.repository.definition import load_definition
from builder.stages.repository.rpmspec import Rpm
from builder.stages.repository.tree import Entry, Kind

CONTROL = Control(
    name="tool",
    version=Version(epoch=0, upstream="1", revision="2"),
    architecture="amd64",
    summary="a tool",
    depends=((Relation(name="awk"), Relation(name="mawk")),),
    pre_depends=((Relation(name="libc6", operator=">=", version="2.34"),),),
    provides=(Relation(name="virtual"), Relation(name="old-name", operator="=", version="1-2")),
    conflicts=(
        Relation(name="tool"),
        Relation(name="rival"),
        Relation(name="neighbour", operator="<<", version="3~"),
        Relation(name="virtual-only", operator="<<", version="3~"),
    ),
)
ENTRIES = (
    Entry(path="/usr/bin/tool", kind=Kind.FILE, moved_from="/bin/tool"),
    Entry(path="/usr/lib/tool.so", kind=Kind.FILE, moved_from="/lib/tool.so"),
    Entry(path="/usr/sbin/x/y", kind=Kind.FILE, moved_from="/sbin/x/y"),
)


def described(control: Control) -> Rpm:
    return describe(control, ENTRIES, 1_600_000_000, definition=load_definition(), neighbours=frozenset({"neighbour"}))


def test_describe() -> None:
    assert described(CONTROL) == Rpm(
        name="tool",
        version=CONTROL.version,
        architecture="x86_64",
        summary="a tool",
        epoch_seconds=1_600_000_000,
        requires_pre=("quickstart-base", "libc6 >= 0:2.34-0"),
        requires=("(awk or mawk)",),
        provides=("virtual", "old-name = 0:1-2", "/bin/tool"),
        # A versioned conflict with a name that is only provided would be met by any provider: it is left out.
        conflicts=("rival", "neighbour < 0:3~-0"),
        entries=ENTRIES,
    )


def test_scriptlets_go_to_their_package() -> None:
    certificates = described(replace(CONTROL, name="ca-certificates"))
    assert [each.on for each in certificates.scriptlets] == [("/usr/share/ca-certificates",)]
