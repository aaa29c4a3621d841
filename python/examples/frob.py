"""Persistent objects as a Python programmer would write them. Run it twice: the second time the
objects are there, and so is whatever another process, in Python or in Go, has made of them."""

import sys
from dataclasses import dataclass

import everheap


@dataclass
class Frob:
    foo: int
    bar: int


space = everheap.open(sys.argv[1] if len(sys.argv) > 1 else "frobs")
d = space.map("frobs", str, Frob)
for x, frob in d.items():
    print("there from before:", x, frob)

x = "thing"
d[x] = Frob(foo=9, bar=23)
d.modify(x, lambda frob: Frob(frob.foo, frob.bar + 1))
d[f"run {len(d)}"] = Frob(foo=len(d), bar=0)
print(len(d), "frobs,", d[x])
