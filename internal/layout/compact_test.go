package layout

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// The compact form has the bytes that the documentation promises to programs in other languages.
func TestCompact_Bytes(t *testing.T) {
	type point struct {
		X    int16
		Name string
		_    [5]byte
		Next *point
		Tags []string
		At   time.Time
		Raw  []byte
		Pair [2]bool
		None []int32
	}
	r := newRegion(t, 1<<20)
	v := point{X: -2, Name: "ab", Tags: []string{"", "x"}, At: time.Unix(-1, 5).UTC(), Raw: []byte{7}, Pair: [2]bool{true, false}, None: []int32{}}
	v.Next = &point{X: 1}
	v.Next.Next = &v
	typ := typeFor[point](t)
	p, b := r.store(t, typ, unsafe.Pointer(&v))
	got, err := typ.AppendCompact(nil, p, b)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer(" ", "", "\n", "", "\t", "").Replace(`
		feff 02000000 6162 02000000 02000000 00000000 01000000 78 ffffffffffffffff 05000000 01000000 07 01 00 00000000
		0100 00000000 01000000 ffffffff 00096e88f1ffffff 00000000 ffffffff 00 00 ffffffff`)
	if hex.EncodeToString(got) != want {
		t.Errorf("the bytes are\n%x, not\n%s", got, want)
	}
}

// A list of many nodes needs no recursion.
func TestCompact_LongList(t *testing.T) {
	type link struct {
		N    uint32
		Next *link
	}
	const n = 200_000
	var head *link
	for i := range uint32(n) {
		head = &link{i, head}
	}
	r := newRegion(t, 64<<20)
	typ := typeFor[link](t)
	p, b := r.store(t, typ, unsafe.Pointer(head))
	packed, err := typ.AppendCompact(nil, p, b)
	if err != nil {
		t.Fatal(err)
	}
	d, err := typ.ParseCompact(packed)
	if err != nil {
		t.Fatal(err)
	}
	var got link
	if err := typ.CopyOut(unsafe.Pointer(&got), d.Pointer(), d.Bounds()); err != nil {
		t.Fatal(err)
	}
	runtime.KeepAlive(d)
	seen := uint32(0)
	for l := &got; l != nil; l = l.Next {
		if seen++; l.N != n-seen {
			t.Fatalf("node %d is %d", seen, l.N)
		}
	}
	if seen != n || len(packed) != 8*n {
		t.Errorf("%d nodes in %d bytes", seen, len(packed))
	}
}

// Errors have the offset and the reason.
func TestParseCompact_Errors(t *testing.T) {
	type pad struct{ _ [1 << 20]byte }
	for _, c := range []struct {
		typ        *Type
		text, want string
	}{
		{typeFor[bool](t), "02", "at byte 0: want 0 or 1 for a bool, got 2"},
		{typeFor[int32](t), "0000", "at byte 0: want 4 bytes, got 2"},
		{typeFor[int8](t), "0000", "at byte 1: 1 surplus bytes follow the value"},
		{typeFor[string](t), "05000000 6161", "at byte 4: want 5 bytes, got 2"},
		{typeFor[[]int64](t), "ffffff7f", "at byte 4: want 2147483647 elements of at least 8 bytes, got 0 bytes"},
		{typeFor[[]struct{}](t), "ffffff7f", "value is too large"},
		{typeFor[[]pad](t), "00000100", "value is too large"},
		{typeFor[time.Time](t), "0000000000000000 00ca9a3b", "at byte 8: want less than 1,000,000,000 nanoseconds in a time, got 1000000000"},
		{typeFor[*int](t), "03000000", "want part 2 or an earlier one, got part 3"},
		{typeFor[*int](t), "01000000", "part 1 is mentioned as a int, but has another type"},
		{typeFor[*int](t), "02000000", "want 8 bytes, got 0"},
		{typeFor[*struct{}](t), "02000000", "want 0 or 1 for a pointer to a struct {}, got 2"},
		{typeFor[tree](t), "02000000 02000000 00000000 01000000 00", "1 surplus bytes"},
		{typeFor[loop](t), "02000000 01000000 03000000 01000000 05000000", "want part 4 or an earlier one, got part 5"},
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(c.text, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.typ.ParseCompact(b)
		if e := (*CompactError)(nil); !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s as a %s: %v, not %s", c.text, c.typ, err, c.want)
		}
	}
}

