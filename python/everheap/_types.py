"""Types: from Python's to the text that creates collections, and from the stored ones to Python's.

The names of fields. A field that Python calls last_login is LastLogin in Go, user_id is UserID:
go_name says so, and python_name is its inverse. A name without such an inverse is stored as it is.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import keyword
import re
import sys
import types as _pytypes
import typing
import weakref
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import _everheap
from ._errors import Unstorable

# The kinds of the extension, in the order of its enum.
(_BOOL, _INT, _FLOAT, _COMPLEX, _STR, _TIME, _DURATION, _BYTES, _SLICE, _ARRAY, _BYTE_ARRAY,
 _OBJECT, _TUPLE, _POINTER, _HANDLE, _CODED, _DICT, _INTERFACE) = range(18)


class GoType:
    """The stored type of an Annotated one: int32 is Annotated[int, GoType("int32")]."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"GoType({self.text!r})"


int8 = typing.Annotated[int, GoType("int8")]
int16 = typing.Annotated[int, GoType("int16")]
int32 = typing.Annotated[int, GoType("int32")]
int64 = typing.Annotated[int, GoType("int64")]
uint = typing.Annotated[int, GoType("uint")]
uint8 = typing.Annotated[int, GoType("uint8")]
uint16 = typing.Annotated[int, GoType("uint16")]
uint32 = typing.Annotated[int, GoType("uint32")]
uint64 = typing.Annotated[int, GoType("uint64")]
float32 = typing.Annotated[float, GoType("float32")]
complex64 = typing.Annotated[complex, GoType("complex64")]

_INTS = {"int": (8, 1), "int8": (1, 1), "int16": (2, 1), "int32": (4, 1), "int64": (8, 1),
         "uint": (8, 0), "uint8": (1, 0), "uint16": (2, 0), "uint32": (4, 0), "uint64": (8, 0)}

_INITIALISMS = frozenset("ACL API ASCII CPU CSS DNS EOF GUID HTML HTTP HTTPS ID IP JSON QPS RAM RPC SLA SMTP SQL SSH TCP TLS TTL UDP UI UID URI URL UTF8 UUID VM XML XMPP XSRF XSS".split())
_DECLARED = re.compile(r"[^\[\]*{} ]*\.[^\[\]*{} ]+(\[.*\])?")  # names of types that a program has declared
_SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z][a-z0-9]*)*_?\Z")


def python_name(go: str) -> str:
    """The name of a field in Python: LastLogin is last_login, HTTPServer is http_server."""
    if not (go[:1].isupper() and go.isascii() and go.isalnum()):
        return go
    words = []
    rest = go
    while rest:
        m = re.match(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]+[0-9]*(?![a-z])|[A-Z][a-z0-9]*|[0-9]+", rest)
        if not m:
            return go
        words.append(m.group().lower())
        rest = rest[m.end():]
    name = "_".join(words)
    return name + "_" if keyword.iskeyword(name) else name


def go_name(python: str) -> str:
    """The name under which a field is stored: the inverse of python_name where there is one."""
    if _SNAKE.match(python):
        bare = python[:-1] if python.endswith("_") else python
        go = "".join(w.upper() if w.upper() in _INITIALISMS else w.capitalize() for w in bare.split("_"))
        if python_name(go) == python:
            return go
        go = "".join(w.capitalize() for w in bare.split("_"))
        if python_name(go) == python:
            return go
    return python


def field(*, name: Optional[str] = None, **options: Any) -> Any:
    """A dataclass field that is stored under another name than go_name says."""
    if name is not None:
        options["metadata"] = {**options.get("metadata", {}), "everheap": name}
    return dataclasses.field(**options)


# ---- what a class has ----

def _hints(cls: type, path: str) -> Dict[str, Any]:
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except NameError as e:
        raise Unstorable(f"everheap: {path or cls.__name__}: the annotation of {cls.__name__} names what is not defined in its module: {e}") from None


def _is_namedtuple(t: Any) -> bool:
    return isinstance(t, type) and issubclass(t, tuple) and hasattr(t, "_fields") and hasattr(t, "__annotations__")


def _fields_of(cls: type, path: str) -> List[Tuple[str, Optional[str], Any]]:
    """The fields of a dataclass or NamedTuple: attribute, stored name if it is given, annotation."""
    hints = _hints(cls, path)
    if dataclasses.is_dataclass(cls):
        return [(f.name, f.metadata.get("everheap"), hints[f.name]) for f in dataclasses.fields(cls)]
    return [(f, None, hints[f]) for f in cls._fields]  # type: ignore[attr-defined]


