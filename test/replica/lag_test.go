package replica

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/proctest"
	"github.com/everheap/everheap/internal/spacetest"
)

// lagChild opens a space, and prints its statistics on request.
func init() {
	proctest.Children["lag"] = func(dir string) error {
		s, err := everheap.Open(dir)
		if err != nil {
			return err
		}
		defer s.Close()
		for proctest.Told() == "stats" {
			b, err := json.Marshal(s.Stats().Replica)
			if err != nil {
				return err
			}
			proctest.Say("stats", string(b))
		}
		return nil
	}
}

// The last report of the leader is known in every process that has the replica open: how many
// versions the replica lacks, and for how long.
func TestReplica_Lag(t *testing.T) {
	l := spacetest.Open(t, filepath.Join(t.TempDir(), "leader"))
	set(t, l, 10, 10)
	if r := l.Stats().Replica; r != nil {
		t.Errorf("the leader is a replica: %+v", r)
	}
	_, err := l.Subscribe("replica", 0)
	spacetest.Must(t, err)
	r := follower(t, l)
	s := r.Space()
	dir := s.Name()
	other := proctest.Start(t, "lag", dir, nil)
	asked := 0
	// both returns the statistics, which are the same in this process and in another one.
	both := func() (here everheap.ReplicaStats) {
		t.Helper()
		here = *s.Stats().Replica
		other.Tell("stats")
		asked++
		proctest.Wait(func() bool { return len(other.Said("stats")) == asked || other.Gone() })
		var there everheap.ReplicaStats
		spacetest.Must(t, json.Unmarshal([]byte(other.Said("stats")[asked-1]), &there))
		if there.Known != here.Known || !there.Heard.Equal(here.Heard) || there.LagVersions != here.LagVersions || there.Lag < here.Lag || here.Lag == 0 && there.Lag != 0 {
			t.Errorf("another process sees %+v, and this one %+v", there, here)
		}
		return here
	}
	if got := both(); got != (everheap.ReplicaStats{}) {
		t.Errorf("before anything is heard: %+v", got)
	}
	// Three versions are missing, the first of them at most for the age of the replica's newest version.
	committed := s.Stats().Committed
	for range 3 {
		set(t, l, 1, 10)
	}
	spoken := time.Now()
	spacetest.Must(t, r.Hear(newest(t, l), spoken))
	least := time.Since(committed)
	if got := both(); got.Known != newest(t, l) || !got.Heard.Equal(spoken) || got.LagVersions != 3 || got.Lag < least || got.Lag > time.Since(committed) {
		t.Errorf("with three versions missing, after %v: %+v", least, got)
	}
	follow(t, l, r)
	if got := both(); got.LagVersions != 0 || got.Lag != 0 {
		t.Errorf("with all that is known: %+v", got)
	}
	// The leader was idle, and reported that: a version can be missing only since then.
	idle := time.Now()
	spacetest.Must(t, r.Hear(newest(t, l), idle))
	set(t, l, 1, 10)
	spacetest.Must(t, r.Hear(newest(t, l), time.Now()))
	least = time.Since(idle)
	if got := both(); got.LagVersions != 1 || got.Lag < least || got.Lag > time.Since(idle) {
		t.Errorf("with one version missing, for %v at most: %+v", least, got)
	}
	follow(t, l, r)
	// After the promotion nothing of the report is left.
	spacetest.Must(t, r.Promote(t.Context()))
	if got := s.Stats().Replica; got != nil {
		t.Errorf("a leader that was a replica: %+v", got)
	}
	r, err = s.AsReplica("the leader of the test")
	spacetest.Must(t, err)
	if got := both(); got != (everheap.ReplicaStats{}) {
		t.Errorf("of another leader nothing was heard: %+v", got)
	}
	// Nor with a new live file.
	spacetest.Must(t, r.Hear(100, time.Now()))
	other.Tell("end")
	spacetest.Must(t, s.Close())
	if !proctest.Wait(other.Gone) {
		t.Fatal("the other process continues")
	}
	spacetest.Must(t, os.Remove(filepath.Join(dir, "live")))
	s = spacetest.Open(t, dir)
	if got := s.Stats().Replica; got == nil || *got != (everheap.ReplicaStats{}) {
		t.Errorf("with a new live file: %+v", got)
	}
}
