"""Everheap beside what Python has: shelve, sqlite3 in WAL mode, dbm, LMDB, a pickle of the whole
dict, and a plain dict, in one run. Prints a table for README.md.

    bench.py [--best] [ENTRIES]    1,000,000 by default

Every engine takes its turn in each of nine rounds; a number is the median, or with --best the least,
which tells more on a machine that others use. set commits one entry (to the file cache, and not to
the disk, everywhere); batch is 1,000 entries in one transaction."""

import dbm
import os
import pickle
import shelve
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import everheap  # noqa: E402
from everheap import _everheap  # noqa: E402

try:
    import lmdb
except ImportError:
    lmdb = None

BEST = "--best" in sys.argv
N = next((int(a) for a in sys.argv[1:] if a.isdigit()), 1_000_000)
ROUNDS = 9
SMALL = min(N, 20_000)  # entries of the single operations
OPS = 2000


class Everheap:
    name = "everheap"

    def __init__(self, dir, fill):
        os.environ["EVERHEAP_HOME"] = dir
        self.space = everheap.open(os.path.join(dir, "space"), max_size=8 << 30)
        self.m = self.space.map("m", str, int)
        if fill:
            for i in range(0, fill, 10000):
                self.m.update((str(k), k) for k in range(i, min(i + 10000, fill)))

    def get(self, k):
        return self.m[k]

    def set(self, k, v):
        self.m[k] = v

    def batch(self, pairs):
        self.m.update(pairs)

    def items(self):
        return sum(1 for _ in self.m.items())

    def close(self):
        self.space.close()


class Dict:
    name = "dict (no file)"

    def __init__(self, dir, fill):
        self.m = {str(k): k for k in range(fill)}

    def get(self, k):
        return self.m[k]

    def set(self, k, v):
        self.m[k] = v

    def batch(self, pairs):
        self.m.update(pairs)

    def items(self):
        return sum(1 for _ in self.m.items())

    def close(self):
        pass


class Pickle(Dict):
    name = "pickle of a dict"

    def __init__(self, dir, fill):
        self.file = os.path.join(dir, "pickle")
        if fill:
            super().__init__(dir, fill)
            self.save()
        else:
            with open(self.file, "rb") as f:
                self.m = pickle.load(f)

    def save(self):
        with open(self.file + ".new", "wb") as f:
            pickle.dump(self.m, f, 4)
        os.replace(self.file + ".new", self.file)

    def set(self, k, v):
        self.m[k] = v
        self.save()

    def batch(self, pairs):
        self.m.update(pairs)
        self.save()


class Shelve:
    name = "shelve"

    def __init__(self, dir, fill):
        self.m = shelve.open(os.path.join(dir, "shelve"), protocol=4)
        for k in range(fill):
            self.m[str(k)] = k

    def get(self, k):
        return self.m[k]

    def set(self, k, v):
        self.m[k] = v

    def batch(self, pairs):
        self.m.update(pairs)

    def items(self):
        return sum(1 for _ in self.m.items())

    def close(self):
        self.m.close()


class Dbm(Shelve):
    name = "dbm"

    def __init__(self, dir, fill):
        self.m = dbm.open(os.path.join(dir, "dbm"), "c")
        for k in range(fill):
            self.m[str(k)] = str(k)

    def get(self, k):
        return int(self.m[k])

    def set(self, k, v):
        self.m[k] = str(v)

    def batch(self, pairs):
        for k, v in pairs:
            self.m[k] = str(v)

    def items(self):
        return sum(1 for k in self.m.keys() if self.m[k] is not None)


class Sqlite:
    name = "sqlite3 (WAL)"

    def __init__(self, dir, fill):
        self.c = sqlite3.connect(os.path.join(dir, "sqlite"), isolation_level=None)
        self.c.execute("pragma journal_mode=wal")
        self.c.execute("pragma synchronous=normal")
        if fill:
            self.c.execute("create table m (k text primary key, v integer) without rowid")
            self.batch([(str(k), k) for k in range(fill)])

    def get(self, k):
        return self.c.execute("select v from m where k = ?", (k,)).fetchone()[0]

    def set(self, k, v):
        self.c.execute("replace into m values (?, ?)", (k, v))

    def batch(self, pairs):
        self.c.execute("begin")
        self.c.executemany("replace into m values (?, ?)", pairs)
        self.c.execute("commit")

    def items(self):
        return sum(1 for _ in self.c.execute("select k, v from m"))

    def close(self):
        self.c.close()


