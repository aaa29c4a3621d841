package power

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/faultdisk"
	"github.com/everheap/everheap/internal/spacetest"
)

// failingAt runs a test with a failing call of do, for each call on the directory or on a file whose
// name begins with begin: the first, the second and so on, until do succeeds.
func failingAt(t *testing.T, begin string, test func(t *testing.T, d *faultdisk.Disk, rule faultdisk.Rule) (failed bool)) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EIO} {
		for _, op := range []faultdisk.Op{faultdisk.Open, faultdisk.Write, faultdisk.Sync, faultdisk.Rename, faultdisk.SyncDir} {
			rule := faultdisk.Rule{Ops: []faultdisk.Op{op}, Begin: begin, Once: true, Err: errno}
			if op == faultdisk.SyncDir {
				rule.Begin = ""
			}
			for failed := true; failed && !t.Failed(); rule.After++ {
				t.Run(fmt.Sprintf("%s %v %d", op, errno, rule.After), func(t *testing.T) { failed = test(t, faultdisk.New(), rule) })
			}
			if rule.After == 1 {
				t.Errorf("no %s was seen", op)
			}
		}
	}
}

// faultySpace opens a space on a disk that fails.
func faultySpace(t *testing.T, d *faultdisk.Disk) (*everheap.Space, everheap.Map[int, string]) {
	t.Helper()
	s := spacetest.Open(t, filepath.Join(spacetest.MemoryDir(t), "s"), spacetest.WithFiles(d.OpenFile), spacetest.WithNames(d.Rename, d.SyncDir), spacetest.WithoutBackground())
	m := spacetest.MapOf[int, string](t, s)
	spacetest.Must(t, m.Set(s, 0, "zero"))
	return s, m
}

// left returns the files of a space whose names begin with begin.
func left(t *testing.T, s *everheap.Space, begin string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(s.Stats().Dir, begin+"*"))
	spacetest.Must(t, err)
	return list
}

// A version whose aside cannot be written is committed nevertheless. Reading its changes returns
// ErrNotKept; later changes can be read.
func TestChangesFault_Aside(t *testing.T) { // CH4
	failingAt(t, "changes-", func(t *testing.T, d *faultdisk.Disk, rule faultdisk.Rule) bool {
		s, m := faultySpace(t, d)
		u, err := s.Subscribe("mine", 0)
		spacetest.Must(t, err)
		from, err := u.Version()
		spacetest.Must(t, err)
		d.Fail(rule)
		spacetest.Must(t, s.Checkpoint("now"))
		failed := len(d.Failed()) > 0
		d.Repair()
		at := s.Stats().Version
		spacetest.Must(t, m.Set(s, 1, "one"))
		spacetest.Must(t, s.Sync(context.Background()))
		n := 0
		for _, err = range s.ChangesSince(ended(), from) {
			if err == nil {
				n++
			}
		}
		if failed && !errors.Is(err, everheap.ErrNotKept) || !failed && (!errors.Is(err, everheap.ErrBusy) || n != 2) {
			t.Errorf("%v: %d frames, and then %v", d.Failed(), n, err)
		}
		n = 0
		for f, err := range s.ChangesSince(ended(), at) {
			if err == nil && f.Version() == at+1 {
				n++
			}
		}
		if n != 1 {
			t.Error("the later changes cannot be read")
		}
		spacetest.Must(t, spacetest.Engine(s).Anchor(true)) // otherwise a recovery needs the aside
		spacetest.Must(t, u.Drop())
		if list := left(t, s, "changes-"); len(list) > 0 {
			t.Errorf("%v are left", list)
		}
		return failed
	})
}

// If the file of a subscription cannot be written, the subscription is not made, or keeps its
// position; the space can be written as before.
func TestChangesFault_Subscription(t *testing.T) { // CH5
	failingAt(t, "subscription-", func(t *testing.T, d *faultdisk.Disk, rule faultdisk.Rule) bool {
		s, m := faultySpace(t, d)
		d.Fail(rule)
		_, err := s.Subscribe("mine", 0)
		failed := len(d.Failed()) > 0
		d.Repair()
		list, listErr := s.Subscriptions()
		if listErr != nil || failed && (err == nil || len(list) != 0 || len(left(t, s, "subscription-")) != 0) || !failed && err != nil {
			t.Errorf("%v: %v; there are %v, %v, and %v", d.Failed(), err, list, listErr, left(t, s, "subscription-"))
		}
		spacetest.Must(t, m.Set(s, 1, "one"))
		u, err := s.Subscribe("mine", 0)
		spacetest.Must(t, err)
		from, err := u.Version()
		spacetest.Must(t, err)
		spacetest.Must(t, m.Set(s, 1, "two"))
		d.Fail(rule)
		to := s.Stats().Version
		err = u.Confirm(to)
		confirmFailed := len(d.Failed()) > 0
		d.Repair()
		if at, _ := u.Version(); confirmFailed != (err != nil) || confirmFailed && at != from || !confirmFailed && at != to {
			t.Errorf("%v: confirmed: %v, and the subscription is at version %d of %d", d.Failed(), err, at, to)
		}
		spacetest.Must(t, m.Set(s, 1, "three"))
		spacetest.Must(t, u.Confirm(to))
		if list := left(t, s, "subscription-"); len(list) != 1 || strings.HasSuffix(list[0], ".new") {
			t.Errorf("there are %v", list)
		}
		return failed || confirmFailed
	})
}

// If AsReplica fails, the space can be written, also with a new live file; if Promote fails, the
// space stays a replica.
func TestChangesFault_Replica(t *testing.T) { // RP4
	failingAt(t, "replica", func(t *testing.T, d *faultdisk.Disk, rule faultdisk.Rule) bool {
		s, m := faultySpace(t, d)
		dir := s.Stats().Dir
		anew := func(want bool) {
			t.Helper()
			spacetest.Must(t, s.Close())
			spacetest.Must(t, os.Remove(filepath.Join(dir, "live")))
			var err error
			s, err = everheap.Open(dir, spacetest.WithFiles(d.OpenFile), spacetest.WithNames(d.Rename, d.SyncDir), spacetest.WithoutBackground())
			spacetest.Must(t, err)
			m = spacetest.MapOf[int, string](t, s)
			if _, is, err := s.Leader(); is != want || err != nil {
				t.Errorf("it is a replica: %v, %v; want %v", is, err, want)
			}
			if err := m.Set(s, 1, "one"); want != errors.Is(err, everheap.ErrReadOnly) || !want && err != nil {
				t.Errorf("it is a replica: %v, and writing to it is %v", want, err)
			}
		}
		defer func() { s.Close() }()
		d.Fail(rule)
		_, err := s.AsReplica("somebody")
		failed := len(d.Failed()) > 0
		d.Repair()
		if failed != (err != nil) {
			t.Errorf("%v: %v", d.Failed(), err)
		}
		anew(!failed)
		r, err := s.AsReplica("somebody")
		spacetest.Must(t, err)
		d.Fail(rule)
		err = r.Promote(context.Background())
		promoteFailed := len(d.Failed()) > 0 && rule.Ops[0] != faultdisk.Open // reading the leader's name
		d.Repair()
		if promoteFailed != (err != nil) {
			t.Errorf("%v: %v", d.Failed(), err)
		}
		anew(promoteFailed)
		return failed || promoteFailed
	})
}
