"""Spaces, transactions and named mutexes."""

from __future__ import annotations

import datetime
import json
import os
import threading
import weakref
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List as _List, NamedTuple, Optional, Tuple, Type, TypeVar, Union, overload

from . import _everheap, _types
from ._collections import Handle, List, Map, Ref, Sorted, _Base, _kinds
from ._errors import Closed, Error, NotFound, OwnerDied, Self, TypeChanged, Unstorable

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

_VIEW, _UPDATE, _VIEW_AT, _DURABLE = 0, 1, 2, 3

_open_spaces: "Dict[int, Space]" = {}  # by the handle of the library
_shared: "Dict[Tuple[str, bool, bool, bool], _Opened]" = {}  # what spaces of this process share: by directory, durability, reading, verifying


def _operate(handle: int, op: str, /, **arguments: Any) -> Any:
    return json.loads(_everheap.operate(handle, op, json.dumps(arguments)))


class _Opened:
    """One handle of the library, which all openings of a space in this process share, so that a
    thread in a transaction is in it whichever of them it uses."""

    def __init__(self, handle: int, dir: str, durable: bool) -> None:
        self.core = _everheap.Core(handle, durable)
        self.dir, self.durable = dir, durable
        self.users = 0


_lock = threading.Lock()


def open(name: Union[str, "os.PathLike[str]"], *, read_only: bool = False, max_size: int = 0, flush_interval: float = 0.0, durable: bool = False,
         verify: bool = False, dir: Optional[str] = None, mode: int = 0, collect: bool = True) -> "Space":
    """Opens the space with a registered name, or the one in a directory if name has a separator,
    and creates it if it does not exist. The options are those of Go: WithReadOnly, WithMaxSize
    (bytes), WithFlushInterval (seconds), Durable, WithVerify, WithDir, WithMode, WithoutCollect.

    Openings of one process share what they can; what an opening says of durability and verifying
    is its own. One that reads only and one that writes exclude each other: Busy."""
    text = os.fspath(name)
    if isinstance(text, bytes):
        text = os.fsdecode(text)
    got = _operate(0, "open", name=text, read_only=read_only, max_size=max_size, flush_interval=flush_interval, durable=durable, verify=verify,
                   dir=dir or "", mode=mode, no_collect=not collect)
    key = (got["dir"], durable, read_only, verify)
    with _lock:
        opened = _shared.get(key)
        if opened is not None and opened.core.handle:
            opened.users += 1
        else:
            opened = _shared[key] = _Opened(got["handle"], got["dir"], durable)
            opened.users = 1
            got = None
    if got is not None:
        _operate(got["handle"], "close", handle=got["handle"])
    space = Space(text, opened, key)
    return space


def restore_backup(name: str, path: Union[str, "os.PathLike[str]"], *, max_size: int = 0) -> None:
    """Creates a space from the file that backup() wrote."""
    _operate(0, "restore_backup", name=os.fspath(name), path=os.path.abspath(os.fspath(path)), max_size=max_size)


def close_all() -> None:
    """Closes all spaces: transactions that are open are aborted. Runs when the interpreter exits."""
    for space in list(_open_spaces.values()):
        try:
            space._end()
        except BaseException:  # the process ends, and others lose nothing
            pass


class Report(NamedTuple):
    """What check() found: findings is empty if the space is sound."""

    version: int
    objects: int
    entries: int
    findings: _List[str]


class Checkpoint(NamedTuple):
    """A version with a name. bytes is what dropping it would free."""

    name: str
    version: int
    created: datetime.datetime
    bytes: int


