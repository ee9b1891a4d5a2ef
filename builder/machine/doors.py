"""Who gets into a guest by SSH, and who does not."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from builder.machine import ssh
from builder.machine.checks import Check


def look(login: ssh.Login, injected: Sequence[str], scratch: Path) -> Iterator[Check]:
    """The keys of the image are let in; another key and a password are not."""
    for number, public in enumerate(injected):
        name = public.split()[2] if len(public.split()) > 2 else str(number)
        holds = ssh.accepts(login, public, scratch)
        yield Check(id=f"key {name}", holds=holds, says="let in" if holds else "the image does not let it in")
    wrong = scratch / "wrong-key"
    if not wrong.exists():
        ssh.make_key(wrong)
    code, _, _ = ssh.run(login, wrong, "true")
    refused = code == 255
    yield Check(id="wrong-key", holds=refused, says="another key is refused" if refused else "any key logs in")
    offered = ssh.methods(login)
    asks = {"password", "keyboard-interactive"} & set(offered)
    yield Check(
        id="password",
        holds=bool(offered) and not asks,
        says="not offered"
        if offered and not asks
        else f"the server offers {', '.join(offered) or 'nothing that could be read'}",
    )
