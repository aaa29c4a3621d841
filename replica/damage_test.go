package replica

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
	"github.com/nats-io/nats.go/jetstream"
)

// mangler loses, repeats, reorders, cuts and flips messages between the log and a follower.
type mangler struct {
	sync.Mutex
	r    *rand.Rand
	late []message
	did  [6]int
	off  bool
}

func (g *mangler) deliver(m message) []message {
	g.Lock()
	defer g.Unlock()
	late := g.late
	g.late = nil
	what := g.r.IntN(40)
	if g.off || what > 5 {
		return append([]message{m}, late...)
	}
	g.did[what]++
	damaged := m
	damaged.data = append([]byte(nil), m.data...)
	switch n := len(m.data); what {
	case 0: // lost
		return late
	case 1:
		return append([]message{m, m}, late...)
	case 2: // comes after the next one
		g.late = append(late, m)
		return nil
	case 3:
		if n > 0 {
			damaged.data = damaged.data[:g.r.IntN(n)]
		}
		return append([]message{damaged}, late...)
	case 4:
		if n > 0 {
			damaged.data[g.r.IntN(n)] ^= 1 << g.r.IntN(8)
		}
		return append([]message{damaged}, late...)
	default: // frames of another message
		g.late = late
		return []message{m, {seq: m.seq, note: m.note, data: damaged.data[:n/2]}}
	}
}

// Whichever messages are lost, repeated, reordered, cut and flipped in transit, a follower has a
// version of the leader, perhaps an earlier one (JS6).
func TestFollow_Damage(t *testing.T) {
	t.Parallel()
	js := startJetStream(t)
	spacetest.Rounds(t, 4, func(t *testing.T, r *rand.Rand) {
		s := newSpace(t)
		o := testOptions(t, "a")
		o.Stream = "d" + newToken()[:8]
		o.batch = 2000
		mustLead(t, js.connect(t), s, o)
		g := &mangler{r: r}
		o.Copy, o.deliver = "b", g.deliver
		f := mustFollow(t, js.connect(t), filepath.Join(t.TempDir(), "b"), o)
		for i := range 20 {
			size := 1 + r.IntN(500)
			if i == 10 {
				size = 9000 // in parts
			}
			fill(t, s, r.IntN(200), 200, size)
			if i%5 == 4 {
				caught(t, s, f)
				alike(t, f.Space(), s)
			}
		}
		caught(t, s, f)
		alike(t, f.Space(), s)
		g.Lock()
		defer g.Unlock()
		t.Logf("lost, repeated, reordered, cut, flipped, mixed: %v; rebuilt %d", g.did, f.Status().Rebuilt)
		for i, n := range g.did {
			if n == 0 {
				t.Errorf("the test did nothing of the kind %d", i)
			}
		}
	})
}

// lose deletes the last messages of the log, as if a server had not synced them.
func lose(t testing.TB, js *jetStream, stream string, n int) {
	t.Helper()
	ctx := soon(t)
	c, err := jetstream.New(js.connect(t))
	spacetest.Must(t, err)
	st, err := c.Stream(ctx, streamName(stream))
	spacetest.Must(t, err)
	info, err := st.Info(ctx)
	spacetest.Must(t, err)
	for i := range n {
		err := st.DeleteMsg(ctx, info.State.LastSeq-uint64(i))
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
			spacetest.Must(t, err)
		}
	}
}

// The leader sends messages again that the end of the log has lost: while it leads, and when it leads
// again (JS3).
func TestLead_LogLosesItsEnd(t *testing.T) {
	t.Parallel()
	js := startJetStream(t)
	s := newSpace(t)
	o := testOptions(t, "a")
	o.batch = 500
	l := mustLead(t, js.connect(t), s, o)
	f := mustFollow(t, js.connect(t), filepath.Join(t.TempDir(), "b"), testOptions(t, "b"))
	fill(t, s, 0, 100, 100)
	caught(t, s, f)
	// The leader finds the loss although it publishes nothing now.
	lose(t, js, "s", 10)
	await(t, "the leader sends again", func() bool { return l.Status().Resent > 0 })
	// The leader is away.
	spacetest.Must(t, l.Stop())
	lose(t, js, "s", 10)
	l = mustLead(t, js.connect(t), s, o)
	fill(t, s, 200, 210, 100)
	g := mustFollow(t, js.connect(t), filepath.Join(t.TempDir(), "c"), testOptions(t, "c"))
	caught(t, s, f)
	caught(t, s, g)
	alike(t, f.Space(), s)
	alike(t, g.Space(), s)
	if l.Status().Snapshots != 0 || f.Status().Rebuilt != 1 || g.Status().Rebuilt != 1 {
		t.Errorf("a needless snapshot was made or used: %+v, %+v, %+v", l.Status(), f.Status(), g.Status())
	}
}

