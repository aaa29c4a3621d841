package replica

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// frames reads the frames after a version, up to the newest one.
func frames(t testing.TB, s *everheap.Space, from everheap.Version) (list []everheap.Frame, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	last := newest(t, s)
	spacetest.Must(t, s.Sync(ctx))
	if from == last {
		return nil, nil
	}
	for f, err := range s.ChangesSince(ctx, from) {
		if err != nil {
			return list, err
		}
		list = append(list, f)
		if f.Version() >= last {
			break
		}
	}
	return list, nil
}

// whole fails the test unless the frames are those of all versions of a range, in order.
func whole(t *testing.T, list []everheap.Frame, from, to everheap.Version) {
	t.Helper()
	if len(list) != int(to-from) {
		t.Fatalf("%d frames, want those of the versions %d to %d", len(list), from+1, to)
	}
	for i, f := range list {
		if f.Version() != from+everheap.Version(i)+1 || i > 0 && f.Before() != list[i-1].Position() {
			t.Fatalf("frame %d is of version %d, want %d", i, f.Version(), from+everheap.Version(i)+1)
		}
	}
}

func set(t *testing.T, s *everheap.Space, n, size int) {
	t.Helper()
	m := spacetest.MapOf[int, string](t, s)
	for i := range n {
		spacetest.Must(t, m.Set(s, i%100, strings.Repeat(fmt.Sprint(i%10), size)))
	}
}

// The changes that a subscription needs are kept while anchors are replaced, while no process has the
// space open, and with a new live file, as after a power loss.
func TestSubscription_Keeps(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "space")
	s := spacetest.Open(t, dir)
	set(t, s, 10, 10)
	u, err := s.Subscribe("mine", 0)
	spacetest.Must(t, err)
	from, err := u.Version()
	spacetest.Must(t, err)
	for round := range 4 {
		for range 4 {
			set(t, s, 500, 4000)                   // a segment of the journal
			spacetest.Must(t, s.Checkpoint("now")) // two anchors
			spacetest.Must(t, s.DropCheckpoint("now"))
		}
		spacetest.Must(t, s.Close())
		if round%2 == 1 {
			spacetest.Must(t, os.Remove(filepath.Join(dir, "live")))
		}
		s = spacetest.Open(t, dir)
		if u, err = s.Subscribe("mine", 0); err != nil {
			t.Fatal(err)
		}
		if v, err := u.Version(); err != nil || v != from {
			t.Fatalf("the subscription is at version %d, %v; want %d", v, err, from)
		}
		list, err := frames(t, s, from)
		spacetest.Must(t, err)
		whole(t, list, from, newest(t, s))
	}
	to := newest(t, s)
	spacetest.Must(t, u.Confirm(to))
	if v, _ := u.Version(); v != to {
		t.Errorf("confirmed up to version %d, and the subscription says %d", to, v)
	}
	for range 6 { // the space of confirmed changes is freed
		set(t, s, 500, 4000)
		spacetest.Must(t, s.Checkpoint("now"))
		spacetest.Must(t, s.DropCheckpoint("now"))
		spacetest.Must(t, u.Confirm(newest(t, s)))
	}
	if _, err := frames(t, s, from); !errors.Is(err, everheap.ErrNotKept) {
		t.Errorf("changes confirmed long ago: %v, want ErrNotKept", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "changes-*")); len(left) > 1 {
		t.Errorf("%d unneeded asides are left", len(left))
	}
	spacetest.Must(t, u.Drop())
	if _, err := u.Version(); !errors.Is(err, everheap.ErrNotFound) {
		t.Errorf("a dropped subscription: %v, want ErrNotFound", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "subscription-*")); len(left) > 0 {
		t.Errorf("the dropped subscription leaves %v", left)
	}
}

// The same without asides: the journal alone enforces the limit.
func TestSubscription_LostByTheJournal(t *testing.T) { // CH2
	dir := filepath.Join(t.TempDir(), "space")
	s := spacetest.Open(t, dir, spacetest.WithoutBackground())
	u, err := s.Subscribe("slow", 6<<20)
	spacetest.Must(t, err)
	for range 12 {
		set(t, s, 500, 4000) // a segment
		spacetest.Must(t, spacetest.Engine(s).Anchor(true))
		list, err := s.Subscriptions()
		spacetest.Must(t, err)
		if list[0].Kept > list[0].Keep {
			t.Fatalf("%d bytes are kept, of %d", list[0].Kept, list[0].Keep)
		}
	}
	if _, err := u.Version(); !errors.Is(err, everheap.ErrNotKept) {
		t.Errorf("a subscription that has fallen behind: %v, want ErrNotKept", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "journal")); err != nil || info.Size() > 10<<20 {
		t.Errorf("the journal has grown to %v, %v", info.Size(), err)
	}
}