class Lmdb:
    name = "lmdb"

    def __init__(self, dir, fill):
        self.e = lmdb.open(os.path.join(dir, "lmdb"), map_size=8 << 30, sync=False)
        if fill:
            self.batch([(str(k), k) for k in range(fill)])

    def get(self, k):
        with self.e.begin() as t:
            return int(t.get(k.encode()))

    def set(self, k, v):
        with self.e.begin(write=True) as t:
            t.put(k.encode(), str(v).encode())

    def batch(self, pairs):
        with self.e.begin(write=True) as t:
            for k, v in pairs:
                t.put(k.encode(), str(v).encode())

    def items(self):
        with self.e.begin() as t:
            return sum(1 for k, v in t.cursor() if int(v) >= 0)

    def close(self):
        self.e.close()


ENGINES = [Everheap, Dict, Pickle, Shelve, Dbm, Sqlite] + ([Lmdb] if lmdb else [])


def middle(times):
    return min(times) if BEST else statistics.median(times)


def timed(f, n):
    began = time.perf_counter()
    f()
    return (time.perf_counter() - began) / n * 1e9


def single(e, ops, sets):
    """get, set, batch and iteration, in nanoseconds each."""
    keys = [str(i * 7919 % SMALL) for i in range(ops)]
    pairs = [(str(i), i) for i in range(1000)]

    def gets():
        for k in keys:
            e.get(k)

    def sets_():
        for k in keys[:sets]:
            e.set(k, 5)

    gets()
    return [timed(gets, ops), timed(sets_, sets), timed(lambda: e.batch(pairs), 1000), timed(e.items, SMALL)]


START = "import sys, time; sys.path.insert(0, {here!r}); import bench; began = time.perf_counter(); e = bench.{cls}({dir!r}, 0); e.get('7'); print((time.perf_counter() - began) * 1e3)"


def main():
    base = tempfile.mkdtemp(prefix="everheap-bench-")
    try:
        results = {c: [] for c in ENGINES}
        open_engines = {}
        for c in ENGINES:
            os.mkdir(os.path.join(base, c.__name__))
            open_engines[c] = c(os.path.join(base, c.__name__), SMALL)
        calls = []
        for _ in range(ROUNDS):
            for c in ENGINES:
                results[c].append(single(open_engines[c], OPS, 5 if c is Pickle else OPS))
            calls.append(timed(lambda: [_everheap.nothing() for _ in range(OPS)], OPS))
        for e in open_engines.values():
            e.close()
        starts = {}
        for c in ENGINES:
            if c is Dict:
                continue
            times = []
            for size in (SMALL, N):
                dir = os.path.join(base, f"{c.__name__}-{size}")
                os.mkdir(dir)
                c(dir, size).close()
                code = START.format(here=os.path.dirname(os.path.abspath(__file__)), cls=c.__name__, dir=dir)
                times.append(middle([float(subprocess.run([sys.executable, "-c", code, str(N)], check=True, stdout=subprocess.PIPE, text=True).stdout) for _ in range(5)]))
                shutil.rmtree(dir)
            starts[c] = times
        report(results, starts, middle(calls))
    finally:
        shutil.rmtree(base, ignore_errors=True)


def report(results, starts, call):
    columns = {c: [middle([r[i] for r in rounds]) for i in range(4)] for c, rounds in results.items()}
    mine = columns[Everheap]
    load = ", ".join(f"{n:.1f}" for n in os.getloadavg())
    print(f"Python {sys.version.split()[0]}, {dbm._defaultmod.__name__}, {os.cpu_count()} processors, load {load}; {'least' if BEST else 'median'} of {ROUNDS} rounds.")
    print(f"A call of the extension that does nothing: {call:,.0f} ns; a get is {mine[0] / call:.1f} of it, a set {mine[1] / call:.1f}.\n")
    print(f"| engine | get | set | batch of 1,000, an entry | iteration, an entry | start with {SMALL:,} | with {N:,} |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for c, times in columns.items():
        cells = [f"{t:,.0f} ns" + ("" if c is Everheap else f" ({t / own:.2g}×)") for t, own in zip(times, mine)]
        begun = [f"{t:,.1f} ms" for t in starts[c]] if c in starts else ["–", "–"]
        print(f"| {c.name} | " + " | ".join(cells + begun) + " |")


if __name__ == "__main__":
    main()
