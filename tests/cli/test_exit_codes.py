"""Each error has its exit code, and every command prints one JSON document when asked to."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from cli.conftest import call, done
from conftest import NOCALL, clean_environment, copy_of, fresh_number, run_nocall
from nocall import errors
from nocall.api.envelope import STATUS, status_of
from nocall.cli import main
from nocall.cli.running import EXIT, exit_code
from nocall.errors import NocallError

ONLY_OVER_HTTP = {
    errors.NotAuthenticated,
    errors.IdempotencyMismatch,
    errors.MethodNotAllowed,
    errors.BodyTooLarge,
    errors.RateExceeded,
}
"""What no command can run into; an exit code of its own would say nothing."""


def tree(kind: type[NocallError] = NocallError) -> Iterator[type[NocallError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from tree(child)


def bare(kind: type[NocallError]) -> NocallError:
    """An instance without its values: both tables go by the class alone."""
    return kind.__new__(kind)


@pytest.mark.parametrize("kind", list(tree()), ids=lambda kind: kind.__name__)
def test_both_tables_cover_the_whole_tree(kind):
    """Nothing but the root, which is what nobody foresaw, gets the root's status or exit code."""
    assert (status_of(bare(kind)) == 500) == (kind in (NocallError, errors.LedgerBroken))
    assert (exit_code(bare(kind)) == 1) == (kind is NocallError or kind in ONLY_OVER_HTTP)


def test_the_tables_hold_no_class_in_vain():
    for table in (STATUS, EXIT):
        for kind, code in table.items():
            above = [table[parent] for parent in kind.__mro__[1:] if parent in table]
            assert kind is NocallError or code != above[0] or code == 500, kind


def test_codes_are_stable_words_and_each_class_has_its_own():
    codes = [kind.code for kind in tree()]
    assert len(set(codes)) == len(codes)
    assert all(code.isascii() and code.replace("_", "").islower() for code in codes)


def commands(group: click.Group = main, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*above, name))
        else:
            yield (*above, name)


def option_of_org(command: tuple[str, ...], org_id: str) -> list[str]:
    found: click.Command = main
    for name in command:
        found = found.commands[name]
    takes_org = any(parameter.name == "org_id" for parameter in found.params)
    return ["--org", org_id] if takes_org else []


def made(data: Path, org_id: str, *command: str) -> list[str]:
    """The id of something to end."""
    result = done(*command, "--json", "--org", org_id, data=data)
    return [json.loads(result.stdout)["id"]]


RUN_FOR_EVER = {("serve",), ("worker",)}
"""Started by test_start.py and test_operate.py, which read their one document."""

SAMPLES: dict[tuple[str, ...], Callable[[Path, str, Path], list[str]]] = {
    ("backup",): lambda _data, _org, folder: [str(folder / "backup")],
    ("org", "create"): lambda *_: ["Another", "--admin-email", "a@b.example"],
    ("org", "set"): lambda *_: ["--region", "GB"],
    ("org", "export"): lambda _data, _org, folder: [str(folder / "export")],
    ("token", "create"): lambda *_: ["--scope", "dnc:read"],
    ("token", "revoke"): lambda data, org_id, _: made(
        data, org_id, "token", "create", "--scope", "admin"
    ),
    ("dnc", "add"): lambda *_: [fresh_number()],
    ("dnc", "check"): lambda *_: [fresh_number()],
    ("dnc", "delete"): lambda data, org_id, _: made(data, org_id, "dnc", "add", fresh_number()),
    ("dnc", "forget-evidence"): lambda *_: ["--days", "1"],
    ("ledger", "export"): lambda _data, _org, folder: [str(folder / "ledger")],
}
"""Arguments with which a command succeeds; the others succeed without."""

ENDING = {("restore",), ("org", "purge")}
"""Shown last, since afterwards the organization is gone or another folder is needed."""


@pytest.mark.parametrize("command", sorted(set(commands()) - RUN_FOR_EVER - ENDING), ids=" ".join)
def test_json_is_one_document(data, org_id, tmp_path, command):
    """Nothing beside it on stdout, and nothing on stderr; without --json it is text."""
    for flag in ("--json", None):
        arguments = SAMPLES.get(command, lambda *_: [])(data, org_id, tmp_path)
        arguments += [*option_of_org(command, org_id), *([flag] if flag else [])]
        result = call(*command, *arguments, data=data)
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        if flag:
            assert isinstance(json.loads(result.stdout), dict | list)
            assert result.stdout.count("\n") == 1
        else:
            with pytest.raises(json.JSONDecodeError):
                json.loads(result.stdout)


def test_json_is_one_document_at_the_end_too(pristine, place, tmp_path):
    data = copy_of(pristine, place / "ending")
    done("org", "create", "Only", "--admin-email", "a@b.example", data=data)
    done("backup", str(tmp_path / "backup"), data=data)
    done("org", "export", str(tmp_path / "export"), data=data)
    assert json.loads(done("org", "purge", "--yes", "--json", data=data).stdout)["ledger"]
    restored = done("restore", str(tmp_path / "backup"), "--json", data=place / "ending-restored")
    assert len(json.loads(restored.stdout)["organizations"]) == 1


def test_a_pipe_that_closes_early_is_no_traceback(data, org_id):
    with subprocess.Popen(
        [NOCALL, "ledger", "export", "-", "--org", org_id],
        env=clean_environment(NOCALL_DATA=str(data)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        running.stdout.close()
        assert "Traceback" not in running.stderr.read()


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("dnc",), 2, "dnc [OPTIONS] COMMAND"),
        (("nothing",), 2, "No such command 'nothing'"),
        (("dnc", "add"), 2, "Missing argument 'NUMBER'"),
        (("dnc", "add", "7"), 4, "phoneNumber"),
        (("dnc", "delete", "0" * 24), 5, "0" * 24),
        (("org", "purge", "--yes"), 6, "export the organization first"),
        (("ledger", "verify", "--expect-head", "999:" + "0" * 64), 8, "is missing"),
    ],
)
def test_exit_codes(data, org_id, arguments, code, word):
    """As the help of nocall has them; 3 is in test_start.py, 10 and 11 in test_dnc.py."""
    of_org = ("--org", org_id) if len(arguments) > 1 else ()
    result = call(*arguments, *of_org, data=data)
    assert (result.exit_code, result.stdout) == (code, "")
    assert word in result.stderr
    assert str(code) in main.help


def test_no_database_is_7(tmp_path):
    """One sentence, from a process of its own as in a script."""
    url = "postgresql://app:x@127.0.0.1:1/nocall"
    done = run_nocall("org", "list", data=tmp_path, check=False, NOCALL_DATABASE_URL=url)
    assert (done.returncode, done.stdout) == (7, "")
    assert done.stderr.startswith("nocall: cannot reach the database: ")
    assert done.stderr.count("\n") == 1


def test_help_and_version():
    for arguments in (("--help",), ("-h",), ("--version",), ("dnc", "add", "--help")):
        result = call(*arguments, data=Path("/nowhere"))
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout
