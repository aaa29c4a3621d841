package backup

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// A collection that has evolved has a smaller index than its types, but a backup emits the types
// first. So does a salvage of a damaged space.
func TestBackup_Evolved(t *testing.T) {
	s := spacetest.Scratch(t)
	openAll := func(s *everheap.Space) (everheap.Map[string, formerUser], everheap.Sorted[int, formerUser], everheap.List[formerUser], everheap.Ref[formerUser]) {
		m := spacetest.MapOf[string, formerUser](t, s)
		so, err := everheap.OpenSorted[int, formerUser](s, "sorted")
		spacetest.Must(t, err)
		l, err := everheap.OpenList[formerUser](s, "list")
		spacetest.Must(t, err)
		r, err := everheap.OpenRef(s, "ref", formerUser{})
		spacetest.Must(t, err)
		return m, so, l, r
	}
	m, so, l, r := openAll(s)
	u := formerUser{"ada", 3}
	spacetest.Must(t, m.Set(s, "a", u))
	spacetest.Must(t, so.Set(s, 1, u))
	spacetest.Must(t, l.Append(s, u, u))
	spacetest.Must(t, r.Set(s, u))
	look := func(s *everheap.Space) {
		t.Helper()
		m, err := everheap.OpenMap[string, newerUser](s, "m", everheap.Evolve())
		spacetest.Must(t, err)
		so, err := everheap.OpenSorted[int, newerUser](s, "sorted", everheap.Evolve())
		spacetest.Must(t, err)
		l, err := everheap.OpenList[newerUser](s, "list", everheap.Evolve())
		spacetest.Must(t, err)
		r, err := everheap.OpenRef(s, "ref", newerUser{}, everheap.Evolve())
		spacetest.Must(t, err)
		spacetest.View(t, s, func(tx *everheap.Tx) error {
			for _, v := range []*newerUser{m.Peek(tx, "a"), so.Peek(tx, 1), l.Peek(tx, 0), l.Peek(tx, 1), r.Peek(tx)} {
				if v == nil || v.Name != "ada" || v.Logins != 3 || v.Tags != nil {
					t.Errorf("the user is %+v", v)
				}
			}
			return nil
		})
	}
	look(s)
	again := spacetest.Restored(t, spacetest.BackupOf(t, s))
	look(again)
	spacetest.Must(t, again.Update(context.Background(), func(tx *everheap.Tx) error { // the new object gets a new index
		n, err := everheap.NewMap[string, int](tx)
		if n.ID() <= r.ID() {
			t.Errorf("a new map has the ID %v", n.ID())
		}
		return err
	}))
	look(spacetest.Restored(t, spacetest.BackupOf(t, again)))

	dir := again.Stats().Dir
	spacetest.Must(t, again.Close())
	var out bytes.Buffer
	report, err := everheap.Salvage(dir, &out)
	spacetest.Must(t, err)
	if report.Lost != 0 {
		t.Errorf("%d things are lost of a space that is whole: %v", report.Lost, report.Findings)
	}
	saved := filepath.Join(t.TempDir(), "saved")
	spacetest.Must(t, everheap.RestoreBackup(saved, &out))
	look(spacetest.Open(t, saved))
}

type formerUser struct {
	Name   string
	Logins int32
}

type newerUser struct {
	Tags   []string
	Logins int64
	Name   string
}
