"""Map, Sorted, List and Ref do what a dict, a sorted dict, a list and a variable do."""

import dataclasses
import random
import threading
from typing import Optional

import everheap
from tests.support import SpaceTest


@dataclasses.dataclass
class User:
    name: str
    logins: int = 0


@dataclasses.dataclass
class Node:
    name: str
    next: Optional[everheap.Ref["Node"]] = None


class Maps(SpaceTest):
    def test_it_is_a_mutable_mapping(self):
        m = self.space.map("users", str, User)
        m["ada"] = User("Ada", 1)
        self.assertEqual(m["ada"], User("Ada", 1))
        self.assertIn("ada", m)
        self.assertNotIn("bob", m)
        self.assertEqual(len(m), 1)
        self.assertEqual(m.get("bob"), None)
        self.assertEqual(m.get("bob", 7), 7)
        self.assertEqual(m.setdefault("bob", User("Bob")), User("Bob"))
        self.assertEqual(m.setdefault("bob", User("Rob")), User("Bob"))
        self.assertEqual(m.pop("bob"), User("Bob"))
        self.assertEqual(m.pop("bob", None), None)
        with self.assertRaises(KeyError):
            m.pop("bob")
        with self.assertRaises(everheap.NotFound) as caught:
            m["bob"]
        self.assertEqual(caught.exception.args, ("bob",))
        with self.assertRaises(KeyError):
            del m["bob"]
        m.update({"x": User("X")}, y=User("Y"))
        m.update([("z", User("Z"))])
        self.assertEqual(sorted(m), ["ada", "x", "y", "z"])
        self.assertEqual(sorted(m.keys()), ["ada", "x", "y", "z"])
        self.assertEqual(sorted(v.name for v in m.values()), ["Ada", "X", "Y", "Z"])
        self.assertEqual(dict(m.items()), dict(m))
        self.assertEqual(m, dict(m))
        self.assertEqual(m.get_many(["x", "nobody", "y"]), [User("X"), None, User("Y")])
        self.assertEqual(m.modify("x", lambda u: User(u.name, 5)).logins, 5)
        self.assertEqual(m["x"].logins, 5)
        m.modify("new", lambda u: None, default=User("New"))
        self.assertEqual(m["new"], User("New"))
        key, value = m.popitem()
        self.assertNotIn(key, m)
        m.clear()
        self.assertEqual(len(m), 0)
        with self.assertRaises(KeyError):
            m.popitem()

    def test_it_agrees_with_a_dict(self):
        seed = random.randrange(1 << 30)
        r = random.Random(seed)
        m, want = self.space.map("m", int, str), {}
        with self.subTest(seed=seed):
            for _ in range(3000):
                k = r.randrange(-50, 50)
                what = r.randrange(6)
                if what < 2:
                    m[k] = want[k] = str(r.random())
                elif what == 2:
                    self.assertEqual(m.pop(k, None), want.pop(k, None))
                elif what == 3:
                    self.assertEqual(m.get(k), want.get(k))
                elif what == 4:
                    some = {r.randrange(-50, 50): "many" for _ in range(r.randrange(5))}
                    m.update(some)
                    want.update(some)
                else:
                    self.assertEqual((k in m, len(m)), (k in want, len(want)))
            self.assertEqual(dict(m), want)

    def test_an_iteration_sees_one_version(self):
        m = self.space.map("m", int, int)
        m.update((i, i) for i in range(5000))
        seen = []
        for k, v in m.items():
            seen.append(v)
            if len(seen) == 3:
                m.update((i, -1) for i in range(5000))
                del m[0]
        self.assertEqual(sorted(seen), list(range(5000)))
        self.assertEqual(len(m), 4999)

    def test_a_batch_is_one_transaction_and_one_crossing(self):
        m, l = self.space.map("m", int, int), self.space.list("l", int)
        for batch in (lambda: m.update((i, i) for i in range(2000)), lambda: m.update({i: -i for i in range(2000)}), lambda: l.extend(range(2000))):
            before = self.space.version
            batch()
            self.assertEqual(self.space.version, before + 1)
        crossings = []
        walk = m._walk  # what other calls of the library would be
        for name in ("get", "_walk", "_discard"):
            setattr(m, name, lambda *a: crossings.append(a))
        self.assertEqual(m.get_many(range(-1, 2001)), [None, *range(0, -2000, -1), None])
        self.assertEqual(m.get_many([5000, 3], "none"), ["none", -3])
        self.assertEqual((crossings, len(list(walk(1)))), ([], 2000))

    def test_get_many_is_one_version(self):
        m = self.space.map("m", int, int)
        m.update((i, 0) for i in range(50))
        stop = threading.Event()

        def write():
            n = 0
            while not stop.is_set():
                n += 1
                m.update((i, n) for i in range(50))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(200):
                self.assertEqual(len(set(m.get_many(range(50)))), 1)
        finally:
            stop.set()
            writer.join()

    def test_an_update_is_all_or_nothing(self):
        m = self.space.map("m", str, int)
        with self.assertRaises(everheap.WrongType):
            m.update([("a", 1), ("b", "two")])
        self.assertEqual(len(m), 0)


