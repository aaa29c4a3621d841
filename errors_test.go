package everheap_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/registry"
)

// expectError fails the test unless err is the target and its text has the parts.
func expectError(t *testing.T, err, target error, parts ...string) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("the error is %v, want %v", err, target)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("the error does not say %q: %v", p, err)
		}
	}
}

func TestErrNotFound(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	_, err := everheap.Open(dir, everheap.WithReadOnly())
	expectError(t, err, everheap.ErrNotFound, "open", "there is no space")
	s := open(t, dir)
	m := mapOf[string, int](t, s)
	_, err = m.Get(s, "absent")
	expectError(t, err, everheap.ErrNotFound, "absent")
	expectError(t, m.Modify(s, "absent", func(*int) error { return nil }), everheap.ErrNotFound, "absent")
	err = s.View(func(tx *everheap.Tx) error {
		_, err := everheap.OpenMap[string, int](tx, "no such map")
		return err
	})
	expectError(t, err, everheap.ErrNotFound, "no such map")
}

func TestErrNilHandle(t *testing.T) {
	s := scratch(t)
	var m everheap.Map[string, int]
	if !m.IsNil() {
		t.Error("the zero Map is not nil")
	}
	_, err := m.Get(s, "x")
	expectError(t, err, everheap.ErrNilHandle, "open or create")
	expectError(t, m.Set(s, "x", 1), everheap.ErrNilHandle)
	expectError(t, s.View(func(tx *everheap.Tx) error { m.Peek(tx, "x"); return nil }), everheap.ErrNilHandle)
	expectError(t, s.View(func(tx *everheap.Tx) error {
		for range m.All(tx) {
			t.Error("an entry of nothing")
		}
		return nil
	}), everheap.ErrNilHandle)
}

func TestErrDangling(t *testing.T) {
	a, b := scratch(t), scratch(t)
	for a.Engine().Tag() == b.Engine().Tag() { // one time in 32768
		b = scratch(t)
	}
	m := mapOf[string, int](t, a)
	mapOf[string, int](t, b)
	must(t, m.Set(a, "x", 1))
	_, err := m.Get(b, "x")
	expectError(t, err, everheap.ErrDangling, "another space")
	expectError(t, m.Set(b, "x", 2), everheap.ErrDangling)
}

func TestErrTypeChanged(t *testing.T) {
	type inner struct {
		Count int32
	}
	type before struct {
		Name  string
		Inner inner
		Gone  bool
	}
	s := scratch(t)
	_, err := everheap.OpenMap[string, before](s, "users")
	must(t, err)
	{
		type inner struct {
			Count int64
		}
		type after struct {
			Name  string
			Inner inner
			New   float64
		}
		_, err = everheap.OpenMap[string, after](s, "users")
	}
	expectError(t, err, everheap.ErrTypeChanged, "users", "Count", "int32", "int64", "Gone", "New")
	var e *everheap.TypeError
	if !errors.As(err, &e) || e.Name != "users" || e.Kind != everheap.ErrTypeChanged || len(e.Lines) < 3 {
		t.Errorf("the details are %+v", e)
	}
	_, err = everheap.OpenMap[int, before](s, "users")
	expectError(t, err, everheap.ErrTypeChanged)
	_, err = everheap.OpenMap[string, before](s, "users")
	must(t, err)
}

func TestErrUnstorable(t *testing.T) {
	type prefs struct{ Colors map[string]string }
	type user struct {
		Name  string
		Prefs []prefs
	}
	s := scratch(t)
	_, err := everheap.OpenMap[string, user](s, "users")
	expectError(t, err, everheap.ErrUnstorable, "Prefs", "Colors", "map[string]string", "everheap.Map[string, string]")
	var e *everheap.TypeError
	if !errors.As(err, &e) {
		t.Errorf("no details: %v", err)
	}
	_, err = everheap.OpenMap[string, chan int](s, "c")
	expectError(t, err, everheap.ErrUnstorable)
	_, err = everheap.OpenMap[any, int](s, "c")
	expectError(t, err, everheap.ErrUnstorable)
	_, err = everheap.OpenMap[*int, int](s, "c")
	expectError(t, err, everheap.ErrUnstorable)
	_, err = everheap.OpenMap[string, func()](s, "c")
	expectError(t, err, everheap.ErrUnstorable)
	_, err = everheap.OpenMap[string, int](s, "c") // the refused ones have left nothing
	must(t, err)
}

