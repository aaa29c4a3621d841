package everheap_test

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/everheap/everheap"
)

// A collection that has evolved is older than its types: a backup tells the types
// first all the same. So it is with what was got out of a damaged space.
func TestBackup_Evolved(t *testing.T) {
	s := scratch(t)
	openAll := func(s *everheap.Space) (everheap.Map[string, formerUser], everheap.Sorted[int, formerUser], everheap.List[formerUser], everheap.Ref[formerUser]) {
		m := mapOf[string, formerUser](t, s)
		so, err := everheap.OpenSorted[int, formerUser](s, "sorted")
		must(t, err)
		l, err := everheap.OpenList[formerUser](s, "list")
		must(t, err)
		r, err := everheap.OpenRef(s, "ref", formerUser{})
		must(t, err)
		return m, so, l, r
	}
	m, so, l, r := openAll(s)
	u := formerUser{"ada", 3}
	must(t, m.Set(s, "a", u))
	must(t, so.Set(s, 1, u))
	must(t, l.Append(s, u, u))
	must(t, r.Set(s, u))
	look := func(s *everheap.Space) {
		t.Helper()
		m, err := everheap.OpenMap[string, newerUser](s, "m", everheap.Evolve())
		must(t, err)
		so, err := everheap.OpenSorted[int, newerUser](s, "sorted", everheap.Evolve())
		must(t, err)
		l, err := everheap.OpenList[newerUser](s, "list", everheap.Evolve())
		must(t, err)
		r, err := everheap.OpenRef(s, "ref", newerUser{}, everheap.Evolve())
		must(t, err)
		view(t, s, func(tx *everheap.Tx) error {
			for _, v := range []*newerUser{m.Peek(tx, "a"), so.Peek(tx, 1), l.Peek(tx, 0), l.Peek(tx, 1), r.Peek(tx)} {
				if v == nil || v.Name != "ada" || v.Logins != 3 || v.Tags != nil {
					t.Errorf("the user is %+v", v)
				}
			}
			return nil
		})
	}
	look(s)
	again := restored(t, backupOf(t, s))
	look(again)
	must(t, again.Update(context.Background(), func(tx *everheap.Tx) error { // it gets an index that nothing had
		n, err := everheap.NewMap[string, int](tx)
		if n.ID() <= r.ID() {
			t.Errorf("a new map has the ID %v", n.ID())
		}
		return err
	}))
	look(restored(t, backupOf(t, again)))

	dir := again.Stats().Dir
	must(t, again.Close())
	var out bytes.Buffer
	report, err := everheap.Salvage(dir, &out)
	must(t, err)
	if report.Lost != 0 {
		t.Errorf("%d things are lost of a space that is whole: %v", report.Lost, report.Findings)
	}
	saved := filepath.Join(t.TempDir(), "saved")
	must(t, everheap.RestoreBackup(saved, &out))
	look(open(t, saved))
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