// A subscription that falls behind by more than it may keep is lost, and the space does not grow
// for it any more.
func TestSubscription_Lost(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "space")
	s := spacetest.Open(t, dir)
	u, err := s.Subscribe("slow", 4<<20)
	spacetest.Must(t, err)
	from, err := u.Version()
	spacetest.Must(t, err)
	size := func() int64 {
		info, err := os.Stat(filepath.Join(dir, "journal"))
		spacetest.Must(t, err)
		return info.Size()
	}
	var most int64
	for range 40 {
		set(t, s, 500, 4000)
		spacetest.Must(t, s.Checkpoint("now"))
		spacetest.Must(t, s.DropCheckpoint("now"))
		most = max(most, size())
	}
	if most > 24<<20 {
		t.Errorf("the journal has grown to %d bytes for a subscription that may keep 4 MiB", most)
	}
	if _, err := u.Version(); !errors.Is(err, everheap.ErrNotKept) {
		t.Errorf("a subscription that has fallen behind: %v, want ErrNotKept", err)
	}
	if _, err := frames(t, s, from); !errors.Is(err, everheap.ErrNotKept) {
		t.Errorf("its frames: %v, want ErrNotKept", err)
	}
	again, err := s.Subscribe("slow", 0)
	if !errors.Is(err, everheap.ErrNotKept) || again == nil || again.Name() != "slow" {
		t.Fatalf("to subscribe under its name: %v, %v, want ErrNotKept and the subscription", again, err)
	}
	if err := again.Confirm(newest(t, s)); !errors.Is(err, everheap.ErrNotKept) {
		t.Errorf("confirming a lost version: %v, want ErrNotKept", err)
	}
	if list, err := s.Subscriptions(); err != nil || len(list) != 1 || !list[0].Lost || list[0].Keep != 4<<20 {
		t.Errorf("%+v, %v", list, err)
	}
	reads := func() { // from here on the subscription has all changes
		t.Helper()
		at := newest(t, s)
		set(t, s, 10, 10)
		spacetest.Must(t, s.Checkpoint("now"))
		spacetest.Must(t, s.DropCheckpoint("now"))
		if from, err := u.Version(); err != nil || from != at {
			t.Fatalf("the subscription is at version %d, %v; want %d", from, err, at)
		}
		list, err := frames(t, s, at)
		spacetest.Must(t, err)
		whole(t, list, at, newest(t, s))
	}
	spacetest.Must(t, again.Restart())
	if list, err := s.Subscriptions(); err != nil || len(list) != 1 || list[0].Lost || list[0].Keep != 4<<20 {
		t.Errorf("restarted: %+v, %v", list, err)
	}
	reads()
	spacetest.Must(t, s.Close())
	spacetest.Must(t, os.Remove(filepath.Join(dir, "live")))
	s = spacetest.Open(t, dir)
	u, err = s.Subscribe("slow", 0) // the same subscription as before
	spacetest.Must(t, err)
	spacetest.Must(t, u.Restart()) // a subscription that is not lost can restart as well
	reads()
	spacetest.Must(t, u.Drop())
	if err := u.Restart(); !errors.Is(err, everheap.ErrNotFound) {
		t.Errorf("restarting a dropped subscription: %v, want ErrNotFound", err)
	}
	u, err = s.Subscribe("slow", 0)
	spacetest.Must(t, err)
	reads()
}

