package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// fill changes entries of a map, a transaction each.
func fill(t testing.TB, s *everheap.Space, from, to int, size int) {
	t.Helper()
	m, err := everheap.OpenMap[int, string](s, "m")
	spacetest.Must(t, err)
	for i := from; i < to; i++ {
		spacetest.Must(t, m.Set(s, i, strings.Repeat(fmt.Sprint(i%10), size)))
	}
}

// A follower gets the versions of the leader from a snapshot, from frames, and from frames that are
// larger than a message.
func TestFollow(t *testing.T) {
	t.Parallel()
	js := startJetStream(t)
	s := newSpace(t)
	fill(t, s, 0, 100, 100)
	o := testOptions(t, "a")
	l := mustLead(t, js.connect(t), s, o)
	await(t, "the leader says that the log has all", func() bool { return l.Status().Durable == uint64(s.Stats().Version) })
	fill(t, s, 100, 300, 100)
	dir := filepath.Join(t.TempDir(), "b")
	f := mustFollow(t, js.connect(t), dir, testOptions(t, "b"))
	caught(t, s, f)
	alike(t, f.Space(), s)
	fill(t, s, 300, 400, 10)
	fill(t, s, 0, 3, 3<<20)
	caught(t, s, f)
	alike(t, f.Space(), s)
	if st := f.Status(); st.Rebuilt != 1 || st.Lead != "a" || st.Problem != "" {
		t.Errorf("the status is %+v", st)
	}
	// After a restart, the follower continues where it was.
	spacetest.Must(t, f.Stop())
	fill(t, s, 400, 500, 10)
	f = mustFollow(t, js.connect(t), dir, testOptions(t, "b"))
	caught(t, s, f)
	alike(t, f.Space(), s)
	if st := f.Status(); st.Rebuilt != 0 {
		t.Errorf("the status is %+v", st)
	}
	m, err := everheap.OpenMap[int, string](f.Space(), "m")
	spacetest.Must(t, err)
	spacetest.ExpectError(t, m.Set(f.Space(), 1, ""), everheap.ErrReadOnly, "write to the leader: a")
}

// An Update that waits for a copy returns when a copy has its version, and not when a copy has
// another version of that number (JS7).
func TestWithReplicas(t *testing.T) {
	t.Parallel()
	js := startJetStream(t)
	s := newSpace(t)
	mustLead(t, js.connect(t), s, testOptions(t, "a"))
	nc := js.connect(t)
	other := time.NewTicker(time.Millisecond)
	defer other.Stop()
	short, cancel := context.WithTimeout(soon(t), 500*time.Millisecond)
	defer cancel()
	go func() { // acknowledges every version, with a chain of its own
		for v := uint64(1); short.Err() == nil; v = v%200 + 1 {
			b, _ := json.Marshal(ack{"liar", v, 12345})
			_ = nc.Publish(ackSubject("s"), b)
			<-other.C
		}
	}()
	err := s.Update(short, func(tx *everheap.Tx) error {
		_, err := everheap.OpenMap[int, int](tx, "m")
		return err
	}, everheap.WithReplicas(1))
	if !errors.Is(err, everheap.ErrNotReplicated) {
		t.Fatalf("without a copy an Update that waits for one returns %v", err)
	}
	f := mustFollow(t, nc, filepath.Join(t.TempDir(), "b"), testOptions(t, "b"))
	for i := range 50 {
		spacetest.Must(t, s.Update(soon(t), func(tx *everheap.Tx) error {
			m, err := everheap.OpenMap[int, int](tx, "m")
			if err == nil {
				err = m.Set(tx, i, i)
			}
			return err
		}, everheap.WithReplicas(1)))
		spacetest.View(t, f.Space(), func(tx *everheap.Tx) error {
			m, err := everheap.OpenMap[int, int](tx, "m")
			if err == nil && m.Peek(tx, i) == nil {
				t.Errorf("the copy lacks the acknowledged entry %d", i)
			}
			return err
		})
	}
}

// A copy knows from the leader's reports how far it is behind, even if it cannot apply any frame. The
// number is in the statistics of its space, and in its status.
func TestFollow_Lag(t *testing.T) {
	t.Parallel()
	js := startJetStream(t)
	s := newSpace(t)
	fill(t, s, 0, 100, 10)
	mustLead(t, js.connect(t), s, testOptions(t, "a"))
	held := make(chan struct{})
	var stuck atomic.Bool
	o := testOptions(t, "b")
	o.deliver = func(m message) []message { // its disk is slow
		if stuck.Load() {
			<-held
		}
		return []message{m}
	}
	dir := filepath.Join(t.TempDir(), "b")
	f := mustFollow(t, js.connect(t), dir, o)
	caught(t, s, f)
	await(t, "it is heard that nothing is missing", func() bool {
		r := f.Space().Stats().Replica
		return r != nil && r.Known == s.Stats().Version && r.LagVersions == 0 && r.Lag == 0
	})
	stuck.Store(true)
	began := time.Now()
	fill(t, s, 0, 7, 10)
	reader := spacetest.Open(t, dir)
	await(t, "it is heard that seven versions are missing", func() bool { return reader.Stats().Replica.LagVersions == 7 })
	await(t, "they are missing for a while", func() bool { return reader.Stats().Replica.Lag > 300*time.Millisecond })
	if st := f.Status(); st.LagVersions != 7 || st.Lag > time.Since(began)+2*time.Second {
		t.Errorf("after %v: %+v", time.Since(began), st)
	}
	stuck.Store(false)
	close(held)
	caught(t, s, f)
	await(t, "nothing is missing", func() bool { r := reader.Stats().Replica; return r.LagVersions == 0 && r.Lag == 0 })
}

// A leader that was away for longer than frames are kept continues with a snapshot. A follower begins
// again with it, under the registered name of its space.
func TestLead_FramesNotKept(t *testing.T) {
	t.Setenv("EVERHEAP_HOME", t.TempDir())
	js := startJetStream(t)
	s := newSpace(t)
	oa, ob := testOptions(t, "a"), testOptions(t, "b")
	oa.Keep = 4 << 20
	l := mustLead(t, js.connect(t), s, oa)
	f := mustFollow(t, js.connect(t), "named", ob)
	fill(t, s, 0, 100, 100)
	caught(t, s, f)
	was := l.Status().Durable
	spacetest.Must(t, l.Stop())
	fill(t, s, 0, 1, 1<<20)
	for i := 0; kept(soon(t), s, was); i++ {
		fill(t, s, i%40, i%40+1, 1<<20)
	}
	l = mustLead(t, js.connect(t), s, oa)
	caught(t, s, f)
	alike(t, f.Space(), s)
	fill(t, s, 100, 200, 100)
	caught(t, s, f)
	if st := f.Status(); st.Rebuilt != 2 || l.Status().Snapshots != 1 {
		t.Errorf("the follower is %+v, the leader %+v", st, l.Status())
	}
	dir := f.dir
	spacetest.Must(t, f.Stop())
	named, err := everheap.Open("named")
	spacetest.Must(t, err)
	defer named.Close()
	alike(t, named, s)
	if named.Stats().Dir != dir {
		t.Errorf("the name leads to %s", named.Stats().Dir)
	}
}
