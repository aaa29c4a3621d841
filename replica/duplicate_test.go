package replica

import (
	"path/filepath"
	"strconv"
	"testing"

	"github.com/everheap/everheap/internal/spacetest"
	"github.com/nats-io/nats.go"
)

// The ID of a message is its last version. A server may acknowledge a lost or deleted message as a
// duplicate, and the leader is not misled (JS2).
func TestLog_MessageIDs(t *testing.T) {
	t.Parallel()
	js := startJetStream(t)
	nc := js.connect(t)
	s := newSpace(t)
	l := mustLead(t, nc, s, testOptions(t, "a"))
	f := mustFollow(t, nc, filepath.Join(t.TempDir(), "b"), testOptions(t, "b"))
	fill(t, s, 0, 10, 10)
	caught(t, s, f)
	raw, err := f.store.stream.GetLastMsgForSubject(soon(t), f.store.subject)
	spacetest.Must(t, err)
	if id, want := raw.Header.Get(nats.MsgIdHdr), strconv.FormatUint(f.Status().Version, 10); id != want {
		t.Errorf("the last message has the ID %q, want %q", id, want)
	}
	// This server remembers IDs for a long time: it acknowledges the first lost version, and does not
	// store it.
	cfg := f.store.stream.CachedInfo().Config
	if cfg.Duplicates != remembered {
		t.Errorf("IDs are remembered for %v", cfg.Duplicates)
	}
	cfg.Duplicates = 3 * checkEvery
	_, err = f.store.js.UpdateStream(soon(t), cfg)
	spacetest.Must(t, err)
	fill(t, s, 10, 20, 10)
	caught(t, s, f)
	id := strconv.FormatUint(f.Status().Version, 10)
	lose(t, js, "s", 1)
	said, err := f.store.js.PublishMsg(soon(t), &nats.Msg{Subject: f.store.subject, Header: nats.Header{nats.MsgIdHdr: {id}}})
	spacetest.Must(t, err)
	if !said.Duplicate {
		t.Fatalf("the server stored a duplicate ID, so this test shows nothing: %+v", said)
	}
	await(t, "the leader sends again", func() bool { return l.Status().Resent > 0 })
	fill(t, s, 20, 30, 10)
	caught(t, s, f)
	g := mustFollow(t, nc, filepath.Join(t.TempDir(), "c"), testOptions(t, "c"))
	caught(t, s, g)
	alike(t, g.Space(), s)
}
