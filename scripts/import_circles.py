"""Fails if modules of the project import each other in a circle.

Checks browser_sessions/, scripts/ and tests/, including import statements inside functions. Circles that only exist for
the type checker (an import under `if TYPE_CHECKING`) are listed separately; they fail as well.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDERS: Final = ("browser_sessions", "scripts", "tests")


@dataclass(frozen=True, slots=True)
class Import:
    importer: str
    imported: str
    where: str
    """File and line."""
    type_checking: bool


def modules(root: Path) -> dict[str, Path]:
    """Every module by its dotted name; a package is its `__init__`."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            if "node_modules" not in path.parts:
                name = ".".join(path.relative_to(root).with_suffix("").parts)
                found[name.removesuffix(".__init__")] = path
    return found


def imports(root: Path, known: dict[str, Path]) -> Iterator[Import]:
    """Imports between known modules. `from package import module` imports the module, not the package."""
    for name, path in known.items():
        for node, type_checking in _statements(ast.parse(path.read_text(encoding="utf-8")), type_checking=False):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            else:
                targets = [
                    full if (full := f"{node.module}.{alias.name}") in known else str(node.module)
                    for alias in node.names
                ]
            where = f"{path.relative_to(root)}:{node.lineno}"
            for target in dict.fromkeys(targets):
                if target in known and target != name:
                    yield Import(name, target, where, type_checking)


def _statements(tree: ast.AST, *, type_checking: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Import statements, and whether only the type checker runs them."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, type_checking
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for statement in node.body:
                yield from _statements(ast.Module([statement], []), type_checking=True)
            for statement in node.orelse:
                yield from _statements(ast.Module([statement], []), type_checking=type_checking)
        else:
            yield from _statements(node, type_checking=type_checking)


def circles(found: Iterable[Import]) -> list[frozenset[str]]:
    """Sets of modules each of which is reached from each other one (Tarjan's strongly connected components)."""
    graph: dict[str, list[str]] = {}
    for each in found:
        graph.setdefault(each.importer, []).append(each.imported)
        graph.setdefault(each.imported, [])
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    done: list[frozenset[str]] = []

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        path.append(name)
        for target in graph[name]:
            if target not in number:
                visit(target)
                lowest[name] = min(lowest[name], lowest[target])
            elif target in path:
                lowest[name] = min(lowest[name], number[target])
        if lowest[name] == number[name]:
            members = frozenset(path[path.index(name) :])
            del path[path.index(name) :]
            if len(members) > 1:
                done.append(members)

    for name in graph:
        if name not in number:
            visit(name)
    return sorted(done, key=sorted)


def main() -> int:
    found = list(imports(ROOT, modules(ROOT)))
    at_run_time = circles(each for each in found if not each.type_checking)
    typed = [members for members in circles(found) if members not in at_run_time]
    for title, kind in (("at run time", at_run_time), ("closed by TYPE_CHECKING imports", typed)):
        for members in kind:
            print(f"Import circle {title}: {', '.join(sorted(members))}")
            for each in sorted(found, key=lambda each: each.where):
                if each.importer in members and each.imported in members:
                    note = " (TYPE_CHECKING)" if each.type_checking else ""
                    print(f"  {each.where} imports {each.imported}{note}")
    if at_run_time or typed:
        print(f"{len(at_run_time)} import circles at run time, {len(typed)} closed by TYPE_CHECKING imports.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
