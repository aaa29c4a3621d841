"""Collections: Map, Sorted, List and Ref, and what follows their changes."""

from __future__ import annotations

import json
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, MutableMapping, MutableSequence, ValuesView
from typing import TYPE_CHECKING, Any, Callable, Generic, NamedTuple, Optional, Tuple, TypeVar, Union, overload

from . import _everheap, _types
from ._errors import Closed, IndexNotFound, Invalid, NotFound, WrongType

if TYPE_CHECKING:
    from _typeshed import SupportsKeysAndGetItem

    from ._space import Space

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
D = TypeVar("D")

_KEYS, _VALUES, _BACK, _PREFIX, _FROM, _TO, _AFTER_FROM, _AFTER_TO = 1, 2, 4, 8, 16, 32, 64, 128
_MISSING: Any = object()


class Change(NamedTuple):
    """A key whose value differs between two versions: old is None if the key is new, new if it
    is gone. more says that further changes of the same version follow."""

    version: int
    more: bool
    key: Any
    old: Any
    new: Any

    @property
    def kind(self) -> str:
        """What happened: added, updated or removed."""
        return "added" if self.old is None else "removed" if self.new is None else "updated"


class Watcher(Iterator[Change]):
    """The changes of a collection, from when it was made. It waits for the next one, which a
    signal interrupts; nothing is lost then. It ends with its with block, close(), or the space."""

    def __init__(self, collection: Any, initial: bool) -> None:
        self._collection = collection
        self._watch = collection._space._call("watch", handle=collection._handle, initial=initial)

    def __iter__(self) -> "Watcher":
        return self

    def __next__(self) -> Change:
        if not self._watch:
            raise StopIteration
        return Change._make(self._collection._change(self._watch))

    def close(self) -> None:
        watch, self._watch = self._watch, 0
        if watch:
            _everheap.unwatch(watch)

    def __enter__(self) -> "Watcher":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_watch", 0):
            self.close()


class _Base(_everheap.Collection):
    """What all collections have."""

    _space: "Space"
    _handle: int

    name: Optional[str]
    id: int

    def watch(self, initial: bool = False) -> Watcher:
        """The changes from now on, of all processes; with initial the present entries come first,
        as added ones. Several changes of one key between two looks are one."""
        return Watcher(self, initial)

    def __repr__(self) -> str:
        return f"<everheap.{type(self).__name__} {self.name or hex(self.id)} of {self._space.name}>"

    def __reduce__(self) -> Any:
        raise TypeError("everheap: a collection belongs to its process; open the space in the other one, by its name")


class _Keys(KeysView[K]):
    _mapping: "Map[K, Any]"

    def __iter__(self) -> Iterator[K]:
        return self._mapping._walk(_KEYS)

    def __reversed__(self) -> Iterator[K]:
        return (k for k, _ in self._mapping._walk(_KEYS | _VALUES | _BACK))


class _Values(ValuesView[V]):
    _mapping: "Map[Any, V]"

    def __iter__(self) -> Iterator[V]:
        return self._mapping._walk(_VALUES)

    def __reversed__(self) -> Iterator[V]:
        return self._mapping._walk(_VALUES | _BACK)


class _Items(ItemsView[K, V]):
    _mapping: "Map[K, V]"

    def __iter__(self) -> Iterator[Tuple[K, V]]:
        return self._mapping._walk(_KEYS | _VALUES)

    def __reversed__(self) -> Iterator[Tuple[K, V]]:
        return self._mapping._walk(_KEYS | _VALUES | _BACK)


