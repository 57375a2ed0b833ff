"""House rules that a linter cannot hold, read off our own source."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nocall

SOURCE = Path(nocall.__file__).parent
MIGRATIONS = SOURCE / "store" / "migrations"

FUNCTION_LINES = 70
MODULE_LINES = 500
HANDLER_LINES = 45
STOP_LIST = {"utils", "helpers", "helper", "manager", "service", "base", "common"}
NUMBERING_PLAN_WORDS = ("service_code", "names_service")
"""911 and its like are called service codes in every numbering plan."""

MAY_HOLD_SQL = {"store", "ledger", "org", "call", "dnc", "gate", "dial", "follow"}
WRITER = {
    "instance": "store",
    "schema_migration": "store",
    "org": "org",
    "token": "org",
    "operator_token": "org",
    "idempotency": "org",
    "ledger_head": "ledger",
    "ledger_entry": "ledger",
    "ledger_item": "ledger",
    "batch": "call",
    "call": "call",
    "attempt": "call",
    "dnc_state": "dnc",
    "dnc_record": "dnc",
    "dnc_block": "dnc",
    "follower_cursor": "follow",
}
LOOKS_ACROSS = {
    "select o.org_id from org o where exists (select from dnc_record r": (
        "dnc/delete.py: 403 for another organization's record needs to know that it is one's"
    ),
    "select {_COLUMNS} from org where purged_at is null order by": (
        "org/organization.py: the operator's list of organizations"
    ),
    "from operator_token": "org/token.py: operators stand above organizations",
    "insert into operator_token": "org/token.py: likewise",
    "update operator_token": "org/token.py: likewise",
    "select h.org_id from ledger_head h join org o": (
        "follow/deliver.py: the sweep asks which organizations have mail waiting"
    ),
    "select coalesce(sum(h.seq - coalesce(c.seq, 0)), 0)": (
        "follow/deliver.py: the metric of all mail waiting"
    ),
    "schema_migration": "store/migrate.py and store/fitness.py: the database's version",
    "instance (instance_id)": "store/migrate.py: which database this is",
    "select instance_id from": "store/fitness.py: likewise",
    "select date_trunc('milliseconds', clock_timestamp()) as now": (
        "ledger/append.py: the database's clock"
    ),
    "select clock_timestamp() as now": "ledger/read.py: the database's clock",
    "from pg_": "store: the catalog of the server, not a table of ours",
    "select pg_advisory_lock": "store/migrate.py: one migration at a time",
    "select to_regclass(": "store/migrate.py: whether procrastinate's schema is there",
}
"""The only statements that name no organization: a part of each, and why it may."""

NO_ORG_IN_KEY = {"instance", "operator_token", "schema_migration"}
READS_ENVIRONMENT = {
    "cli/running.py": "the edge that hands the environment to config",
    "store/dump.py": "hands pg_dump what libpq takes from it, unread",
}
SQL = re.compile(
    r"\s*(select|insert into|update \w+ set|delete from|merge into|copy|with \w+ as|truncate|lock"
    r"|(create|alter|drop) (table|schema|role|index|database)|grant|revoke)\s"
    r"|\s*(begin|commit|rollback)\s*;?\s*$"
)


@dataclass(frozen=True)
class Module:
    path: Path
    tree: ast.Module
    lines: int

    @property
    def name(self) -> str:
        return self.path.relative_to(SOURCE).as_posix()

    @property
    def package(self) -> str:
        return self.path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _parse(path: Path) -> Module:
    text = path.read_text("utf-8")
    return Module(path, ast.parse(text), len(text.splitlines()))


MODULES = [_parse(path) for path in sorted(SOURCE.rglob("*.py"))]
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(module.tree) if isinstance(node, FUNCTION))


def length(node: ast.AST) -> int:
    return node.end_lineno - node.lineno + 1


def literals(module: Module) -> Iterator[tuple[int, str]]:
    """Every string but docstrings; what stands in braces of an f-string is kept as its source."""
    inside, docstrings = set(), set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in node.values}
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docstrings.add(id(node.value))
    for node in ast.walk(module.tree):
        if isinstance(node, ast.JoinedStr):
            parts = (
                part.value
                if isinstance(part, ast.Constant)
                else "{" + ast.unparse(part.value) + "}"
                for part in node.values
            )
            yield node.lineno, "".join(parts)
        elif _is_text(node) and id(node) not in inside | docstrings:
            yield node.lineno, node.value


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def statements() -> Iterator[tuple[Module, str, str]]:
    """Every SQL statement in our source: its module, its place, its text on one line."""
    for module in MODULES:
        for line, text in literals(module):
            if SQL.match(text):
                yield module, f"{module.name}:{line}", " ".join(text.split())


def test_the_reader_sees_the_statements():
    """What follows would hold of nothing, too."""
    found = list(statements())
    assert len(found) > 80
    assert {module.package for module, _, _ in found} >= {"store", "ledger", "org", "dnc", "gate"}


def test_sql_stands_only_where_it_may():
    assert [place for module, place, _ in statements() if module.package not in MAY_HOLD_SQL] == []


def test_every_statement_names_its_organization():
    """Also in what it compares with: another column of that name binds no organization."""
    own = re.compile(
        r"org_id = (%\(org_id\)s|%s|\$1)"
        r"|^insert into \w+ (\(org_id, .*|\(\{.*)values ?\(%\(org_id\)s"
    )
    data = re.compile(r"(select|insert|update|delete|copy|with|truncate|lock)\b")
    used, wrong = set(), []
    for _, place, text in statements():
        if not data.match(text) or own.search(text):
            continue
        reasons = [part for part in LOOKS_ACROSS if part in _without_names(text)]
        used |= set(reasons)
        if not reasons:
            wrong.append((place, text))
    assert wrong == []
    assert set(LOOKS_ACROSS) - used == set(), "exceptions that nothing needs any more"


def _without_names(text: str) -> str:
    """`{table}` of a composed statement is `{}`; `{_COLUMNS}` of an f-string stays."""
    return re.sub(r"\{[a-z]\w*\}", "{}", text)


def test_each_table_has_one_writer():
    written = re.compile(
        r"\b(?:insert into|delete from|truncate(?: table)?|copy) (?:nocall\.)?(\w+)"
        r"|\bupdate (?:nocall\.)?(\w+)(?: \w+)? set\b"
    )
    seen, wrong = set(), []
    for module, place, text in statements():
        for match in written.finditer(text):
            table = match[1] or match[2]
            seen.add(table)
            if WRITER.get(table) != module.package:
                wrong.append((place, table))
    assert wrong == []
    assert seen == set(WRITER)


def test_ledger_rows_are_never_changed():
    """But for the owner's erasing of a purged organization, which names its tables elsewhere."""
    changed = re.compile(
        r"\b(update|delete from|truncate|merge into) (nocall\.)?ledger_(entry|item)"
    )
    assert [place for _, place, text in statements() if changed.search(text)] == []


