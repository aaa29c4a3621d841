"""Everheap keeps Python objects in memory that is mapped to a file and shared by every process,
in Python and in Go, that opens it.

    space = everheap.open("forum")
    users = space.map("users", str, User)   # a MutableMapping
    users["ada"] = User(name="Ada Lovelace")

Every operation is one transaction, or part of the update() or view() that its thread is in.
"""

from __future__ import annotations

import atexit
import os
import threading

from . import _everheap, _errors

_everheap.setup(_errors.raise_error, _errors.refuse)

from ._errors import (  # noqa: E402
    AddressInUse, Busy, Changed, Closed, Corrupt, Dangling, Diverged, Duplicate, Error, Exists, Fault, Forked, IndexNotFound, Internal, Invalid, IO,
    LiveLost,
    MaxSize, NaN, NilHandle, NoSpace, NotFound, NotHeld, NotKept, NotReplicated, OutOfOrder, OutOfRange, OwnerDied, ReadOnly, Replaced, Self, Shared, Superseded, Suspended, Unregistered,
    TooLarge, TooManyLocks, TypeChanged, UnitsDiffer, Unstorable, Unsupported, WrongType,
)
from ._types import (  # noqa: E402
    GoType, complex64, field, float32, go_name, int8, int16, int32, int64, python_name, uint, uint8, uint16, uint32, uint64,
)
from ._collections import Change, Handle, List, Map, Range, Ref, Sorted, Watcher  # noqa: E402
from ._space import Checkpoint, Mutex, Report, Semaphore, Space, Transaction, open, restore_backup  # noqa: E402
from . import _space  # noqa: E402

__version__ = "0.1.0"

__all__ = [
    "AddressInUse", "Busy", "Change", "Changed", "Checkpoint", "Closed", "Corrupt", "Dangling", "Diverged", "Duplicate", "Error", "Exists", "Fault", "Forked",
    "GoType",
    "Handle", "IO", "IndexNotFound", "Internal", "Invalid", "List", "LiveLost", "Map", "MaxSize", "Mutex", "NaN", "NilHandle", "NoSpace",
    "NotFound", "NotHeld", "NotKept", "NotReplicated", "OutOfOrder", "OutOfRange", "OwnerDied", "Range", "ReadOnly", "Ref", "Replaced", "Report", "Self", "Semaphore", "Shared", "Sorted", "Space",
    "Superseded", "Suspended", "Unregistered", "TooLarge", "TooManyLocks", "Transaction", "TypeChanged", "UnitsDiffer", "Unstorable", "Unsupported",
    "Watcher", "WrongType", "complex64", "field", "float32", "go_name", "int16", "int32", "int64", "int8", "open", "python_name",
    "restore_backup", "uint", "uint16", "uint32", "uint64", "uint8",
]

os.register_at_fork(after_in_child=_everheap.in_fork)
atexit.register(_space.close_all)
del atexit, os, threading