func TestErrNaN(t *testing.T) {
	s := scratch(t)
	m := mapOf[float64, int](t, s)
	expectError(t, m.Set(s, math.NaN(), 1), everheap.ErrNaN)
	_, err := m.Get(s, math.NaN())
	expectError(t, err, everheap.ErrNaN)
	must(t, m.Set(s, math.Copysign(0, -1), 1))
	if v, err := m.Get(s, 0); err != nil || v != 1 {
		t.Errorf("0 and -0 are two keys: %d (%v)", v, err)
	}
	update(t, s, func(tx *everheap.Tx) error { // a refused value leaves the transaction usable
		expectError(t, m.Set(tx, math.NaN(), 1), everheap.ErrNaN)
		return m.Set(tx, 5, 5)
	})
	if v, err := m.Get(s, 5); err != nil || v != 5 {
		t.Errorf("%d (%v)", v, err)
	}
}

func TestErrClosed(t *testing.T) {
	ctx := context.Background()
	s := scratch(t)
	m := mapOf[string, int](t, s)
	var kept, viewed *everheap.Tx
	update(t, s, func(tx *everheap.Tx) error { kept = tx; return m.Set(tx, "x", 1) })
	view(t, s, func(tx *everheap.Tx) error { viewed = tx; return nil })
	expectError(t, m.Set(kept, "x", 2), everheap.ErrClosed, "the transaction has ended")
	_, err := m.Get(viewed, "x")
	expectError(t, err, everheap.ErrClosed, "the transaction has ended")
	_, err = everheap.NewMap[int, int](kept)
	expectError(t, err, everheap.ErrClosed)
	must(t, s.Close())
	must(t, s.Close())
	expectError(t, m.Set(s, "x", 2), everheap.ErrClosed)
	_, err = m.Get(s, "x")
	expectError(t, err, everheap.ErrClosed)
	_, err = m.Len(s)
	expectError(t, err, everheap.ErrClosed)
	_, err = m.Delete(s, "x")
	expectError(t, err, everheap.ErrClosed)
	_, err = everheap.OpenMap[string, int](s, "m")
	expectError(t, err, everheap.ErrClosed)
	expectError(t, m.Modify(s, "x", func(*int) error { return nil }), everheap.ErrClosed)
	expectError(t, s.View(func(*everheap.Tx) error { return nil }), everheap.ErrClosed)
	expectError(t, s.Update(ctx, func(*everheap.Tx) error { return nil }), everheap.ErrClosed)
	expectError(t, s.Sync(ctx), everheap.ErrClosed)
}

func TestErrReadOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s := open(t, dir)
	m := mapOf[string, int](t, s)
	must(t, m.Set(s, "x", 1))
	expectError(t, s.View(func(tx *everheap.Tx) error { return m.Set(tx, "x", 2) }), everheap.ErrReadOnly, "use Update")
	_, err := everheap.Open(dir, everheap.WithReadOnly())
	expectError(t, err, everheap.ErrBusy, "another mode")
	must(t, s.Close())
	r, err := everheap.Open(dir, everheap.WithReadOnly())
	must(t, err)
	defer r.Close()
	if v, err := m.Get(r, "x"); err != nil || v != 1 {
		t.Errorf("%d (%v)", v, err)
	}
	expectError(t, m.Set(r, "x", 2), everheap.ErrReadOnly)
	expectError(t, r.Update(context.Background(), func(*everheap.Tx) error { return nil }), everheap.ErrReadOnly)
	expectError(t, r.Sync(context.Background()), everheap.ErrReadOnly)
	_, err = everheap.OpenMap[string, int](r, "new")
	expectError(t, err, everheap.ErrNotFound)
	checkSpace(t, r)
}

func TestErrBusy(t *testing.T) {
	s := scratch(t)
	m := mapOf[string, int](t, s)
	inside, leave, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- s.Update(context.Background(), func(tx *everheap.Tx) error {
			close(inside)
			<-leave
			return m.Set(tx, "x", 1)
		})
	}()
	receive(t, "an Update", inside)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	err := s.Update(ctx, func(*everheap.Tx) error { t.Error("it ran"); return nil })
	expectError(t, err, everheap.ErrBusy)
	expectError(t, err, context.DeadlineExceeded)
	close(leave)
	must(t, receive(t, "the end of the Update", done))
	ended, end := context.WithCancel(context.Background())
	update(t, s, func(tx *everheap.Tx) error { end(); return m.Set(tx, "x", 2) })
	err = s.Update(ended, func(tx *everheap.Tx) error { return m.Set(tx, "x", 3) })
	if err != nil && !errors.Is(err, everheap.ErrBusy) { // free at once: either is right
		t.Error(err)
	}
}