class Map(_Base, MutableMapping[K, V], Generic[K, V]):
    """A map of a space: a MutableMapping. What it returns is a copy of what is stored: change it
    and set it again, or use modify. An iteration sees one version."""

    if TYPE_CHECKING:  # what the extension has, with the types of this map
        def __getitem__(self, key: K) -> V: ...
        def __setitem__(self, key: K, value: V) -> None: ...
        def __delitem__(self, key: K) -> None: ...
        def __iter__(self) -> Iterator[K]: ...
        @overload
        def get(self, key: K) -> Optional[V]: ...
        @overload
        def get(self, key: K, default: Union[V, D]) -> Union[V, D]: ...
        def get(self, key: Any, default: Any = None) -> Any: ...
        @overload
        def get_many(self, keys: Iterable[K]) -> list[Optional[V]]: ...
        @overload
        def get_many(self, keys: Iterable[K], default: Union[V, D]) -> list[Union[V, D]]: ...
        def get_many(self, keys: Any, default: Any = None) -> Any: ...

    def keys(self) -> KeysView[K]:
        return _Keys(self)

    def values(self) -> ValuesView[V]:
        return _Values(self)

    def items(self) -> ItemsView[K, V]:
        return _Items(self)

    @overload
    def update(self, __pairs: "SupportsKeysAndGetItem[K, V]", **kwargs: V) -> None: ...

    @overload
    def update(self, __pairs: Iterable[Tuple[K, V]], **kwargs: V) -> None: ...

    @overload
    def update(self, **kwargs: V) -> None: ...

    def update(self, *args: Any, **kwargs: Any) -> None:
        """As of a dict, in one transaction: all of the entries are stored, or none."""
        if len(args) > 1:
            raise TypeError(f"update expected at most 1 argument, got {len(args)}")
        pairs: Any = args[0] if args else ()
        if hasattr(pairs, "keys"):
            pairs = pairs.items() if isinstance(pairs, Mapping) else [(k, pairs[k]) for k in pairs.keys()]
        if kwargs:
            pairs = [*pairs, *kwargs.items()]
        self._set_many(pairs)

    def modify(self, key: K, change: Callable[[V], Optional[V]], default: V = _MISSING) -> V:
        """Passes the value of a key to change, and stores what it returns, or the value itself if
        it returns None: in one transaction. default is the value of a key that is missing."""
        with self._space._joined():
            value: V = self.get(key, _MISSING)
            if value is _MISSING:
                if default is _MISSING:
                    raise NotFound(key)
                value = default
            changed = change(value)
            value = value if changed is None else changed
            self[key] = value
        return value

    @overload
    def pop(self, key: K) -> V: ...

    @overload
    def pop(self, key: K, default: Union[V, D]) -> Union[V, D]: ...

    def pop(self, key: K, default: Any = _MISSING) -> Any:
        with self._space._joined():
            value = self.get(key, _MISSING)
            if value is not _MISSING:
                self._discard(key)
                return value
        if default is _MISSING:
            raise NotFound(key)
        return default

    def popitem(self) -> Tuple[K, V]:
        with self._space._joined():
            for key, value in self.items():
                self._discard(key)
                return key, value
        raise NotFound("popitem(): the map is empty")

    def setdefault(self, key: K, default: Any = None) -> V:
        value: V = self.get(key, _MISSING)
        if value is not _MISSING:
            return value
        with self._space._joined():
            value = self.get(key, _MISSING)
            if value is _MISSING:
                self[key] = default
                value = default
        return value

    def clear(self) -> None:
        with self._space._joined():
            for key in self:
                self._discard(key)


class Range(Iterable[K], Generic[K, V]):
    """The part of a sorted map between two keys: its keys, values() and items(), in order or
    reversed(). It is looked up each time that it is used."""

    def __init__(self, of: "Sorted[K, V]", flags: int, lo: Any, hi: Any) -> None:
        self._of, self._flags, self._lo, self._hi = of, flags, lo, hi

    def _walk(self, what: int) -> Iterator[Any]:
        return self._of._walk(what | self._flags, self._lo, self._hi)

    def __iter__(self) -> Iterator[K]:
        return (k for k, _ in self._walk(_KEYS | _VALUES))

    def __reversed__(self) -> Iterator[K]:
        return (k for k, _ in self._walk(_KEYS | _VALUES | _BACK))

    def keys(self) -> Iterator[K]:
        return iter(self)

    def values(self, reverse: bool = False) -> Iterator[V]:
        return self._walk(_VALUES | (_BACK if reverse else 0))

    def items(self, reverse: bool = False) -> Iterator[Tuple[K, V]]:
        return self._walk(_KEYS | _VALUES | (_BACK if reverse else 0))

    def __len__(self) -> int:
        with self._of._space._looking():
            lo = self._of._rank(self._lo) if self._flags & _FROM else 0
            if self._flags & _AFTER_FROM and self._lo in self._of:
                lo += 1
            hi = self._of._rank(self._hi) if self._flags & _TO else len(self._of)
            if self._flags & _TO and not self._flags & _AFTER_TO and self._hi in self._of:
                hi += 1
        return max(hi - lo, 0)


