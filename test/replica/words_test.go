package replica

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// Opening a space for reading only, with a new live file, leaves it a replica with its subscriptions.
func TestReplica_LiveMadeByReader(t *testing.T) { // RP4, CH5
	l := spacetest.Open(t, filepath.Join(t.TempDir(), "leader"))
	set(t, l, 10, 10)
	r := follower(t, l)
	dir := r.Space().Name()
	_, err := r.Space().Subscribe("mine", 0)
	spacetest.Must(t, err)
	spacetest.Must(t, r.Space().Close())
	spacetest.Must(t, os.Remove(filepath.Join(dir, "live")))
	reader, err := everheap.Open(dir, everheap.WithReadOnly())
	spacetest.Must(t, err)
	if _, is, err := reader.Leader(); !is || err != nil {
		t.Errorf("for a reader it is not a replica: %v, %v", is, err)
	}
	if list, err := reader.Subscriptions(); len(list) != 1 || err != nil {
		t.Errorf("a reader sees the subscriptions %v, %v", list, err)
	}
	spacetest.Must(t, reader.Close())
	s := spacetest.Open(t, dir)
	m := spacetest.MapOf[int, string](t, s)
	if err := m.Set(s, 1, "x"); !errors.Is(err, everheap.ErrReadOnly) {
		t.Errorf("a write to a replica: %v", err)
	}
	if list, err := s.Subscriptions(); len(list) != 1 || err != nil {
		t.Errorf("the subscriptions are %v, %v", list, err)
	}
}

// Several goroutines confirm at once: none of them fails, and the file has the final position of the
// subscription.
func TestSubscription_ConfirmedByMany(t *testing.T) { // CH5
	dir := filepath.Join(t.TempDir(), "space")
	s := spacetest.Open(t, dir)
	u, err := s.Subscribe("mine", 0)
	spacetest.Must(t, err)
	for range 5 {
		set(t, s, 30, 10)
		to := newest(t, s)
		var all sync.WaitGroup
		for i := range 12 {
			all.Go(func() {
				if err := u.Confirm(to - everheap.Version(i*7%12)); err != nil {
					t.Errorf("confirming: %v", err)
				}
			})
		}
		all.Wait()
		spacetest.Must(t, s.Close())
		spacetest.Must(t, os.Remove(filepath.Join(dir, "live")))
		s = spacetest.Open(t, dir)
		if u, err = s.Subscribe("mine", 0); err != nil {
			t.Fatal(err)
		}
		if v, err := u.Version(); v != to || err != nil {
			t.Fatalf("the file says version %d, %v; %d was confirmed", v, err, to)
		}
	}
}

// Confirmed versions, and the first version of a subscription, are durable: otherwise, after a power
// loss, other versions could get their numbers and not be kept.
func TestSubscription_BeginsDurable(t *testing.T) { // CH5
	dir := filepath.Join(t.TempDir(), "space")
	s := spacetest.Open(t, dir, spacetest.WithoutBackground())
	set(t, s, 10, 10)
	_, err := s.Subscribe("mine", 0)
	spacetest.Must(t, err)
	durable := func(v everheap.Version) {
		t.Helper()
		if st := s.Stats(); st.Durable < v {
			t.Errorf("the subscription is at version %d, and version %d is durable", v, st.Durable)
		}
	}
	u, err := s.Subscribe("mine", 0)
	spacetest.Must(t, err)
	v, err := u.Version()
	spacetest.Must(t, err)
	durable(v)
	set(t, s, 10, 10)
	v = newest(t, s)
	spacetest.Must(t, u.Confirm(v))
	durable(v)
}

// Changes kept for other subscriptions do not count for a subscription that needs few.
func TestSubscription_AsidesOfOthers(t *testing.T) { // CH2
	s := spacetest.Open(t, filepath.Join(t.TempDir(), "space"), everheap.WithMaxSize(1<<30))
	_, err := s.Subscribe("slow", 120<<20)
	spacetest.Must(t, err)
	m := spacetest.MapOf[int, string](t, s)
	spacetest.Update(t, s, func(tx *everheap.Tx) error { // too much to be listed
		for i := range 4000 {
			if err := m.Set(tx, i, strings.Repeat("x", 10_000)); err != nil {
				return err
			}
		}
		return nil
	})
	quick, err := s.Subscribe("quick", 4<<20)
	spacetest.Must(t, err)
	spacetest.Must(t, s.Checkpoint("now")) // a checkpoint does not list its changes either
	if err := quick.Confirm(newest(t, s)); err != nil {
		t.Error(err)
	}
	list, err := s.Subscriptions()
	spacetest.Must(t, err)
	if len(list) != 2 || list[0].Kept < 40<<20 || list[1].Kept > 4<<20 || list[0].Lost || list[1].Lost {
		t.Errorf("the subscriptions are %+v", list)
	}
}
