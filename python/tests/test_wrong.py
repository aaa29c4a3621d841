"""What goes wrong in Python: forks, signals, the interpreter's exit, threads, objects used too late."""

import gc
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

import everheap
from tests.support import ROOT, SpaceTest


class Forks(SpaceTest):
    def test_a_fork_gets_an_error_and_its_parent_is_unharmed(self):
        out = self.run_python("""
import everheap, os, sys
s = everheap.open(sys.argv[1])
m = s.map("m", str, int)
m["a"] = 1
walk = iter(m.items())
view = s.view()
view.__enter__()
watch = m.watch()
pid = os.fork()
if pid == 0:
    failed = []
    for f in (lambda: m["a"], lambda: m.__setitem__("a", 2), lambda: "a" in m, lambda: len(m), lambda: list(m), lambda: next(walk), lambda: next(watch), lambda: s.view().__enter__(),
              lambda: everheap.open(sys.argv[1]), lambda: s.check(), lambda: s.mutex("x").lock(), lambda: m.update(a=1), lambda: m.get_many(["a"]), lambda: m.pop("a"), s.close, lambda: view.version):
        try:
            f()
        except everheap.Forked as e:
            assert "spawn" in str(e)
        except BaseException as e:
            failed.append(repr(e))
        else:
            failed.append("no error")
    del walk, watch, view
    print(failed, flush=True)
    sys.exit(0)  # with all that runs at the end of an interpreter
assert os.waitpid(pid, 0)[1] == 0
assert list(walk) == [("a", 1)]
view.__exit__(None, None, None)
m["b"] = 5
assert next(watch).key == "b"
print(s.check().findings)
""", self.path)
        self.assertEqual(out, "[]\n[]\n")

    def test_multiprocessing(self):
        out = self.run_python("""
import everheap, multiprocessing, sys
def work(path, q):
    try:
        everheap.open(path).map("m")
    except everheap.Forked as e:
        q.put("spawn" in str(e))
s = everheap.open(sys.argv[1])
m = s.map("m", str, int)
c = multiprocessing.get_context("fork")
q = c.Queue()
p = c.Process(target=work, args=(sys.argv[1], q))
p.start()
print(q.get(timeout=60))
p.join()
m["a"] = 1
print(p.exitcode, m["a"])
""", self.path)
        self.assertEqual(out, "True\n0 1\n")

    def test_subprocesses_are_no_forks(self):
        self.space.map("m", str, int)["a"] = 1
        subprocess.run(["true"], check=True)
        self.assertEqual(self.space.map("m")["a"], 1)


