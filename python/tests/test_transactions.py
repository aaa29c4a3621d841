"""update() and view(), checkpoints, mutexes, watches, backups."""

import ctypes
import os
import signal
import threading

import everheap
from tests.support import SpaceTest


class Updates(SpaceTest):
    def setUp(self):
        super().setUp()
        self.m = self.space.map("m", str, int)
        self.n = self.space.list("n", int)

    def test_several_structures_are_one_transaction(self):
        with self.space.update() as tx:
            self.m["a"] = 1
            self.n.append(1)
            self.assertEqual((self.m["a"], list(self.n)), (1, [1]))
            seen = []
            t = threading.Thread(target=lambda: seen.append((dict(self.m), list(self.n))))
            t.start()
            t.join()
            self.assertEqual(seen, [({}, [])])
            self.assertTrue(tx.open)
        self.assertFalse(tx.open)
        self.assertEqual((dict(self.m), list(self.n)), ({"a": 1}, [1]))

    def test_an_exception_aborts(self):
        with self.assertRaises(ZeroDivisionError):
            with self.space.update():
                self.m["a"] = 1 // 0 or 1
        # Who starts the tests may have the signal ignored.
        self.addCleanup(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
        with self.assertRaises(KeyboardInterrupt):
            with self.space.update():
                self.m["a"] = 1
                self.n.append(5)
                signal.raise_signal(signal.SIGINT)
                self.n.append(6)
        self.assertEqual((dict(self.m), list(self.n)), ({}, []))

    def test_abort(self):
        with self.space.update() as tx:
            self.m["a"] = 1
            tx.abort()
            self.assertNotIn("a", self.m)
        self.assertEqual(dict(self.m), {})

    def test_a_view_is_one_version(self):
        self.m["a"] = 1
        with self.space.view() as tx:
            version = tx.version
            t = threading.Thread(target=lambda: self.m.update(a=2))
            t.start()
            t.join()
            self.assertEqual(self.m["a"], 1)
            self.assertEqual(tx.version, version)
            with self.assertRaises(everheap.ReadOnly):
                self.m["a"] = 3
        self.assertEqual(self.m["a"], 2)

    def test_an_update_in_an_update_is_an_error(self):
        with self.space.update():
            with self.assertRaises(everheap.Self):
                with self.space.update():
                    pass
            with everheap.open(self.path) as same:
                same.map("m")["b"] = 5  # another opening of this process is in the same transaction
            self.assertEqual(self.m["b"], 5)

    def test_threads_wait_for_each_other(self):
        self.m["a"] = 0

        def work():
            for _ in range(100):
                with self.space.update():
                    self.m["a"] += 1

        threads = [threading.Thread(target=work) for _ in range(4)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        self.assertEqual(self.m["a"], 400)

    def test_changes_while_an_iteration_in_the_same_update(self):
        self.m.update((str(i), i) for i in range(3000))
        with self.space.update():
            for k, v in self.m.items():
                if v % 2:
                    del self.m[k]
                else:
                    self.m[k] = v + 1
        self.assertEqual(len(self.m), 1500)
        self.assertTrue(all(v % 2 for v in self.m.values()))

    def test_durable(self):
        with self.space.update(durable=True):
            self.m["a"] = 1
        self.space.sync()
        with everheap.open(self.path, durable=True) as s:
            s.map("m")["b"] = 2
        self.assertEqual(self.m["b"], 2)

    def test_collections_are_created_in_it(self):
        with self.assertRaises(RuntimeError):
            with self.space.update():
                self.space.map("new", str, int)["a"] = 1
                raise RuntimeError
        with self.assertRaises(everheap.NotFound):
            self.space.map("new")


class Others(SpaceTest):
    def test_checkpoints(self):
        m = self.space.map("m", str, int)
        m["a"] = 1
        self.space.checkpoint("one")
        m["a"] = 2
        with self.space.view_at("one"):
            self.assertEqual(m["a"], 1)
        self.assertEqual(m["a"], 2)
        self.assertEqual([c.name for c in self.space.checkpoints()], ["one"])
        with self.assertRaises(everheap.Exists):
            self.space.checkpoint("one")
        self.space.restore("one")
        self.assertEqual(m["a"], 1)
        self.space.drop_checkpoint("one")
        with self.assertRaises(everheap.NotFound):
            with self.space.view_at("one"):
                pass

    def test_backup_and_restore(self):
        m = self.space.map("m", str, int)
        m["a"] = 1
        file, copy = os.path.join(self.dir, "backup"), os.path.join(self.dir, "copy")
        self.space.backup(file)
        with self.assertRaises(everheap.Exists):
            self.space.backup(file)
        everheap.restore_backup(copy, file)
        with everheap.open(copy) as s:
            self.assertEqual(dict(s.map("m")), {"a": 1})

    def test_mutex(self):
        m = self.space.mutex("m")
        with m:
            with self.assertRaises(everheap.Self):
                m.lock()
            seen = []

            def other():
                try:
                    self.space.mutex("m").lock(timeout=0.05)
                except everheap.Busy as e:
                    seen.append(e)

            t = threading.Thread(target=other)
            t.start()
            t.join()
            self.assertEqual(len(seen), 1)
        with self.assertRaises(everheap.NotHeld):
            m.unlock()
        m.lock(timeout=1)
        m.unlock()

    def test_a_mutex_whose_holder_died(self):
        p = self.python("import everheap, sys, time; s = everheap.open(sys.argv[1]); s.mutex('m').lock(); print('locked'); time.sleep(600)", self.path)
        self.assertEqual(p.stdout.readline(), "locked\n")
        p.kill()
        p.wait()
        p.stdout.close()
        with self.assertRaises(everheap.OwnerDied):
            self.space.mutex("m").lock()
        self.space.mutex("m").unlock()
        with self.space.mutex("m"):
            pass

    def test_semaphore(self):
        sem = self.space.semaphore("s", 2)
        with sem:
            sem.acquire(timeout=1)
            with self.assertRaises(everheap.Busy):
                sem.acquire(timeout=0.02)
            with self.assertRaises(everheap.UnitsDiffer):
                self.space.semaphore("s", 3).acquire(timeout=0.02)
            sem.release()
        with self.assertRaises(everheap.NotHeld):
            sem.release()

    def test_a_semaphore_whose_holder_died(self):
        repaired = []
        for repair in (None, lambda: repaired.append(1)):
            p = self.python("import everheap, sys, time; s = everheap.open(sys.argv[1]); s.semaphore('s', 1).acquire(); print('acquired'); time.sleep(600)", self.path)
            self.assertEqual(p.stdout.readline(), "acquired\n")
            with self.assertRaises(everheap.Busy):
                self.space.semaphore("s", 1).acquire(timeout=0.02)
            p.kill()
            p.wait()
            p.stdout.close()
            sem = self.space.semaphore("s", 1, repair=repair)
            if repair is None:
                with self.assertRaises(everheap.OwnerDied):
                    sem.acquire()
                sem.release()
            else:
                with sem:
                    self.assertEqual(repaired, [1])

    def test_repair(self):
        p = self.python("import everheap, sys, time; s = everheap.open(sys.argv[1]); s.mutex('m').lock(); print('locked'); time.sleep(600)", self.path)
        self.assertEqual(p.stdout.readline(), "locked\n")
        p.kill()
        p.wait()
        p.stdout.close()
        repaired = []
        with self.space.mutex("m", repair=lambda: repaired.append(1)):
            self.assertEqual(repaired, [1])

    def test_watch(self):
        m = self.space.map("m", str, int)
        m["a"] = 1
        with m.watch(initial=True) as w:
            self.assertEqual(next(w)[2:], ("a", None, 1))
            m["a"] = 2
            c = next(w)
            self.assertEqual((c.kind, c.key, c.old, c.new), ("updated", "a", 1, 2))
            del m["a"]
            self.assertEqual(next(w).kind, "removed")
        with m.watch() as w:
            m["b"] = 5
            self.assertEqual(next(w)[2:], ("b", None, 5))
        self.assertEqual(list(w), [])
        r = self.space.ref("r", int)
        with r.watch() as w:
            r.set(3)
            self.assertEqual(next(w)[2:], (None, 0, 3))

    def test_a_watch_of_what_another_process_does(self):
        m = self.space.map("m", str, int)
        with m.watch() as w:
            self.run_python("import everheap, sys; everheap.open(sys.argv[1]).map('m')['x'] = 7", self.path)
            self.assertEqual(next(w)[2:], ("x", None, 7))

    def test_information(self):
        m = self.space.map("m", str, int)
        m["a"] = 1
        self.assertEqual(self.space.collections(), [("m", "map[string]int", 1)])
        self.assertEqual([p[4] for p in self.space.processes()], [True])
        self.assertGreater(self.space.stats()["version"], 0)
        self.assertEqual(self.space.stats()["version"], self.space.version)
        self.space.rename("m", "n")
        self.assertEqual(self.space.map("n")["a"], 1)
        self.assertTrue(self.space.drop("n"))
        self.assertFalse(self.space.drop("n"))
        self.assertIn("space", repr(self.space))


class Buffer(ctypes.Structure):
    """A Py_buffer of C."""

    _fields_ = [("buf", ctypes.c_void_p), ("obj", ctypes.py_object), ("len", ctypes.c_ssize_t), ("itemsize", ctypes.c_ssize_t), ("readonly", ctypes.c_int), ("ndim", ctypes.c_int),
                ("format", ctypes.c_char_p), ("shape", ctypes.c_void_p), ("strides", ctypes.c_void_p), ("suboffsets", ctypes.c_void_p), ("internal", ctypes.c_void_p)]


def address(view):
    """Where the bytes of a memoryview are, and how many."""
    b = Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(b), 0)
    found = b.buf, b.len
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(b))
    return found