// FuzzParseCompact: any bytes are refused, or are a value that survives a round trip through the
// compact form.
func FuzzParseCompact(f *testing.F) {
	rng := rand.New(rand.NewPCG(3, 4))
	for n := range 30 {
		b := make([]byte, 20+8*n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(b, []byte{2, 0, 0, 0, 1, 0, 0, 0, byte(n)})
	}
	var used Room
	f.Fuzz(func(t *testing.T, kind, data []byte) {
		typ, _, err := generate(kind)
		if err != nil {
			return
		}
		compareRoom(t, &used, typ, data)
		d, err := typ.ParseCompact(data)
		if err != nil {
			if e := (*CompactError)(nil); !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(data) {
				t.Fatalf("%v", err)
			}
			return
		}
		packed, err := typ.AppendCompact(nil, d.Pointer(), d.Bounds())
		if err != nil {
			t.Fatalf("%s: %v", typ, err)
		}
		again, err := typ.ParseCompact(packed)
		if err != nil {
			t.Fatalf("%s: %v\n%x\n%x", typ, err, data, packed)
		}
		twice, err := typ.AppendCompact(nil, again.Pointer(), again.Bounds())
		if err != nil || !bytes.Equal(twice, packed) {
			t.Fatalf("%s: %v\n%x\n%x", typ, err, packed, twice)
		}
		runtime.KeepAlive(d)
		runtime.KeepAlive(again)
	})
}

// parsePlain gives the same value as the general way whenever it gives one, and never accepts bytes
// that the general way refuses.
func TestParseCompact_Plain(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	types := []*Type{
		typeFor[bool](t), typeFor[int](t), typeFor[int8](t), typeFor[int16](t), typeFor[int32](t), typeFor[int64](t),
		typeFor[uint](t), typeFor[uint8](t), typeFor[uint16](t), typeFor[uint32](t), typeFor[uint64](t),
		typeFor[float32](t), typeFor[float64](t), typeFor[complex64](t), typeFor[complex128](t),
		typeFor[time.Duration](t), typeFor[string](t),
		// parsePlain does not take these types.
		typeFor[[]byte](t), typeFor[[3]uint8](t), typeFor[struct{ N int8 }](t), typeFor[time.Time](t), typeFor[*int](t), typeFor[struct{}](t),
	}
	for i := range 20_000 {
		typ := types[i%len(types)]
		b := make([]byte, r.IntN(20))
		for j := range b {
			b[j] = byte(r.IntN(256)) & byte(r.IntN(4)*85)
		}
		if typ.kind == String && r.IntN(4) > 0 {
			b = append([]byte{byte(len(b) + r.IntN(20)/19), 0, 0, 0}, b...)
		}
		comparePlain(t, typ, b)
	}
	for _, n := range []int{0, 1, 31, 32, 33, mostPlain - 1, mostPlain, mostPlain + 1} {
		b := append([]byte{byte(n), byte(n >> 8), byte(n >> 16), 0}, bytes.Repeat([]byte("x"), n)...)
		if took := comparePlain(t, typeFor[string](t), b); took != (n <= mostPlain) {
			t.Errorf("the short way takes a string of %d bytes: %v", n, took)
		}
		comparePlain(t, typeFor[string](t), b[:len(b)-1])
		comparePlain(t, typeFor[string](t), append(b, 0))
	}
}

// comparePlain compares both ways for some bytes, and reports whether the short one took them.
func comparePlain(t *testing.T, typ *Type, b []byte) bool {
	t.Helper()
	u := unpacker{d: parser{root: typ}, b: b}
	want, err := u.whole(true)
	got := typ.parsePlain(b)
	plainType := typ.kind == String || typ.kind >= Bool && typ.kind <= Complex128
	switch {
	case got == nil && err == nil && plainType && len(b) <= 4+mostPlain:
		t.Fatalf("%s: the short way refuses %x", typ, b)
	case got == nil:
		return false
	case err != nil || !plainType:
		t.Fatalf("%s: the short way takes %x, and the general one says %v", typ, b, err)
	case got.size != want.size:
		t.Fatalf("%s: %x takes %d bytes, and not %d", typ, b, got.size, want.size)
	}
	mine, err := typ.Detach(got.Pointer(), got.Bounds())
	if err != nil {
		t.Fatalf("%s: %x is damaged: %v", typ, b, err)
	}
	theirs, err := typ.Detach(want.Pointer(), want.Bounds())
	if err != nil || !bytes.Equal(mine, theirs) {
		t.Fatalf("%s: %x is %x, and not %x (%v)", typ, b, mine, theirs, err)
	}
	runtime.KeepAlive(got)
	runtime.KeepAlive(want)
	return true
}

// A room gives what the general way does, whatever was in it before, for all flat types, and takes
// nothing that the general way refuses.
func TestRoom_ReadCompact(t *testing.T) {
	type inner struct {
		B bool
		N int64
		S string
	}
	type flat struct {
		A  int8
		At time.Time
		S  string
		In [2]inner
		L  []inner
		LL [][]string
		R  []byte
		U  uint16
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 2))
	types := []*Type{
		typeFor[bool](t), typeFor[int32](t), typeFor[complex128](t), typeFor[string](t), typeFor[time.Time](t), typeFor[struct{}](t), typeFor[[]struct{}](t),
		typeFor[flat](t), typeFor[[]flat](t), typeFor[[]inner](t), typeFor[[3]uint8](t), typeFor[[][]byte](t), typeFor[struct {
			A uint8
			B uint64
		}](t),
		// Those are none that a room takes.
		typeFor[*int](t), typeFor[struct{ Next *flat }](t), typeFor[tree](t),
	}
	var room Room
	taken := 0
	for i := range 20_000 {
		typ := types[i%len(types)]
		b := packedOf(r, typ, nil)
		switch r.IntN(4) {
		case 0:
			b = b[:r.IntN(len(b)+1)]
		case 1:
			if len(b) > 0 {
				b[r.IntN(len(b))] ^= 1 << r.IntN(8)
			}
		}
		if compareRoom(t, &room, typ, b) {
			taken++
		}
		if r.IntN(100) == 0 {
			room.Empty()
		}
	}
	if taken < 8000 {
		t.Errorf("a room took %d values", taken)
	}
	long := append([]byte{0, 0, 1, 0}, make([]byte, mostPlain)...)
	if compareRoom(t, &room, typeFor[[]byte](t), long) {
		t.Error("a room took more than it reads")
	}
	compareRoom(t, &room, typeFor[[]inner](t), append([]byte{0, 15, 0, 0}, make([]byte, 15<<8*13)...)) // twice as large as its form
}