class Space:
    """An open space. Any number of threads may use it."""

    def __init__(self, name: str, opened: _Opened, key: Any) -> None:
        self.name = name
        self._opened = opened
        self._core = opened.core
        self._key = opened.dir
        self._shared_key = key
        self._made: Dict[Any, Any] = {}
        weak = weakref.proxy(self)  # codecs cannot be in cycles that the collector finds
        self._concrete = _types.Concrete(lambda kind, index: lambda id: weak._handles_for([], None)(kind, index)(id), self._made)
        self._known: "weakref.WeakValueDictionary[int, Any]" = weakref.WeakValueDictionary()
        self._closed = False
        self._mutexes: Dict[str, int] = {}
        _open_spaces[id(self)] = self

    # ---- opening and closing ----

    def _call(self, op: str, /, **arguments: Any) -> Any:
        if self._closed:
            raise Closed("everheap: the space is closed")
        return _operate(self._core.handle, op, **arguments)

    def close(self) -> None:
        """Ends this opening. Transactions, iterations and watches that are open end with it."""
        if self._closed:
            return
        if self._core.lent:
            raise BufferError("everheap: memoryviews of the space are in use; release them first")
        self._end()

    def _end(self) -> None:
        with _lock:
            if self._closed:
                return
            self._closed = True
            _open_spaces.pop(id(self), None)
            self._opened.users -= 1
            if self._opened.users:
                return
            handle = self._core.handle
            self._core.handle = 0
            if _shared.get(self._shared_key) is self._opened:
                del _shared[self._shared_key]
        if not self._core.lent:
            _operate(handle, "close", handle=handle)

    def __enter__(self) -> "Space":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<everheap.Space {self.name}{', closed' if self._closed else ''}>"

    def __reduce__(self) -> Any:
        raise TypeError("everheap: a space belongs to its process; open it in the other one, by its name")

    # ---- collections ----

    @overload
    def map(self, name: str, key: Type[K], value: Type[V], *, evolve: bool = False) -> Map[K, V]: ...

    @overload
    def map(self, name: str, key: Type[K], value: Any, *, evolve: bool = False) -> Map[K, Any]: ...

    @overload
    def map(self, name: str, key: Any = None, value: Any = None, *, evolve: bool = False) -> Map[Any, Any]: ...

    def map(self, name: str, key: Any = None, value: Any = None, *, evolve: bool = False) -> Map[Any, Any]:
        """The map with a name. It is created if types are given and there is none; without types
        it is read with those that are stored, records as generated dataclasses."""
        found: Map[Any, Any] = self._collection("map", name, key, value, evolve)
        return found

    @overload
    def sorted(self, name: str, key: Type[K], value: Type[V], *, evolve: bool = False) -> Sorted[K, V]: ...

    @overload
    def sorted(self, name: str, key: Type[K], value: Any, *, evolve: bool = False) -> Sorted[K, Any]: ...

    @overload
    def sorted(self, name: str, key: Any = None, value: Any = None, *, evolve: bool = False) -> Sorted[Any, Any]: ...

    def sorted(self, name: str, key: Any = None, value: Any = None, *, evolve: bool = False) -> Sorted[Any, Any]:
        """The sorted map with a name; see map."""
        found: Sorted[Any, Any] = self._collection("sorted", name, key, value, evolve)
        return found

    @overload
    def list(self, name: str, value: Type[T], *, evolve: bool = False) -> List[T]: ...

    @overload
    def list(self, name: str, value: Any = None, *, evolve: bool = False) -> List[Any]: ...

    def list(self, name: str, value: Any = None, *, evolve: bool = False) -> List[Any]:
        """The list with a name; see map."""
        found: List[Any] = self._collection("list", name, None, value, evolve)
        return found

    @overload
    def ref(self, name: str, value: Type[T], initial: Optional[T] = None, *, evolve: bool = False) -> Ref[T]: ...

    @overload
    def ref(self, name: str, value: None = None, *, initial: T, evolve: bool = False) -> Ref[T]: ...

    @overload
    def ref(self, name: str, value: Any = None, initial: Any = None, *, evolve: bool = False) -> Ref[Any]: ...

    def ref(self, name: str, value: Any = None, initial: Any = None, *, evolve: bool = False) -> Ref[Any]:
        """The single value with a name; see map. One that is created is initial, or zero."""
        if value is None and initial is not None:
            value = type(initial)
        with self._joined() if initial is not None else _nothing():
            known = initial is None or self._named(name)
            ref: Ref[Any] = self._collection("ref", name, None, value, evolve)
            if not known:
                ref.set(initial)
        return ref

    def new_ref(self, value: T, type: Any = None) -> Ref[T]:
        """A reference to a new object, within update(). It lives while something refers to it."""
        spec = _types.Spec().collection("ref", None, type if type is not None else value.__class__)
        ref: Ref[T] = self._bind(Ref.__new__(Ref), self._call("new", spec=spec, txn=self._writing()), None, type if type is not None else value.__class__)
        ref.set(value)
        return ref

    def new(self, kind: str, *types: Any) -> Any:
        """A new map, sorted, list or ref without a name, within update(): new("list", int)."""
        key, value = types if len(types) == 2 else (None, types[0])
        spec = _types.Spec().collection(kind, key, value)
        return self._bind(_kinds[kind].__new__(_kinds[kind]), self._call("new", spec=spec, txn=self._writing()), key, value)

    def _writing(self) -> int:
        txn = self._core.innermost()
        if not txn:
            raise Error("everheap: what has no name is made within update(), with what refers to it")
        return txn

    def _named(self, name: str) -> bool:
        try:
            self._call("lookup", name=name, txn=self._core.innermost())
        except NotFound:
            return False
        return True

    def _collection(self, kind: str, name: str, key: Any, value: Any, evolve: bool) -> Any:
        txn = self._core.innermost()
        typed = value is not None
        keyed = kind in ("map", "sorted")
        if typed and keyed and key is None or key is not None and not typed:
            raise TypeError("everheap: give the types of the keys and of the values, or none of them")
        spec = _types.Spec().collection(kind, key, value) if typed else ""
        try:
            found = self._call("lookup", name=name, txn=txn)
        except NotFound:
            if not typed:
                raise
            found = self._call("create", name=name, spec=spec, txn=txn)
        cls = _kinds[kind]
        if found["kind"] == kind:
            try:
                return self._bind(cls.__new__(cls), found, key, value, name)
            except _types.Mismatch:
                if evolve:
                    self._call("evolve", name=name, spec=spec)
                    return self._bind(cls.__new__(cls), self._call("lookup", name=name, txn=txn), key, value, name)
        self._call("create", name=name, spec=self._as_stored(kind, key, value, found) or f"{kind}[string]int", txn=txn)  # says how they differ
        raise TypeChanged(f"everheap: {name} is stored as another type: {found['kind']}")

    def _as_stored(self, kind: str, key: Any, value: Any, found: Any) -> str:
        """The text of the types of a program, in which types have the names of the stored ones."""
        if value is None:
            return {"list": "[]int", "ref": "*int"}.get(kind, f"{kind}[string]int")
        names = {t["name"].split(".")[-1]: t["name"] for t in found["types"] if t.get("name") and t["kind"] == "struct"}
        return _types.Spec(names).collection(kind, key, value)

    def _bind(self, c: Any, found: Any, key: Any, value: Any, name: Optional[str] = None) -> Any:
        """Makes a collection of what was found, with the Python types, or without."""
        c._space = self
        c._handle = found["handle"]
        c.id, c.name = found["id"], name or getattr(c, "name", None)
        codecs = []
        for index, t in ((found["key"], key), (found["value"], value)):
            binder = _types.Binder(found["types"], self._handles_for(found["types"], t), self._made, self._concrete)
            codecs.append(None if index < 0 or found["kind"] == "ref" and index == found["key"] else binder.codec(index, None if found["kind"] == "list" and t is key and key is None else t))
        c._bind(self._core, found["handle"], *codecs)
        self._known[c.id] = c
        return c

    def _handles_for(self, types: Any, t: Any) -> Callable[[str, int], Any]:
        """What makes objects of the IDs in values."""
        def made(kind: str, index: int) -> Any:
            def handle(id: int) -> Any:
                if kind != "ref":
                    return self._known.get(id) or Handle(self, kind, id)
                have = self._known.get(id)
                if have is None:
                    have = Ref.__new__(Ref)
                    have._space, have._handle, have.id, have.name, have._wanted = self, 0, id, None, wanted.get(index)
                    self._known[id] = have
                return have
            return handle
        wanted: Dict[int, Any] = {}
        made.wanted = wanted  # type: ignore[attr-defined]
        return made

    def _by_id(self, id: int) -> Any:
        have = self._known.get(id)
        if have is None:
            found = self._call("lookup", id=id, txn=self._core.innermost())
            cls = _kinds[found["kind"]]
            have = self._bind(cls.__new__(cls), found, None, None)
        return have

    def collections(self) -> _List[Tuple[str, str, int]]:
        """The named collections: name, type in Go syntax, number of entries."""
        return [(name, type, n) for name, type, n in self._call("collections", txn=self._core.innermost())]

    def drop(self, name: str) -> bool:
        """Removes the name of a collection; what nothing else refers to is collected later."""
        return bool(self._call("drop", name=name, txn=self._core.innermost()))

    def rename(self, name: str, to: str) -> None:
        """Gives a collection another name."""
        self._call("rename", name=name, to=to, txn=self._core.innermost())

    def types(self, *names: str) -> str:
        """The stored types as a Go source file."""
        return str(self._call("types", names=list(names)))

    # ---- transactions ----

    def update(self, durable: bool = False) -> "Transaction":
        """A transaction that writes: with space.update(): ... is all or nothing, for all that its
        thread does to the space. An exception aborts it."""
        return Transaction(self, _DURABLE if durable or self._opened.durable else _UPDATE)

    def view(self) -> "Transaction":
        """A transaction that reads one version."""
        return Transaction(self, _VIEW)

    def view_at(self, checkpoint: str) -> "Transaction":
        """A view of the version that a checkpoint pins."""
        return Transaction(self, _VIEW_AT, checkpoint)

    @contextmanager
    def _joined(self) -> Iterator[None]:
        """The update of this thread, or one of its own."""
        if self._core.innermost():
            yield
            return
        with self.update():
            yield

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """The transaction of this thread, or a view of its own."""
        if self._core.innermost():
            yield
            return
        with self.view():
            yield

    # ---- the rest ----

    def mutex(self, name: str, repair: Optional[Callable[[], None]] = None) -> "Mutex":
        """The mutex with a name, which all processes of the space share."""
        return Mutex(self, name, repair)

    def semaphore(self, name: str, permits: int, repair: Optional[Callable[[], None]] = None) -> "Semaphore":
        """The semaphore with a name and 1 to 1024 permits, which all processes of the space share."""
        return Semaphore(self, name, permits, repair)

    def checkpoint(self, name: str) -> None:
        """Pins the newest version under a name."""
        self._call("checkpoint", name=name)

    def checkpoints(self) -> _List[Checkpoint]:
        """The checkpoints, oldest first."""
        return [Checkpoint(n, v, datetime.datetime.fromtimestamp(c, datetime.timezone.utc), b) for n, v, c, b in self._call("checkpoints")]

    def drop_checkpoint(self, name: str) -> None:
        """Drops a checkpoint."""
        self._call("drop_checkpoint", name=name)

    def restore(self, checkpoint: str) -> None:
        """Makes the contents of a checkpoint the newest version."""
        self._call("restore", name=checkpoint)

    def backup(self, path: Union[str, "os.PathLike[str]"]) -> None:
        """Writes the newest version to a new file, while others continue."""
        self._call("backup", path=os.path.abspath(os.fspath(path)))

    def check(self) -> Report:
        """Reads and verifies everything, while others continue."""
        r = self._call("check")
        return Report(r["version"], r["objects"], r["entries"], r["findings"])

    def sync(self) -> None:
        """Returns when every commit before would survive a power loss."""
        self._call("sync")

    def stats(self) -> Dict[str, Any]:
        """What the space has, and takes: sizes are bytes."""
        return dict(self._call("stats"))

    def processes(self) -> _List[Tuple[int, str, int, bool, bool]]:
        """The processes that have it open: pid, command, commits, whether it writes, whether it is this one."""
        return [(pid, command, commits, writes, mine) for pid, command, commits, writes, mine in self._call("processes")]

    @property
    def version(self) -> int:
        """The number of the version that this thread sees."""
        return int(self._call("version", txn=self._core.innermost()))