class SortedMaps(SpaceTest):
    def test_it_is_in_order(self):
        m = self.space.sorted("m", int, str)
        keys = list(range(0, 200, 2))
        random.shuffle(keys)
        m.update((k, str(k)) for k in keys)
        self.assertEqual(list(m), sorted(keys))
        self.assertEqual(list(reversed(m)), sorted(keys, reverse=True))
        self.assertEqual(list(m[10:16]), [10, 12, 14])
        self.assertEqual(list(m[11:17]), [12, 14, 16])
        self.assertEqual(list(m[190:]), [190, 192, 194, 196, 198])
        self.assertEqual(list(reversed(m[:5])), [4, 2, 0])
        self.assertEqual(list(m[10:14].items()), [(10, "10"), (12, "12")])
        self.assertEqual(list(m[10:14].values(reverse=True)), ["12", "10"])
        for lo, hi, inclusive in [(10, 20, (True, True)), (10, 20, (False, False)), (None, 5, (True, True)), (9, None, (True, False)), (20, 10, (True, True))]:
            want = [k for k in sorted(keys) if (lo is None or k > lo or k == lo and inclusive[0]) and (hi is None or k < hi or k == hi and inclusive[1])]
            self.assertEqual(list(m.irange(lo, hi, inclusive)), want)
            self.assertEqual(list(m.irange(lo, hi, inclusive, reverse=True)), want[::-1])
            self.assertEqual(len(m._range(lo, hi, inclusive)), len(want))
        self.assertEqual(m.peekitem(), (198, "198"))
        self.assertEqual(m.peekitem(0), (0, "0"))
        self.assertEqual(m.rank(11), 6)
        with self.assertRaises(IndexError):
            m.peekitem(100)
        del m[10:20]
        self.assertEqual(len(m), 95)
        with self.assertRaises(everheap.Invalid):
            m[1:9:2]

    def test_prefixes(self):
        m = self.space.sorted("m", str, int)
        m.update({"user:b": 2, "user:a": 1, "post:a": 3, "usher": 4})
        self.assertEqual(list(m.prefix("user:")), [("user:a", 1), ("user:b", 2)])


