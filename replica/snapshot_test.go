package replica

import (
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap/internal/spacetest"
	"github.com/nats-io/nats.go/jetstream"
)

// damages has the kinds of damage to a snapshot in the object store.
var damages = map[string]func(t *testing.T, s *store, m *message){
	"a chunk is lost": func(t *testing.T, s *store, m *message) {
		info, err := s.objects.GetInfo(soon(t), m.note.Object)
		spacetest.Must(t, err)
		st, err := s.js.Stream(soon(t), "OBJ_"+info.Bucket)
		spacetest.Must(t, err)
		last, err := st.GetLastMsgForSubject(soon(t), "$O."+info.Bucket+".C."+info.NUID)
		spacetest.Must(t, err)
		spacetest.Must(t, st.DeleteMsg(soon(t), last.Sequence))
	},
	"all chunks are lost": func(t *testing.T, s *store, m *message) {
		info, err := s.objects.GetInfo(soon(t), m.note.Object)
		spacetest.Must(t, err)
		st, err := s.js.Stream(soon(t), "OBJ_"+info.Bucket)
		spacetest.Must(t, err)
		spacetest.Must(t, st.Purge(soon(t), jetstream.WithPurgeSubject("$O."+info.Bucket+".C."+info.NUID)))
	},
	"a bit is another one": func(t *testing.T, s *store, m *message) {
		object, err := s.objects.Get(soon(t), m.note.Object) // the client library can read the object, too
		spacetest.Must(t, err)
		b, err := io.ReadAll(object)
		spacetest.Must(t, err)
		b[len(b)/2] ^= 4
		spacetest.Must(t, s.put(soon(t), m.note.Object, "", bytes.NewReader(b)))
	},
	"it is gone": func(t *testing.T, s *store, m *message) {
		spacetest.Must(t, s.objects.Delete(soon(t), m.note.Object))
	},
}

// A follower reports a damaged snapshot and takes the one before. If there is none, it asks the
// leader for a new snapshot, and waits for it (JS6).
func TestFollow_DamagedSnapshot(t *testing.T) {
	t.Parallel()
	for name, damage := range damages {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			js := startJetStream(t)
			s := newSpace(t)
			o := testOptions(t, "a")
			o.SnapshotBytes = 400 << 10
			l := mustLead(t, js.connect(t), s, o)
			await(t, "a snapshot", func() bool {
				fill(t, s, 0, 50, 6000)
				time.Sleep(10 * time.Millisecond)
				return l.Status().Snapshots > 1
			})
			spacetest.Must(t, l.Stop())
			st, err := openStore(soon(t), js.connect(t), o, false)
			spacetest.Must(t, err)
			newest, err := st.newestMark(soon(t))
			spacetest.Must(t, err)
			before, err := st.markBefore(soon(t), newest)
			spacetest.Must(t, err)
			damage(t, st, newest)
			f := mustFollow(t, js.connect(t), filepath.Join(t.TempDir(), "b"), testOptions(t, "b"))
			await(t, "the follower has what the log has", func() bool { return f.Status().Durable >= newest.note.Version })
			spacetest.Must(t, f.Stop())
			if !f.damaged[newest.seq] || f.restart != before.note.Of {
				t.Errorf("it began with version %d, and found damaged: %v", f.restart, f.damaged)
			}
			// All snapshots are damaged.
			damage(t, st, before)
			g := mustFollow(t, js.connect(t), filepath.Join(t.TempDir(), "c"), testOptions(t, "c"))
			await(t, "the follower says so", func() bool {
				problem := g.Status().Problem
				return strings.Contains(problem, "damaged") && strings.Contains(problem, "waits for a newer snapshot")
			})
			mustLead(t, js.connect(t), s, o)
			caught(t, s, g)
			alike(t, g.Space(), s)
			if g.Status().Problem != "" {
				t.Errorf("it is there, and has the problem %q", g.Status().Problem)
			}
		})
	}
}
