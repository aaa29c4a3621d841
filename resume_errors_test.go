package everheap_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// An operation that would wait for its own run is refused, and the run continues.
func TestErrSelf_Resume(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, int](t, s)
	never := func(*progress, func() error) error { t.Error("it ran"); return nil }
	spacetest.Within(t, time.Minute, "waiting for itself", func() {
		spacetest.Must(t, resume(s, func(p *progress, checkpoint func() error) error {
			spacetest.ExpectError(t, resume(s, never), everheap.ErrSelf, "Resume")
			spacetest.ExpectError(t, everheap.Resume(spacetest.Background, s, "another", progress{}, never), everheap.ErrSelf, "Resume")
			spacetest.Must(t, s.Checkpoint("before"))
			spacetest.Must(t, step(s, m, p))
			spacetest.ExpectError(t, s.Checkpoint("between"), everheap.ErrSelf, "checkpoint first")
			spacetest.ExpectError(t, s.Restore(spacetest.Background, "before"), everheap.ErrSelf)
			err := s.Update(spacetest.Background, func(tx *everheap.Tx) error {
				spacetest.ExpectError(t, checkpoint(), everheap.ErrSelf, "after it has returned")
				return nil
			})
			spacetest.Must(t, err)
			elsewhere(func() {
				if err := checkpoint(); err == nil {
					t.Error("checkpoint in another goroutine did something")
				}
			})
			spacetest.Must(t, checkpoint())
			spacetest.Must(t, s.DropCheckpoint("before"))
			return nil
		}))
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			spacetest.ExpectError(t, resume(s, never), everheap.ErrSelf)
			return nil
		})
	})
	if n, state := seen(t, s, m); n != 1 || state != 1 {
		t.Errorf("%d and %d are there", n, state)
	}
	var kept func() error
	spacetest.Must(t, resume(s, func(_ *progress, checkpoint func() error) error { kept = checkpoint; return nil }))
	spacetest.ExpectError(t, kept(), everheap.ErrClosed, "the run has ended")
}

// During a change of types, a run can neither commit nor write.
func TestErrSelf_ResumeWhileTypesChange(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, int](t, s)
	spacetest.Must(t, m.Set(s, "n", 1))
	spacetest.Must(t, resume(s, func(p *progress, checkpoint func() error) error {
		spacetest.Must(t, step(s, m, p))
		to := func(old int) (string, error) {
			spacetest.ExpectError(t, checkpoint(), everheap.ErrSelf)
			_, err := everheap.OpenList[int](s, "new")
			spacetest.ExpectError(t, err, everheap.ErrSelf)
			return fmt.Sprint(old), nil
		}
		changed, err := everheap.OpenMap[string, string](s, "m", everheap.Migrate(to))
		spacetest.Must(t, err)
		if v, err := changed.Get(s, "n"); v != "2" || err != nil {
			t.Errorf("%q (%v)", v, err)
		}
		return nil
	}))
}

// A state that cannot be stored is an error of checkpoint, which has undone nothing.
func TestResume_StateThatCannotBeStored(t *testing.T) {
	s, other := spacetest.Scratch(t), spacetest.Scratch(t)
	m := spacetest.MapOf[string, int](t, s)
	foreign := spacetest.MapOf[string, int](t, other)
	type state struct {
		N int
		M everheap.Map[string, int]
	}
	spacetest.Must(t, everheap.Resume(spacetest.Background, s, "handles", state{M: m}, func(st *state, checkpoint func() error) error {
		spacetest.Must(t, st.M.Set(s, "n", 3))
		st.N, st.M = 3, foreign
		spacetest.ExpectError(t, checkpoint(), everheap.ErrDangling)
		elsewhere(func() {
			if ok, err := m.Has(s, "n"); ok || err != nil {
				t.Errorf("it was committed (%v)", err)
			}
		})
		st.M = m
		return checkpoint()
	}))
	if n, err := m.Get(s, "n"); n != 3 || err != nil {
		t.Errorf("%d is there (%v)", n, err)
	}
}

// If another process has changed the state meanwhile, against the rules, no step is done twice. The
// lock of the name is only a convenience.
func TestErrSuperseded(t *testing.T) { // S3
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, int](t, s)
	ref, err := everheap.OpenRef(s, "job", progress{})
	spacetest.Must(t, err)
	others := map[string]func(){
		"another run": func() {
			spacetest.Must(t, s.Mutex("resume job").Unlock()) // as if it had been lost
			spacetest.Must(t, resume(s, func(p *progress, _ func() error) error { return step(s, m, p) }))
			spacetest.Must(t, s.Mutex("resume job").Lock(spacetest.Background))
		},
		"set":     func() { p, _ := ref.Get(s); spacetest.Must(t, ref.Set(s, p)) },
		"restore": func() { spacetest.Must(t, s.Restore(spacetest.Background, "earlier")) },
	}
	spacetest.Must(t, s.Checkpoint("earlier"))
	for name, other := range others {
		for _, changed := range []bool{false, true} {
			t.Run(fmt.Sprint(name, changed), func(t *testing.T) {
				before, state := 0, 0
				err := resume(s, func(p *progress, checkpoint func() error) error {
					spacetest.Must(t, step(s, m, p))
					spacetest.Must(t, checkpoint())
					elsewhere(other)
					before, state = seen(t, s, m)
					if changed {
						spacetest.ExpectError(t, step(s, m, p), everheap.ErrSuperseded, "call Resume again")
					}
					spacetest.ExpectError(t, checkpoint(), everheap.ErrSuperseded)
					return nil
				})
				spacetest.ExpectError(t, err, everheap.ErrSuperseded)
				if n, st := seen(t, s, m); n != before || st != state || n != st {
					t.Errorf("%d and %d were there, then %d and %d", before, state, n, st)
				}
			})
		}
	}
}

// A transaction that runs out of space ends the run, and leaves nothing behind.
func TestErrNoSpace_Resume(t *testing.T) {
	s := spacetest.Scratch(t, everheap.WithMaxSize(64<<20))
	m := spacetest.MapOf[string, string](t, s)
	big := strings.Repeat("x", 1<<20)
	err := resume(s, func(p *progress, checkpoint func() error) error {
		spacetest.Must(t, m.Set(s, "first", big))
		p.N = 1
		spacetest.Must(t, checkpoint())
		for i := range 100 {
			p.N++
			if err := m.Set(s, fmt.Sprint(i), big); err != nil {
				spacetest.ExpectError(t, err, everheap.ErrNoSpace)
				break
			}
		}
		spacetest.ExpectError(t, checkpoint(), everheap.ErrNoSpace)
		return nil
	})
	spacetest.ExpectError(t, err, everheap.ErrNoSpace)
	if n, err := m.Len(s); n != 1 || err != nil || stored(t, s).N != 1 {
		t.Errorf("%d entries (%v), state %+v", n, err, stored(t, s))
	}
}