func TestErrSelf(t *testing.T) {
	s := scratch(t)
	m := mapOf[string, int](t, s)
	within(t, time.Minute, "waiting for itself", func() {
		update(t, s, func(tx *everheap.Tx) error {
			must(t, m.Set(tx, "x", 1))
			expectError(t, s.Update(context.Background(), func(*everheap.Tx) error { return nil }), everheap.ErrSelf, "Tx")
			expectError(t, m.Set(s, "x", 2), everheap.ErrSelf)
			_, err := m.Delete(s, "x")
			expectError(t, err, everheap.ErrSelf)
			expectError(t, m.Modify(s, "x", func(*int) error { return nil }), everheap.ErrSelf)
			_, err = everheap.OpenMap[int, int](s, "another")
			expectError(t, err, everheap.ErrSelf)
			if v, err := m.Get(tx, "x"); err != nil || v != 1 {
				t.Errorf("the outer transaction is hurt: %d (%v)", v, err)
			}
			return nil
		})
		err := m.Modify(s, "x", func(v *int) error { return m.Set(s, "x", 5) })
		expectError(t, err, everheap.ErrSelf)
	})
	if v, err := m.Get(s, "x"); err != nil || v != 1 {
		t.Errorf("%d (%v)", v, err)
	}
}

func TestErrFault(t *testing.T) {
	s := scratch(t)
	m := mapOf[string, []byte](t, s)
	must(t, m.Set(s, "x", []byte("stored")))
	for name, run := range map[string]func(fn func(tx *everheap.Tx) error) error{
		"View":   s.View,
		"Update": func(fn func(tx *everheap.Tx) error) error { return s.Update(context.Background(), fn) },
	} {
		t.Run(name, func(t *testing.T) {
			err := run(func(tx *everheap.Tx) error {
				(*m.Peek(tx, "x"))[0] = 'S'
				return nil
			})
			expectError(t, err, everheap.ErrFault, "read-only", "Set, Modify or Upsert")
			var e *everheap.FaultError
			if !errors.As(err, &e) || !e.Write || e.Addr == 0 {
				t.Errorf("the details are %+v", e)
			}
			if v, err := m.Get(s, "x"); err != nil || string(v) != "stored" {
				t.Errorf("%q (%v)", v, err)
			}
			must(t, m.Set(s, name, []byte("goes on")))
		})
	}
}

func TestErrNoSpace_WindowFull(t *testing.T) {
	s := scratch(t, everheap.WithMaxSize(64<<20))
	m := mapOf[int, []byte](t, s)
	big := make([]byte, 1<<20)
	stored := 0
	for i := range 100 {
		err := m.Set(s, i, big)
		if err != nil {
			expectError(t, err, everheap.ErrNoSpace, "maximum size")
			break
		}
		stored++
	}
	if stored < 40 || stored > 64 {
		t.Errorf("%d values of 1 MiB fit in 64 MiB", stored)
	}
	expectError(t, s.Update(context.Background(), func(tx *everheap.Tx) error {
		if _, err := m.Delete(tx, 0); err != nil { // which works on a full space
			t.Error(err)
		}
		err := m.Set(tx, 1000, make([]byte, 60<<20))
		expectError(t, err, everheap.ErrNoSpace)
		return m.Set(tx, 1, nil) // the transaction can only abort, whatever the program makes of the error
	}), everheap.ErrNoSpace)
	if v, err := m.Get(s, 0); err != nil || len(v) != len(big) {
		t.Errorf("%d bytes (%v)", len(v), err)
	}
	for i := range stored {
		_, err := m.Delete(s, i)
		must(t, err)
	}
	must(t, s.Sync(context.Background()))
	must(t, m.Set(s, 0, nil))
	must(t, s.Sync(context.Background())) // two anchors later the deleted values protect nothing
	for i := range stored / 2 {
		// A sweep that began while the values were protected finds them only when it
		// runs again, which the failure asks for.
		err := m.Set(s, i, big)
		for end := time.Now().Add(30 * time.Second); errors.Is(err, everheap.ErrNoSpace) && time.Now().Before(end); {
			time.Sleep(50 * time.Millisecond)
			must(t, s.Sync(context.Background()))
			err = m.Set(s, i, big)
		}
		if err != nil {
			t.Fatalf("space was not reused: %v", err)
		}
	}
}