class Lists(SpaceTest):
    def test_it_agrees_with_a_list(self):
        seed = random.randrange(1 << 30)
        r = random.Random(seed)
        got, want = self.space.list("l", int), []
        with self.subTest(seed=seed):
            for i in range(600):
                at = r.randrange(-len(want) - 1, len(want) + 2)
                what = r.randrange(9)
                if what < 3:
                    got.append(i), want.append(i)
                elif what == 3:
                    got.insert(at, i), want.insert(at, i)
                elif what == 4:
                    self.assertEqual(self.outcome(got.pop, at), self.outcome(want.pop, at))
                elif what == 5:
                    self.assertEqual(self.outcome(got.__setitem__, at, i), self.outcome(want.__setitem__, at, i))
                elif what == 6:
                    s = slice(at, r.randrange(-5, 5))
                    values = [i] * r.randrange(4)
                    got[s] = values
                    want[s] = values
                elif what == 7:
                    s = slice(at, None, r.choice([1, 2, -1, -3]))
                    self.assertEqual(got[s], want[s])
                    del got[s]
                    del want[s]
                else:
                    got.extend([i, i]), want.extend([i, i])
                self.assertEqual(list(got), want)
            self.assertEqual(len(got), len(want))
            self.assertEqual(list(reversed(got)), want[::-1])
            got += [5, 6]
            self.assertIn(6, got)
            self.assertEqual(got.index(6), want.index(6) if 6 in want else len(want) + 1)
            got.reverse()
            self.assertEqual(got, (want + [5, 6])[::-1])
            got.clear()
            self.assertEqual(list(got), [])

    def outcome(self, f, *args):
        try:
            return f(*args)
        except IndexError:
            return IndexError

    def test_errors_are_index_errors(self):
        l = self.space.list("l", str)
        for f in (lambda: l[0], lambda: l[-1], l.pop, lambda: l.__setitem__(0, "a"), lambda: l.__delitem__(0)):
            with self.assertRaises(IndexError):
                f()
        with self.assertRaises(TypeError):
            l["a"]
        with self.assertRaises(TypeError):
            l.append(5)


class Refs(SpaceTest):
    def test_a_single_value(self):
        r = self.space.ref("config", User, User("first"))
        self.assertEqual(r.get(), User("first"))
        r.set(User("second"))
        self.assertEqual(self.space.ref("config", User, User("third")).get(), User("second"))
        r.modify(lambda u: User(u.name, 3))
        self.assertEqual(r.value, User("second", 3))
        self.assertEqual(self.space.ref("zero", User).get(), User("", 0))

    def test_identity_and_circles(self):
        m = self.space.map("nodes", str, Node)
        with self.space.update():
            a = self.space.new_ref(Node("a"))
            b = self.space.new_ref(Node("b", a))
            a.set(Node("a", b))
            m["a"], m["also a"] = Node("first", a), Node("second", a)
        one, two = m["a"].next, m["also a"].next
        self.assertEqual(one, two)
        self.assertEqual(hash(one), hash(two))
        self.assertEqual(one.get().next.get().next, one)
        one.set(Node("changed", one))
        self.assertEqual(two.get().name, "changed")
        self.assertEqual(two.get().next, two)

    def test_a_reference_is_found_without_a_type(self):
        m = self.space.map("nodes", str, Node)
        with self.space.update():
            m["a"] = Node("a", self.space.new_ref(Node("b")))
        out = self.run_python("import everheap, sys; v = everheap.open(sys.argv[1]).map('nodes')['a']; print(v.name, v.next.get().name, v.next.get().next)", self.path)
        self.assertEqual(out, "a b None\n")

    def test_collections_in_values(self):
        @dataclasses.dataclass
        class Forum:
            title: str
            posts: everheap.List[str]
            votes: everheap.Map[str, int]

        forums = self.space.map("forums", str, Forum)
        with self.space.update():
            forums["x"] = Forum("X", self.space.new("list", str), self.space.new("map", str, int))
        posts = forums["x"].posts
        posts = posts.open() if isinstance(posts, everheap.Handle) else posts
        posts.append("hello")
        again = self.space._by_id(posts.id)
        self.assertEqual(list(again)[-1], "hello")

    def test_what_has_no_name_needs_an_update(self):
        with self.assertRaises(everheap.Error):
            self.space.new_ref(User("a"))
