"""What the service knows, its documentation knows: nothing is added without its words."""

import dataclasses
import re
import tomllib
from itertools import chain
from pathlib import Path

import click
import pytest

from nocall import errors
from nocall.api import document
from nocall.api.application import HANDLERS
from nocall.api.envelope import status_of
from nocall.cli.group import main
from nocall.cli.running import exit_code
from nocall.config import Settings
from nocall.model import Kind, Scope

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def _read(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def _error_classes(kind=errors.NocallError):
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from _error_classes(below)


def _commands(command=main, path=("nocall",)):
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from _commands(below, (*path, name))
    else:
        yield " ".join(path), command


@pytest.mark.parametrize("kind", list(Kind))
def test_every_ledger_kind_is_described(kind):
    assert f"`{kind.value}`" in _read("ledger.md")


@pytest.mark.parametrize("error", sorted(set(_error_classes()), key=lambda one: one.code))
def test_every_error_code_is_in_the_table(error):
    """With the status and the exit code that it really has."""
    one = error.__new__(error)
    row = f"| `{error.code}` | {status_of(one)} | {exit_code(one)} | "
    assert row in _read("errors.md")


@pytest.mark.parametrize(("words", "command"), list(_commands()))
def test_every_command_and_option_is_listed(words, command):
    row = next(
        (line for line in _read("cli.md").splitlines() if line.startswith(f"| `{words}")), None
    )
    assert row is not None
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.opts[0] not in (
            "--data",
            "--json",
            "--org",
        ):
            assert f"`{parameter.opts[0]}`" in row, parameter.opts[0]


@pytest.mark.parametrize("option", [field.name for field in dataclasses.fields(Settings)])
def test_every_option_is_listed(option):
    assert f"`NOCALL_{option.upper()}`" in _read("configuration.md")


@pytest.mark.parametrize("scope", list(Scope))
def test_every_scope_is_named(scope):
    assert f"`{scope.value}`" in _read("api.md")


@pytest.mark.parametrize("path", sorted(document.build(HANDLERS)["paths"]))
def test_every_route_is_named(path):
    if path not in ("/docs/style.css", "/api/dnc/delete"):
        assert path in _read("api.md")


def test_every_decision_is_indexed():
    index = _read("decisions/README.md")
    pages = [page.name for page in (DOCS / "decisions").glob("0*.md")]
    assert pages
    for page in pages:
        assert f"({page})" in index


def test_every_dependency_has_its_line():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = _read("dependencies.md")
    optional = project["optional-dependencies"].values()
    for requirement in chain(project["dependencies"], *optional):
        name = re.match(r"[A-Za-z0-9-]+", requirement)[0]
        assert re.search(rf"\b{re.escape(name)}\b", named), name


def test_links_between_pages_lead_somewhere():
    for page in [*DOCS.rglob("*.md"), ROOT / "README.md"]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} → {target}"