class Signals(SpaceTest):
    WAITING = {
        "update": "with s.update(): pass",
        "set": "m['a'] = 1",
        "batch": "m.update(a=1)",
        "delete": "del m['a']",
        "append": "l.append(1)",
        "lock": "s.mutex('held').lock()",
        "acquire": "s.semaphore('all', 1).acquire()",
        "modify": "m.modify('a', lambda n: n + 1)",
        "pop": "l.pop()",
        "create": "s.map('new', str, int)",
        "evolve": "s.map('m', str, everheap.float32, evolve=True)",
        "durable": "with s.update(durable=True): pass",
        "watch": "next(m.watch())",
    }

    def test_a_waiting_call_is_interrupted(self):
        m, l = self.space.map("m", str, int), self.space.list("l", int)
        m["a"] = 1
        for name, code in self.WAITING.items():
            with self.subTest(name):
                with self.space.mutex("held"), self.space.semaphore("all", 1), self.space.update():
                    p = self.python(f"""
import everheap, signal, sys
s = everheap.open(sys.argv[1])
m, l = s.map("m"), s.list("l")
seen = []
def handle(number, frame):
    while frame and frame.f_code.co_name != "wait":
        frame = frame.f_back
    if frame:
        seen.append(1)
        if len(seen) == 2:  # the first can have come before the call
            raise KeyboardInterrupt
signal.signal(signal.SIGINT, handle)
def wait():
    {code}
print("ready")
try:
    wait()
except KeyboardInterrupt:
    print("interrupted", m["a"])
""", self.path)
                    self.assertEqual(p.stdout.readline(), "ready\n")
                    for _ in range(600):  # until it has arrived where it waits, and gets it
                        p.send_signal(signal.SIGINT)
                        try:
                            p.wait(0.1)
                            break
                        except subprocess.TimeoutExpired:
                            pass
                    else:
                        p.kill()  # and the test fails, since it says nothing
                    out = p.stdout.read()
                    p.stdout.close()
                self.assertIn("interrupted 1", out)
        self.assertEqual((dict(m), list(l)), ({"a": 1}, []))
        self.assertEqual(len(self.space.collections()), 2)

    def test_waiting_lets_other_threads_run(self):
        m = self.space.map("m", str, int)
        entered, leave = threading.Event(), threading.Event()

        def hold():
            with self.space.update():
                entered.set()
                leave.wait()

        holder = threading.Thread(target=hold)
        holder.start()
        entered.wait()
        waiter = threading.Thread(target=lambda: m.__setitem__("a", 1))
        waiter.start()
        ran = sum(1 for _ in range(100000))  # this thread gets the interpreter
        leave.set()
        holder.join()
        waiter.join()
        self.assertEqual((ran, m["a"]), (100000, 1))

    def test_handlers_of_python_stay(self):
        got = []
        before = signal.signal(signal.SIGUSR1, lambda *a: got.append(1))
        signal.raise_signal(signal.SIGUSR1)
        m = self.space.map("m", int, int)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        alarm = signal.signal(signal.SIGALRM, lambda *a: got.append(2))
        for i in range(3000):
            m[i] = i
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, alarm)
        signal.signal(signal.SIGUSR1, before)
        self.assertIn(1, got)
        self.assertIn(2, got)
        self.assertEqual(sum(m.values()), sum(range(3000)))


