package everheap_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/everheap/everheap"
)

// lostPower returns the space as it is found after a loss of power at this moment, in
// which everything that was written reached the disk. The space itself is closed.
func lostPower(t *testing.T, s *everheap.Space) *everheap.Space {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "s")
	must(t, os.CopyFS(dir, os.DirFS(s.Stats().Dir)))
	must(t, os.Remove(filepath.Join(dir, "live")))
	must(t, s.Close())
	return open(t, dir)
}

// A transaction that stores a new key more than once and then removes it: the
// journal must not tell of a removal alone.
func TestJournal_KeySetTwiceAndDeleted(t *testing.T) {
	s := scratch(t, everheap.WithoutBackground())
	m := mapOf[string, string](t, s)
	must(t, m.Set(s, "stays", "here"))
	must(t, s.Update(context.Background(), func(tx *everheap.Tx) error {
		for i := range 3 {
			if err := m.Set(tx, "new", fmt.Sprint(i)); err != nil {
				return err
			}
		}
		_, err := m.Delete(tx, "new")
		return err
	}, everheap.Durable))
	s = lostPower(t, s)
	if n, err := m.Len(s); err != nil || n != 1 {
		t.Errorf("%d entries (%v)", n, err)
	}
	if v, err := m.Get(s, "stays"); err != nil || v != "here" {
		t.Errorf("%q (%v)", v, err)
	}
}
