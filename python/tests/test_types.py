"""What can be stored, under which names, and what is refused."""

import dataclasses
import datetime
import enum
import decimal
import random
import typing
from typing import Dict, List, NamedTuple, Optional, Tuple

import everheap
from everheap import _types
from tests.support import SpaceTest, peer
import subprocess
import unittest

UTC = datetime.timezone.utc


@dataclasses.dataclass
class Inner:
    label: str
    weight: float


class Pair(NamedTuple):
    left: int
    right: Optional[str]


@dataclasses.dataclass
class All:
    a_bool: bool
    an_int: int
    a_float: float
    a_complex: complex
    text: str
    raw: bytes
    when: datetime.datetime
    length: datetime.timedelta
    items: List[Inner]
    numbers: Tuple[int, ...]
    mixed: Tuple[int, str, Inner]
    pair: Pair
    maybe: Optional[int]
    inner: Inner
    other: Optional[Inner]
    small: everheap.int8
    unsigned: everheap.uint64
    single: everheap.float32
    half: everheap.complex64


def example(**changes):
    inner = Inner("x", 0.5)
    return dataclasses.replace(All(True, -(1 << 63), 1e300, 1 - 2j, "grün \0", b"\xff\0", datetime.datetime(2024, 2, 29, 23, 59, 59, 999999, UTC), datetime.timedelta(days=-3, microseconds=7),
                                   [inner, Inner("", -0.0)], (1, 2, 3), (5, "five", inner), Pair(1, None), 7, inner, inner, -128, (1 << 64) - 1, 0.25, 1 + 1j), **changes)


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: int


class Slots:
    __slots__ = ("x", "y")
    __annotations__ = {"x": int, "y": str}

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __eq__(self, other):
        return (self.x, self.y) == (other.x, other.y)


Slots = dataclasses.dataclass(init=False, eq=False)(Slots)


