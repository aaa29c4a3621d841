package everheap_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/spacetest"
	"github.com/everheap/everheap/registry"
)

func TestErrNotFound(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	_, err := everheap.Open(dir, everheap.WithReadOnly())
	spacetest.ExpectError(t, err, everheap.ErrNotFound, "open", "there is no space")
	s := spacetest.Open(t, dir)
	m := spacetest.MapOf[string, int](t, s)
	_, err = m.Get(s, "absent")
	spacetest.ExpectError(t, err, everheap.ErrNotFound, "absent")
	spacetest.ExpectError(t, m.Modify(s, "absent", func(*int) error { return nil }), everheap.ErrNotFound, "absent")
	err = s.View(func(tx *everheap.Tx) error {
		_, err := everheap.OpenMap[string, int](tx, "no such map")
		return err
	})
	spacetest.ExpectError(t, err, everheap.ErrNotFound, "no such map")
}

func TestErrNilHandle(t *testing.T) {
	s := spacetest.Scratch(t)
	var m everheap.Map[string, int]
	if !m.IsNil() {
		t.Error("the zero Map is not nil")
	}
	_, err := m.Get(s, "x")
	spacetest.ExpectError(t, err, everheap.ErrNilHandle, "open or create")
	spacetest.ExpectError(t, m.Set(s, "x", 1), everheap.ErrNilHandle)
	spacetest.ExpectError(t, s.View(func(tx *everheap.Tx) error { m.Peek(tx, "x"); return nil }), everheap.ErrNilHandle)
	spacetest.ExpectError(t, s.View(func(tx *everheap.Tx) error {
		for range m.All(tx) {
			t.Error("an entry of nothing")
		}
		return nil
	}), everheap.ErrNilHandle)
}

func TestErrDangling(t *testing.T) {
	a, b := spacetest.Scratch(t), spacetest.Scratch(t)
	for spacetest.Engine(a).Tag() == spacetest.Engine(b).Tag() { // one time in 32768
		b = spacetest.Scratch(t)
	}
	m := spacetest.MapOf[string, int](t, a)
	spacetest.MapOf[string, int](t, b)
	spacetest.Must(t, m.Set(a, "x", 1))
	_, err := m.Get(b, "x")
	spacetest.ExpectError(t, err, everheap.ErrDangling, "another space")
	spacetest.ExpectError(t, m.Set(b, "x", 2), everheap.ErrDangling)
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
	s := spacetest.Scratch(t)
	_, err := everheap.OpenMap[string, before](s, "users")
	spacetest.Must(t, err)
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
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged, "users", "Count", "int32", "int64", "Gone", "New")
	var e *everheap.TypeError
	if !errors.As(err, &e) || e.Name != "users" || e.Kind != everheap.ErrTypeChanged || len(e.Lines) < 3 {
		t.Errorf("the details are %+v", e)
	}
	_, err = everheap.OpenMap[int, before](s, "users")
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
	_, err = everheap.OpenMap[string, before](s, "users")
	spacetest.Must(t, err)
}

func TestErrUnstorable(t *testing.T) {
	type prefs struct{ Colors []interface{ Nobody() } }
	type user struct {
		Name  string
		Prefs []prefs
	}
	s := spacetest.Scratch(t)
	_, err := everheap.OpenMap[string, user](s, "users")
	spacetest.ExpectError(t, err, everheap.ErrUnstorable, "Prefs", "Colors", "interface { Nobody() }", "everheap.Register")
	var e *everheap.TypeError
	if !errors.As(err, &e) {
		t.Errorf("no details: %v", err)
	}
	_, err = everheap.OpenMap[string, chan int](s, "c")
	spacetest.ExpectError(t, err, everheap.ErrUnstorable)
	_, err = everheap.OpenMap[any, int](s, "c")
	spacetest.ExpectError(t, err, everheap.ErrUnstorable)
	_, err = everheap.OpenMap[*int, int](s, "c")
	spacetest.ExpectError(t, err, everheap.ErrUnstorable)
	_, err = everheap.OpenMap[string, func()](s, "c")
	spacetest.ExpectError(t, err, everheap.ErrUnstorable)
	_, err = everheap.OpenMap[string, int](s, "c") // the refused opens have left nothing
	spacetest.Must(t, err)
}

func TestErrNaN(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[float64, int](t, s)
	spacetest.ExpectError(t, m.Set(s, math.NaN(), 1), everheap.ErrNaN)
	_, err := m.Get(s, math.NaN())
	spacetest.ExpectError(t, err, everheap.ErrNaN)
	spacetest.Must(t, m.Set(s, math.Copysign(0, -1), 1))
	if v, err := m.Get(s, 0); err != nil || v != 1 {
		t.Errorf("0 and -0 are two keys: %d (%v)", v, err)
	}
	spacetest.Update(t, s, func(tx *everheap.Tx) error { // a refused value leaves the transaction usable
		spacetest.ExpectError(t, m.Set(tx, math.NaN(), 1), everheap.ErrNaN)
		return m.Set(tx, 5, 5)
	})
	if v, err := m.Get(s, 5); err != nil || v != 5 {
		t.Errorf("%d (%v)", v, err)
	}
}

