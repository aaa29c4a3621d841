package power

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

func init() { spacetest.Children["cut"] = cutChild }

// cutChild cuts its own heap file, so that most pages that it reads are gone, and continues. It is
// another process because a process that is not careful enough dies of it.
func cutChild() int {
	c := spacetest.NewInChild()
	s, err := c.Open(everheap.WithFlushInterval(10*time.Millisecond), spacetest.WithAnchorInterval(10*time.Millisecond))
	if err != nil {
		return spacetest.Failed("open", err)
	}
	m, err := everheap.OpenMap[string, string](s, "m")
	for i := range 3000 {
		if err == nil {
			err = m.Set(s, fmt.Sprint("k", i), strings.Repeat("v", i%900))
		}
	}
	if err == nil {
		err = s.Sync(context.Background())
	}
	var size int64
	if err == nil {
		_, err = fmt.Sscan(c.Work, &size)
	}
	if err == nil {
		err = os.Truncate(filepath.Join(c.Dir, "heap"), size)
	}
	if err != nil {
		return spacetest.Failed("the beginning", err)
	}
	failures := 0
	do := func(what string, fn func() error) {
		before := debug.SetPanicOnFault(what[0]%2 == 0)
		err := fn()
		if restored := debug.SetPanicOnFault(before); restored != (what[0]%2 == 0) {
			spacetest.Say("fail", what, "leaves the goroutine's setting changed")
		}
		if err != nil {
			failures++
		}
		if err != nil && !errors.Is(err, everheap.ErrFault) && !errors.Is(err, everheap.ErrCorrupt) && !errors.Is(err, everheap.ErrIO) && !errors.Is(err, everheap.ErrNoSpace) {
			spacetest.Say("fail", what+":", strings.ReplaceAll(err.Error(), "\n", " | "))
		}
	}
	for range 3 {
		do("view", func() error { return s.View(func(tx *everheap.Tx) error { _ = m.Peek(tx, "k7"); return nil }) })
		do("all", func() error {
			return s.View(func(tx *everheap.Tx) error {
				for _, v := range m.All(tx) {
					_ = strings.Clone(*v)
				}
				return nil
			})
		})
		for i := range 200 {
			do("get", func() error {
				_, err := m.Get(s, fmt.Sprint("k", i*13))
				return err
			})
		}
		do("open map", func() error { _, err := everheap.OpenMap[string, int](s, "other"); return err })
		do("set", func() error { return m.Set(s, "k1", "new") })
		do("update", func() error {
			return s.Update(context.Background(), func(tx *everheap.Tx) error {
				for i := range 500 {
					if err := m.Set(tx, fmt.Sprint("k", i), "new"); err != nil {
						return err
					}
				}
				return nil
			}, everheap.Durable)
		})
		do("delete", func() error { _, err := m.Delete(s, "k2"); return err })
		do("len", func() error { _, err := m.Len(s); return err })
		do("check", func() error {
			report, err := s.Check(context.Background())
			if err == nil && len(report.Findings) > 0 {
				err = &everheap.CorruptError{What: report.Findings[0].What}
			}
			return err
		})
		do("sweep", func() error { _, err := spacetest.Engine(s).Sweep(); return spacetest.Engine(s).Explain("sweep", err) })
		do("anchor", func() error { return spacetest.Engine(s).Explain("anchor", spacetest.Engine(s).Anchor(false)) })
		do("sync", func() error { return s.Sync(context.Background()) })
		do("readers", func() error { _, err := s.Readers(); return err })
		_ = s.Stats()
		time.Sleep(150 * time.Millisecond) // for the background
	}
	if s.Stats().LastError == nil {
		spacetest.Say("fail", "the background has met no error")
	}
	if failures == 0 {
		spacetest.Say("fail", "nothing has failed")
	}
	if err := s.Close(); err != nil && !errors.Is(err, everheap.ErrFault) && !errors.Is(err, everheap.ErrCorrupt) && !errors.Is(err, everheap.ErrIO) {
		return spacetest.Failed("close", err)
	}
	spacetest.Say("failures", failures)
	return 0
}

// A process whose heap file is cut while it works, as if the disk could not read the rest, gets
// errors and lives. Afterwards the space reports what happened.
func TestErrFault_HeapIsCut(t *testing.T) {
	for _, size := range []int64{0, 4096, 65536, 65536 * 3, 65536*5 + 4096, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel() // it mostly waits
			dir := filepath.Join(t.TempDir(), "s")
			c := spacetest.StartChild(t, "cut", spacetest.Env(dir, 1, fmt.Sprint(size), 1)...)
			c.Await("its end", c.Gone)
			if c.Heard("failures") == 0 {
				t.Fatalf("the child did not end: %v\n%s", c.Words(), &c.Stderr)
			}
			s, err := everheap.Open(dir)
			if err != nil {
				spacetest.ExpectError(t, err, everheap.ErrCorrupt, "heap")
				return
			}
			defer s.Close() // an old anchor is whole, and the journal has all synced changes after it
			m := spacetest.MapOf[string, string](t, s)
			for i := 3; i < 3000; i++ {
				if _, err := m.Get(s, fmt.Sprint("k", i)); err != nil {
					t.Fatal(err)
				}
			}
			spacetest.CheckSpace(t, s)
		})
	}
}
