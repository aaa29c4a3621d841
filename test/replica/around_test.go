package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// changed makes a space with a subscription, and changes of all kinds for it.
func changed(t *testing.T) (dir string, from everheap.Version) {
	t.Helper()
	l := &leader{t: t, r: rand.New(rand.NewPCG(11, 1)), dir: filepath.Join(t.TempDir(), "leader"), pins: map[string]bool{}}
	l.open()
	l.collection("users", userSpecs[0])
	l.collection("posts", sortedSpecs[0])
	u, err := l.space.Subscribe("mine", 0)
	spacetest.Must(t, err)
	from, err = u.Version()
	spacetest.Must(t, err)
	for range 40 {
		l.step()
	}
	spacetest.Must(t, l.space.Checkpoint("at last"))
	spacetest.Must(t, l.space.Close())
	return l.dir, from
}

// Rewriting a closed space keeps its subscriptions, and changes that are no longer kept are reported
// as such. A replica stays a replica. Later changes can be read and applied.
func TestRewrite_SubscriptionsAndReplicas(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(spacetest.Rewriters)) {
		t.Run(name, func(t *testing.T) {
			dir, from := changed(t)
			s := spacetest.Open(t, dir)
			r := follower(t, s)
			other := r.Space().Name()
			at := newest(t, s)
			spacetest.Must(t, s.Close())
			spacetest.Must(t, r.Space().Close())
			for _, d := range []string{dir, other} {
				spacetest.Must(t, spacetest.Rewriters[name](d))
			}
			s = spacetest.Open(t, dir)
			list, err := s.Subscriptions()
			if err != nil || len(list) != 1 || list[0].Name != "mine" || list[0].Lost {
				t.Fatalf("the subscriptions are %+v, %v", list, err)
			}
			set(t, s, 5, 5)
			if got, err := frames(t, s, from); err == nil {
				whole(t, got, from, newest(t, s))
			} else if !errors.Is(err, everheap.ErrNotKept) || len(got) > 0 {
				t.Errorf("%d frames, and then %v", len(got), err)
			} else {
				t.Log(err)
			}
			if got, err := frames(t, s, at); err != nil || everheap.Version(len(got)) != newest(t, s)-at {
				t.Errorf("later changes: %d frames, %v", len(got), err)
			}
			replica := spacetest.Open(t, other)
			if lead, is, err := replica.Leader(); lead != "the leader of the test" || !is || err != nil {
				t.Errorf("it is a replica of %q: %v, %v", lead, is, err)
			}
			r, err = replica.AsReplica("the leader of the test")
			spacetest.Must(t, err)
			follow(t, s, r)
			spacetest.Same(t, spacetest.ReadDump(t, spacetest.BackupOf(t, replica)), spacetest.ReadDump(t, spacetest.BackupOf(t, s)))
		})
	}
}

// A copy of the directory has the subscriptions, and the changes that they need.
func TestCopy_Subscriptions(t *testing.T) {
	dir, from := changed(t)
	copied := filepath.Join(t.TempDir(), "copy")
	spacetest.Must(t, os.CopyFS(copied, os.DirFS(dir)))
	s := spacetest.Open(t, copied)
	set(t, s, 5, 5)
	list, err := frames(t, s, from)
	spacetest.Must(t, err)
	whole(t, list, from, newest(t, s))
}

// A backup of a space with subscriptions, or of a replica, restores as an ordinary space without
// subscriptions.
func TestRestore_OfLeaderAndReplica(t *testing.T) {
	dir, _ := changed(t)
	s := spacetest.Open(t, dir)
	r := follower(t, s)
	for _, of := range []*everheap.Space{s, r.Space()} {
		restored := spacetest.Restored(t, spacetest.BackupOf(t, of))
		list, err := restored.Subscriptions()
		if _, is, leadErr := restored.Leader(); err != nil || len(list) > 0 || is || leadErr != nil {
			t.Errorf("it has %+v, %v; a replica: %v, %v", list, err, is, leadErr)
		}
		set(t, restored, 5, 5)
	}
}

// Live is lost while the space is open: the next open finds the subscription and the replica.
func TestLost_SubscriptionsAndReplicas(t *testing.T) { // CH5, RP4
	dir, from := changed(t)
	s, err := everheap.Open(dir)
	spacetest.Must(t, err)
	_, err = s.AsReplica("somebody")
	spacetest.Must(t, err)
	at := newest(t, s)
	spacetest.Must(t, s.Sync(context.Background()))
	spacetest.Must(t, os.Remove(filepath.Join(dir, "live")))
	_ = s.Close() // Close may find that live is lost
	s = spacetest.Open(t, dir)
	if lead, is, err := s.Leader(); lead != "somebody" || !is || err != nil {
		t.Errorf("it is a replica of %q: %v, %v", lead, is, err)
	}
	if newest(t, s) < at {
		t.Errorf("it is at version %d, and %d was durable", newest(t, s), at)
	}
	list, err := frames(t, s, from)
	spacetest.Must(t, err)
	whole(t, list, from, newest(t, s))
}

// A process died while it made a replica in a directory: another RestoreReplica takes the directory
// over, but an ordinary space is not created there.
func TestRestoreReplica_AfterDeath(t *testing.T) { // RP4
	dir, _ := changed(t)
	stream := spacetest.BackupOf(t, spacetest.Open(t, dir))
	for i, make := range []func(dir string) error{
		func(dir string) error { return everheap.RestoreReplica(dir, bytes.NewReader(stream), "me") },
		func(dir string) error { return everheap.RestoreBackup(dir, bytes.NewReader(stream)) },
		func(dir string) error {
			s, err := everheap.Open(dir)
			if err == nil {
				s.Close()
			}
			return err
		},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "s")
			spacetest.Must(t, os.Mkdir(dir, 0o700))
			spacetest.Must(t, os.WriteFile(filepath.Join(dir, "replica"), []byte("cut off"), 0o600))
			err := make(dir)
			if (err == nil) != (i == 0) {
				t.Fatal(err)
			}
			if err != nil {
				t.Log(err)
				return
			}
			if lead, is, err := spacetest.Open(t, dir).Leader(); lead != "me" || !is || err != nil {
				t.Errorf("it is a replica of %q: %v, %v", lead, is, err)
			}
		})
	}
}