func TestErrClosed(t *testing.T) {
	ctx := context.Background()
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, int](t, s)
	var kept, viewed *everheap.Tx
	spacetest.Update(t, s, func(tx *everheap.Tx) error { kept = tx; return m.Set(tx, "x", 1) })
	spacetest.View(t, s, func(tx *everheap.Tx) error { viewed = tx; return nil })
	spacetest.ExpectError(t, m.Set(kept, "x", 2), everheap.ErrClosed, "the transaction has ended")
	_, err := m.Get(viewed, "x")
	spacetest.ExpectError(t, err, everheap.ErrClosed, "the transaction has ended")
	_, err = everheap.NewMap[int, int](kept)
	spacetest.ExpectError(t, err, everheap.ErrClosed)
	spacetest.Must(t, s.Close())
	spacetest.Must(t, s.Close())
	spacetest.ExpectError(t, m.Set(s, "x", 2), everheap.ErrClosed)
	_, err = m.Get(s, "x")
	spacetest.ExpectError(t, err, everheap.ErrClosed)
	_, err = m.Len(s)
	spacetest.ExpectError(t, err, everheap.ErrClosed)
	_, err = m.Delete(s, "x")
	spacetest.ExpectError(t, err, everheap.ErrClosed)
	_, err = everheap.OpenMap[string, int](s, "m")
	spacetest.ExpectError(t, err, everheap.ErrClosed)
	spacetest.ExpectError(t, m.Modify(s, "x", func(*int) error { return nil }), everheap.ErrClosed)
	spacetest.ExpectError(t, s.View(func(*everheap.Tx) error { return nil }), everheap.ErrClosed)
	spacetest.ExpectError(t, s.Update(ctx, func(*everheap.Tx) error { return nil }), everheap.ErrClosed)
	spacetest.ExpectError(t, s.Sync(ctx), everheap.ErrClosed)
}

func TestErrReadOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s := spacetest.Open(t, dir)
	m := spacetest.MapOf[string, int](t, s)
	spacetest.Must(t, m.Set(s, "x", 1))
	spacetest.ExpectError(t, s.View(func(tx *everheap.Tx) error { return m.Set(tx, "x", 2) }), everheap.ErrReadOnly, "use Update")
	_, err := everheap.Open(dir, everheap.WithReadOnly())
	spacetest.ExpectError(t, err, everheap.ErrBusy, "another mode")
	spacetest.Must(t, s.Close())
	r, err := everheap.Open(dir, everheap.WithReadOnly())
	spacetest.Must(t, err)
	defer r.Close()
	if v, err := m.Get(r, "x"); err != nil || v != 1 {
		t.Errorf("%d (%v)", v, err)
	}
	spacetest.ExpectError(t, m.Set(r, "x", 2), everheap.ErrReadOnly)
	spacetest.ExpectError(t, r.Update(context.Background(), func(*everheap.Tx) error { return nil }), everheap.ErrReadOnly)
	spacetest.ExpectError(t, r.Sync(context.Background()), everheap.ErrReadOnly)
	_, err = everheap.OpenMap[string, int](r, "new")
	spacetest.ExpectError(t, err, everheap.ErrNotFound)
	spacetest.CheckSpace(t, r)
}

func TestErrBusy(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, int](t, s)
	inside, leave, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- s.Update(context.Background(), func(tx *everheap.Tx) error {
			close(inside)
			<-leave
			return m.Set(tx, "x", 1)
		})
	}()
	spacetest.Receive(t, "an Update", inside)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	err := s.Update(ctx, func(*everheap.Tx) error { t.Error("it ran"); return nil })
	spacetest.ExpectError(t, err, everheap.ErrBusy)
	spacetest.ExpectError(t, err, context.DeadlineExceeded)
	close(leave)
	spacetest.Must(t, spacetest.Receive(t, "the end of the Update", done))
	ended, end := context.WithCancel(context.Background())
	spacetest.Update(t, s, func(tx *everheap.Tx) error { end(); return m.Set(tx, "x", 2) })
	err = s.Update(ended, func(tx *everheap.Tx) error { return m.Set(tx, "x", 3) })
	if err != nil && !errors.Is(err, everheap.ErrBusy) { // the addresses were free at once: either is right
		t.Error(err)
	}
}