class Ends(SpaceTest):
    def test_exit_with_open_transactions(self):
        self.space.map("m", str, int)["a"] = 1
        out = self.run_python("""
import everheap, sys, threading, time
s = everheap.open(sys.argv[1])
m = s.map("m")
def hold():
    with s.view():
        threading.Event().wait()
threading.Thread(target=hold, daemon=True).start()
threading.Thread(target=lambda: next(m.watch()), daemon=True).start()
walk = iter(m.items())
next(walk)
tx = s.update()
tx.__enter__()
m["a"] = 2
print("done")
""", self.path)
        self.assertEqual(out, "done\n")
        self.space.map("m")["b"] = 1  # nobody holds anything
        self.assertEqual(dict(self.space.map("m")), {"a": 1, "b": 1})
        self.assertEqual(len(self.space.processes()), 1)

    def test_a_process_killed_in_a_transaction_blocks_nobody(self):
        m = self.space.map("m", str, int)
        m["a"] = 1
        for _ in range(3):
            p = self.python("import everheap, sys, time\ns = everheap.open(sys.argv[1])\nwith s.update():\n s.map('m')['a'] = 2\n print('in it')\n time.sleep(600)", self.path)
            self.assertEqual(p.stdout.readline(), "in it\n")
            p.kill()
            p.wait()
            p.stdout.close()
            m["b"] = m.get("b", 0) + 1
        self.assertEqual(dict(m), {"a": 1, "b": 3})

    def test_what_is_used_too_late(self):
        m = self.space.map("m", int, int)
        m.update((i, i) for i in range(3000))
        with self.space.view() as tx:
            walk = iter(m)
            next(walk)
        with self.assertRaises(everheap.Closed):
            list(walk)
        with self.assertRaises(everheap.Closed):
            tx.version
        with self.assertRaises(everheap.Error):
            tx.__enter__()
        half = iter(m.items())
        next(half)
        watch = m.watch()
        update = self.space.update()
        update.__enter__()
        m[0] = -1
        self.space.close()
        self.space.close()
        for f in (lambda: m[0], lambda: m.__setitem__(0, 1), lambda: list(m), lambda: len(m), lambda: next(watch), lambda: self.space.check(), self.space.update().__enter__, lambda: self.space.map("m")):
            with self.assertRaises(everheap.Closed):
                f()
        with self.assertRaises(everheap.Closed):
            list(half)
        with self.assertRaises(everheap.Closed):
            update.__exit__(None, None, None)
        with everheap.open(self.path) as s:
            self.assertEqual(s.map("m")[0], 0)

    def test_iterations_left_half_way_hold_nothing(self):
        m = self.space.map("m", int, int)
        m.update((i, i) for i in range(3000))

        def half():
            for k in m:
                yield k

        for _ in range(100):
            next(half())
            next(iter(m.items()))
        with self.space.update():
            g = half()
            next(g)
            m[0] = 5
        del g
        gc.collect()
        self.assertEqual(m[0], 5)

    def test_generators_left_half_way_leave_their_transactions(self):
        m = self.space.map("m", int, int)
        m.update((i, i) for i in range(3000))

        def viewing():
            with self.space.view():
                yield from m.items()

        def updating():
            with self.space.update():
                for k in m:
                    m[k] = -1
                    yield k

        walk = viewing()
        next(walk)
        version = self.space.version  # the thread is in that view
        threading.Thread(target=m.__setitem__, args=(0, 7)).start()
        self.assertEqual(self.space.version, version)
        walk.close()
        walk = updating()
        for _ in range(5):
            next(walk)
        with self.assertRaises(everheap.Self):
            self.space.update().__enter__()
        del walk
        gc.collect()
        m[3000] = 1  # nobody holds the turn, and all that was written by half is gone
        self.assertEqual([k for k, v in m.items() if v == -1], [])
        self.assertEqual((m[0], m[3000]), (7, 1))

    def test_transactions_that_nobody_leaves_are_aborted(self):
        m = self.space.map("m", str, int)
        tx = self.space.update()
        tx.__enter__()
        m["a"] = 1
        del tx
        m["b"] = 2
        self.assertEqual(dict(m), {"b": 2})

    def test_threads_of_one_iterator(self):
        m = self.space.map("m", int, int)
        m.update((i, i) for i in range(50000))
        walk, seen, odd = iter(m), [], []

        def take():
            while True:
                try:
                    seen.append(next(walk))
                except StopIteration:
                    return
                except ValueError:  # another thread waits for the next entries, as of generators
                    odd.append(1)

        threads = [threading.Thread(target=take) for _ in range(4)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        self.assertEqual(sorted(seen), list(range(50000)))

    def test_no_pickles(self):
        for o in (self.space, self.space.map("m", str, int)):
            with self.assertRaises(TypeError):
                pickle.dumps(o)

    def test_nothing_leaks(self):
        m = self.space.map("m", str, list[int])
        value = list(range(100))

        def work(n):
            for i in range(n):
                m["a"] = value
                m["a"]
                list(m.items())
                m.get_many(["a", "b"])
                try:
                    m["b"]
                except KeyError:
                    pass
                try:
                    m["a"] = [1, "x"]
                except TypeError:
                    pass
                with self.space.view():
                    pass

        work(50)
        gc.collect()
        before = sys.getallocatedblocks()
        work(300)
        gc.collect()
        self.assertLess(sys.getallocatedblocks() - before, 200)


class Exceptions(unittest.TestCase):
    def test_the_hierarchy(self):
        names = open_source("lib/main.go")
        for name in names:
            self.assertTrue(issubclass(getattr(everheap, name), everheap.Error), name)
        self.assertTrue(issubclass(everheap.NotFound, KeyError))
        self.assertTrue(issubclass(everheap.LiveLost, everheap.Replaced) and issubclass(everheap.Replaced, everheap.IO))
        with self.assertRaises(everheap.NotFound):
            everheap.open("/nonexistent/space", read_only=True)

    def test_a_panic_is_an_error(self):
        with tempfile.TemporaryDirectory() as dir, everheap.open(os.path.join(dir, "s"), max_size=64 << 20) as s:
            with self.assertRaisesRegex(everheap.Internal, "as was asked for"):
                s._call("panic")
            self.assertEqual(s.check().findings, [])

    def test_every_error_of_go_has_a_name(self):
        go = set(re.findall(r"^\tErr(\w+) +=", (ROOT.parent / "errors.go").read_text(), re.M))
        self.assertEqual(go, set(open_source("lib/main.go")))


def open_source(name):
    return re.findall(r'\{everheap\.Err\w+, "(\w+)"\}', (ROOT / name).read_text())


if __name__ == "__main__":
    unittest.main()
