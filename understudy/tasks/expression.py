"""A closed interpreter for one-line list expressions written by a model.

Nothing here calls Python's eval: an expression is parsed, and only the forms below are
interpreted, on bounded values and for a bounded number of operations. What has no rule
does not exist: no attribute, no import, no name but `x`, `v` and six functions.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping

Value = int | bool | list[int]

# Any other character, or a number that runs into a word (0x1f, 1e9, 1if), is refused unparsed:
# Python would read 'ｘ' as x, and warn on stderr about every '1if'.
_FOREIGN = re.compile(r"[^a-z0-9 +*/%<>=!,:()\[\]-]|[0-9][a-z]")
_LONGEST_SOURCE = 120
_LONGEST_LIST = 256
_LARGEST_NUMBER = 10**12
_MOST_OPERATIONS = 2_000
_FUNCTIONS: Mapping[str, Callable[..., Value]] = {
    "sorted": lambda x: sorted(_listed(x)),
    "sum": lambda x: sum(_listed(x)),
    "len": lambda x: len(_listed(x)),
    "max": lambda x: max(_listed(x)),
    "min": lambda x: min(_listed(x)),
    "abs": lambda n: abs(_number(n)),
}
_ARITHMETIC: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[int, int], bool]] = {
    ast.Gt: operator.gt,
    ast.Lt: operator.lt,
    ast.GtE: operator.ge,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


class ExpressionError(ValueError):
    """An expression outside the little language, or one that fails on its input."""


def evaluate(source: str, x: list[int]) -> Value:
    """The value of a list expression in `x`; ExpressionError for anything else."""
    if len(source) > _LONGEST_SOURCE:
        raise ExpressionError(f"longer than {_LONGEST_SOURCE} characters")
    if foreign := _FOREIGN.search(source):
        raise ExpressionError(f"{foreign[0]!r} is not in the language")
    try:
        tree = ast.parse(source, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ExpressionError(str(error)) from error
    try:
        return _Interpreter().value(tree.body, {"x": x})
    except (ArithmeticError, IndexError, RecursionError, TypeError, ValueError) as error:
        raise ExpressionError(str(error)) from error


class _Interpreter:
    """One evaluation: it counts its operations so that every expression ends."""

    def __init__(self) -> None:
        self.operations = 0

    def value(self, node: ast.expr, names: Mapping[str, Value]) -> Value:
        self.operations += 1
        if self.operations > _MOST_OPERATIONS:
            raise ExpressionError("too many operations")
        rule = getattr(self, f"_{type(node).__name__.lower()}", None)
        if rule is None:
            raise ExpressionError(f"{type(node).__name__} is not in the language")
        value: Value = rule(node, names)
        return _bounded(value)

    def _name(self, node: ast.Name, names: Mapping[str, Value]) -> Value:
        if node.id not in names:
            raise ExpressionError(f"unknown name {node.id}")
        return names[node.id]

    def _constant(self, node: ast.Constant, names: Mapping[str, Value]) -> Value:
        if type(node.value) is not int:
            raise ExpressionError("only whole numbers are constants")
        return node.value

    def _list(self, node: ast.List, names: Mapping[str, Value]) -> Value:
        return [_number(self.value(item, names)) for item in node.elts]

    def _unaryop(self, node: ast.UnaryOp, names: Mapping[str, Value]) -> Value:
        if not isinstance(node.op, ast.USub):
            raise ExpressionError("only minus is a unary operator")
        return -_number(self.value(node.operand, names))

    def _binop(self, node: ast.BinOp, names: Mapping[str, Value]) -> Value:
        left, right = self.value(node.left, names), self.value(node.right, names)
        if isinstance(node.op, ast.Add) and isinstance(left, list):
            return left + _listed(right)
        if type(node.op) not in _ARITHMETIC:
            raise ExpressionError(f"{type(node.op).__name__} is not in the language")
        return _ARITHMETIC[type(node.op)](_number(left), _number(right))

    def _compare(self, node: ast.Compare, names: Mapping[str, Value]) -> Value:
        if len(node.ops) != 1 or type(node.ops[0]) not in _COMPARISONS:
            raise ExpressionError("only single comparisons of numbers")
        left, right = self.value(node.left, names), self.value(node.comparators[0], names)
        return _COMPARISONS[type(node.ops[0])](_number(left), _number(right))

    def _call(self, node: ast.Call, names: Mapping[str, Value]) -> Value:
        if not isinstance(node.func, ast.Name) or node.func.id not in _FUNCTIONS:
            raise ExpressionError("unknown function")
        if node.keywords or len(node.args) != 1:
            raise ExpressionError("functions take one argument")
        return _FUNCTIONS[node.func.id](self.value(node.args[0], names))

    def _subscript(self, node: ast.Subscript, names: Mapping[str, Value]) -> Value:
        sequence = _listed(self.value(node.value, names))
        if isinstance(node.slice, ast.Slice):
            ends = (node.slice.lower, node.slice.upper, node.slice.step)
            numbers = (None if end is None else _number(self.value(end, names)) for end in ends)
            start, stop, step = numbers
            return sequence[start:stop:step]
        return sequence[_number(self.value(node.slice, names))]

    def _listcomp(self, node: ast.ListComp, names: Mapping[str, Value]) -> Value:
        if len(node.generators) != 1:
            raise ExpressionError("only one for in a comprehension")
        loop = node.generators[0]
        if not isinstance(loop.target, ast.Name) or loop.target.id != "v" or loop.is_async:
            raise ExpressionError("comprehensions run over v")
        result = []
        for item in _listed(self.value(loop.iter, names)):
            inner = {**names, "v": item}
            if all(self.value(condition, inner) for condition in loop.ifs):
                result.append(_number(self.value(node.elt, inner)))
        return result


def _number(value: Value) -> int:
    if isinstance(value, list):
        raise ExpressionError("a number was expected, not a list")
    return int(value)


def _listed(value: Value) -> list[int]:
    if not isinstance(value, list):
        raise ExpressionError("a list was expected, not a number")
    return value


def _bounded(value: Value) -> Value:
    if isinstance(value, list):
        if len(value) > _LONGEST_LIST:
            raise ExpressionError(f"a list of more than {_LONGEST_LIST} items")
    elif abs(value) > _LARGEST_NUMBER:
        raise ExpressionError(f"a number beyond {_LARGEST_NUMBER}")
    return value