func TestErrSelf(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, int](t, s)
	spacetest.Within(t, time.Minute, "waiting for itself", func() {
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			spacetest.Must(t, m.Set(tx, "x", 1))
			spacetest.ExpectError(t, s.Update(context.Background(), func(*everheap.Tx) error { return nil }), everheap.ErrSelf, "Tx")
			spacetest.ExpectError(t, m.Set(s, "x", 2), everheap.ErrSelf)
			_, err := m.Delete(s, "x")
			spacetest.ExpectError(t, err, everheap.ErrSelf)
			spacetest.ExpectError(t, m.Modify(s, "x", func(*int) error { return nil }), everheap.ErrSelf)
			_, err = everheap.OpenMap[int, int](s, "another")
			spacetest.ExpectError(t, err, everheap.ErrSelf)
			if v, err := m.Get(tx, "x"); err != nil || v != 1 {
				t.Errorf("the outer transaction is hurt: %d (%v)", v, err)
			}
			return nil
		})
		err := m.Modify(s, "x", func(v *int) error { return m.Set(s, "x", 5) })
		spacetest.ExpectError(t, err, everheap.ErrSelf)
	})
	if v, err := m.Get(s, "x"); err != nil || v != 1 {
		t.Errorf("%d (%v)", v, err)
	}
}

func TestErrFault(t *testing.T) { // I6
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, []byte](t, s)
	spacetest.Must(t, m.Set(s, "x", []byte("stored")))
	for name, run := range map[string]func(fn func(tx *everheap.Tx) error) error{
		"View":   s.View,
		"Update": func(fn func(tx *everheap.Tx) error) error { return s.Update(context.Background(), fn) },
	} {
		t.Run(name, func(t *testing.T) {
			err := run(func(tx *everheap.Tx) error {
				(*m.Peek(tx, "x"))[0] = 'S'
				return nil
			})
			spacetest.ExpectError(t, err, everheap.ErrFault, "read-only", "Set, Modify or Upsert")
			var e *everheap.FaultError
			if !errors.As(err, &e) || !e.Write || e.Addr == 0 {
				t.Errorf("the details are %+v", e)
			}
			if v, err := m.Get(s, "x"); err != nil || string(v) != "stored" {
				t.Errorf("%q (%v)", v, err)
			}
			spacetest.Must(t, m.Set(s, name, []byte("goes on")))
		})
	}
}

func TestErrNoSpace_WindowFull(t *testing.T) {
	s := spacetest.Scratch(t, everheap.WithMaxSize(64<<20))
	m := spacetest.MapOf[int, []byte](t, s)
	big := make([]byte, 1<<20)
	stored := 0
	for i := range 100 {
		err := m.Set(s, i, big)
		if err != nil {
			spacetest.ExpectError(t, err, everheap.ErrNoSpace, "maximum size")
			break
		}
		stored++
	}
	if stored < 40 || stored > 64 {
		t.Errorf("%d values of 1 MiB fit in 64 MiB", stored)
	}
	spacetest.ExpectError(t, s.Update(context.Background(), func(tx *everheap.Tx) error {
		if _, err := m.Delete(tx, 0); err != nil { // which works on a full space
			t.Error(err)
		}
		err := m.Set(tx, 1000, make([]byte, 60<<20))
		spacetest.ExpectError(t, err, everheap.ErrNoSpace)
		return m.Set(tx, 1, nil) // the transaction can only abort, even if the program ignores the error
	}), everheap.ErrNoSpace)
	if v, err := m.Get(s, 0); err != nil || len(v) != len(big) {
		t.Errorf("%d bytes (%v)", len(v), err)
	}
	for i := range stored {
		_, err := m.Delete(s, i)
		spacetest.Must(t, err)
	}
	spacetest.Must(t, s.Sync(context.Background()))
	spacetest.Must(t, m.Set(s, 0, nil))
	spacetest.Must(t, s.Sync(context.Background())) // two anchors later the deleted values protect nothing
	for i := range stored / 2 {
		// A sweep that began while the values were protected finds them only in its next run, which
		// the failure requests.
		err := m.Set(s, i, big)
		for end := time.Now().Add(30 * time.Second); errors.Is(err, everheap.ErrNoSpace) && time.Now().Before(end); {
			time.Sleep(50 * time.Millisecond)
			spacetest.Must(t, s.Sync(context.Background()))
			err = m.Set(s, i, big)
		}
		if err != nil {
			t.Fatalf("space was not reused: %v", err)
		}
	}
}

