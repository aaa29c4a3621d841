"""Two Go and two Python processes change one space while they are killed: nothing is lost, nothing
is there by half, and nobody waits for the dead."""

import os
import random
import subprocess
import sys
import threading
import time

import everheap
from tests.support import ROOT, SpaceTest, peer

WORKER = """
import everheap, random, sys
path, name = sys.argv[1:]
s = everheap.open(path)
accounts, counts = s.map("accounts", str, int), s.map("counts", str, int)
while True:
    with s.update():
        a, b, amount = str(random.randrange(20)), str(random.randrange(20)), random.randrange(100)
        accounts[a] -= amount
        accounts[b] += amount
        n = counts[name] = counts.get(name, 0) + 1
    print(n)
"""


class Worker:
    """A process that is started again whenever it was killed."""

    def __init__(self, test, name, command):
        self.test, self.name, self.command = test, name, command
        self.acknowledged, self.start_count, self.made = 0, 0, 0
        self.progress = threading.Event()

    def start(self):
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, env=env)
        self.made, self.start_count = 0, self.start_count + 1
        self.reader = threading.Thread(target=self.read, args=(self.process,))
        self.reader.start()

    def read(self, process):
        for line in process.stdout:
            if line.endswith(b"\n"):
                self.acknowledged = int(line)
                self.made += 1
                self.progress.set()

    def await_progress(self, n):
        """Waits until the process has committed n times."""
        while self.made < n:
            self.progress.clear()
            if self.made < n and not self.progress.wait(60):
                self.test.fail(f"{self.name} stands still, and {self.process.poll()} is its end")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()


class Kills(SpaceTest):
    def test_both_languages(self):
        seed = random.randrange(1 << 30)
        r = random.Random(seed)
        accounts = self.space.map("accounts", str, int)
        accounts.update((str(i), 1000) for i in range(20))
        workers = [Worker(self, f"go{i}", [peer(), "bank", self.path, f"go{i}"]) for i in range(2)]
        workers += [Worker(self, f"python{i}", [sys.executable, "-c", WORKER, self.path, f"python{i}"]) for i in range(2)]
        with self.subTest(seed=seed):
            for w in workers:
                w.start()
            for _ in range(12):
                victim = r.choice(workers)
                victim.await_progress(r.randrange(1, 30))
                victim.kill()
                for other in workers:  # nobody waits for the dead
                    if other is not victim:
                        other.await_progress(other.made + 1)
                victim.start()
            for w in workers:
                w.await_progress(1)
                w.kill()
            counts = self.space.map("counts")
            self.assertEqual(sum(accounts.values()), 20 * 1000)
            for w in workers:  # all that was said to be done, and at most what each of the dead was about to say
                self.assertGreaterEqual(counts[w.name], w.acknowledged)
                self.assertLessEqual(counts[w.name], w.acknowledged + 1)
        self.assertEqual(self.space.check().findings, [])
        self.assertEqual(len(self.space.processes()), 1)
