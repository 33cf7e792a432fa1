"""Which part of the source decides the numbers: everything but what only draws or tells.

Results that are kept stay good as long as this part does, so that a figure can be changed without
computing again. In doubt a part counts as computing: then results are computed once too often.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path

from synapse_abm.core.files import sha256

#: What of the package draws, tells, or judges, and computes no result.
_NOT_COMPUTING = {"plotting.py", "cli.py", "guide", "page", "bench"}
#: Byte code comes and goes; a wheel carries the experiments, which are hashed by themselves.
_SKIPPED = {"__pycache__", "_experiments"}


def package_files(skipped: Iterable[str] = ()) -> dict[str, Path]:
    """The package's files by their place in it, but for folders and files of some names."""
    package, without = Path(__file__).resolve().parents[1], _SKIPPED.union(skipped)
    inside = ((path.relative_to(package), path) for path in package.rglob("*") if path.is_file())
    return {at.as_posix(): path for at, path in inside if without.isdisjoint(at.parts)}


def hash_of_files(files: Mapping[str, Path]) -> str:
    """One hash over files and their names."""
    lines = [f"{sha256(path.read_bytes())}  {name}\n" for name, path in sorted(files.items())]
    return sha256("".join(lines).encode())


def program_sha256() -> str:
    """Hash of the package's files that can decide a number."""
    return hash_of_files(package_files(_NOT_COMPUTING))


def script_sha256(source: bytes) -> str:
    """Hash of the part of an experiment's file that can decide a number.

    Left out are comments, docstrings, the layout, and what only ``figure`` uses: each function,
    class and constant that is reached from it by name and from nothing else.
    """
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError):  # who runs it says what is wrong with it
        return sha256(source)
    names = [_defined(statement) for statement in statements]
    by_name = {name: at for at, defined in enumerate(names) for name in defined}
    uses = [{by_name[name] for name in _named(x) if name in by_name} for x in statements]
    drawing = _reached({by_name["figure"]} if "figure" in by_name else set(), uses)
    # What is neither drawing nor defines anything acts when the file is loaded.
    roots = {at for at in range(len(statements)) if at not in drawing}
    roots |= {by_name[name] for name in ("run", "Options") if name in by_name}
    computing = sorted(_reached(roots, uses))
    return sha256("\n".join(_bare(statements[at]) for at in computing).encode())


def _defined(statement: ast.stmt) -> set[str]:
    """Names that a definition or assignment gives; none of what does anything else."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.TypeAlias):
        names = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
        return {node.id for node in names if isinstance(node.ctx, ast.Store)}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
    return set()


def _named(statement: ast.stmt) -> set[str]:
    """Names that a statement speaks of, in text too: getattr(module, "name") may."""
    nodes = list(ast.walk(statement))
    texts = {x.value for x in nodes if isinstance(x, ast.Constant) and isinstance(x.value, str)}
    return {node.id for node in nodes if isinstance(node, ast.Name)} | texts


def _reached(roots: set[int], uses: list[set[int]]) -> set[int]:
    reached, waiting = set[int](), list(roots)
    while waiting:
        at = waiting.pop()
        if at not in reached:
            reached.add(at)
            waiting.extend(uses[at])
    return reached


class _WithoutDocstrings(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.Expr | ast.Pass:
        """Text that stands alone does nothing."""
        return ast.Pass() if isinstance(node.value, ast.Constant) else node


def _bare(statement: ast.stmt) -> str:
    return ast.unparse(_WithoutDocstrings().visit(statement))
