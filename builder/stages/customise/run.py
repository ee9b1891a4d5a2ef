"""What the author adds to the tree: users, files, or one script of theirs in the sandbox."""

import hashlib
import os
import shutil
import stat
from pathlib import Path

from builder.errors import BuilderError, RecipeError
from builder.host import tree_files
from builder.host.layers import RootTree, commit_layer, root_tree
from builder.host.sandbox import Bind, run_in_tree
from builder.stages.contract import Result, StageContext
from builder.stages.customise.accounts import Accounts, add_own_group, add_user, group_ids, home_of, user_ids
from builder.stages.customise.spec import CustomiseSpec, File, Script, User

_ACCOUNT_FILES = {"passwd": 0o644, "group": 0o644, "shadow": 0o640, "gshadow": 0o640}
_SCRIPT = "/run/ami-factory/script"


def run(spec: CustomiseSpec, context: StageContext) -> Result:
    """First the users, then the files, then the script; what they changed is the layer."""
    with root_tree(context, writable=True) as tree:
        _add_users(spec, tree.path)
        _write_files(spec, context, tree.path)
        for link in spec.links:
            tree_files.symlink(tree.path, link.path, link.target)
        if spec.script:
            _run_script(spec.script, spec.source_epoch, context, tree)
    assert tree.upper is not None
    return commit_layer(context, tree.upper, spec.source_epoch)


def _add_users(spec: CustomiseSpec, tree: Path) -> None:
    if not (spec.users or spec.groups):
        return
    before = _read_accounts(tree)
    after = before
    for each in spec.groups:
        after = add_own_group(after, each)
    for user in spec.users:
        _check_programs(user, tree)
        after = add_user(after, user, spec.source_epoch)
    for name, mode in _ACCOUNT_FILES.items():
        text = getattr(after, name)
        if text is not None and text != getattr(before, name):
            _replace(tree, f"/etc/{name}", text.encode(errors="surrogateescape"), mode)
    groups = group_ids(after)
    for user in spec.users:
        _make_home(user, tree, user_ids(after)[user.name], groups[user.name])
        if user.sudo:
            rule = f"# Written by ami-factory, as the recipe says.\n{user.name} ALL=(ALL:ALL) NOPASSWD: ALL\n"
            tree_files.write(tree, f"/etc/sudoers.d/90-ami-factory-{user.name}", rule.encode(), mode=0o440)


def _read_accounts(tree: Path) -> Accounts:
    texts = {}
    for name in _ACCOUNT_FILES:
        data = tree_files.read(tree, f"/etc/{name}")
        texts[name] = None if data is None else data.decode(errors="surrogateescape")
    passwd, group = texts["passwd"], texts["group"]
    if passwd is None or group is None:
        raise BuilderError(
            "the tree has no /etc/passwd or no /etc/group, so no user can be added",
            hint="install the distribution's base package",
        )
    return Accounts(passwd=passwd, group=group, shadow=texts["shadow"], gshadow=texts["gshadow"])


def _check_programs(user: User, tree: Path) -> None:
    if not tree_files.follow(tree, user.shell).is_file():
        raise RecipeError(
            f"users.{user.name}.shell: {user.shell} is not in the image",
            hint="add its package to distribution.packages, or choose another shell",
        )
    if user.sudo and not tree_files.exists(tree, "/usr/bin/sudo"):
        raise RecipeError(
            f"users.{user.name}.sudo: sudo is not in the image", hint='add "sudo" to distribution.packages'
        )


def _replace(tree: Path, path: str, data: bytes, mode: int) -> None:
    """A new text for a file that keeps its owner and mode."""
    place = tree_files.follow(tree, path)
    status = place.stat() if place.exists() else None
    if status is None:
        tree_files.write(tree, path, data, mode=mode)
    else:
        tree_files.write(tree, path, data, mode=stat.S_IMODE(status.st_mode), uid=status.st_uid, gid=status.st_gid)


def _make_home(user: User, tree: Path, uid: int, gid: int) -> None:
    """The home directory with what /etc/skel holds. One that is there already is left as it is."""
    home = home_of(user)
    if tree_files.exists(tree, home):
        return
    place = tree_files.make_directory(tree, home, mode=0o700, uid=uid, gid=gid)
    skeleton = tree_files.follow(tree, "/etc/skel")
    if skeleton.is_dir():
        shutil.copytree(skeleton, place, symlinks=True, dirs_exist_ok=True)
        place.chmod(0o700)
        for directory, names, files in os.walk(place):
            for name in (*names, *files):
                os.chown(Path(directory, name), uid, gid, follow_symlinks=False)


def _write_files(spec: CustomiseSpec, context: StageContext, tree: Path) -> None:
    if not spec.files:
        return
    accounts = _read_accounts(tree) if any(_is_named(file) for file in spec.files) else None
    users = user_ids(accounts) if accounts else {"root": 0}
    groups = group_ids(accounts) if accounts else {"root": 0}
    for index, file in enumerate(spec.files):
        for kind, name, known in (("owner", file.owner, users), ("group", file.group, groups)):
            if name not in known:
                raise RecipeError(
                    f"files {file.destination}: {kind} {name} does not exist in the image",
                    hint="add it to users, or install the package that makes it",
                )
        tree_files.write(
            tree,
            file.destination,
            _bytes_of(file, context),
            mode=file.mode,
            uid=users[file.owner],
            gid=groups[file.group],
        )
        context.progress("files", index + 1, len(spec.files), "files")


def _is_named(file: File) -> bool:
    return (file.owner, file.group) != ("root", "root")


def _bytes_of(file: File, context: StageContext) -> bytes:
    if file.text is not None:
        return file.text.encode()
    source = Path(context.surroundings.sources[file.sha256])
    data = source.read_bytes()
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise BuilderError(f"{source} changed while the build ran", hint="run the same command again")
    return data


def _run_script(script: Script, source_epoch: int, context: StageContext, tree: RootTree) -> None:
    """Run it as root of the tree, /bin/sh -eu unless it names its own interpreter; nothing of it stays in the tree."""
    _check_interpreter(script, tree.path)
    place = context.scratch / "script"
    place.write_text(script.text)
    place.chmod(0o755)
    command = [_SCRIPT] if script.text.startswith("#!") else ["/bin/sh", "-eu", _SCRIPT]
    done = run_in_tree(
        tree.path,
        command,
        network=script.network,
        env={**dict(script.environment), "SOURCE_DATE_EPOCH": str(source_epoch)},
        binds=[Bind(source=place, destination=_SCRIPT)],
        check=False,
        what=f"script {script.name}",
        grows=tree.upper,
    )
    if done.returncode != 0:
        raise BuilderError(f"script {script.name} failed with exit code {done.returncode}")


def _check_interpreter(script: Script, tree: Path) -> None:
    """RecipeError when there is no such interpreter: the kernel would only say that the script is not there."""
    first = script.text.partition("\n")[0]
    words = first[2:].split() if first.startswith("#!") else []
    if words and not tree_files.exists(tree, words[0]):
        raise RecipeError(
            f"script {script.name}: {words[0]}, which its first line names, is not in the image",
            hint="add its package to distribution.packages, or name another interpreter",
        )