class Sorted(Map[K, V]):
    """A map whose entries are in the order of their keys. m[a:b] are those from a on and before b."""

    if TYPE_CHECKING:
        @overload
        def __getitem__(self, key: slice) -> Range[K, V]: ...  # type: ignore[misc]
        @overload
        def __getitem__(self, key: K) -> V: ...
        def __getitem__(self, key: Any) -> Any: ...
        def __delitem__(self, key: Union[K, slice]) -> None: ...

    def _slice(self, s: slice) -> Range[K, V]:
        if s.step is not None:
            raise Invalid("everheap: a slice by keys has no step")
        return self._range(s.start, s.stop, (True, False))

    def _range(self, lo: Optional[K], hi: Optional[K], inclusive: Tuple[bool, bool]) -> Range[K, V]:
        flags = 0
        if lo is not None:
            flags |= _FROM | (0 if inclusive[0] else _AFTER_FROM)
        if hi is not None:
            flags |= _TO | (0 if inclusive[1] else _AFTER_TO)
        return Range(self, flags, lo, hi)

    def _delete_slice(self, s: slice) -> None:
        with self._space._joined():
            for key in self._slice(s):
                self._discard(key)

    def irange(self, minimum: Optional[K] = None, maximum: Optional[K] = None, inclusive: Tuple[bool, bool] = (True, True), reverse: bool = False) -> Iterator[K]:
        """The keys between two, as of a SortedDict."""
        r = self._range(minimum, maximum, inclusive)
        return r.__reversed__() if reverse else iter(r)

    def prefix(self, text: str) -> Iterator[Tuple[K, V]]:
        """The entries whose keys begin with a text."""
        return self._walk(_KEYS | _VALUES | _PREFIX, text)

    def rank(self, key: K) -> int:
        """How many keys are less than one, which need not be in the map."""
        return self._rank(key)

    def peekitem(self, index: int = -1) -> Tuple[K, V]:
        """The entry with so many before it, or from the end."""
        with self._space._looking():
            n = len(self)
            i = index + n if index < 0 else index
            if not 0 <= i < n:
                raise IndexNotFound(f"everheap: entry {index} of a sorted map of {n}")
            return self._nth(i)

    def __reversed__(self) -> Iterator[K]:
        return (k for k, _ in self._walk(_KEYS | _VALUES | _BACK))


class List(_Base, MutableSequence[T], Generic[T]):
    """A list of a space: a MutableSequence. It grows and shrinks at its end; insert and del
    elsewhere move all that follow."""

    def _index(self, i: Any, n: int) -> int:
        try:
            j: int = i.__index__()
        except AttributeError:
            raise WrongType(f"everheap: the index of a list is an int or a slice, and not {type(i).__name__}") from None
        j = j + n if j < 0 else j
        if not 0 <= j < n:
            raise IndexNotFound(f"everheap: index {i} of a list of {n}")
        return j

    def _element(self, i: int) -> Any:
        value = self.get(i, _MISSING)
        if value is _MISSING:
            raise IndexNotFound(f"everheap: index {i} of a list of {len(self)}")
        return value

    if TYPE_CHECKING:
        def get(self, i: int, default: Any = None) -> Any: ...

    @overload
    def __getitem__(self, i: int) -> T: ...

    @overload
    def __getitem__(self, i: slice) -> list[T]: ...

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            with self._space._looking():
                return self.get_many(range(*i.indices(len(self))))
        if isinstance(i, int) and i >= 0:
            return self._element(i)
        with self._space._looking():
            return self._element(self._index(i, len(self)))

    @overload
    def __setitem__(self, i: int, value: T) -> None: ...

    @overload
    def __setitem__(self, i: slice, value: Iterable[T]) -> None: ...

    def __setitem__(self, i: Any, value: Any) -> None:
        with self._space._joined():
            n = len(self)
            if not isinstance(i, slice):
                _everheap.Collection.__setitem__(self, self._index(i, n), value)
                return
            at = range(*i.indices(n))
            values = list(value)
            if at.step == 1 and len(values) != len(at):
                self._splice(at.start, max(at.stop, at.start), values)
                return
            if len(values) != len(at):
                raise Invalid(f"everheap: {len(values)} values for a slice of {len(at)} elements")
            self._set_many(zip(at, values))

    def __delitem__(self, i: Union[int, slice]) -> None:
        with self._space._joined():
            n = len(self)
            if not isinstance(i, slice):
                j = self._index(i, n)
                self._splice(j, j + 1, [])
                return
            gone = set(range(*i.indices(n)))
            if gone:
                first = min(gone)
                rest = [v for j, v in enumerate(self.get_many(range(first, n)), first) if j not in gone]
                self._splice(first, n, rest)

    def _splice(self, start: int, stop: int, values: Any) -> None:
        """Puts values in the place of those from start to stop."""
        n = len(self)
        tail = [*values, *self.get_many(range(stop, n))]
        kept = min(len(tail), n - start)
        self._set_many(zip(range(start, start + kept), tail[:kept]))
        for j in range(n - 1, start + kept - 1, -1):
            self._discard(j)
        self._extend(tail[kept:])

    def insert(self, i: int, value: T) -> None:
        with self._space._joined():
            n = len(self)
            j = max(i + n, 0) if i < 0 else min(i, n)
            self._splice(j, j, [value])

    def append(self, value: T) -> None:
        self._extend((value,))

    def extend(self, values: Iterable[T]) -> None:
        """Adds values at the end, in one transaction."""
        self._extend(list(values) if values is self else values)

    def pop(self, i: int = -1) -> T:
        with self._space._joined():
            n = len(self)
            if n == 0:
                raise IndexNotFound("everheap: pop from an empty list")
            j = self._index(i, n)
            value: T = self._element(j)
            self._splice(j, j + 1, [])
            return value

    def clear(self) -> None:
        with self._space._joined():
            self._splice(0, len(self), [])

    def reverse(self) -> None:
        with self._space._joined():
            self[:] = self[::-1]

    def __contains__(self, value: object) -> bool:
        return any(v == value for v in self)

    def __iter__(self) -> Iterator[T]:
        return self._walk(_VALUES)

    def __reversed__(self) -> Iterator[T]:
        return self._walk(_VALUES | _BACK)

    def __iadd__(self, values: Iterable[T]) -> "List[T]":
        self.extend(values)
        return self

    def __eq__(self, other: object) -> bool:
        if isinstance(other, List):
            return bool(self._space._key == other._space._key and self.id == other.id or list(self) == list(other))
        if isinstance(other, list):
            return list(self) == other
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]