def test_commits_stand_in_one_place():
    """A transaction is ended by the edge that opened it, through store/transaction.py alone."""
    wrong = [
        f"{module.name}:{node.lineno}"
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
        and node.attr in ("commit", "rollback", "savepoint")
        and module.name not in ("store/transaction.py", "store/migrate.py")
    ]
    wrong += [
        f"{module.name}:{node.value.lineno}"
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.keyword) and node.arg == "autocommit" and module.package != "store"
    ]
    wrong += [
        place for _, place, text in statements() if re.match(r"(begin|commit|rollback)\b", text)
    ]
    assert wrong == []


def test_sizes():
    long_functions = [
        (module.name, node.name, length(node))
        for module in MODULES
        for node in functions(module)
        if length(node) > FUNCTION_LINES
    ]
    long_modules = [(m.name, m.lines) for m in MODULES if m.lines > MODULE_LINES]
    assert (long_functions, long_modules) == ([], [])


def test_handlers_only_translate():
    """A route's function is short: the rule it applies is a verb of a package below."""
    handlers = [
        (module.name, node.name, length(node))
        for module in MODULES
        if module.package == "api"
        for node in functions(module)
        if any(_decorates_a_route(decorator) for decorator in node.decorator_list)
    ]
    assert len(handlers) > 20
    assert [one for one in handlers if one[2] > HANDLER_LINES] == []