// A transaction too large to be listed is a frame as any other, unless it exceeds the limit of the
// subscription.
func TestSubscription_LargeTransaction(t *testing.T) {
	s := spacetest.Open(t, filepath.Join(t.TempDir(), "space"), everheap.WithMaxSize(1<<30))
	u, err := s.Subscribe("mine", 120<<20)
	spacetest.Must(t, err)
	from, err := u.Version()
	spacetest.Must(t, err)
	r := follower(t, s)
	m := spacetest.MapOf[int, string](t, s)
	fill := func(n int) {
		spacetest.Must(t, s.Update(context.Background(), func(tx *everheap.Tx) error {
			for i := range n {
				if err := m.Set(tx, i, strings.Repeat("x", 10_000)); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	fill(4000)
	fill(5000)
	list, err := frames(t, s, from)
	spacetest.Must(t, err)
	whole(t, list, from, newest(t, s))
	follow(t, s, r)
	spacetest.Same(t, spacetest.ReadDump(t, spacetest.BackupOf(t, r.Space())), spacetest.ReadDump(t, spacetest.BackupOf(t, s)))
	fill(13_000)
	set(t, s, 3, 3)
	if _, err := frames(t, s, from); !errors.Is(err, everheap.ErrNotKept) {
		t.Errorf("after a transaction of 130 MB: %v, want ErrNotKept", err)
	}
}

// Invalid names and sizes are refused, and so are too many subscriptions.
func TestSubscription_Refused(t *testing.T) {
	s := spacetest.Open(t, filepath.Join(t.TempDir(), "space"))
	for _, name := range []string{"", "a/b", "..\x00", strings.Repeat("n", 33), "x.new", "ü"} {
		if _, err := s.Subscribe(name, 0); err == nil {
			t.Errorf("the name %q is taken", name)
		}
	}
	for _, keep := range []int64{1, 1 << 20, 1 << 40} {
		if _, err := s.Subscribe("mine", keep); !errors.Is(err, everheap.ErrTooLarge) {
			t.Errorf("to keep %d bytes: %v, want ErrTooLarge", keep, err)
		}
	}
	for i := range 16 {
		_, err := s.Subscribe(fmt.Sprint("s", i), 0)
		spacetest.Must(t, err)
	}
	if _, err := s.Subscribe("one more", 0); err == nil {
		t.Error("a name with a space is taken")
	}
	if _, err := s.Subscribe("more", 0); !errors.Is(err, everheap.ErrTooLarge) {
		t.Errorf("the 17th subscription: %v, want ErrTooLarge", err)
	}
	if _, err := frames(t, s, 1<<40); !errors.Is(err, everheap.ErrNotKept) {
		t.Errorf("the changes since a version that is to come: %v, want ErrNotKept", err)
	}
	u, err := s.Subscribe("s3", 0)
	spacetest.Must(t, err)
	if err := u.Confirm(1 << 40); err == nil {
		t.Error("a version that is to come is confirmed")
	}
}

// Loops over changes wait for new versions, in order, and end with the context or the space.
func TestChangesSince_Waits(t *testing.T) {
	s := spacetest.Open(t, filepath.Join(t.TempDir(), "space"))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	from := newest(t, s)
	_, err := s.Subscribe("mine", 0)
	spacetest.Must(t, err)
	type got struct {
		last everheap.Version
		err  error
	}
	done := make(chan got)
	seen := make(chan everheap.Version, 10_000)
	go func() {
		at := from
		for f, err := range s.ChangesSince(ctx, from) {
			if err != nil {
				done <- got{at, err}
				return
			}
			if at++; f.Version() != at {
				done <- got{at, fmt.Errorf("a frame of version %d, want %d", f.Version(), at)}
				return
			}
			seen <- at
		}
	}()
	for range 5 {
		set(t, s, 200, 50)
		last := newest(t, s)
		for v := range seen {
			if v == last {
				break
			}
		}
	}
	cancel()
	if g := <-done; !errors.Is(g.err, everheap.ErrBusy) || g.last != newest(t, s) {
		t.Errorf("the loop ended at version %d with %v, want ErrBusy", g.last, g.err)
	}
	other, err := everheap.Open(filepath.Join(t.TempDir(), "other"))
	spacetest.Must(t, err)
	go func() {
		for _, err := range other.ChangesSince(context.Background(), 1) {
			if err != nil {
				done <- got{0, err}
			}
		}
	}()
	time.Sleep(50 * time.Millisecond)
	spacetest.Must(t, other.Close())
	if g := <-done; !errors.Is(g.err, everheap.ErrClosed) {
		t.Errorf("the loop ended with %v, want ErrClosed", g.err)
	}
}
