package replica

import (
	"path/filepath"
	"testing"

	"github.com/everheap/everheap/internal/spacetest"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A server says of a message that it has lost that it is there, if it had an ID: so messages have
// none (JS2).
func TestLog_NoMessageIDs(t *testing.T) {
	t.Parallel()
	js := startJetStream(t)
	nc := js.connect(t)
	s := newSpace(t)
	mustLead(t, nc, s, testOptions(t, "a"))
	f := mustFollow(t, nc, filepath.Join(t.TempDir(), "b"), testOptions(t, "b"))
	fill(t, s, 0, 10, 10)
	caught(t, s, f)
	raw, err := f.store.stream.GetLastMsgForSubject(soon(t), f.store.subject)
	spacetest.Must(t, err)
	if id := raw.Header.Get(nats.MsgIdHdr); id != "" {
		t.Errorf("a message has the ID %s", id)
	}
	// What a server does with IDs: if this fails, it does better now.
	st, err := f.store.js.CreateStream(soon(t), jetstream.StreamConfig{Name: "ids", Subjects: []string{"ids"}})
	spacetest.Must(t, err)
	first, err := f.store.js.Publish(soon(t), "ids", []byte("one"), jetstream.WithMsgID("1"))
	spacetest.Must(t, err)
	spacetest.Must(t, st.DeleteMsg(soon(t), first.Sequence))
	second, err := f.store.js.Publish(soon(t), "ids", []byte("one"), jetstream.WithMsgID("1"))
	spacetest.Must(t, err)
	info, err := st.Info(soon(t))
	spacetest.Must(t, err)
	if !second.Duplicate || info.State.Msgs != 0 {
		t.Errorf("the second message of the ID: %+v, and the stream has %d messages", second, info.State.Msgs)
	}
}
