"""Counts the words of two files, one here and one in a Go process, into one map of one space. Both
are killed again and again, and started again; in the end every word was counted exactly once.

    with_go.py SPACE FILE FILE GO_PEER    (the program of lib/peer)
"""

import collections
import random
import subprocess
import sys

import everheap


def count(path: str, file: str) -> None:
    """Counts a line a transaction, and goes on behind the last line that was counted."""
    space = everheap.open(path)
    words, done = space.map("words", str, int), space.map("lines done", str, int)
    lines = open(file).read().rstrip("\n").split("\n")
    while True:
        with space.update():
            at = done.get(file, 0)
            if at == len(lines):
                return
            for word in lines[at].split():
                words[word] = words.get(word, 0) + 1
            done[file] = at + 1


def main(path: str, mine: str, theirs: str, peer: str) -> None:
    commands = [[sys.executable, __file__, "count", path, mine], [peer, "words", path, theirs]]
    kills = 0
    running = [subprocess.Popen(c) for c in commands]
    with everheap.open(path, max_size=256 << 20) as space:
        done = space.map("lines done", str, int)
        while any(p.poll() is None for p in running):
            i = random.randrange(2)
            before = done.get((mine, theirs)[i], 0)
            while running[i].poll() is None and done.get((mine, theirs)[i], 0) < before + random.randrange(5, 30):
                pass
            if running[i].poll() is None and kills < 10:
                running[i].kill()
                running[i].wait()
                running[i] = subprocess.Popen(commands[i])
                kills += 1
        want = collections.Counter((open(mine).read() + " " + open(theirs).read()).split())
        assert dict(space.map("words")) == want, "the words were not counted exactly once"
        print(f"{sum(want.values())} words, {kills} kills, every word counted once; check: {space.check().findings or 'clean'}")


if __name__ == "__main__":
    if sys.argv[1] == "count":
        count(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