def _names_of(cls: type, path: str) -> List[str]:
    names = [given or go_name(attr) for attr, given, _ in _fields_of(cls, path)]
    for n in names:
        if names.count(n) > 1:
            raise Unstorable(f"everheap: {path or cls.__name__}: two fields of {cls.__name__} are stored as {n}; give one everheap.field(name=...)")
        if not n.isidentifier() or n == "_":
            raise Unstorable(f"everheap: {path or cls.__name__}: the field {n!r} has a name that Go has not; give it everheap.field(name=...)")
    return names


def _stored_name(cls: type) -> str:
    return getattr(cls, "__everheap_name__", None) or "main." + cls.__name__


def _optional(t: Any) -> Optional[Any]:
    """T of Optional[T]; None if it is none."""
    union = typing.get_origin(t) is typing.Union or (sys.version_info >= (3, 10) and isinstance(t, _pytypes.UnionType))
    if union:
        rest = [a for a in typing.get_args(t) if a is not type(None)]
        if len(rest) == 1 and len(typing.get_args(t)) == 2:
            return rest[0]
    return None


def _text(t: Any) -> str:
    if isinstance(t, type) and not typing.get_args(t):
        return t.__name__
    return str(t).replace("typing.", "")


_WAY_OUT: List[Tuple[Callable[[Any], bool], str]] = [
    (lambda t: t is dict, "say the types of its keys and values: dict[str, int]; a large one is a collection of its own, of space.map"),
    (lambda t: t in (set, frozenset) or typing.get_origin(t) in (set, frozenset), "use a list, or space.map with bool values"),
    (lambda t: t is object, "use typing.Any, which is Go's any"),
    (lambda t: t in (list, tuple), "say the type of its elements: list[int], tuple[int, str]"),
    (lambda t: t is datetime.date, "use datetime.datetime with a time zone, or a str"),
    (lambda t: t is datetime.time, "use datetime.timedelta, or a str"),
    (lambda t: isinstance(t, type) and issubclass(t, enum.Enum), "store its value, and make the member of that"),
    (lambda t: getattr(t, "__name__", "") in ("Decimal", "Fraction", "UUID", "Path", "PosixPath"), "use a str, or bytes"),
    (lambda t: t is type(None), "use Optional[T]"),
    (lambda t: isinstance(t, type), "make it a @dataclass"),
]


def refuse(t: Any, path: str) -> Unstorable:
    """The error for a type that cannot be stored."""
    way = next((w for is_it, w in _WAY_OUT if is_it(t)), "use a dataclass, int, str, bytes, float, bool, datetime, list, tuple, dict or Optional of those")
    where = path + ": " if path else ""
    return Unstorable(f"everheap: {where}{_text(t)} cannot be stored; {way}")


# ---- to text ----