@dataclasses.dataclass
class Tree:
    name: str
    parent: Optional["Tree"] = None
    children: List[Optional["Tree"]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Named:
    user_id: int
    http_host: str
    class_: str
    fooBar: int
    _hidden: int
    x1: int
    other: int = everheap.field(name="ID2", default=0)


class Values(SpaceTest):
    def test_everything_comes_back(self):
        m = self.space.map("m", str, All)
        m["a"] = example()
        self.assertEqual(m["a"], example())
        self.assertIs(type(m["a"].pair), Pair)
        m["b"] = example(maybe=None, other=None, items=[], numbers=())
        self.assertEqual(m["b"], example(maybe=None, other=None, items=[], numbers=()))
        again = self.space.map("m")["a"]  # without types
        self.assertEqual(type(again).__name__, "All")
        for f in dataclasses.fields(All):
            mine, theirs = getattr(m["a"], f.name), getattr(again, f.name)
            if dataclasses.is_dataclass(mine):
                mine, theirs = dataclasses.astuple(mine), dataclasses.astuple(theirs)
            if f.name in ("items", "pair", "mixed", "numbers"):
                continue
            self.assertEqual(mine, theirs, f.name)
        self.assertIs(type(again), type(self.space.map("m")["b"]))
        self.space.map("m")["c"] = again  # and is stored as it was
        self.assertEqual(m["c"], m["a"])

    def test_built_in_maps_of_go(self):
        self.space._call("create", name="gomaps", spec="map[string]struct{Header map[string][]string; N map[int]map[string]int}")
        m = self.space.map("gomaps")

        @dataclasses.dataclass
        class Mine:
            header: Dict[str, List[str]]
            n: Dict[int, Dict[str, int]]

        mine = self.space.map("gomaps", str, Mine)
        for v in (Mine({"X": ["1", "2"], "Y": []}, {3: {"q": 1}, 4: {}}), Mine({}, {})):
            mine["a"] = v
            self.assertEqual(mine["a"], v)
            self.assertEqual((m["a"].header, m["a"].n), (v.header, v.n))
            m["b"] = m["a"]
            self.assertEqual(mine["b"], v)

    def test_plain_types(self):
        for t, values in [(int, [0, -1, (1 << 63) - 1]), (str, ["", "a\0b", "日本"]), (bytes, [b"", b"\0"]), (float, [0.5, float("inf")]), (bool, [True, False]),
                          (datetime.datetime, [datetime.datetime(1, 1, 1, tzinfo=UTC), datetime.datetime(9999, 12, 31, 23, 59, 59, 999999, UTC), datetime.datetime(1969, 12, 31, 23, 59, 59, 1, UTC)]),
                          (datetime.timedelta, [datetime.timedelta(0), datetime.timedelta(microseconds=-1)]), (Optional[int], [None, 5]), (List[List[int]], [[], [[1], []]]),
                          (Tuple[int, str], [(1, "a")]), (Pair, [Pair(1, "b")]), (Frozen, [Frozen(3)]), (Slots, [Slots(1, "a")]), (Dict[str, List[int]], [{}, {"a": [1], "b": []}]), (Dict[int, Dict[str, Optional[Pair]]], [{1: {"x": Pair(1, "p"), "y": None}, 2: {}}]), (Dict[Frozen, int], [{Frozen(1): 2}]), (List[Optional[Pair]], [[None, Pair(1, None)]])]:
            m = self.space.map(_types._text(t), int, t)
            for i, v in enumerate(values):
                m[i] = v
                self.assertEqual(m[i], v)

    def test_keys(self):
        for t, k in [(bool, True), (int, -5), (float, 0.5), (Tuple[int, str], (1, "a")), (Frozen, Frozen(2)), (datetime.datetime, datetime.datetime(2000, 1, 1, tzinfo=UTC))]:
            m = self.space.map("keys " + str(t), t, int)
            m[k] = 1
            self.assertEqual((m[k], list(m)), (1, [k]))
        with self.assertRaises(everheap.Unstorable):
            self.space.map("bad", List[int], int)
        with self.assertRaises(everheap.NaN):
            self.space.map("floats", float, int)[float("nan")] = 1

    def test_shapes_are_kept(self):
        m = self.space.map("m", str, Tree)
        root = Tree("root")
        a, b = Tree("a", root), Tree("b", root)
        root.children = [a, b, a, None]
        root.parent = root
        m["x"] = root
        got = m["x"]
        self.assertIs(got.parent, got)
        self.assertIs(got.children[0], got.children[2])
        self.assertIs(got.children[1].parent, got)
        self.assertIsNone(got.children[3])
        deep = None
        for i in range(100000):  # no recursion
            deep = Tree(str(i), deep)
        m["deep"] = deep
        n, got = 0, m["deep"]
        while got:
            n, got = n + 1, got.parent
        self.assertEqual(n, 100000)

    def test_names_of_fields(self):
        self.space.map("m", str, Named)["a"] = Named(1, "h", "c", 2, 3, 4, 5)
        text = self.space.types()
        for name in ("UserID int", "HTTPHost string", "Class string", "fooBar int", "_hidden int", "X1 int", "ID2 int"):
            self.assertIn("\t" + name, text)
        self.assertEqual(self.space.map("m", str, Named)["a"], Named(1, "h", "c", 2, 3, 4, 5))
        for go in ("Name", "UserID", "HTTPServer", "LastLogin", "X", "Class", "ServeHTTP2", "lower", "Snake_Case", "Ünicode", "ID"):
            python = everheap.python_name(go)
            self.assertTrue(python.isidentifier())
        for python in ("name", "user_id", "x", "last_login", "fooBar", "_private", "class_", "a1", "url", "Title", "__x", "a_1", "a__b", "i_d"):
            go = everheap.go_name(python)
            self.assertIn(everheap.python_name(go) if go != python else python, (python, python), (python, go))

    def test_two_fields_of_one_name(self):
        bad = dataclasses.make_dataclass("Bad", [("user_id", int), ("UserID", int)])
        with self.assertRaises(everheap.Unstorable):
            self.space.map("m", str, bad)

    def test_a_declared_type_is_stored_under_its_name(self):
        class Post(NamedTuple):
            title: str

        Post.__everheap_name__ = "forum.Post"
        self.space.map("m", str, Post)
        self.assertEqual(self.space.collections()[0][1], "map[string]forum.Post")


class Refused(SpaceTest):
    def test_types(self):
        class Color(enum.Enum):
            RED = 1

        @dataclasses.dataclass
        class Deep:
            inner: List[Tuple[int, typing.Set[int]]]

        @dataclasses.dataclass
        class Plain:
            x: object

        for t, path, way in [(dict, "", "space.map"), (Color, "", "value"), (decimal.Decimal, "", "str"), (set, "", "list"), (list, "", "elements"),
                             (object, "", "Any"), (datetime.date, "", "datetime"), (typing.Union[int, str], "", "dataclass"), (Deep, "Deep.inner[][1]", "list"),
                             (Plain, "Plain.x", "Any"), (object(), "", "dataclass"), ("User", "", "class")]:
            with self.assertRaises(everheap.Unstorable) as caught:
                self.space.map("m", str, t)
            self.assertIn(path, str(caught.exception))
            self.assertIn(way, str(caught.exception))
        self.assertEqual(self.space.collections(), [])

    def test_values_of_any_type(self):
        m = self.space.map("any", str, typing.Any)
        for v in (5, "text", 2.5, True, b"raw", [1, "a"], {"k": [2.5, None]}, None):
            m["a"] = v
            self.assertEqual(m["a"], v)
        with self.assertRaises(everheap.Error):
            m["a"] = object()
        self.assertIsNone(m["a"])

    def test_values(self):
        m = self.space.map("m", str, All)
        for changes, error, text in [
            ({"an_int": 1 << 63}, OverflowError, "an_int"), ({"an_int": 1.0}, TypeError, "an_int: int is expected, and not float"), ({"small": 128}, OverflowError, "small"),
            ({"unsigned": -1}, OverflowError, "unsigned"), ({"a_float": "x"}, TypeError, "a_float"), ({"a_float": 10**400}, OverflowError, "a_float"), ({"text": b"x"}, TypeError, "text"), ({"raw": "x"}, TypeError, "raw"),
            ({"text": "\ud800"}, ValueError, "surrogate"), ({"when": datetime.datetime(2024, 1, 1)}, ValueError, "time zone"), ({"when": 5}, TypeError, "when"),
            ({"length": datetime.timedelta(days=200000)}, OverflowError, "length"), ({"items": [Inner("a", 1), 5]}, TypeError, "items[1]"), ({"items": [Inner("a", None)]}, TypeError, "items[0].weight"),
            ({"items": None}, TypeError, "items"), ({"mixed": (1, "a")}, ValueError, "mixed"), ({"mixed": (1, 2, Inner("", 0))}, TypeError, "mixed"), ({"pair": (1, 2, 3)}, ValueError, "pair"),
            ({"a_bool": 1}, TypeError, "a_bool"), ({"inner": None}, TypeError, "inner"), ({"maybe": "x"}, TypeError, "int"),
        ]:
            with self.assertRaises(error, msg=changes) as caught:
                m["a"] = example(**changes)
            self.assertIsInstance(caught.exception, everheap.Invalid)
            self.assertIn(text, str(caught.exception))
        self.assertEqual(len(m), 0)
        with self.assertRaises(everheap.WrongType):
            m[5]
        with self.assertRaises(everheap.WrongType):
            5 in m
        lacking = Inner("a", 1)
        del lacking.weight
        with self.assertRaises(everheap.Invalid):
            self.space.map("i", str, Inner)["a"] = lacking

    def test_ints_beyond_64_bits(self):
        numbers, lists, tables, anything = self.space.map("n", int, int), self.space.list("l", List[int]), self.space.map("t", str, Dict[str, int]), self.space.map("any", str, typing.Any)
        unsigned = self.space.map("u", everheap.uint64, everheap.uint64)
        for n in (1 << 63, -(1 << 63) - 1, 1 << 64, 10**400, -(10**400)):
            for f in (lambda: numbers.__setitem__(n, 1), lambda: numbers.__setitem__(1, n), lambda: numbers[n], lambda: n in numbers, lambda: numbers.get_many([1, n]), lambda: numbers.update([(1, 1), (2, n)]),
                      lambda: lists.append([1, n]), lambda: tables.__setitem__("a", {"x": n}), lambda: anything.__setitem__("a", n), lambda: anything.__setitem__("a", [{"x": n}])):
                with self.assertRaises(OverflowError, msg=n) as caught:
                    f()
                self.assertIsInstance(caught.exception, everheap.OutOfRange)
            if n != 1 << 63:
                with self.assertRaises(everheap.OutOfRange):
                    unsigned[n] = 1
        unsigned[(1 << 64) - 1] = 1 << 63
        self.assertEqual(dict(unsigned), {(1 << 64) - 1: 1 << 63})
        self.assertEqual((len(numbers), len(lists), len(tables), len(anything)), (0, 0, 0, 0))

    def test_naive_times(self):
        naive = datetime.datetime(2024, 1, 1)
        times, anything = self.space.map("t", datetime.datetime, List[datetime.datetime]), self.space.map("any", str, typing.Any)
        aware = naive.replace(tzinfo=UTC)
        for f in (lambda: times.__setitem__(naive, []), lambda: times.__setitem__(aware, [aware, naive]), lambda: times[naive], lambda: naive in times, lambda: anything.__setitem__("a", [naive])):
            with self.assertRaises(everheap.Invalid) as caught:
                f()
            self.assertIn("time zone", str(caught.exception))
        self.assertEqual((len(times), len(anything)), (0, 0))

    def test_surrogates(self):
        m = self.space.map("m", str, str)
        m["a"] = b"not \xff UTF-8".decode("utf-8", "surrogateescape")  # as file names have them
        self.assertEqual(m["a"].encode("utf-8", "surrogateescape"), b"not \xff UTF-8")
        m["a\udc80"] = "b\udcff"
        self.assertEqual([k for k in m if m[k] == "b\udcff"], ["a\udc80"])
        for lone in ("\ud800", "a\udbff", "\udc00", "x\udc7f"):  # that stand for no byte
            for f in (lambda: m.__setitem__("x", lone), lambda: m.__setitem__(lone, "x"), lambda: m[lone], lambda: lone in m, lambda: m.update({"x": lone})):
                with self.assertRaisesRegex(everheap.Invalid, "surrogate"):
                    f()
        self.assertEqual(len(m), 2)

    def test_aware_times_are_instants(self):
        m = self.space.map("m", str, datetime.datetime)
        there = datetime.datetime(2024, 1, 1, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=5, minutes=30)))
        m["a"] = there
        self.assertEqual(m["a"], there)
        self.assertEqual(m["a"].tzinfo, UTC)

    def test_another_type_than_the_stored_one(self):
        self.space.map("m", str, Inner)
        other = dataclasses.make_dataclass("Inner", [("label", str), ("weight", int)])
        with self.assertRaises(everheap.TypeChanged) as caught:
            self.space.map("m", str, other)
        self.assertIn("Weight", str(caught.exception))
        for f in (lambda: self.space.map("m", int, Inner), lambda: self.space.sorted("m", str, Inner), lambda: self.space.list("m"), lambda: self.space.ref("m", int), lambda: self.space.list("m", str)):
            with self.assertRaises(everheap.TypeChanged):
                f()
        with self.assertRaises(everheap.NotFound):
            self.space.map("missing")

    def test_evolve(self):
        old = dataclasses.make_dataclass("Thing", [("name", str)])
        new = dataclasses.make_dataclass("Thing", [("name", str), ("size", int)])
        m = self.space.map("m", str, old)
        m["a"] = old("x")
        with self.assertRaises(everheap.TypeChanged):
            self.space.map("m", str, new)
        self.assertEqual(self.space.map("m", str, new, evolve=True)["a"], new("x", 0))
        with self.assertRaises(everheap.TypeChanged):
            m["a"]