class Ref(_Base, Generic[T]):
    """A reference to one object: it has an identity, so references can form circles, and two
    references to the same object are equal."""

    _wanted: Any  # the Python type of the value, if the program gave one

    def _found(self) -> "Ref[T]":
        if not self._handle:
            self._space._bind(self, self._space._call("lookup", id=self.id, txn=self._space._core.innermost()), None, self._wanted)
        return self

    def get(self) -> T:
        """The value: a copy."""
        value: T = _everheap.Collection.get(self._found(), None)
        return value

    def set(self, value: T) -> None:
        """Stores another value."""
        _everheap.Collection.__setitem__(self._found(), None, value)

    def modify(self, change: Callable[[T], Optional[T]]) -> T:
        """Passes the value to change, and stores what it returns, or the value itself if it
        returns None: in one transaction."""
        with self._space._joined():
            value = self.get()
            changed = change(value)
            value = value if changed is None else changed
            self.set(value)
        return value

    @property
    def value(self) -> T:
        """The value: a copy. Setting it stores another one."""
        return self.get()

    @value.setter
    def value(self, value: T) -> None:
        self.set(value)

    def watch(self, initial: bool = False) -> Watcher:
        return _Base.watch(self._found(), initial)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Ref):
            return bool(self.id == other.id and self._space._key == other._space._key)
        return NotImplemented

    def __hash__(self) -> int:
        return hash((self._space._key, self.id))

    def _none(self, *args: Any) -> Any:
        raise WrongType("everheap: a reference has no keys; use get() and set()")

    __getitem__ = __setitem__ = __delitem__ = __contains__ = __iter__ = __len__ = _none

    def __bool__(self) -> bool:
        return True


class Handle:
    """What a stored value has of a Map, Sorted or List: open() returns the collection."""

    def __init__(self, space: "Space", kind: str, id: int) -> None:
        self._space, self.kind, self.id = space, kind, id

    def open(self) -> Any:
        """The collection that it leads to."""
        return self._space._by_id(self.id)

    def __eq__(self, other: object) -> bool:
        return self.id == getattr(other, "id", None) and isinstance(other, (Handle, _Base))

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<everheap.Handle of a {self.kind} {self.id:#x}>"


_types._handles.update({Map: "Map", Sorted: "Sorted", List: "List", Ref: "Ref"})
_kinds = {"map": Map, "sorted": Sorted, "list": List, "ref": Ref}