class Spec:
    """The text of a collection's type, from Python types."""

    def __init__(self, names: Optional[Dict[str, str]] = None) -> None:
        self.declared: Dict[type, str] = {}
        self.declarations: List[str] = []
        self.names = names or {}  # what the bare names of stored types are in full

    def collection(self, kind: str, key: Any, value: Any) -> str:
        if kind in ("map", "sorted"):
            head = f"{kind}[{self.text(key, 'the key')}]{self.text(value, '')}"
        elif kind == "list":
            head = "[]" + self.text(value, "")
        else:
            head = "*" + self.text(value, "")
        return "\n\n".join([head] + self.declarations)

    def text(self, t: Any, path: str) -> str:
        origin, args = typing.get_origin(t), typing.get_args(t)
        if isinstance(t, (str, typing.ForwardRef)):
            raise Unstorable(f"everheap: {path}: {_text(t)} is a name and no type; give the class, or name it in an annotation of a class in a module")
        if origin is typing.Annotated:
            for a in args[1:]:
                if isinstance(a, GoType):
                    return a.text
            return self.text(args[0], path)
        simple = {bool: "bool", int: "int", float: "float64", complex: "complex128", str: "string", bytes: "[]byte",
                  datetime.datetime: "time.Time", datetime.timedelta: "time.Duration"}
        if isinstance(t, type) and t in simple:
            return simple[t]
        if t is Any:
            return "any"
        inner = _optional(t)
        if inner is not None:
            if handle_of(inner) is not None:
                return self.text(inner, path)
            if _optional(inner) is not None:
                raise refuse(t, path)
            return "*" + self.text(inner, path)
        h = handle_of(t)
        if h is not None:
            return f"everheap.{h[0]}[{', '.join(self.text(a, path) for a in h[1])}]"
        if origin is list and args:
            return "[]" + self.text(args[0], path + "[]")
        if origin is dict and args:
            return f"everheap.Dict[{self.text(args[0], path + '{}')}, {self.text(args[1], path + '{}')}]"
        if origin is tuple and args:
            if len(args) == 2 and args[1] is Ellipsis:
                return "[]" + self.text(args[0], path + "[]")
            parts = [f"Item{i} {self.text(a, f'{path}[{i}]')}" for i, a in enumerate(args) if a != ()]
            return "struct{" + "; ".join(parts) + "}"
        if isinstance(t, type) and (dataclasses.is_dataclass(t) or _is_namedtuple(t)):
            return self.struct(t, path)
        raise refuse(t, path)

    def struct(self, cls: type, path: str) -> str:
        if cls in self.declared:
            return self.declared[cls]
        stored = self.names.get(cls.__name__) if not hasattr(cls, "__everheap_name__") else None
        stored = stored or _stored_name(cls)
        name = base = re.sub(r"\W", "_", stored.split(".")[-1])
        while name in self.declared.values() or name in ("string", "int", "bool", "byte", "float64"):
            name = base + "_" + str(len(self.declared))
        self.declared[cls] = name
        at = len(self.declarations)
        self.declarations.append("")
        lines = [f"// {name} is stored as {stored}."] if stored != "main." + name else []
        lines.append(f"type {name} struct {{")
        names = _names_of(cls, path)
        for stored_field, (attr, _, hint) in zip(names, _fields_of(cls, path)):
            lines.append(f"\t{stored_field} {self.text(hint, (path + '.' if path else cls.__name__ + '.') + attr)}")
        lines.append("}")
        self.declarations[at] = "\n".join(lines)
        return name


_handles: Dict[Any, str] = {}  # the classes Map, Sorted, List and Ref, filled in by the package


def handle_of(t: Any) -> Optional[Tuple[str, Tuple[Any, ...]]]:
    """The kind and the arguments of an annotation such as Ref[User]; None if it is none."""
    origin = typing.get_origin(t)
    if origin in _handles:
        return _handles[origin], typing.get_args(t)
    return None


# ---- from stored types ----

class Mismatch(Exception):
    """A Python type is not that of a stored one."""


