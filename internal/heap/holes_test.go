package heap

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A runList is a set of extents in as few runs as possible.
func TestRunList_IsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list runList
		set := map[uint64]bool{}
		steps := rapid.IntRange(1, 60).Draw(t, "steps")
		for range steps {
			extent, n := rapid.Uint64Range(0, 40).Draw(t, "extent"), rapid.Uint64Range(1, 12).Draw(t, "n")
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0: // those that are not there yet
				for e := extent; e < extent+n; e++ {
					if !set[e] {
						list.add(e, 1)
						set[e] = true
					}
				}
			case 1:
				list.remove(extent, n)
				for e := extent; e < extent+n; e++ {
					delete(set, e)
				}
			case 4:
				if len(set) > 0 {
					e, got := list.takeLast(n)
					if got > n {
						t.Fatalf("%d extents, not up to %d", got, n)
					}
					takeFrom(t, set, e, got)
				}
			case 2:
				if e, ok := list.take(n); ok {
					takeFrom(t, set, e, n)
				}
			case 3:
				most := n + rapid.Uint64Range(0, 6).Draw(t, "more")
				e, got, ok := list.takeUpTo(n, most)
				if ok {
					if got < n || got > most {
						t.Fatalf("%d extents, not %d to %d", got, n, most)
					}
					takeFrom(t, set, e, got)
				}
			}
			if len(set) > 0 && rapid.IntRange(0, 9).Draw(t, "cut") == 0 {
				for _, r := range list.cut(extent) {
					if r.extent+r.n > extent {
						t.Fatalf("%v was cut off at %d", r, extent)
					}
					takeFrom(t, set, r.extent, r.n)
				}
				for e := range set {
					if e < extent {
						t.Fatalf("extent %d was not cut off at %d", e, extent)
					}
				}
			}
			want := runsOf(set)
			if !slices.Equal(list.list, want) || list.extents != uint64(len(set)) {
				t.Fatalf("the list has %v, %d extents; want %v", list.list, list.extents, want)
			}
		}
	})
}

// takeFrom takes extents that must be there out of the set.
func takeFrom(t *rapid.T, set map[uint64]bool, extent, n uint64) {
	for e := extent; e < extent+n; e++ {
		if !set[e] {
			t.Fatalf("extent %d was not in the list", e)
		}
		delete(set, e)
	}
}

// runsOf returns the runs of a set.
func runsOf(set map[uint64]bool) (list []run) {
	for e := uint64(0); e < 100; e++ {
		if !set[e] {
			continue
		}
		if n := len(list); n > 0 && list[n-1].extent+list[n-1].n == e {
			list[n-1].n++
			continue
		}
		list = append(list, run{e, 1})
	}
	return list
}
