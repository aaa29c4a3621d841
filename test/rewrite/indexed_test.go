package rewrite

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// marked has an index of each kind.
type marked struct {
	Serial string `everheap:"unique"`
	Shelf  string `everheap:"index=Shelf,Bin"`
	Bin    int
	Marks  []string `everheap:"index"`
}

// makeMarked makes the value of a key.
func makeMarked(key, round int) marked {
	return marked{fmt.Sprint("serial", key, "-", round), fmt.Sprint("shelf", key%5), key % 3, []string{fmt.Sprint("mark", key%7), "all"}}
}

// verifyMarked verifies that each index finds the entries of n keys, all of one round.
func verifyMarked(t *testing.T, s *everheap.Space, m everheap.Sorted[int, marked], n, round int) {
	t.Helper()
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		serials := everheap.IndexOf[marked, string](m, "Serial")
		for key := range n {
			if k, v := serials.Peek(tx, makeMarked(key, round).Serial); v == nil || k != key || m.Peek(tx, key) != v {
				t.Fatalf("the serial of %d finds %d, %v", key, k, v)
			}
		}
		shelves := everheap.IndexOf[marked, string](m, "Shelf,Bin")
		marks := everheap.IndexOf[marked, string](m, "Marks")
		if a, b, c := serials.Len(tx), shelves.Len(tx), marks.Len(tx); a != n || b != n || c != 2*n {
			t.Errorf("of %d entries %d, %d and %d are in the indexes", n, a, b, c)
		}
		seen := 0
		for key, v := range marks.Each(tx, "all") {
			if key != seen || v != m.Peek(tx, key) {
				t.Errorf("the mark finds %d, %v after %d", key, v, seen)
			}
			seen++
		}
		return nil
	})
	report, err := s.Check(context.Background())
	if err != nil || len(report.Findings) > 0 {
		t.Error(report.Findings, err)
	}
}

// A space in another window has its indexes, keeps them, and restores them, and so has its copy.
func TestRebase_Indexed(t *testing.T) { // IX1
	original := spacetest.Scratch(t)
	m, err := everheap.OpenSorted[int, marked](original, "marked")
	spacetest.Must(t, err)
	const n = 300
	set := func(s *everheap.Space, round int) {
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			for key := range n {
				if err := m.Set(tx, key, makeMarked(key, round)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	set(original, 0)
	spacetest.Must(t, original.Checkpoint("first"))
	set(original, 1)
	spacetest.Must(t, original.Close())
	copied := filepath.Join(t.TempDir(), "copy")
	spacetest.CopySpace(t, original.Stats().Dir, copied)
	spacetest.Must(t, everheap.Rebase(context.Background(), copied, 0))
	original = spacetest.Open(t, original.Stats().Dir)
	other := spacetest.Open(t, copied)
	for i, s := range []*everheap.Space{original, other, original} { // cached state of one space must not be used for the other
		verifyMarked(t, s, m, n, 1+i/2)
		err := m.Set(s, n, marked{Serial: makeMarked(7, 1+i/2).Serial})
		spacetest.ExpectError(t, err, everheap.ErrDuplicate, "Serial")
		set(s, 2)
		verifyMarked(t, s, m, n, 2)
	}
	spacetest.Must(t, other.Restore(context.Background(), "first"))
	verifyMarked(t, other, m, n, 0)
	verifyMarked(t, original, m, n, 2)
}