@contextmanager
def _nothing() -> Iterator[None]:
    yield


class Transaction:
    """What update(), view() and view_at() return. It belongs to the thread that enters it: all
    that this thread does to the space until it leaves is part of it."""

    def __init__(self, space: Space, kind: int, checkpoint: str = "") -> None:
        self._space, self._kind, self._checkpoint = space, kind, checkpoint
        self._tx: Any = None

    def __enter__(self) -> "Transaction":
        if self._tx is not None:
            raise Error("everheap: a transaction is entered once; make another one")
        if self._space._closed:
            raise Closed("everheap: the space is closed")
        self._tx = self._space._core.begin(self._kind, self._checkpoint)
        return self

    def __exit__(self, kind: Any, exc: Any, trace: Any) -> None:
        if kind is None and self._tx.writes:
            self._tx.end(True)
            return
        try:
            self._tx.end(False)
        except Error:
            if kind is None:
                raise

    def abort(self) -> None:
        """Ends the transaction: nothing has changed. The rest of the block is not part of it."""
        self._tx.end(False)
        self._tx = _Aborted()

    @property
    def open(self) -> bool:
        """Whether it has not ended."""
        return self._tx is not None and self._tx.open

    @property
    def version(self) -> int:
        """The number of the version that it sees."""
        if not self.open:
            raise Closed("everheap: the transaction has ended")
        return int(self._space._call("version", txn=self._tx.txn))

    def peek(self, collection: Any, key: Any = None) -> memoryview:
        """The stored bytes of a value that is a str or bytes, without a copy, in a view. A view
        lasts until the last memoryview is released."""
        if not self.open:
            raise Closed("everheap: the transaction has ended")
        lent: memoryview = collection._peek(self._tx, key)
        return lent