// packedOf appends the compact form of a value of a type without pointers.
func packedOf(r *rand.Rand, t *Type, b []byte) []byte {
	many := func(e *Type, n int) {
		for range n {
			b = packedOf(r, e, b)
		}
	}
	switch t.kind {
	case Bool:
		return append(b, byte(r.IntN(2)))
	case String:
		n := r.IntN(5) * r.IntN(40)
		return append(append(b, byte(n), 0, 0, 0), bytes.Repeat([]byte{'x'}, n)...)
	case Time:
		return append(b, 1, 2, 3, 4, 0, 0, 0, 0, byte(r.IntN(256)), 0, 0, 0)
	case Struct:
		for _, f := range t.fields {
			b = packedOf(r, f.Type, b)
		}
	case Array:
		many(t.elem, int(t.length))
	case Slice:
		n := r.IntN(4)
		if n == 3 || t.ident {
			return append(b, 255, 255, 255, 255)
		}
		b = append(b, byte(n), 0, 0, 0)
		many(t.elem, n)
	case Pointer:
		return append(b, 0, 0, 0, 0)
	default:
		for range t.size {
			b = append(b, byte(r.IntN(256)))
		}
	}
	return b
}

// compareRoom compares a room with the general way for some bytes, and reports whether it took them.
func compareRoom(t *testing.T, room *Room, typ *Type, b []byte) bool {
	t.Helper()
	u := unpacker{d: parser{root: typ}, b: b}
	want, wantErr := u.whole(true)
	p := room.ReadCompact(typ, b)
	if p == nil {
		if wantErr == nil && typ.flat && len(b) < 1000 && !typ.reaches(func(u *Type) bool { return u.kind == Slice && u.elem.least() == 0 }) {
			t.Fatalf("%s: the room refuses %x", typ, b)
		}
		return false
	}
	if wantErr != nil || !typ.flat {
		t.Fatalf("%s: the room takes %x, and the general way says %v", typ, b, wantErr)
	}
	mine, err := typ.Detach(p, stretched)
	if err != nil {
		t.Fatalf("%s: %x is damaged: %v", typ, b, err)
	}
	theirs, err := typ.Detach(want.Pointer(), want.Bounds())
	if err != nil || !bytes.Equal(mine, theirs) {
		t.Fatalf("%s: %x is\n%x, and not\n%x (%v)", typ, b, mine, theirs, err)
	}
	runtime.KeepAlive(room)
	runtime.KeepAlive(want)
	runtime.KeepAlive(b)
	return true
}
