"""The house rules that a program can check, over every tracked file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import tree

FunctionDef = (ast.FunctionDef, ast.AsyncFunctionDef)
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60
# Written in pieces, so that this file does not break its own rule.
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX")) + r")\b")
MACHINE_PATHS = re.compile(r"(?<![\w.$}~-])/(?:" + "|".join(("wo" + "rk", "ro" + "ot", "opt/" + "pypi")) + r")/")
REGISTRY_HOSTS = re.compile(
    "|".join(("py" + r"pi\.org", "python" + "hosted", "registry" + r"\.npmjs", "deb" + r"\.debian\.org"))
)
PURE_PLACES = ("describe", "size", "attribute", "decide")


def functions(module: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a module, at any depth."""
    for node in ast.walk(module):
        if isinstance(node, FunctionDef):
            yield node


def test_every_module_says_why_it_exists() -> None:
    """Each module of the package, of tools and of benchmarks opens with a docstring."""
    folders = (tree.SRC, tree.ROOT / "tools", tree.ROOT / "benchmarks")
    silent = [
        tree.name_of(p) for folder in folders for p in tree.modules(folder) if not ast.get_docstring(tree.parsed(p))
    ]
    assert silent == []


def test_no_module_has_two_jobs() -> None:
    """No module of the package is longer than 400 lines."""
    lengths = {tree.name_of(path): len(path.read_text().splitlines()) for path in tree.modules(tree.SRC)}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_MODULE_LINES} == {}


def test_no_function_has_two_jobs() -> None:
    """No function of the package is longer than 60 lines."""
    long = {
        f"{tree.name_of(path)}:{function.lineno} {function.name}": function.end_lineno - function.lineno + 1
        for path in tree.modules(tree.SRC)
        for function in functions(tree.parsed(path))
        if function.end_lineno is not None and function.end_lineno - function.lineno >= MAX_FUNCTION_LINES
    }
    assert long == {}


def test_every_test_states_its_promise() -> None:
    """Each test has a docstring."""
    silent = [
        f"{tree.name_of(path)}:{function.lineno} {function.name}"
        for path in tree.modules(tree.ROOT / "tests")
        for function in functions(tree.parsed(path))
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]
    assert silent == []


def test_nothing_catches_everything() -> None:
    """No handler of the package swallows all errors, by name or by naming none; one that cleans up raises again."""
    broad = [
        f"{tree.name_of(path)}:{node.lineno}"
        for path in tree.modules(tree.SRC)
        for node in ast.walk(tree.parsed(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
        and not (isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None)
    ]
    assert broad == []


def test_nothing_is_left_unfinished() -> None:
    """No tracked text carries a mark of unfinished work."""
    marks = [
        f"{tree.name_of(path)}:{number}"
        for path, text in tree.texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if UNFINISHED.search(line)
    ]
    assert marks == []


def test_no_file_knows_one_machine() -> None:
    """No tracked text names a folder of the machine it was written on, or a package registry."""
    found = [
        f"{tree.name_of(path)}:{number} {line.strip()[:80]}"
        for path, text in tree.texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if MACHINE_PATHS.search(line) or REGISTRY_HOSTS.search(line) or f"{tree.ROOT}/" in line
    ]
    assert found == []


def test_public_names_are_sorted() -> None:
    """Each ``__all__`` of the package is sorted, has no name twice, and names only what the module has."""
    wrong = []
    for path in tree.modules(tree.SRC):
        module = tree.parsed(path)
        for node in module.body:
            if not isinstance(node, ast.Assign) or ast.unparse(node.targets[0]) != "__all__":
                continue
            names = ast.literal_eval(node.value)
            if list(names) != sorted(set(names)) or not set(names) <= bound_names(module):
                wrong.append(tree.name_of(path))
    assert wrong == []


def bound_names(module: ast.Module) -> set[str]:
    """What a module's top level defines or imports."""
    names: set[str] = set()
    for node in module.body:
        match node:
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names |= {alias.asname or alias.name for alias in aliases}
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Assign(targets=targets):
                names |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return names


def test_what_thinks_opens_nothing() -> None:
    """The pure packages don't use the built-ins that reach outside, which no import contract sees."""
    outside = [
        f"{tree.name_of(path)}:{node.lineno} {node.func.id}"
        for place in PURE_PLACES
        for path in tree.modules(tree.SRC / place)
        for node in ast.walk(tree.parsed(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("open", "print", "input", "eval", "exec", "__import__", "breakpoint")
    ]
    assert outside == []
