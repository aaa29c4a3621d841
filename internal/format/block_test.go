package format

import (
	"testing"

	"pgregory.net/rapid"
)

func TestClasses_Ascending(t *testing.T) {
	for c := Class(1); int(c) < NumClasses; c++ {
		size := c.BlockSize()
		if size <= (c-1).BlockSize() || size%16 != 0 || size > ExtentSize/2 {
			t.Errorf("class %d has blocks of %d bytes after %d", c, size, (c - 1).BlockSize())
		}
		if rest := ExtentSize % size; rest >= size || rest > ExtentSize/16 {
			t.Errorf("class %d leaves %d bytes of an extent unused", c, rest)
		}
	}
	if last := Class(NumClasses - 1).BlockSize(); last != MaxSmall {
		t.Errorf("the greatest class has %d bytes, MaxSmall is %d", last, MaxSmall)
	}
	if NumClasses > int(ClassRun) {
		t.Error("the classes of small blocks run into those of runs")
	}
}

// A block begins at the multiples of its size, and nowhere else.
func TestClass_Begins(t *testing.T) {
	for c := Class(0); int(c) < NumClasses; c++ {
		for within := uint64(0); within < ExtentSize; within++ {
			if got, want := c.Begins(within), c != ClassFree && within%uint64(c.BlockSize()) == 0; got != want {
				t.Fatalf("class %d at %d: %t", c, within, got)
			}
		}
	}
	if ClassRun.Begins(0) {
		t.Error("a run is no small block")
	}
}

// ClassFor takes the smallest class with room, and grows with the payload.
func TestClassFor_Smallest(t *testing.T) {
	last := Class(1)
	for payload := ByteCount(0); payload+HeaderSize <= MaxSmall; payload++ {
		c := ClassFor(payload)
		if !c.Valid() || c == ClassFree || c < last {
			t.Fatalf("payload %d: class %d after %d", payload, c, last)
		}
		if c.BlockSize() < payload+HeaderSize {
			t.Fatalf("payload %d does not fit into class %d of %d bytes", payload, c, c.BlockSize())
		}
		if c > 1 && (c-1).BlockSize() >= payload+HeaderSize {
			t.Fatalf("payload %d would fit into class %d", payload, c-1)
		}
		last = c
	}
	if c := ClassFor(MaxSmall - HeaderSize + 1); c != ClassRun {
		t.Errorf("a payload larger than the small blocks has class %d", c)
	}
}

// A block wastes at most a class step: 15 bytes up to 256, an eighth of what it
// holds up to 1 KiB, and more only where an extent cannot be divided more finely.
func TestClassFor_Waste(t *testing.T) {
	for payload := ByteCount(16); payload+HeaderSize <= MaxSmall; payload++ {
		need := payload + HeaderSize
		waste := ClassFor(payload).BlockSize() - need
		limit := need/2 + 15 // sizes are multiples of 16
		switch {
		case need <= 256:
			limit = 15
		case need <= 1024:
			limit = need / 8
		case need <= 4096:
			limit = need / 5
		case need <= 16384:
			limit = need / 3
		}
		if waste > limit {
			t.Fatalf("payload %d wastes %d bytes, more than %d", payload, waste, limit)
		}
	}
}

// Full nodes of trees fit without a byte to spare: nodes of 2 to 64 words, and
// buckets whose blocks have 8 to 32.
func TestClassFor_NodesFitExactly(t *testing.T) {
	for _, slots := range []ByteCount{2, 4, 8, 16, 32, 64, 8 - 2, 16 - 2, 32 - 2} {
		payload := slots * 8
		if got := ClassFor(payload).BlockSize(); got != payload+HeaderSize {
			t.Errorf("a node of %d slots takes a block of %d bytes, not %d", slots, got, payload+HeaderSize)
		}
	}
}

// Blocks of the sizes of buckets are aligned to their size, so that their groups
// of words are cache lines.
func TestClassFor_BucketsAligned(t *testing.T) {
	for _, size := range []ByteCount{64, 128, 256} {
		if got := ClassFor(size - HeaderSize).BlockSize(); got != size || ExtentSize%size != 0 {
			t.Errorf("a bucket of %d bytes takes a block of %d", size, got)
		}
	}
}

