package layout

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"unsafe"
)

// sweeping is coded by its own methods. Reading one runs the garbage collector, and then reuses the
// memory that it freed.
type sweeping struct {
	text string
	f    func() // always nil; because of it the type cannot be stored field by field
}

func (s sweeping) MarshalText() ([]byte, error) { return []byte(s.text), nil }

func (s *sweeping) UnmarshalText(b []byte) error {
	s.text = string(b)
	reuseFreed()
	return nil
}

// reused keeps the allocations of reuseFreed.
var reused [][]byte

// reuseFreed collects garbage, and allocates objects of all small sizes that are full of question marks.
func reuseFreed() {
	runtime.GC()
	reused = nil
	for size := 8; size <= 256; size += 8 {
		for range 2048 {
			reused = append(reused, bytes.Repeat([]byte{'?'}, size))
		}
	}
}

// swept is a value with a part that is read after the garbage collector has run.
type swept struct {
	First sweeping
	Last  string
}

// CopyOrdered keeps the bytes of the form alive when nothing else does (LY12).
func TestCopyOrdered_KeepsTheForm(t *testing.T) {
	defer func() { reused = nil }()
	typ := typeFor[swept](t)
	want := swept{sweeping{text: strings.Repeat("first", 4)}, strings.Repeat("last", 5)}
	stored, err := typ.Stored(unsafe.Pointer(&want))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []Ordering{Inside, Last} {
		form := ordered(t, typ, stored, o)
		var got swept
		if err := ReadOrdered(bytes.Clone(form)).CopyOrdered(typ, unsafe.Pointer(&got), o); err != nil {
			t.Fatal(err)
		}
		if got.First.text != want.First.text || got.Last != want.Last {
			t.Errorf("ordering %d: %q and %q were copied as %q and %q", o, want.First.text, want.Last, got.First.text, got.Last)
		}
	}
}

// The Ordered keeps a value of New, and the bytes of the form, alive until Done when nothing else
// does (LY12).
func TestOrdered_KeepsUntilDone(t *testing.T) {
	defer func() { reused = nil }()
	typ := typeFor[[2]string](t)
	want := [2]string{strings.Repeat("first\x00", 4), strings.Repeat("last", 5)}
	for _, o := range []Ordering{Inside, Last} {
		form := ordered(t, typ, unsafe.Pointer(&want), o)
		r := ReadOrdered(bytes.Clone(form))
		p, err := r.New(typ, o)
		if err != nil {
			t.Fatal(err)
		}
		reuseFreed()
		if got := ordered(t, typ, p, o); !bytes.Equal(got, form) {
			t.Errorf("ordering %d: %q was read as %q", o, form, got)
		}
		r.Done()
	}
}