// A server that restarts with old files has lost the messages that it acknowledged since.
func TestLead_ServerComesBackWithOldFiles(t *testing.T) {
	t.Parallel()
	js := startJetStream(t)
	s := newSpace(t)
	mustLead(t, js.connect(t), s, testOptions(t, "a"))
	f := mustFollow(t, js.connect(t), filepath.Join(t.TempDir(), "b"), testOptions(t, "b"))
	fill(t, s, 0, 100, 100)
	caught(t, s, f)
	js.stop()
	old := t.TempDir()
	copyTree(t, js.dir, old)
	js.start()
	fill(t, s, 100, 200, 100)
	caught(t, s, f)
	js.stop()
	js.dir = old
	js.start()
	fill(t, s, 200, 300, 100)
	caught(t, s, f)
	alike(t, f.Space(), s)
	g := mustFollow(t, js.connect(t), filepath.Join(t.TempDir(), "c"), testOptions(t, "c"))
	caught(t, s, g)
	alike(t, g.Space(), s)
}

// A server that comes back empty gets all versions again.
func TestLead_ServerComesBackEmpty(t *testing.T) {
	t.Parallel()
	js := startJetStream(t)
	s := newSpace(t)
	dir := filepath.Join(t.TempDir(), "b")
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	fill(t, s, 0, 100, 100)
	name := s.Stats().Dir
	done := make(chan error, 2)
	a, b := js.connect(t), js.connect(t)
	go func() { done <- Run(ctx, a, name, AsLeader, testOptions(t, "a")) }()
	go func() { done <- Run(ctx, b, dir, AsFollower, testOptions(t, "b")) }()
	holds := func(key int) bool { return hasKey(t, dir, key) }
	await(t, "the follower has it", func() bool { return holds(99) })
	js.stop()
	js.dir = t.TempDir()
	js.start()
	fill(t, s, 100, 200, 100)
	await(t, "the follower has it again", func() bool { return holds(199) })
	cancel()
	spacetest.Must(t, <-done)
	spacetest.Must(t, <-done)
}

// hasKey reports whether a space has an entry.
func hasKey(t testing.TB, dir string, key int) (ok bool) {
	if _, err := os.Stat(dir); err != nil {
		return false // Open would create it
	}
	s, err := everheap.Open(dir)
	if err != nil {
		t.Log(err)
		return false
	}
	defer s.Close()
	err = s.View(func(tx *everheap.Tx) error {
		m, err := everheap.OpenMap[int, string](tx, "m")
		if err == nil {
			ok = m.Peek(tx, key) != nil
		}
		return err
	})
	if err != nil {
		t.Log(err)
	}
	return ok
}

// Messages lost in the middle of the log cannot be sent again: a new snapshot replaces them.
func TestFollow_HoleInTheLog(t *testing.T) {
	t.Parallel()
	js := startJetStream(t)
	s := newSpace(t)
	o := testOptions(t, "a")
	o.batch = 500
	mustLead(t, js.connect(t), s, o)
	dir := filepath.Join(t.TempDir(), "b")
	f := mustFollow(t, js.connect(t), dir, testOptions(t, "b"))
	fill(t, s, 0, 100, 100)
	caught(t, s, f)
	spacetest.Must(t, f.Stop())
	fill(t, s, 100, 110, 300)
	time.Sleep(100 * time.Millisecond)
	lose(t, js, "s", 3)
	fill(t, s, 110, 120, 300)
	f = mustFollow(t, js.connect(t), dir, testOptions(t, "b"))
	caught(t, s, f)
	alike(t, f.Space(), s)
}

// As the log grows, the leader makes snapshots, and deletes old ones with the messages that only they
// need. A new follower finds all that it needs (JS4, JS5).
func TestLead_Snapshots(t *testing.T) {
	t.Parallel()
	js := startJetStream(t)
	s := newSpace(t)
	o := testOptions(t, "a")
	o.SnapshotBytes = 100 << 10
	l := mustLead(t, js.connect(t), s, o)
	nc := js.connect(t)
	await(t, "snapshots", func() bool {
		fill(t, s, 0, 50, 2000)
		time.Sleep(20 * time.Millisecond)
		return l.Status().Snapshots > 3
	})
	f := mustFollow(t, nc, filepath.Join(t.TempDir(), "b"), testOptions(t, "b"))
	caught(t, s, f)
	alike(t, f.Space(), s)
	list, err := f.store.objects.List(soon(t))
	spacetest.Must(t, err)
	if len(list) > 3 { // one more may be in the making
		t.Errorf("there are %d snapshots", len(list))
	}
	info, err := f.store.stream.Info(soon(t))
	spacetest.Must(t, err)
	if info.State.FirstSeq < 2 {
		t.Errorf("nothing of the log was deleted: %+v", info.State)
	}
}