class RandomTypes(SpaceTest):
    """Random types and values, through Python and Go and back."""

    def random_type(self, r, depth=0):
        simple = [bool, int, str, bytes, float, datetime.datetime, datetime.timedelta, everheap.int8, everheap.int16, everheap.int32, everheap.uint8, everheap.uint16, everheap.uint32, everheap.uint64, everheap.float32]
        if depth > 3 or r.random() < 0.4:
            return r.choice(simple)
        what = r.randrange(7)
        inner = self.random_type(r, depth + 1)
        if what == 0:
            return List[inner]
        if what == 1:
            return Tuple[inner, ...]
        if what == 2 and typing.get_origin(inner) is not typing.Union:
            return Optional[inner]
        if what == 3:
            return Tuple[tuple(self.random_type(r, depth + 1) for _ in range(r.randrange(1, 4)))]
        if what == 6:
            return Dict[r.choice([int, str, bool, datetime.datetime, everheap.int16]), inner]
        fields = [(f"field_{chr(97 + i)}", self.random_type(r, depth + 1)) for i in range(r.randrange(1, 5))]
        name = f"T{r.randrange(1 << 40)}"
        return NamedTuple(name, fields) if what == 4 else dataclasses.make_dataclass(name, fields)

    def random_value(self, r, t):
        origin, args = typing.get_origin(t), typing.get_args(t)
        if origin is typing.Annotated:
            go = args[1].text
            if go == "float32":
                return float(r.randrange(-1000, 1000)) / 8
            bits = int(go.lstrip("uint"))
            return r.randrange(1 << bits) if go[0] == "u" else r.randrange(-1 << bits - 1, 1 << bits - 1)
        if origin is typing.Union:
            return None if r.random() < 0.3 else self.random_value(r, args[0])
        if origin is list or origin is tuple and len(args) == 2 and args[1] is Ellipsis:
            return origin(self.random_value(r, args[0]) for _ in range(r.choice([0, 1, 3])))
        if origin is dict:
            return {self.random_value(r, args[0]): self.random_value(r, args[1]) for _ in range(r.choice([0, 1, 5]))}
        if origin is tuple:
            return tuple(self.random_value(r, a) for a in args)
        if t is bool:
            return r.random() < 0.5
        if t is int:
            return r.choice([0, -1, r.randrange(-1 << 63, 1 << 63)])
        if t is float:
            return r.choice([0.0, r.random() * 10 ** r.randrange(-300, 300), -1.5])
        if t is str:
            return "".join(r.choice("aß日\0\"\\ 🎉<&\u2028") for _ in range(r.randrange(6)))
        if t is bytes:
            return bytes(r.randrange(256) for _ in range(r.randrange(6)))
        if t is datetime.datetime:
            return datetime.datetime(r.randrange(1, 10000), r.randrange(1, 13), r.randrange(1, 29), r.randrange(24), r.randrange(60), r.randrange(60), r.randrange(1000000), UTC)
        if t is datetime.timedelta:
            return datetime.timedelta(microseconds=r.randrange(-1 << 60, 1 << 60) // 1000)
        hints = typing.get_type_hints(t, include_extras=True)
        return t(**{k: self.random_value(r, h) for k, h in hints.items()})

    def test_through_go(self):
        seed = random.randrange(1 << 30)
        r = random.Random(seed)
        with self.subTest(seed=seed):
            types = [self.random_type(r) for _ in range(40)]
            want = []
            for i, t in enumerate(types):
                m = self.space.map(f"m{i}", int, t)
                self.space.map(f"m{i}_json", int, t)
                values = {k: self.random_value(r, t) for k in range(8)}
                m.update(values)
                want.append(values)
                self.assertEqual(dict(m), values, t)
            subprocess.run([peer(), "json", self.path], check=True)
            for i, t in enumerate(types):
                self.assertEqual(dict(self.space.map(f"m{i}_json", int, t)), want[i], t)
                untyped = self.space.map(f"m{i}_json")
                back = dict(untyped)
                untyped.update(back)  # as generated classes
                self.assertEqual(dict(self.space.map(f"m{i}_json", int, t)), want[i], t)

    def test_of_go(self):
        seed = str(random.randrange(1 << 30))
        with self.subTest(seed=seed):
            subprocess.run([peer(), "fill", self.path, seed], check=True)
            copied = 0
            for name, _, _ in self.space.collections():
                if not name.endswith("_copy"):
                    self.space.map(name + "_copy").update(self.space.map(name))
                    copied += 1
            self.assertEqual(copied, 13)
            subprocess.run([peer(), "compare", self.path, seed], check=True)

    def test_random_types_of_go(self):
        seed = str(random.randrange(1 << 30))
        with self.subTest(seed=seed):
            subprocess.run([peer(), "random", self.path, seed], check=True)
            for i in range(60):
                with self.subTest(self.space.types(f"random{i}")):
                    copy = self.space.map if (f"random{i}", "map") in self.kinds() else self.space.sorted
                    copy(f"random{i}_copy").update(copy(f"random{i}").items())
            out = subprocess.run([peer(), "equal", self.path], stderr=subprocess.PIPE, text=True)
            self.assertEqual(out.stderr, "")

    def kinds(self):
        return {(name, text.split("[")[0]) for name, text, _ in self.space.collections()}

    def test_a_go_program_uses_what_python_has_declared(self):
        @dataclasses.dataclass
        class Circle:
            radius: float
            tags: List[str]

        m = self.space.map("circles", str, Circle)
        m.update(a=Circle(1.5, []), b=Circle(2.0, ["ü"]))
        subprocess.run([peer(), "circles", self.path], check=True)
        self.assertEqual(dict(m), {"a": Circle(3.0, ["doubled"]), "b": Circle(4.0, ["ü", "doubled"])})

    def test_a_record_of_go(self):
        subprocess.run([peer(), "fill", self.path, "1"], check=True)
        record = next(iter(self.space.map("records").values()))
        self.assertEqual([f.name for f in dataclasses.fields(record)][:3], ["user_id", "http_host", "raw"])
        self.assertIs(type(record.where), type(self.space.map("points").popitem()[1]))

        @dataclasses.dataclass
        class Hidden:
            class_: str
            def_: everheap.uint8 = everheap.field(name="def")

        self.assertIsInstance(self.space.map("hidden", str, Hidden).popitem()[1], Hidden)


class Codecs(unittest.TestCase):
    def test_damaged_bytes_are_errors(self):
        stored = [{"kind": "struct", "name": "main.T", "elem": -1, "key": -1, "fields": [{"name": "A", "type": 1}, {"name": "B", "type": 2}, {"name": "C", "type": 3}]},
                  {"kind": "string", "elem": -1, "key": -1}, {"kind": "slice", "elem": 3, "key": -1}, {"kind": "pointer", "elem": 0, "key": -1}]
        codec = _types.Binder(stored, None, {}).codec(0, None)
        cls = codec.decode(b"\0" * 12).__class__
        v = cls("text", [None], cls("inner", [], None))
        v.c.c = v
        good = codec.encode(v)
        r = random.Random(1)
        for i in range(len(good)):
            with self.assertRaises(SystemError):
                codec.decode(good[:i])
        for _ in range(3000):
            b = bytearray(good)
            for _ in range(r.randrange(1, 4)):
                b[r.randrange(len(b))] = r.randrange(256)
            try:
                codec.decode(bytes(b))
            except (SystemError, NotImplementedError, MemoryError):
                pass


class Registered(SpaceTest):
    """Structs that a Go program has registered, in fields of interface types."""

    def grown(self, shape):
        """The shape that the peer expects: of the same type, and larger by 1."""
        if shape is not None:
            attr = "radius" if hasattr(shape, "radius") else "side"
            setattr(shape, attr, getattr(shape, attr) + 1)
        return shape

    def through(self, way):
        subprocess.run([peer(), "shapes", self.path, way], check=True)
        drawings, grown = self.space.map("drawings"), self.space.map("drawings_grown")
        for key, drawing in drawings.items():
            if drawing.one is not None and hasattr(drawing.one, "next") and drawing.one.next and drawing.one.next.next:
                self.assertIs(drawing.one.next.next, drawing.one)  # rings stay rings
            drawing.one = self.grown(drawing.one)
            grown[key] = drawing
        subprocess.run([peer(), "grown", self.path, way], check=True)
        return drawings

    def test_by_value(self):
        drawings = self.through("value")
        circle = drawings["0"].one
        self.assertEqual((type(circle).__name__, circle.radius, circle.tags), ("Circle", 1.0, ["value"]))
        made = type(circle)(radius=5.0, tags=["made", "here"])  # it is written as what was read
        anything = self.space.map("any", str, typing.Any)
        anything["made"] = [made, {"again": made}]
        self.assertEqual(anything["made"], [made, {"again": made}])
        self.assertIs(type(drawings["0"].circle), type(circle))

    def test_by_pointer(self):
        drawings = self.through("pointer")
        circle, plain = drawings["0"].one, drawings["1"].circle
        self.assertEqual((type(circle).__name__, circle.radius), ("Circle", 10.0))
        anything = self.space.map("any", str, typing.Any)
        anything["a"] = plain  # only the pointer is registered, so that is what it is stored as
        self.assertEqual((type(anything["a"]), anything["a"].radius), (type(circle), plain.radius))

    def test_by_both(self):
        drawings = self.through("both")
        value, pointer = drawings["0"].one, drawings["4"].one
        self.assertEqual((value.radius, pointer.radius), (1.0, 10.0))
        self.assertIsNot(type(value), type(pointer))
        self.assertIs(type(drawings["4"].circle), type(value))
        with everheap.open(self.path) as again:  # an opening has classes of its own
            self.assertEqual(again.map("drawings_grown")["4"].one.radius, 11.0)

    def test_a_class_that_was_not_read_is_refused(self):
        with self.assertRaises(everheap.Unstorable) as caught:
            self.space.map("any", str, typing.Any)["a"] = Inner("a", 1.0)
        self.assertIn("Inner", str(caught.exception))

    def test_a_pointer_to_a_pointer_is_refused_by_its_path(self):
        subprocess.run([peer(), "pointers", self.path], check=True)
        with self.assertRaisesRegex(everheap.Unstorable, r"field Struct\.rows\[\]\.pointer\{\}: a pointer to a pointer has no Python type; let a Go program read it"):
            self.space.map("pointers")
