"""Which modules of a package a piece of code reaches, found by following names.

``an.train`` leads through the ``__init__`` that imports it to the module that defines it, and from
there to all that this module names. Where names end (a package used as a value, as in
``getattr(an, name)``, a star, an attribute that nobody defines, code that picks names as it runs)
all that may be meant counts as reached.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

Use = tuple[str, tuple[str, ...]]  # a module, and attributes taken from it one after another

# By these code reaches what it does not name.
DYNAMIC = {"exec", "eval", "__import__", "import_module", "iter_modules", "walk_packages"}
DYNAMIC |= {"spec_from_file_location", "run_module", "run_path", "subprocess", "get_ipython"}
METHODS = {"exec", "eval"}  # as attributes they are other people's, such as torch's
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True)
class Code:
    """What a module or a notebook says, as far as it concerns a package.

    ``uses`` is all that it names in the package, ``bound`` what its imports give to local names,
    ``defined`` its own names, ``texts`` its strings with ``*`` for what is filled in, and
    ``touched`` what importing it may change elsewhere.
    """

    uses: frozenset[Use]
    bound: Mapping[str, frozenset[Use]]
    defined: frozenset[str]
    texts: frozenset[str]
    touched: frozenset[Use]


def read_package(folder: Path) -> dict[str, Code]:
    """Return every module of a package by name; a package's own is that of its ``__init__``."""
    modules = {}
    for path in sorted(folder.rglob("*.py")):
        place = path.relative_to(folder.parent).with_suffix("").parts
        inside = place[:-1]  # where a relative import starts
        name = ".".join(inside if place[-1] == "__init__" else place)
        modules[name] = read(path.read_text(encoding="utf-8"), folder.name, ".".join(inside))
    return modules


def read(source: str, package: str, inside: str = "") -> Code:
    """Return what a source says about a package, itself lying ``inside`` one or outside."""
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    bound, uses = _imports(nodes, package, inside)
    chains = set(_chains(nodes))
    for local, places in bound.items():
        tails = {names for name, names in chains if name == local} or {()}
        uses |= {(module, names + tail) for module, names in places for tail in tails}
    texts = frozenset(_texts(nodes))
    loaded = any((name, *names[:1]) == ("sys", "modules") for name, names in chains)
    if _picks_names(nodes) or (loaded and any(package in text for text in texts)):
        uses.add((package, ()))
    symbols = symtable.symtable(source, "<source>", "exec").get_symbols()
    imported = {symbol.get_name() for symbol in symbols if symbol.is_imported()}
    assigned = {symbol.get_name() for symbol in symbols if symbol.is_assigned()}
    return Code(
        frozenset(uses),
        {local: frozenset(places) for local, places in bound.items()},
        frozenset(assigned),
        texts,
        frozenset(_touched(tree, package, bound, assigned - imported)),
    )


def reached(
    code: Code, package: Mapping[str, Code], without: Collection[str] = ()
) -> tuple[set[str], set[str]]:
    """Return the modules that code reaches, and the turns that imports took on the way there.

    Whoever reaches a module also feels those that change it when they are imported. ``without``
    names modules that are known not to matter, whoever imports them.
    """
    changed_by: dict[str, set[str]] = {}
    for name, module in package.items():
        for end in _follow(module.touched, package)[0]:
            changed_by.setdefault(end, set()).add(name)
    modules, turns = set(), set()
    ends, found = _follow(code.uses, package)
    while new := ends - modules - set(without):
        modules |= new
        turns |= found
        ends, found = _follow({use for name in new for use in package[name].uses}, package)
        ends |= set().union(*(changed_by.get(name, ()) for name in new))
    return modules, turns | found


def _follow(uses: Iterable[Use], package: Mapping[str, Code]) -> tuple[set[str], set[str]]:
    """Return the modules where names end, and the turns that they take on the way."""
    todo, seen, ends, turns = list(uses), set(), set(), set()
    while todo:
        use = todo.pop()
        if use not in seen:
            seen.add(use)
            here, onward = _meant(use, package)
            ends |= here
            turns |= {f"{use} {place}" for place in onward}
            todo += onward
    return ends, turns