func TestRunExtents_Bounds(t *testing.T) {
	for _, c := range []struct {
		payload ByteCount
		want    int
	}{
		{MaxSmall, 1},
		{ExtentSize - HeaderSize, 1},
		{ExtentSize - HeaderSize + 1, 2},
		{10*ExtentSize - HeaderSize, 10},
		{MaxPayload, 1 << (32 - ExtentShift)},
	} {
		if got := RunExtents(c.payload); got != c.want {
			t.Errorf("RunExtents(%d) = %d, want %d", c.payload, got, c.want)
		}
	}
}

func TestBlockHeader_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		birth := Version(rapid.Uint64Range(0, MaxVersion).Draw(t, "birth"))
		kind, class := Kind(rapid.Byte().Draw(t, "kind")), Class(rapid.Byte().Draw(t, "class"))
		h := BlockHeader{Meta: MakeMeta(birth, kind, class)}
		if h.Birth() != birth || h.Kind() != kind || h.Class() != class {
			t.Fatalf("%d, %d, %d came back as %d, %d, %d", birth, kind, class, h.Birth(), h.Kind(), h.Class())
		}
	})
}

func TestKind_Names(t *testing.T) {
	seen := map[string]bool{}
	for k := KindNone; k < kindEnd; k++ {
		if name := k.String(); name == "" || (name == "unknown") == (k == KindNone || k.Valid()) || name != "unknown" && seen[name] {
			t.Errorf("kind %d is named %q, valid %v", k, name, k.Valid())
		} else {
			seen[name] = true
		}
	}
	if kindEnd.Valid() || KindNone.Valid() || kindEnd.String() != "unknown" || Kind(255).String() != "unknown" {
		t.Error("a number that is no kind counts as one")
	}
}

func TestLink_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := Addr(rapid.Uint64Range(0, AddrMask).Draw(t, "address"))
		if n := rapid.UintRange(1, 15).Draw(t, "levels"); MakeTreeLink(a, n).Addr() != a || MakeTreeLink(a, n).TreeLevels() != n {
			t.Fatalf("%#x with %d levels came back as %#x", a, n, MakeTreeLink(a, n))
		}
		x, y := rapid.UintRange(0, 15).Draw(t, "low"), rapid.UintRange(0, 15).Draw(t, "high")
		if b := MakeBucketLink(a, x, y); b.Addr() != a || b.Kind() != LinkBucket || b.WordBits() != x || b.Bits() != y || b.WithBits(x).Bits() != x || b.WithBits(x).WordBits() != x {
			t.Fatalf("%#x, %d, %d came back as %#x, %d, %d", a, x, y, b.Addr(), b.WordBits(), b.Bits())
		}
		l := MakeLink(a, LinkKind(x), y)
		if l.Addr() != a || l.Kind() != LinkKind(x) || l.Bits() != y {
			t.Fatalf("%#x, %d, %d came back as %#x, %d, %d", a, x, y, l.Addr(), l.Kind(), l.Bits())
		}
		v := MakeVectorLink(a, x, y)
		if v.Addr() != a || v.VectorBits() != x || v.VectorLevels() != y {
			t.Fatalf("%#x, %d, %d came back as %#x, %d, %d", a, x, y, v.Addr(), v.VectorBits(), v.VectorLevels())
		}
	})
}

func TestID_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tag, index := rapid.Uint16().Draw(t, "tag"), rapid.Uint64Range(0, AddrMask).Draw(t, "index")
		if id := MakeID(tag, index); id.Tag() != tag || id.Index() != index {
			t.Fatalf("%#x, %#x came back as %#x, %#x", tag, index, id.Tag(), id.Index())
		}
	})
}

func TestIncarnation_Entry(t *testing.T) {
	for _, entry := range []int{0, 1, NumProcesses - 1} {
		if got := Incarnation(77<<IncarnationBits | entry).Entry(); got != entry {
			t.Errorf("entry %d came back as %d", entry, got)
		}
	}
	if NumProcesses != 1<<IncarnationBits {
		t.Error("the low bits of an incarnation do not name every entry")
	}
}

// The extent table fits between the anchors and the first extent.
func TestFirstExtent_RoomForTable(t *testing.T) {
	if AnchorOffset+NumAnchors*PageSize > TableOffset {
		t.Error("the anchor slots run into the extent table")
	}
	for window := uint64(64 << 20); window <= 1<<44; window *= 2 {
		first := FirstExtent(window)
		if first%ExtentSize != 0 || first < TableOffset+window/ExtentSize {
			t.Errorf("window %#x: first extent at %#x", window, first)
		}
	}
}
