"""Classes and functions are ruff's part, D101 and D103; D102 knows nothing of Protocols and bases."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "secateur"
SHAPES = [PACKAGE / name for name in ("ports.py", "specs.py", "fronts.py")]
"""Where Protocols say, once for all who have them, what members do."""

PUBLIC = ("__init__.py", "__call__")
"""Though they begin with an underscore."""


def classes_in(path: Path) -> list[ast.ClassDef]:
    return [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)]


def names_of_bases(kind: ast.ClassDef) -> list[str]:
    """Without the module before them and the brackets behind."""
    return [ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in kind.bases]


def methods_of(kind: ast.ClassDef) -> list[ast.FunctionDef]:
    return [node for node in kind.body if isinstance(node, ast.FunctionDef)]


def documented_by(kind: ast.ClassDef) -> set[str]:
    return {method.name for method in methods_of(kind) if ast.get_docstring(method)}


def inherited(kind: ast.ClassDef, known: dict[str, ast.ClassDef]) -> set[str]:
    """What the bases document, and theirs, as far as they are classes of the package."""
    bases = [known[name] for name in names_of_bases(kind) if name in known and name != kind.name]
    return {name for base in bases for name in documented_by(base) | inherited(base, known)}


def promised(kind: ast.ClassDef, protocols: list[ast.ClassDef]) -> set[str]:
    """What those Protocols document whose every member it has."""
    fields = {ast.unparse(node.target) for node in kind.body if isinstance(node, ast.AnnAssign)}
    own = fields | {method.name for method in methods_of(kind)}
    return {name for each in protocols if documented_by(each) <= own for name in documented_by(each)}


def undocumented(package: Path) -> Iterator[str]:
    found = {path: classes_in(path) for path in sorted(package.rglob("*.py"))}
    known = {kind.name: kind for kinds in found.values() for kind in kinds}
    protocols = [kind for path in SHAPES for kind in classes_in(path) if "Protocol" in names_of_bases(kind)]
    for path, kinds in found.items():
        for kind in kinds:
            for method in methods_of(kind):
                told = promised(kind, protocols) | documented_by(kind) | inherited(kind, known)
                if is_public(path, kind, method) and method.name not in told:
                    yield f"{path.relative_to(package)}: {kind.name}.{method.name}"


def is_public(path: Path, kind: ast.ClassDef, method: ast.FunctionDef) -> bool:
    return not any(name.startswith("_") and name not in PUBLIC for name in (path.name, kind.name, method.name))


def test_every_public_method_says_what_it_does_or_a_protocol_or_a_base_does() -> None:
    assert list(undocumented(PACKAGE)) == []


def test_a_method_that_nobody_documents_is_named(tmp_path: Path) -> None:
    source = '''
class Base:
    def grow(self): """Told here."""

class Tree(Base):
    def grow(self): ...
    def rungs(self): ...
    def heal(self): ...
    def __call__(self): ...
    def climb(self): ...
    def _fell(self): ...
'''
    (tmp_path / "trees.py").write_text(source)

    assert list(undocumented(tmp_path)) == [f"trees.py: Tree.{name}" for name in ("heal", "__call__", "climb")]