def _meant(use: Use, package: Mapping[str, Code]) -> tuple[set[str], set[Use]]:
    """Return the modules where a used name ends, and the places where it leads on."""
    module, names = use
    if module not in package:
        return set(package), set()
    everything = {module} | {name for name in package if name.startswith(f"{module}.")}
    if not names:
        return everything, set()
    head, rest = names[0], names[1:]
    onward = {(there, path + rest) for there, path in package[module].bound.get(head, ())}
    if f"{module}.{head}" in package:
        onward.add((f"{module}.{head}", rest))
    here = {module} if head in package[module].defined else set()
    return (here, onward) if here or onward else (everything, set())


def _imports(
    nodes: Iterable[ast.AST], package: str, inside: str
) -> tuple[dict[str, set[Use]], set[Use]]:
    """Return what imports bind, by local name, and what stars reach."""
    bound: dict[str, set[Use]] = {}
    stars = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == package:
                    module = alias.name if alias.asname else package
                    bound.setdefault(alias.asname or package, set()).add((module, ()))
        elif isinstance(node, ast.ImportFrom):
            start = inside.split(".")[: 1 - node.level or None] if node.level else []
            module = ".".join([*start, *filter(None, [node.module])])
            if module.split(".")[0] != package:
                continue
            for alias in node.names:
                if alias.name == "*":
                    stars.add((module, ()))
                else:
                    place = (module, (alias.name,))
                    bound.setdefault(alias.asname or alias.name, set()).add(place)
    return bound, stars


def _chains(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield every name with all attributes that are taken from it; outer nodes come first."""
    inner = set()
    for node in nodes:
        names, end = [], node
        while isinstance(end, ast.Attribute):
            names.append(end.attr)
            end = end.value
            inner.add(id(end))
        if isinstance(end, ast.Name) and id(node) not in inner:
            yield end.id, tuple(reversed(names))


def _picks_names(nodes: Iterable[ast.AST]) -> bool:
    for node in nodes:
        if isinstance(node, ast.Name) and node.id in DYNAMIC:
            return True
        if isinstance(node, ast.alias) and DYNAMIC & set(node.name.split(".")):
            return True
        if isinstance(node, ast.Attribute) and node.attr in DYNAMIC - METHODS:
            return True
    return False


def _texts(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str | int):
            yield str(node.value)
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values
            )


def _touched(
    tree: ast.Module, package: str, bound: Mapping[str, set[Use]], own: Collection[str]
) -> Iterator[Use]:
    """Yield what importing a module may change elsewhere: whom it calls, and whose parts it sets.

    Statements for their effect (``torch.manual_seed(0)``) may change anything.
    """
    todo: list[ast.AST] = list(tree.body)
    while todo:
        node = todo.pop()
        decorators = getattr(node, "decorator_list", [])
        calls = [node.func] if isinstance(node, ast.Call) else decorators
        for root in map(_root, calls):
            yield from bound.get(root, ())
        for root in map(_root, _acted_on(node)):
            if root not in own or isinstance(node, ast.Expr):
                yield from bound.get(root, {(package, ())})
        if isinstance(node, FUNCTIONS):
            todo += [*decorators, *node.args.defaults, *filter(None, node.args.kw_defaults)]
        else:
            todo += ast.iter_child_nodes(node)


def _acted_on(node: ast.AST) -> list[ast.expr]:
    """Return what a statement is for, where that is more than to give a name."""
    if isinstance(node, ast.Expr):
        return [] if isinstance(node.value, ast.Constant) else [node.value]
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    parts = [part for target in targets for part in getattr(target, "elts", [target])]
    if isinstance(node, ast.AugAssign):  # of an imported table, say
        return parts
    return [part for part in parts if isinstance(part, ast.Attribute | ast.Subscript)]


def _root(node: ast.expr) -> str | None:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return getattr(node, "id", None)
