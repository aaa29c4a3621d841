package layout

import (
	"testing"
	"time"
	"unsafe"
)

// sameNode can be shared and cyclic.
type sameNode struct {
	Name string
	Next *sameNode
}

// sameValue has a part of every kind.
type sameValue struct {
	N     int8
	F     float64
	Text  string
	Bytes []byte
	Lists [][]string
	When  time.Time
	A, B  *sameNode
}

// sameStored stores two values, each in a block of its own, and compares them.
func sameStored[T any](t *testing.T, a, b T) bool {
	t.Helper()
	typ, err := For[T]()
	if err != nil {
		t.Fatal(err)
	}
	pa, ba := newRegion(t, 1<<16).store(t, typ, unsafe.Pointer(&a))
	pb, bb := newRegion(t, 1<<16).store(t, typ, unsafe.Pointer(&b))
	there, err := typ.SameStored(pa, ba, pb, bb)
	if err != nil {
		t.Fatal(err)
	}
	back, err := typ.SameStored(pb, bb, pa, ba)
	if err != nil || back != there {
		t.Errorf("one way %v, the other way %v (%v)", there, back, err)
	}
	return there
}

func TestSameStored(t *testing.T) {
	if !sameStored(t, 7, 7) || sameStored(t, 7, 8) {
		t.Error("numbers")
	}
	if !sameStored(t, "x", string([]byte("x"))) || sameStored(t, "x", "y") || sameStored(t, "x", "xx") {
		t.Error("strings")
	}
	ring := func(names ...string) *sameNode {
		first := &sameNode{Name: names[0]}
		last := first
		for _, name := range names[1:] {
			last.Next = &sameNode{Name: name}
			last = last.Next
		}
		last.Next = first
		return first
	}
	make := func(change func(v *sameValue)) sameValue {
		v := sameValue{N: 3, F: 1.5, Text: "text", Bytes: []byte("bytes"), Lists: [][]string{{"a", "b"}, {}, nil},
			When: time.Unix(1000, 5), A: ring("p", "q"), B: &sameNode{Name: "b"}}
		change(&v)
		return v
	}
	plain := make(func(*sameValue) {})
	if !sameStored(t, plain, make(func(v *sameValue) { v.When = v.When.In(time.FixedZone("", 3600)) })) {
		t.Error("equal values differ")
	}
	for what, change := range map[string]func(v *sameValue){
		"number":       func(v *sameValue) { v.N++ },
		"float":        func(v *sameValue) { v.F *= 2 },
		"text":         func(v *sameValue) { v.Text = "tekt" },
		"longer":       func(v *sameValue) { v.Text += "!" },
		"bytes":        func(v *sameValue) { v.Bytes[4] = 'x' },
		"inner string": func(v *sameValue) { v.Lists[0][1] = "c" },
		"nil slice":    func(v *sameValue) { v.Lists[1] = nil },
		"time":         func(v *sameValue) { v.When = v.When.Add(1) },
		"in a cycle":   func(v *sameValue) { v.A.Next.Name = "r" },
		"no cycle":     func(v *sameValue) { v.A.Next.Next = nil },
		"nil pointer":  func(v *sameValue) { v.B = nil },
		"shared":       func(v *sameValue) { v.B = v.A },
	} {
		if sameStored(t, plain, make(change)) {
			t.Errorf("%s: different values are equal", what)
		}
	}
	twice := func(a, b *sameNode) []*sameNode { return []*sameNode{a, b} }
	one := &sameNode{Name: "n"}
	if sameStored(t, twice(one, one), twice(one, &sameNode{Name: "n"})) || !sameStored(t, twice(one, one), twice(one, one)) {
		t.Error("a shared part equals two equal parts")
	}
}

func TestSameStored_Damaged(t *testing.T) {
	v := plainPair{"a string", "another"}
	typ, err := For[plainPair]()
	if err != nil {
		t.Fatal(err)
	}
	good, damaged := newRegion(t, 1<<12), newRegion(t, 1<<12)
	pa, ba := good.store(t, typ, unsafe.Pointer(&v))
	pb, bb := damaged.store(t, typ, unsafe.Pointer(&v))
	*(*uintptr)(unsafe.Pointer(&damaged.rw[0])) += 1 << 20
	if _, err := typ.SameStored(pa, ba, pb, bb); err == nil {
		t.Error("damage was not seen")
	}
	if _, err := typ.SameStored(pb, bb, pa, ba); err == nil {
		t.Error("damage was not seen")
	}
}

type plainPair struct{ A, B string }
