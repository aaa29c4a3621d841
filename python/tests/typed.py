"""A program as users write them, for test_typing: it is not run. Behind "reveals" is the type that
mypy finds, and behind "refused" why it finds fault with the line."""

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import everheap
from everheap import Ref, uint8


@dataclass
class User:
    name: str
    level: uint8
    seen: datetime
    friend: Optional["Ref[User]"] = None
    posts: Optional["everheap.List[str]"] = None


class Point(NamedTuple):
    x: int
    y: int


def maps(space: everheap.Space) -> None:
    users = space.map("users", str, User)
    reveal_type(users)  # reveals Map[str, User]
    reveal_type(users["ada"])  # reveals User
    reveal_type(users["ada"].level)  # reveals int
    reveal_type(users.get("ada"))  # reveals Union[User, None]
    reveal_type(users.get("ada", 5))  # reveals Union[User, int]
    reveal_type(users.get_many(["ada"]))  # reveals list[Union[User, None]]
    reveal_type(list(users))  # reveals list[str]
    reveal_type(dict(users))  # reveals dict[str, User]
    reveal_type(users.pop("ada"))  # reveals User
    reveal_type(users.popitem())  # reveals Tuple[str, User]
    reveal_type(users.setdefault("ada", User("Ada", 1, datetime.now(timezone.utc))))  # reveals User
    reveal_type([(k, v) for k, v in users.items()])  # reveals list[Tuple[str, User]]
    reveal_type(next(iter(users.values())))  # reveals User
    reveal_type(users.modify("ada", lambda u: None))  # reveals User
    users.update({"bob": User("Bob", 2, datetime.now(timezone.utc))})
    users.update([("bob", User("Bob", 2, datetime.now(timezone.utc)))], eve=User("Eve", 3, datetime.now(timezone.utc)))
    users["ada"] = 5  # refused assignment
    users[5]  # refused index
    users.update([("bob", 5)])  # refused list-item
    users.set("ada", 5)  # refused attr-defined
    reveal_type(space.map("old"))  # reveals Map[Any, Any]
    reveal_type(space.map("maybe", str, Optional[int]))  # reveals Map[str, Any]
    ages: everheap.Map[str, Optional[int]] = space.map("ages", str, Optional[int])
    reveal_type(ages["ada"])  # reveals Union[int, None]
    reveal_type(space.map("rows", int, List[Point]))  # reveals Map[int, list[Point]]
    rows: everheap.Map[Tuple[int, str], Point] = space.map("rows", Tuple[int, str], Point)
    reveal_type(rows[5, "a"])  # reveals Point
    rows["a"]  # refused index
    reveal_type(space.map("tags", Point, Dict[str, int])[Point(1, 2)])  # reveals dict[str, int]


def sorted_maps(space: everheap.Space) -> None:
    m = space.sorted("scores", int, str)
    reveal_type(m)  # reveals Sorted[int, str]
    reveal_type(m[5])  # reveals str
    reveal_type(m[5:9])  # reveals Range[int, str]
    reveal_type(list(m[5:9]))  # reveals list[int]
    reveal_type(list(m[:9].items(reverse=True)))  # reveals list[Tuple[int, str]]
    reveal_type(list(reversed(m[5:])))  # reveals list[int]
    reveal_type(list(m.irange(5, 9, inclusive=(True, False))))  # reveals list[int]
    reveal_type(m.peekitem())  # reveals Tuple[int, str]
    reveal_type(m.rank(7))  # reveals int
    del m[5:9]
    m.irange("a")  # refused arg-type


def lists(space: everheap.Space) -> None:
    names = space.list("names", str)
    reveal_type(names)  # reveals List[str]
    reveal_type(names[0])  # reveals str
    reveal_type(names[1:])  # reveals list[str]
    reveal_type(names.pop())  # reveals str
    reveal_type([n for n in names])  # reveals list[str]
    names.append("ada")
    names += ["bob"]
    names[1:2] = ["eve", "mallory"]
    del names[0]
    names.append(5)  # refused arg-type
    names["a"]  # refused call-overload


def refs(space: everheap.Space) -> None:
    config = space.ref("config", Point, Point(0, 0))
    reveal_type(config.get())  # reveals Point
    reveal_type(config.value)  # reveals Point
    config.set(Point(1, 2))
    config.set(5)  # refused arg-type
    with space.update() as tx:
        reveal_type(tx.version)  # reveals int
        reveal_type(space.new_ref(Point(3, 4)))  # reveals Ref[Point]
    reveal_type(space.ref("count", initial=5).get())  # reveals int


def rest(space: everheap.Space) -> None:
    blobs = space.map("blobs", str, bytes)
    with space.view() as tx:
        reveal_type(tx.peek(blobs, "a"))  # reveals memoryview
    with space.mutex("m"), space.semaphore("s", 3) as permit:
        reveal_type(permit)  # reveals Semaphore
    with blobs.watch(initial=True) as changes:
        for change in changes:
            reveal_type(change.kind)  # reveals str
            reveal_type(change.version)  # reveals int
    try:
        blobs["b"]
    except KeyError as e:
        reveal_type(e)  # reveals KeyError
    found: everheap.Report = space.check()
    reveal_type(found.findings)  # reveals list[str]
    reveal_type(space.collections())  # reveals list[Tuple[str, str, int]]
    reveal_type(everheap.open("forum", max_size=1 << 30))  # reveals Space
    anything: Any = space.map("any", str, Any)["x"]
    print(anything)
