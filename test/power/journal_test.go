package power

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// lostPower returns the space as it is found after a loss of power at this moment, in
// which everything that was written reached the disk. The space itself is closed.
func lostPower(t *testing.T, s *everheap.Space) *everheap.Space {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "s")
	spacetest.Must(t, os.CopyFS(dir, os.DirFS(s.Stats().Dir)))
	spacetest.Must(t, os.Remove(filepath.Join(dir, "live")))
	spacetest.Must(t, s.Close())
	return spacetest.Open(t, dir)
}

// A transaction that stores a new key more than once and then removes it: the
// journal must not tell of a removal alone.
func TestJournal_KeySetTwiceAndDeleted(t *testing.T) {
	s := spacetest.Scratch(t, spacetest.WithoutBackground())
	m := spacetest.MapOf[string, string](t, s)
	spacetest.Must(t, m.Set(s, "stays", "here"))
	spacetest.Must(t, s.Update(context.Background(), func(tx *everheap.Tx) error {
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