def in_line(line, at):
    """Whether a line of /proc/self/maps has an address."""
    lo, hi = (int(n, 16) for n in line.split()[0].split("-"))
    return lo <= at < hi


class Lent(SpaceTest):
    def test_bytes_without_a_copy(self):
        m, t = self.space.map("m", str, bytes), self.space.map("t", str, str)
        m["a"], t["a"] = b"x" * 1000, "text"
        with self.space.view() as tx:
            view = tx.peek(m, "a")
            self.assertEqual((bytes(view), view.readonly), (b"x" * 1000, True))
            self.assertEqual(bytes(tx.peek(t, "a")), b"text")
            with self.assertRaises(KeyError):
                tx.peek(m, "b")
        for i in range(200):  # what the view saw stays, as long as the memoryview does
            m["a"] = b"y" * 1000
        self.assertEqual(bytes(view), b"x" * 1000)
        with self.assertRaises(BufferError):
            self.space.close()
        part = view[5:10]
        self.assertEqual(bytes(part), b"xxxxx")
        part.release()
        view.release()
        with self.assertRaises(everheap.Closed):
            tx.peek(m, "a")

    def test_the_bytes_are_those_of_the_file(self):
        m = self.space.map("m", str, bytes)
        m["a"] = bytes(range(256)) * 40
        with self.space.view() as tx:
            first, second = tx.peek(m, "a"), tx.peek(m, "a")
            at, size = address(first)
            self.assertEqual((at, size), address(second))  # each copy had an address of its own
            with open("/proc/self/maps") as maps:
                (line,) = [line for line in maps if in_line(line, at)]
            self.assertIn(os.path.realpath(self.path), line)
            self.assertTrue(in_line(line, at + size - 1))
            self.assertEqual(bytes(first), m["a"])
            first.release(), second.release()

    def test_an_update_lends_nothing(self):
        m, n = self.space.map("m", str, bytes), self.space.map("n", str, int)
        m["a"], n["a"] = b"x", 1
        with self.space.update() as tx:
            with self.assertRaises(everheap.ReadOnly):
                tx.peek(m, "a")
        with self.space.view() as tx:
            with self.assertRaises(everheap.Error):
                tx.peek(n, "a")
