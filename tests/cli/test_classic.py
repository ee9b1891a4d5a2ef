"""What the classic commands say of themselves, word for word, and of lines that are wrong."""

import tomllib
from pathlib import Path

import pytest

from tests.support.classic import Shell
from tests.support.desk import Done
from tests.support.golden import hold
from tests.support.plans import ROOT

HERE = Path(__file__).parent / "transcripts/classic"
COMMANDS = [
    "ec2-add-group", "ec2-add-keypair", "ec2-ami-tools-version", "ec2-authorize", "ec2-bundle-image", "ec2-bundle-vol",
    "ec2-delete-bundle", "ec2-delete-group", "ec2-delete-keypair", "ec2-deregister", "ec2-describe-group",
    "ec2-describe-images", "ec2-describe-instances", "ec2-describe-keypairs", "ec2-download-bundle",
    "ec2-get-console-output", "ec2-import-keypair", "ec2-migrate-manifest", "ec2-reboot-instances", "ec2-register",
    "ec2-revoke", "ec2-run-instances", "ec2-terminate-instances", "ec2-unbundle", "ec2-upload-bundle",
]  # fmt: skip
WRONG = [
    ["ec2-bundle-image"],
    ["ec2-bundle-image", "--imgae", "disk.img"],
    ["ec2-bundle-image", "-i", "disk.img", "-u", "1234"],
    ["ec2-bundle-image", "-i", "disk.img", "-r", "arm64"],
    ["ec2-bundle-image", "-i", "disk.img", "-B", "sda1"],
    ["ec2-bundle-image", "-i", "nothere.img", "-d", "home", "--region", "us-east-1", "-u", "123456789012"],
    ["ec2-upload-bundle", "-b", "bucket"],
    ["ec2-upload-bundle", "-b", "bucket", "-m", "nothere.manifest.xml", "--sigv", "2", "--retry"],
    ["ec2-upload-bundle", "-b", "/prefix", "-m", "nothere.manifest.xml"],
    ["ec2-download-bundle", "-b", "bucket", "-d", "nothere"],
    ["ec2-unbundle", "-m", "nothere.manifest.xml", "-k", "nothere.pem"],
    ["ec2-delete-bundle", "-b", "bucket"],
    ["ec2-delete-bundle", "-b", "bucket", "-p", "disk.img", "-a", "KEY"],
    ["ec2-register"],
    ["ec2-register", "disk.img.manifest.xml"],
    ["ec2-register", "bucket/disk.img.manifest.xml", "-b", "sdb"],
    ["ec2-register", "bucket/disk.img.manifest.xml", "--region", "mars"],
    ["ec2-describe-images", "-F", "state"],
    ["ec2-add-keypair"],
    ["ec2-add-keypair", "gsg", "-f", "disk.img"],
    ["ec2-import-keypair", "gsg", "-f", "nothere.pub"],
    ["ec2-authorize", "default"],
    ["ec2-authorize", "default", "-p", "22", "-t", "8:0"],
    ["ec2-revoke", "default", "-p", "99999"],
    ["ec2-add-group", "websrv"],
    ["ec2-run-instances", "-k", "gsg"],
    ["ec2-run-instances", "ami-1", "-d", "x", "-f", "disk.img"],
    ["ec2-terminate-instances"],
]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "home").mkdir()
    (tmp_path / "disk.img").write_bytes(b"an image")
    return Shell(path=tmp_path, state=tmp_path / "state")


def told(shell: Shell, done: Done, *words: str) -> str:
    shown = "".join(f"1| {line}\n" for line in done.stdout.splitlines())
    shown += "".join(f"2| {line}\n" for line in done.stderr.splitlines())
    text = f"$ {' '.join(words)}\n{shown}exit {done.code}\n".replace(str(shell.path), "<here>")
    return "".join(line.rstrip() + "\n" for line in text.splitlines())


def test_every_entry_point_has_its_manual_here() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert sorted(each for each in scripts if each.startswith("ec2-")) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_help_and_manual(command: str, shell: Shell, rewrite_golden: bool) -> None:
    text = "".join(told(shell, shell.run(command, word), command, word) for word in ("--help", "--manual", "--version"))
    hold(f"{command}.txt", text, rewrite=rewrite_golden, base=HERE)


def test_what_a_user_gets_wrong(shell: Shell, rewrite_golden: bool) -> None:
    text = "".join(told(shell, shell.run(*words), *words) for words in WRONG)
    hold("wrong.txt", text, rewrite=rewrite_golden, base=HERE)


def test_nothing_is_made_for_a_line_that_is_wrong(shell: Shell) -> None:
    """No keys, no region, no file: whatever is wrong is found before."""
    for words in (WRONG[0], WRONG[4], WRONG[10], WRONG[12], WRONG[14]):
        shell.run(*words)
    assert {path.name for path in shell.path.iterdir()} == {"home", "disk.img"}


def test_a_reader_that_goes_away_is_no_error(shell: Shell) -> None:
    done = shell.script('set +e; ec2-register --manual | head -c 5; echo " ${PIPESTATUS[0]}"')
    assert (done.stdout, done.stderr) == ("usage 0\n", "")


def test_streams_that_are_closed(shell: Shell) -> None:
    """As under some service managers: nobody is asked, nothing is said, and the work is done."""
    bundle = "ec2-bundle-image -i disk.img -d . -u 123456789012 --ec2cert $EC2_CERT"
    shell.script("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=t -keyout key.pem -out cert.pem 2>&1")
    pair = "export EC2_CERT=cert.pem EC2_PRIVATE_KEY=key.pem; "
    for number, closed in enumerate(("<&-", ">&-", "2>&-", "<&- >&- 2>&-")):
        done = shell.script(f"{pair}{bundle} -p disk{number} --region us-east-1 {closed}")
        assert (done.code, "bug of ours" in done.stderr) == (0, False), done.stderr
        assert (shell.path / f"disk{number}.manifest.xml").is_file()
    done = shell.script(f"{pair}{bundle} -i - -p none --image-size 5 --region us-east-1 <&-")
    assert (done.code, "the image ended after 0 bytes" in done.stderr) == (1, True), done.stderr