class _Aborted:
    """The transaction that was aborted."""

    writes = open = False
    txn = 0

    def end(self, commit: bool) -> None:
        pass


class Mutex:
    """A named mutex, which all processes of a space share, in all languages. If its holder died,
    whoever gets it next calls repair, or gets OwnerDied if it has none: then it holds the mutex,
    repairs what the mutex protects, and calls unlock. If repair raises, the mutex stays held."""

    def __init__(self, space: Space, name: str, repair: Optional[Callable[[], None]]) -> None:
        self._space, self.name, self._repair = space, name, repair

    def lock(self, timeout: Optional[float] = None) -> None:
        """Waits for the mutex, for so many seconds at most; then the error is Busy."""
        if self._space._mutexes.get(self.name) == threading.get_ident():
            raise Self(f"everheap: lock {self.name!r}: this thread holds it")
        try:
            self._space._call("lock", name=self.name, timeout=-1 if timeout is None else max(timeout, 0))
        except OwnerDied:
            self._space._mutexes[self.name] = threading.get_ident()
            if self._repair is None:
                raise
            self._repair()
        self._space._mutexes[self.name] = threading.get_ident()

    def unlock(self) -> None:
        """Unlocks the mutex."""
        self._space._call("unlock", name=self.name)
        self._space._mutexes.pop(self.name, None)

    def __enter__(self) -> "Mutex":
        self.lock()
        return self

    def __exit__(self, *exc: object) -> None:
        self.unlock()


class Semaphore:
    """Permits that all processes of a space share, in all languages: each has one holder at a
    time. Everyone who uses the name must agree on their number; otherwise the error is
    UnitsDiffer. If the holder of a permit died, whoever gets it next calls repair, or gets
    OwnerDied if it has none: then it holds the permit, repairs what the holder left, and calls
    release. If repair raises, the permit stays held."""

    def __init__(self, space: Space, name: str, permits: int, repair: Optional[Callable[[], None]]) -> None:
        self._space, self.name, self.permits, self._repair = space, name, permits, repair

    def acquire(self, timeout: Optional[float] = None) -> None:
        """Waits for a permit, for so many seconds at most; then the error is Busy."""
        try:
            self._space._call("acquire", name=self.name, permits=self.permits, timeout=-1 if timeout is None else max(timeout, 0))
        except OwnerDied:
            if self._repair is None:
                raise
            self._repair()

    def release(self) -> None:
        """Gives back a permit that this process has acquired."""
        self._space._call("release", name=self.name, permits=self.permits)

    def __enter__(self) -> "Semaphore":
        self.acquire()
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()
