"""The errors: a hierarchy with the names that they have in Go."""

from __future__ import annotations

from typing import Any, Dict, NoReturn, Type


class Error(Exception):
    """What everheap raises. The message says what happened, to what, and what to do."""


class NotFound(Error, KeyError):
    """The key is not in the map, or the collection, checkpoint or space does not exist."""

    def __str__(self) -> str:
        if len(self.args) == 1 and isinstance(self.args[0], str):
            return self.args[0]
        return super().__str__()


class IndexNotFound(NotFound, IndexError):
    """The list has no such index."""


class Exists(Error):
    """The name is in use."""


class NilHandle(Error):
    """A reference that refers to nothing was used."""


class Dangling(Error):
    """The reference belongs to another space, or to an object that does not exist."""


class Duplicate(Error):
    """Another entry has the value in a unique index. Nothing was changed."""


class TooLarge(Error):
    """One value is larger than a block can be."""


class Invalid(Error, ValueError):
    """A value is none of the type that is stored."""


class WrongType(Invalid, TypeError):
    """A value, or a part of it, has another Python type than the stored one."""


class OutOfRange(Invalid, OverflowError):
    """A number or a time is outside of what the stored type, or Python's, can hold."""


class NaN(Invalid):
    """A key is or contains a NaN, which equals nothing."""


class Changed(Error):
    """Another thread changed the value while it was stored."""


class TypeChanged(Error, TypeError):
    """The collection is stored with other types than those of the program."""


class Unstorable(Error, TypeError):
    """The type cannot be stored. The message names the field, and says what to use instead."""


class Closed(Error):
    """The space is closed, or the transaction has ended."""


class Forked(Error):
    """This process is a fork of one that uses everheap; start processes with "spawn"."""


class Shared(Error):
    """Several threads used one transaction at once."""


class ReadOnly(Error):
    """The space was opened for reading, or the transaction is a view."""


class Busy(Error, TimeoutError):
    """The call waited for another process or thread for as long as it was to wait."""


class Unregistered(Error):
    """The type of a value in an interface was not registered by the Go program that reads it."""


class Suspended(Error):
    """This process stood still in the middle of the transaction, and another one took over.
    Nothing was changed; try again."""


class Superseded(Error):
    """Somebody else changed the state of a program that goes on."""


class Self(Error):
    """The call would wait for its own thread."""


class OwnerDied(Error):
    """The caller holds the mutex now; the holder before it died without releasing it."""


class NotHeld(Error):
    """This process does not hold the mutex."""


class UnitsDiffer(Error):
    """Others use the semaphore with another number of permits."""


class TooManyLocks(Error):
    """Too many names of locks are in use at once."""


class NoSpace(Error, OSError):
    """The disk is full, or the space has reached its maximum size."""


class MaxSize(Error):
    """The space has another maximum size than was asked for."""


class Corrupt(Error):
    """Bytes of the space are damaged."""


class Fault(Error):
    """A page of the space could not be read."""


class IO(Error, OSError):
    """A write or sync to disk failed."""


class Replaced(IO):
    """A file of the space was removed, moved or replaced while the space is open."""


class LiveLost(Replaced):
    """The file through which the processes coordinate was truncated or overwritten."""


class NotKept(Error):
    """The changes since a version are not kept any more: begin again with a backup."""


class NotReplicated(Error):
    """Fewer copies than were wanted said in time that they have the commit. It is committed here."""


class OutOfOrder(Error):
    """A frame of changes is not that of the version right after the replica's."""


class Diverged(Error):
    """A frame of changes is of another history than the replica's version."""


class Unsupported(Error, OSError):
    """The system or the file system lacks what spaces need."""


class AddressInUse(Error):
    """This process uses the addresses of the space already."""


class Internal(Error):
    """A bug of everheap: the message has the stack."""


_classes: Dict[str, Type[Error]] = {
    c.__name__: c
    for c in list(globals().values())
    if isinstance(c, type) and issubclass(c, Error)
}


def raise_error(name: str, what: Any) -> NoReturn:
    """Raises the error with a name. The extension calls it."""
    if name == "Missing":  # what is the key, as for a KeyError of a dict
        raise NotFound(what)
    raise _classes.get(name, Error)(what)


_advice = {
    "naive": "has no time zone, so it is no instant; give it one, for instance datetime.now(timezone.utc), or .replace(tzinfo=...)",
    "surrogate": "has a surrogate that stands for no byte, so it is no text; encode it to bytes",
    "changed": "was changed while it was stored",
    "missing": "is missing",
}


def refuse(what: str, type_text: str, path: str, value: Any) -> NoReturn:
    """Raises the error for a value, or a part of one, that is none of its type."""
    where = "field " + path + ": " if path else ""
    if what == "type":
        raise WrongType(f"everheap: {where}{type_text} is expected, and not {type(value).__name__}")
    if what == "range":
        raise OutOfRange(f"everheap: {where}{_short(value)} does not fit into {type_text}; store a str, or a type with more bytes")
    if what == "length":
        raise Invalid(f"everheap: {where}{type_text} has another length than {_short(value)}")
    raise Invalid(f"everheap: {where}{_short(value)} {_advice[what]}")


def _short(value: Any) -> str:
    try:
        text = ascii(value)
    except Exception:
        text = object.__repr__(value)
    return text if len(text) < 80 else text[:76] + "..."
