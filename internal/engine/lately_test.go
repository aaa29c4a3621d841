package engine

import (
	"path/filepath"
	"testing"
	"unsafe"
)

// A fact cached about a version is not used for another version whose state lies in the same place
// (E13): the block of a state is soon used again.
func TestLately_AnotherVersionInTheSamePlace(t *testing.T) {
	sp, err := Open(filepath.Join(t.TempDir(), "space"), Options{MaxSize: 64 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	id, err := sp.OpenMap("texts", texts(0))
	if err != nil {
		t.Fatal(err)
	}
	of, key := texts(id), uint64(7)
	set := func(text string) {
		t.Helper()
		if err := sp.Alone(false).Set(of, unsafe.Pointer(&key), unsafe.Pointer(&text)); err != nil {
			t.Fatal(err)
		}
	}
	get := func() (text string) {
		t.Helper()
		if _, err := sp.Alone(false).Get(of, unsafe.Pointer(&key), unsafe.Pointer(&text)); err != nil {
			t.Fatal(err)
		}
		return text
	}
	again := 0
	for range 5 {
		set("then")
		if first, second := get(), get(); first != "then" || second != "then" { // the second get caches
			t.Fatalf("%q and %q were read", first, second)
		}
		kept := sp.Live.Current()
		for range 20_000 {
			set("now")
			if sp.Live.Current() != kept {
				continue
			}
			again++
			if got := get(); got != "now" {
				t.Fatalf("%q was read, from the earlier version whose state lay in the same place", got)
			}
			break
		}
	}
	if again == 0 {
		t.Error("no state was put where another one had been")
	}
}
