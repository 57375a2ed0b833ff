"""Commands, mostly in this process: a process of their own costs most of a second and adds
nothing where the promise is about what they do, print and exit with.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from conftest import copy_of
from nocall.cli import main
from nocall.store.embedded import open_embedded


def call(*arguments: str, data: Path, text: str | None = None, **environment: str) -> Result:
    """Run a command as `nocall ARGUMENTS` would be; what it prints and how it exits."""
    clean = {name: None for name in os.environ if name.startswith("NOCALL_")}
    return CliRunner().invoke(
        main, arguments, input=text, env={**clean, "NOCALL_DATA": str(data), **environment}
    )


def done(*arguments: str, data: Path, **more: str) -> Result:
    """Likewise, and it has to succeed without a word on stderr."""
    result = call(*arguments, data=data, **more)
    assert (result.exit_code, result.stderr) == (0, ""), (result.output, result.exception)
    return result


def document(*arguments: str, data: Path, **more: str) -> object:
    """The one JSON document of a command that succeeds."""
    return json.loads(done(*arguments, "--json", data=data, **more).stdout)


def refused(*arguments: str, data: Path, code: int, **more: str) -> str:
    """The one line a command complains with; there is nothing on stdout."""
    result = call(*arguments, data=data, **more)
    assert (result.exit_code, result.stdout) == (code, ""), (result.output, result.exception)
    (line,) = result.stderr.splitlines()
    assert line.startswith("nocall: ")
    return line


@pytest.fixture(scope="module")
def data(place: Path, pristine: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A data folder of this file's own, whose PostgreSQL is held up so that commands are quick."""
    folder = copy_of(pristine, place / request.module.__name__.replace(".", "-"))
    embedded = open_embedded(folder)
    yield folder
    embedded.close()


@pytest.fixture
def org_id(data: Path) -> str:
    """A new organization; with others beside it, commands have to be told its id."""
    arguments = ("org", "create", "Test Org", "--admin-email", "admin@test.example")
    return document(*arguments, data=data)["id"]