// When the space is full, blocks that only the older of the two usable anchors protects are reused,
// even if the newer anchor is of the newest version.
func TestErrNoSpace_OlderAnchorLetsGo(t *testing.T) {
	s := spacetest.Scratch(t, everheap.WithMaxSize(64<<20), spacetest.WithoutBackground())
	m := spacetest.MapOf[int, []byte](t, s)
	big := make([]byte, 1<<20)
	stored := 0
	for m.Set(s, stored, big) == nil {
		stored++
	}
	spacetest.Must(t, spacetest.Engine(s).Anchor(true))
	for i := range stored {
		_, err := m.Delete(s, i)
		spacetest.Must(t, err)
	}
	spacetest.Must(t, spacetest.Engine(s).Anchor(false))
	for i := range stored / 2 {
		if err := m.Set(s, i, big); err != nil {
			t.Fatalf("value %d of %d: %v", i, stored/2, err)
		}
	}
}

// The same if a sweep has run meanwhile, found nothing, and made this process forget its pending
// blocks: the next sweep finds them.
func TestErrNoSpace_OlderAnchorLetsGoAfterSweep(t *testing.T) {
	s := spacetest.Scratch(t, everheap.WithMaxSize(64<<20), spacetest.WithoutBackground())
	m := spacetest.MapOf[int, []byte](t, s)
	big := make([]byte, 1<<20)
	stored := 0
	for m.Set(s, stored, big) == nil {
		stored++
	}
	spacetest.Must(t, spacetest.Engine(s).Anchor(true))
	for i := range stored {
		_, err := m.Delete(s, i)
		spacetest.Must(t, err)
	}
	spacetest.Must(t, spacetest.Engine(s).Anchor(false))
	spacetest.Must(t, spacetest.Sweep(s))
	if err := m.Set(s, 0, big); err != nil {
		spacetest.ExpectError(t, err, everheap.ErrNoSpace)
		spacetest.Must(t, spacetest.Sweep(s)) // which the failure requests
	}
	for i := range stored / 2 {
		if err := m.Set(s, i, big); err != nil {
			t.Fatalf("value %d of %d: %v", i, stored/2, err)
		}
	}
}

func TestErrCorrupt_HeaderAndEmptyFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s, err := everheap.Open(dir, everheap.WithMaxSize(spacetest.Small))
	spacetest.Must(t, err)
	spacetest.Must(t, s.Close())
	heap := filepath.Join(dir, "heap")
	b, err := os.ReadFile(heap)
	spacetest.Must(t, err)
	b[20] ^= 1
	spacetest.Must(t, os.WriteFile(heap, b, 0o600))
	_, err = everheap.Open(dir)
	spacetest.ExpectError(t, err, everheap.ErrCorrupt, heap, "checksum of the header")
	var e *everheap.CorruptError
	if !errors.As(err, &e) || e.File != heap || e.Offset != 0 {
		t.Errorf("the details are %+v", e)
	}
	spacetest.Must(t, os.WriteFile(heap, nil, 0o600))
	_, err = everheap.Open(dir)
	spacetest.ExpectError(t, err, everheap.ErrCorrupt)
}

func TestErrAddressInUse(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	s, err := everheap.Open(a, everheap.WithMaxSize(spacetest.Small))
	spacetest.Must(t, err)
	spacetest.Must(t, s.Close())
	spacetest.Must(t, os.CopyFS(b, os.DirFS(a)))
	s, err = everheap.Open(a)
	spacetest.Must(t, err)
	defer s.Close()
	_, err = everheap.Open(b)
	spacetest.ExpectError(t, err, everheap.ErrAddressInUse, "rebase")
}

// When registered spaces take all windows, the error names the verb that removes one.
func TestErrAddressInUse_AllPlacesRegistered(t *testing.T) {
	t.Setenv("EVERHEAP_HOME", t.TempDir())
	r := registry.Open("")
	all := registry.Entry{Name: "all", Dir: t.TempDir(), Base: mapping.ZoneLow, Size: mapping.ZoneHigh - mapping.ZoneLow}
	spacetest.Must(t, r.Register(all))
	_, err := everheap.Open("one-more")
	spacetest.ExpectError(t, err, everheap.ErrAddressInUse, "everheap forget NAME", "WithMaxSize")
	spacetest.Must(t, r.Remove("all"))
	s, err := everheap.Open("one-more", everheap.WithMaxSize(spacetest.Small))
	spacetest.Must(t, err)
	spacetest.Must(t, s.Close())
}

// The error for a registered space that is gone has its name and its directory, and no space is
// created.
func TestErrNotFound_RegisteredSpaceIsGone(t *testing.T) {
	t.Setenv("EVERHEAP_HOME", t.TempDir())
	s, err := everheap.Open("gone", everheap.WithMaxSize(spacetest.Small))
	spacetest.Must(t, err)
	dir := s.Stats().Dir
	spacetest.Must(t, s.Close())
	spacetest.Must(t, os.RemoveAll(dir))
	_, err = everheap.Open("gone")
	spacetest.ExpectError(t, err, everheap.ErrNotFound, `"gone"`, dir, "everheap adopt NEWDIR gone", "everheap forget gone")
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory was created again: %v", err)
	}
}