// What only the older of the two usable anchors protects is let go when the space is
// full, also if the newer one is of the newest version.
func TestErrNoSpace_OlderAnchorLetsGo(t *testing.T) {
	s := scratch(t, everheap.WithMaxSize(64<<20), everheap.WithoutBackground())
	m := mapOf[int, []byte](t, s)
	big := make([]byte, 1<<20)
	stored := 0
	for m.Set(s, stored, big) == nil {
		stored++
	}
	must(t, s.Engine().Anchor(true))
	for i := range stored {
		_, err := m.Delete(s, i)
		must(t, err)
	}
	must(t, s.Engine().Anchor(false))
	for i := range stored / 2 {
		if err := m.Set(s, i, big); err != nil {
			t.Fatalf("value %d of %d: %v", i, stored/2, err)
		}
	}
}

// The same if a sweep has come meanwhile, which made this process forget what it was
// waiting with, and found nothing: the next one does.
func TestErrNoSpace_OlderAnchorLetsGoAfterSweep(t *testing.T) {
	s := scratch(t, everheap.WithMaxSize(64<<20), everheap.WithoutBackground())
	m := mapOf[int, []byte](t, s)
	big := make([]byte, 1<<20)
	stored := 0
	for m.Set(s, stored, big) == nil {
		stored++
	}
	must(t, s.Engine().Anchor(true))
	for i := range stored {
		_, err := m.Delete(s, i)
		must(t, err)
	}
	must(t, s.Engine().Anchor(false))
	must(t, sweep(s))
	if err := m.Set(s, 0, big); err != nil {
		expectError(t, err, everheap.ErrNoSpace)
		must(t, sweep(s)) // as the failure asks for
	}
	for i := range stored / 2 {
		if err := m.Set(s, i, big); err != nil {
			t.Fatalf("value %d of %d: %v", i, stored/2, err)
		}
	}
}

func TestErrCorrupt_HeaderAndEmptyFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s, err := everheap.Open(dir, everheap.WithMaxSize(small))
	must(t, err)
	must(t, s.Close())
	heap := filepath.Join(dir, "heap")
	b, err := os.ReadFile(heap)
	must(t, err)
	b[20] ^= 1
	must(t, os.WriteFile(heap, b, 0o600))
	_, err = everheap.Open(dir)
	expectError(t, err, everheap.ErrCorrupt, heap, "checksum of the header")
	var e *everheap.CorruptError
	if !errors.As(err, &e) || e.File != heap || e.Offset != 0 {
		t.Errorf("the details are %+v", e)
	}
	must(t, os.WriteFile(heap, nil, 0o600))
	_, err = everheap.Open(dir)
	expectError(t, err, everheap.ErrCorrupt)
}

func TestErrAddressInUse(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	s, err := everheap.Open(a, everheap.WithMaxSize(small))
	must(t, err)
	must(t, s.Close())
	must(t, os.CopyFS(b, os.DirFS(a)))
	s, err = everheap.Open(a)
	must(t, err)
	defer s.Close()
	_, err = everheap.Open(b)
	expectError(t, err, everheap.ErrAddressInUse, "rebase")
}

// When the registered spaces have all places, the error says which verb takes one away.
func TestErrAddressInUse_AllPlacesRegistered(t *testing.T) {
	t.Setenv("EVERHEAP_HOME", t.TempDir())
	r := registry.Open("")
	all := registry.Entry{Name: "all", Dir: t.TempDir(), Base: mapping.ZoneLow, Size: mapping.ZoneHigh - mapping.ZoneLow}
	must(t, r.Register(all))
	_, err := everheap.Open("one-more")
	expectError(t, err, everheap.ErrAddressInUse, "everheap forget NAME", "WithMaxSize")
	must(t, r.Remove("all"))
	s, err := everheap.Open("one-more", everheap.WithMaxSize(small))
	must(t, err)
	must(t, s.Close())
}

// A registered space that is gone is named, with where it should be, and nothing is created.
func TestErrNotFound_RegisteredSpaceIsGone(t *testing.T) {
	t.Setenv("EVERHEAP_HOME", t.TempDir())
	s, err := everheap.Open("gone", everheap.WithMaxSize(small))
	must(t, err)
	dir := s.Stats().Dir
	must(t, s.Close())
	must(t, os.RemoveAll(dir))
	_, err = everheap.Open("gone")
	expectError(t, err, everheap.ErrNotFound, `"gone"`, dir, "everheap adopt NEWDIR gone", "everheap forget gone")
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is there again: %v", err)
	}
}