def _decorates_a_route(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("get", "post", "put", "patch", "delete")
    )


def test_no_name_says_nothing():
    named = [
        (module.name, name)
        for module in MODULES
        for name in (
            *(part.removesuffix(".py") for part in module.path.relative_to(SOURCE).parts),
            *(
                node.name
                for node in ast.walk(module.tree)
                if isinstance(node, (*FUNCTION, ast.ClassDef))
            ),
        )
    ]
    assert {(module, name) for module, name in named if STOP_LIST & set(_words(name))} == set()


def _words(name: str) -> list[str]:
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    for word in NUMBERING_PLAN_WORDS:
        snake = snake.replace(word, "")
    return snake.split("_")


def test_the_environment_is_read_at_the_edge():
    read = {
        module.name
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv")
    }
    assert read == set(READS_ENVIRONMENT)


def test_no_import_of_ours_inside_a_function():
    wrong = [
        f"{module.name}:{inner.lineno}"
        for module in MODULES
        for node in functions(module)
        for inner in ast.walk(node)
        if (isinstance(inner, ast.ImportFrom) and (inner.module or "").startswith("nocall"))
        or (isinstance(inner, ast.Import) and inner.names[0].name.startswith("nocall"))
    ]
    assert wrong == []


def test_every_table_is_led_by_its_organization():
    """Primary key, unique constraints, unique indexes and foreign keys, so that it may shard."""
    text = "\n".join(path.read_text("utf-8") for path in sorted(MIGRATIONS.glob("*.sql")))
    text = re.sub(r"--.*", "", text)
    tables = dict(re.findall(r"create table (\w+) \((.*?)\n\);", text, re.DOTALL))
    assert len(tables) > 10
    wrong = []
    for table, body in tables.items():
        if table in NO_ORG_IN_KEY:
            continue
        alone = re.search(r"org_id text[^,\n]* primary key", body)
        primary = re.search(r"\n\s*primary key \((\w+)", body)
        if not alone and (primary is None or primary[1] != "org_id"):
            wrong.append((table, "primary key"))
        wrong += [
            (table, first)
            for _, first in re.findall(r"(unique|foreign key) \((\w+)", body)
            if first != "org_id"
        ]
        if re.search(r"^\s*(?!org_id)\w+ [^,]*\b(unique|references)\b", body, re.MULTILINE):
            wrong.append((table, "a column's own constraint"))
    wrong += [
        (table, column)
        for table, column in re.findall(r"create unique index \w+ on (\w+) \((\w+)", text)
        if column != "org_id"
    ]
    assert wrong == []
    assert set(tables) | {"schema_migration"} == set(WRITER)


IMPORT_ALL = """
import importlib, os, pkgutil, signal, sys, threading

handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
environment = dict(os.environ)

def watch(event, arguments):
    if event in ("socket.__new__", "socket.connect", "socket.bind", "subprocess.Popen",
                 "os.system", "os.mkdir", "os.remove", "os.rename", "os.exec", "os.fork"):
        raise RuntimeError(f"{event} {arguments} while importing")
    if event == "open" and arguments[1] and set(str(arguments[1])) & set("wax+"):
        raise RuntimeError(f"{event} {arguments} while importing")

import nocall
names = [found.name for found in pkgutil.walk_packages(nocall.__path__, "nocall.")
         if found.name != "nocall.__main__"]
# What others do when they are imported is not ours to judge.
import aiosmtplib, click, jinja2, litestar, msgspec, numpy, phonenumbers, procrastinate
import prometheus_client, psycopg, psycopg_pool, uvicorn, litestar.openapi.spec
for name in list(sys.modules):
    if name == "nocall" or name.startswith("nocall."):
        del sys.modules[name]
sys.addaudithook(watch)
for name in names:
    importlib.import_module(name)
assert threading.active_count() == 1, threading.enumerate()
assert handlers == {number: signal.getsignal(number) for number in handlers}
assert environment == dict(os.environ)
print(len(names))
"""


def test_importing_does_nothing():
    """No socket, no process, no file, no thread, no signal handler, no change of environment."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", IMPORT_ALL],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NOCALL_PORT": "not a number"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) == len(MODULES) - 2  # nocall itself and __main__