class Binder:
    """Makes codecs of stored types, for the Python types that a program gives, or for its own."""

    def __init__(self, stored: List[Dict[str, Any]], handle: Callable[[str, int], Any], made: Dict[Any, Any], concrete: Optional["Concrete"] = None) -> None:
        self.stored = stored
        self.concrete = concrete  # of the space
        self.handle = handle  # makes an object of the kind of a handle and an ID
        self.made = made  # generated classes, by the stored type
        self.nodes: List[Any] = []
        self.memo: Dict[Any, int] = {}
        self.generated: Dict[int, Any] = {}
        self.pointed = -1  # the struct whose class stands for a pointer to it, in an interface
        self.annotating: List[int] = []
        self.path = ""  # of the field that is bound

    def codec(self, index: int, t: Any) -> Any:
        """The codec of the stored type with an index, for the Python type t, None for any."""
        at = self.bind(index, t)
        return _everheap.Codec(at, self.nodes)

    def part(self, i: int, t: Any, step: str) -> int:
        """bind for a part of the type that is being bound: step says which, for errors."""
        outer = self.path
        self.path += step
        at = self.bind(i, t)
        self.path = outer
        return at

    def refuse(self, why: str) -> Unstorable:
        return Unstorable(f"everheap: {f'field {self.path}: ' if self.path else ''}{why}; let a Go program read it")

    def bind(self, i: int, t: Any) -> int:
        if typing.get_origin(t) is typing.Annotated:
            wanted = next((a.text for a in typing.get_args(t)[1:] if isinstance(a, GoType)), None)
            if wanted is not None and self.stored[i]["kind"] != wanted:
                raise Mismatch
            t = typing.get_args(t)[0]
        try:
            key = (i, t)
            have = self.memo.get(key)
        except TypeError:
            key, have = (i, repr(t)), self.memo.get((i, repr(t)))
        if have is not None:
            return have
        at = self.memo[key] = len(self.nodes)
        self.nodes.append(None)
        self.nodes[at] = self.node(self.stored[i], i, t)
        return at

    def empty(self, i: int) -> bool:
        s = self.stored[i]
        if s["kind"] == "struct":
            return all(self.empty(f["type"]) for f in s.get("fields", []))
        return s["kind"] == "array" and (s.get("len", 0) == 0 or self.empty(s["elem"]))

    def node(self, s: Dict[str, Any], i: int, t: Any) -> Any:
        kind, name = s["kind"].lower(), s.get("name", "")

        def made(k: int, text: str, size: int = 0, signed: int = 0, n: int = 0, elem: int = -1, cls: Any = None, fields: Any = None) -> Any:
            return (k, text, size, signed, int(self.empty(i)), n, elem, cls, fields or [])

        def want(*types: Any) -> None:
            if t is not None and t not in types:
                raise Mismatch

        if name == "time.Duration" and (t is None or t is datetime.timedelta):
            return made(_DURATION, "timedelta")
        if kind in _INTS:
            want(int)
            size, signed = _INTS[kind]
            return made(_INT, "int" if kind == "int" else kind, size, signed)
        if kind in ("float32", "float64"):
            want(float)
            return made(_FLOAT, "float", int(kind[5:]) // 8)
        if kind in ("complex64", "complex128"):
            want(complex)
            return made(_COMPLEX, "complex", int(kind[7:]) // 8)
        if kind == "bool":
            want(bool)
            return made(_BOOL, "bool")
        if kind == "string":
            want(str)
            return made(_STR, "str")
        if kind == "time.time":
            want(datetime.datetime)
            return made(_TIME, "datetime")
        if kind in ("netip.addr", "netip.addrport", "netip.prefix", "binary", "text"):
            want(bytes)
            return made(_CODED, "bytes")
        if kind in ("map", "sorted", "list", "ref"):
            h = handle_of(_optional(t) or t) if t is not None else None
            if t is not None and (h is None or h[0].lower() != kind):
                raise Mismatch
            return made(_HANDLE, s["kind"], cls=self.handle(kind, i))
        if kind == "pointer":
            inner = None
            if t is not None:
                inner = _optional(t)
                if inner is None:
                    raise Mismatch
            if self.stored[s["elem"]]["kind"] == "pointer":
                raise self.refuse("a pointer to a pointer has no Python type")
            return made(_POINTER, "Optional", elem=self.bind(s["elem"], inner))
        if kind in ("dict", "built-in map"):
            args = typing.get_args(t) if t is not None else (None, None)
            if t is not None and typing.get_origin(t) is not dict:
                raise Mismatch
            return made(_DICT, "dict", elem=self.part(s["elem"], args[1], "{}"), fields=[("key", self.part(s["key"], args[0], "{key}"))])
        if kind == "interface":
            want(Any)
            return made(_INTERFACE, "Any", cls=weakref.proxy(self.concrete))  # the space has it
        if kind in ("slice", "array"):
            return self.row(made, kind, s, i, t)
        if kind == "struct":
            return self.struct(made, s, i, t)
        raise self.refuse(f"the stored type {name or kind} has no Python type")

    def row(self, made: Callable[..., Any], kind: str, s: Dict[str, Any], i: int, t: Any) -> Any:
        elem = self.stored[s["elem"]]
        n = s.get("len", 0)
        if elem["kind"] == "uint8" and t in (None, bytes):
            return made(_BYTES if kind == "slice" else _BYTE_ARRAY, "bytes", n=n)
        args: Tuple[Any, ...] = typing.get_args(t)
        origin = typing.get_origin(t)
        inner, as_tuple = None, kind == "array"
        if t is not None:
            if origin is list and args:
                inner, as_tuple = args[0], False
            elif origin is tuple and len(args) == 2 and args[1] is Ellipsis:
                inner, as_tuple = args[0], True
            elif origin is tuple and kind == "array" and len(args) == n and len(set(args)) == 1:
                inner, as_tuple = args[0], True
            else:
                raise Mismatch
        part = int(kind == "slice" and self.contains_itself(i))
        return made(_SLICE if kind == "slice" else _ARRAY, "tuple" if as_tuple else "list", size=part, signed=int(as_tuple), n=n, elem=self.part(s["elem"], inner, "[]"))

    def contains_itself(self, i: int) -> bool:
        """Whether a slice can contain itself, also by way of pointers: then it is a part."""
        seen, todo = set(), [self.stored[i]["elem"]]
        while todo:
            j = todo.pop()
            if j == i:
                return True
            if j not in seen and self.stored[j]["kind"] not in ("Map", "Sorted", "List", "Ref"):
                seen.add(j)
                todo += [r for r in self.parts(j) if r >= 0]
        return False

    def struct(self, made: Callable[..., Any], s: Dict[str, Any], i: int, t: Any) -> Any:
        fields = s.get("fields", [])
        plain = not s.get("name") and [f["name"] for f in fields] == [f"Item{k}" for k in range(len(fields))] and fields
        if typing.get_origin(t) is tuple or (t is None and plain):
            args = [a for a in typing.get_args(t) if a != ()] if t is not None else [None] * len(fields)
            if len(args) != len(fields) or not plain:
                raise Mismatch
            return made(_TUPLE, "tuple", cls=tuple, fields=[(f"[{k}]", self.part(f["type"], a, f"[{k}]")) for k, (f, a) in enumerate(zip(fields, args))])
        outer = "" if self.path else (s.get("name") or "Struct").split(".")[-1]
        if t is None:
            cls = self.generate(s, i)
            attrs = [f.name for f in dataclasses.fields(cls)]
            return made(_OBJECT, cls.__name__, cls=cls, fields=[(a, self.part(f["type"], None, f"{outer}.{a}")) for a, f in zip(attrs, fields)])
        if not (isinstance(t, type) and (dataclasses.is_dataclass(t) or _is_namedtuple(t))):
            raise Mismatch
        own = _fields_of(t, "")
        if len(own) != len(fields):
            raise Mismatch
        bound = []
        for (attr, given, hint), f in zip(own, fields):
            if f["name"] != (given or f["name"]) or (given is None and f["name"] != go_name(attr) and python_name(f["name"]) != attr):
                raise Mismatch
            bound.append((attr, self.part(f["type"], hint, f"{outer}.{attr}")))
        return made(_OBJECT if dataclasses.is_dataclass(t) else _TUPLE, t.__name__, cls=t, fields=bound)

    def generate(self, s: Dict[str, Any], i: int) -> Any:
        """A dataclass for a stored struct: the same for the same type of a space."""
        if i in self.generated:
            return self.generated[i]
        key = ("*" if i == self.pointed else "") + self.fingerprint(i)
        if key in self.made:
            self.generated[i] = self.made[key]
            return self.made[key]
        names = [f["name"] for f in s.get("fields", [])]
        attrs = [python_name(n) for n in names]
        if len(set(attrs)) != len(attrs) or any(keyword.iskeyword(a) for a in attrs):
            attrs = [n + "_" if keyword.iskeyword(n) else n for n in names]
        bare = (s.get("name") or "Struct").split(".")[-1]
        bare = re.sub(r"\W", "_", bare) or "Struct"
        spec: List[Tuple[str, Any, Any]] = [(a, Any, dataclasses.field(default=None, metadata={"everheap": n})) for a, n in zip(attrs, names)]
        cls = dataclasses.make_dataclass(bare, spec, unsafe_hash=self.hashable(i))  # keys of a dict have hashes
        cls.__module__ = "everheap.stored"
        cls.__everheap_name__ = s.get("name", "")  # type: ignore[attr-defined]
        self.generated[i] = self.made[key] = cls
        for a, f in zip(attrs, s.get("fields", [])):
            cls.__annotations__[a] = self.annotation(f["type"])
        for f in dataclasses.fields(cls):
            f.type = cls.__annotations__[f.name]
        return cls

    def hashable(self, i: int) -> bool:
        """Whether a type can be that of keys: its values have a hash in Python, too."""
        s = self.stored[i]
        if s["kind"] == "struct":
            return all(self.hashable(f["type"]) for f in s.get("fields", []))
        return self.hashable(s["elem"]) if s["kind"] == "array" else s["kind"].lower() not in ("slice", "pointer", "dict", "built-in map", "interface")

    def fingerprint(self, i: int) -> str:
        """A text that is the same for the same types."""
        numbers: Dict[int, int] = {}
        todo = [i]
        while todo:
            j = todo.pop(0)
            if j not in numbers:
                numbers[j] = len(numbers)
                todo += [r for r in self.parts(j) if r >= 0]
        return "|".join(self.renumber(j, numbers) for j in sorted(numbers, key=numbers.__getitem__))

    def parts(self, i: int) -> List[int]:
        s = self.stored[i]
        return [s["elem"], s["key"]] + [f["type"] for f in s.get("fields", [])]

    def renumber(self, j: int, numbers: Dict[int, int]) -> str:
        s = self.stored[j]
        refs = [numbers.get(r, -1) for r in self.parts(j)]
        name = s.get("name") or ""
        if not _DECLARED.fullmatch(name) or s["kind"].lower() in ("map", "sorted", "list", "ref", "dict", name.lower()):
            name = ""  # what is known of the other types, and which descriptions have it differs
        return repr((s["kind"].lower(), name, s.get("len") or 0, [f["name"] for f in s.get("fields", [])], refs))

    def annotation(self, i: int) -> Any:
        """The Python type that stands for a stored one."""
        s = self.stored[i]
        kind = s["kind"].lower()
        if s.get("name") == "time.Duration":
            return datetime.timedelta
        if kind == "int":
            return int
        if kind in _INTS:
            return typing.Annotated[int, GoType(kind)]
        simple = {"float64": float, "float32": float32, "complex128": complex, "complex64": complex64, "bool": bool, "string": str,
                  "time.time": datetime.datetime, "binary": bytes, "text": bytes,
                  "netip.addr": bytes, "netip.addrport": bytes, "netip.prefix": bytes, "interface": Any}
        if kind in simple:
            return simple[kind]
        if kind == "pointer":
            return Optional[self.annotation(s["elem"])]
        if kind in ("slice", "array"):
            if self.stored[s["elem"]]["kind"] == "uint8":
                return bytes
            if i in self.annotating:  # type T []T
                return list
            self.annotating.append(i)
            inner = self.annotation(s["elem"])
            self.annotating.pop()
            return List[inner] if kind == "slice" else Tuple[inner, ...]  # type: ignore[valid-type]
        if kind in ("dict", "built-in map"):
            return Dict[self.annotation(s["key"]), self.annotation(s["elem"])]  # type: ignore[misc,index]
        if kind == "struct":
            fields = s.get("fields", [])
            if not s.get("name") and fields and [f["name"] for f in fields] == [f"Item{k}" for k in range(len(fields))]:
                return Tuple[tuple(self.annotation(f["type"]) for f in fields)]
            return self.generate(s, i)
        cls = next(c for c, n in _handles.items() if n.lower() == kind)
        args = [self.annotation(r) for r in (s["key"], s["elem"]) if r >= 0]
        return cls[tuple(args) if len(args) > 1 else args[0]]


# ---- concrete types in interfaces ----

_KINDS = ("", "bool", "int", "int8", "int16", "int32", "int64", "uint", "uint8", "uint16", "uint32", "uint64", "float32", "float64",
          "complex64", "complex128", "string", "time.Time", "struct", "array", "slice", "pointer", "Map", "Sorted", "List", "Ref",
          "netip.Addr", "netip.AddrPort", "netip.Prefix", "binary", "text", "Dict", "built-in map", "interface")


def read_descriptor(b: bytes) -> List[Dict[str, Any]]:
    """The types of a descriptor as it is stored: see FORMAT.md."""
    at = 1

    def number() -> int:
        nonlocal at
        n = shift = 0
        while True:
            c = b[at]
            at += 1
            n |= (c & 0x7F) << shift
            shift += 7
            if c < 0x80:
                return n

    def text() -> str:
        nonlocal at
        n = number()
        at += n
        return b[at - n:at].decode()

    if b[:1] != b"\x01":
        raise Unstorable("everheap: a stored type is of a newer version than this package")
    types: List[Dict[str, Any]] = []
    for _ in range(number()):
        k = number()
        if k >= len(_KINDS):
            raise Unstorable("everheap: a stored type is of a newer version than this package")
        t: Dict[str, Any] = {"kind": _KINDS[k], "name": text(), "elem": -1, "key": -1}
        number(), number()  # size and alignment
        if t["kind"] == "struct":
            t["fields"] = []
            for _ in range(number()):
                name, _tag, _offset = text(), text(), number()
                t["fields"].append({"name": name, "type": number()})
        elif t["kind"] == "array":
            t["len"], t["elem"] = number(), number()
        elif t["kind"] in ("slice", "pointer", "List", "Ref"):
            t["elem"] = number()
        elif t["kind"] in ("Map", "Sorted", "Dict", "built-in map"):
            t["key"], t["elem"] = number(), number()
        types.append(t)
    return types


def _head(name: bytes, descriptor: bytes) -> bytes:
    return b"".join((len(name).to_bytes(4, "little"), name, len(descriptor).to_bytes(4, "little"), descriptor))


class Concrete:
    """The concrete types of the values in interfaces, of one space. Values have them with them: so
    a class is known from the first value on that was read."""

    def __init__(self, handle: Callable[[str, int], Any], made: Dict[Any, Any]) -> None:
        self.handle, self.made = handle, made
        self.codecs: Dict[Tuple[bytes, bytes], Any] = {}
        self.heads: Dict[type, Tuple[bytes, Any]] = {}  # by the class that a value is
        self.pointers: Dict[type, Tuple[bytes, Any]] = {}  # by the class of a struct: what a pointer to it is

    def codec(self, name: bytes, descriptor: bytes) -> Any:
        """How a value of a concrete type is read."""
        have = self.codecs.get((name, descriptor))
        if have is None:
            stored = read_descriptor(descriptor)
            pointer = stored[0]["kind"] == "pointer"
            have = self.codecs[name, descriptor] = self.learn(_head(name, descriptor), stored, pointer, self.heads)
            if pointer:
                self.learn(_head(name, descriptor), stored, False, self.pointers)
        return have

    def learn(self, head: bytes, stored: List[Dict[str, Any]], pointer: bool, heads: Dict[type, Tuple[bytes, Any]]) -> Any:
        """Returns the codec of a concrete type, and enters it for the class of its values. T and *T
        are two types in an interface, so they are two classes: each is written as it was read."""
        binder = Binder(stored, self.handle, self.made, self)
        i = stored[0]["elem"] if stored[0]["kind"] == "pointer" else 0
        if pointer:
            binder.pointed = i
        codec = binder.codec(0, None)
        cls = binder.generated.get(i)
        if cls is not None and heads.setdefault(cls, (head, codec))[0] != head:
            heads[cls] = (b"", None)  # of two names
        return codec

    def of(self, v: Any) -> Tuple[bytes, Any]:
        """What stands before a value, and how it is written."""
        found = self.heads.get(type(v))
        if found is None and type(v) in _ANY:
            name, types = _ANY[type(v)]
            found = self.heads[type(v)] = _head(name.encode(), b""), Binder(types, self.handle, self.made, self).codec(0, None)
        if found is None:
            found = self.pointers.get(type(v))  # a struct of which only the pointer is registered
        if found is None:
            raise Unstorable(f"everheap: a {type(v).__name__} cannot be stored in an interface: that can be bool, int, float, complex, str, bytes, datetime, "
                             "timedelta, list, dict with str keys, and the class of a value that was read from an interface")
        if found[1] is None:
            raise Unstorable(f"everheap: a {type(v).__name__} stands for several types in interfaces: let a Go program store it")
        return found


def _plain(kind: str, key: int = -1, elem: int = -1) -> Dict[str, Any]:
    return {"kind": kind, "key": key, "elem": elem}


_LIST = ("[]any", [_plain("slice", elem=1), _plain("interface")])

# What Python's own values are in interfaces: types that all programs have registered.
_ANY: Dict[type, Tuple[str, List[Dict[str, Any]]]] = {
    bool: ("bool", [_plain("bool")]), int: ("int", [_plain("int")]), float: ("float64", [_plain("float64")]),
    complex: ("complex128", [_plain("complex128")]), str: ("string", [_plain("string")]),
    bytes: ("[]byte", [_plain("slice", elem=1), _plain("uint8")]),
    datetime.datetime: ("time.Time", [_plain("time.Time")]),
    datetime.timedelta: ("time.Duration", [{**_plain("int64"), "name": "time.Duration"}]),
    list: _LIST, tuple: _LIST,
    dict: ("map[string]any", [_plain("built-in map", key=1, elem=2), _plain("string"), _plain("interface")]),
}
