package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// errMoved says that the log does not end where a message was to be appended (JS1).
var errMoved = errors.New("the log has another end")

// store is where copies meet: the log, the object store, and the words that they leave.
type store struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	name    string
	subject string
	stream  jetstream.Stream
	objects jetstream.ObjectStore
	words   jetstream.KeyValue
}

// names in JetStream.
func streamName(name string) string  { return "EVERHEAP_" + name }
func subjectName(name string) string { return "everheap." + name + ".log" }
func ackSubject(name string) string  { return "everheap." + name + ".ack" }
func askSubject(name string) string  { return "everheap." + name + ".snapshot" }
func promoteSubject(name, copy string) string {
	return "everheap." + name + ".promote." + copy
}

// window is how many messages may be on their way at once.
const window = 64

// remembered is for how long servers know the IDs of messages: as short as they allow (JS2).
const remembered = 100 * time.Millisecond

// answerAtMost is how long a call waits for the answer of a server (JS11).
const answerAtMost = 5 * time.Second

// undated returns a context that ends when ctx does, or is cancelled, but has no deadline: what is
// called with it waits for no answer longer than answerAtMost (JS11).
func undated(ctx context.Context) (context.Context, context.CancelFunc) {
	inner, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	return inner, func() { stop(); cancel(context.Canceled) }
}

// openStore opens what is in JetStream of a space, and creates it if it may.
func openStore(ctx context.Context, nc *nats.Conn, o Options, create bool) (*store, error) {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4*window), jetstream.WithPublishAsyncTimeout(10*time.Second), jetstream.WithDefaultTimeout(answerAtMost))
	if err != nil {
		return nil, err
	}
	s := &store{nc: nc, js: js, name: o.Stream, subject: subjectName(o.Stream)}
	err = s.open(ctx)
	if missing(err) && create {
		if err = s.create(ctx, o); err == nil {
			err = s.open(ctx)
		}
	}
	if missing(err) {
		return nil, fmt.Errorf("replica: JetStream has nothing of %s; start its leader first: %w", o.Stream, err)
	}
	return s, err
}

// missing reports whether something is not there in JetStream.
func missing(err error) bool {
	return errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrBucketNotFound)
}

// open finds what is there.
func (s *store) open(ctx context.Context) (err error) {
	if s.stream, err = s.js.Stream(ctx, streamName(s.name)); err != nil {
		return err
	}
	if s.objects, err = s.js.ObjectStore(ctx, streamName(s.name)); err != nil {
		return err
	}
	s.words, err = s.js.KeyValue(ctx, streamName(s.name))
	return err
}

// create creates what is not there. What was opened before means it then: it is found by name.
func (s *store) create(ctx context.Context, o Options) error {
	_, err := s.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: streamName(s.name), Subjects: []string{s.subject}, Replicas: o.Replicas,
		Description: "changes of the Everheap space " + s.name,
		Storage:     jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
		Duplicates:  remembered,
		AllowDirect: false, // reads come from the server that appends
	})
	if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return err
	}
	_, err = s.js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{
		Bucket: streamName(s.name), Replicas: o.Replicas, Description: "snapshots of the Everheap space " + s.name})
	if err != nil && !errors.Is(err, jetstream.ErrBucketExists) {
		return err
	}
	_, err = s.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: streamName(s.name), Replicas: o.Replicas, Description: "who leads and follows the Everheap space " + s.name})
	if errors.Is(err, jetstream.ErrBucketExists) {
		err = nil
	}
	return err
}

// last returns the last message of the log; nil: it is empty. end is the sequence that the next
// message has to expect.
func (s *store) last(ctx context.Context) (m *message, end uint64, err error) {
	for {
		info, err := s.stream.Info(ctx)
		if err != nil {
			return nil, 0, err
		}
		end = info.State.LastSeq
		if info.State.Msgs == 0 {
			return nil, end, nil
		}
		raw, err := s.stream.GetLastMsgForSubject(ctx, s.subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, end, nil
		}
		if err != nil {
			return nil, 0, err
		}
		if raw.Sequence < end { // the last ones were deleted, and their numbers stay
			next, err := s.at(ctx, raw.Sequence+1)
			if err != nil {
				return nil, 0, err
			}
			if next != nil { // more came meanwhile
				continue
			}
		}
		d, err := decode(raw.Sequence, raw.Header, raw.Data)
		return &d, max(end, d.seq), err
	}
}

// at returns the first message of the log from a sequence on; nil: there is none.
func (s *store) at(ctx context.Context, seq uint64) (*message, error) {
	raw, err := s.stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(s.subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := decode(raw.Sequence, raw.Header, raw.Data)
	return &m, err
}

// find returns the first message from a sequence on, up to the last one, for which ok holds, which
// holds for all after one for which it does; nil: there is none.
func (s *store) find(ctx context.Context, from, last uint64, ok func(*message) bool) (found *message, err error) {
	for from <= last {
		mid := from + (last-from)/2
		m, err := s.at(ctx, mid)
		if err != nil {
			return nil, err
		}
		switch {
		case m == nil || m.seq > last: // nothing is left from mid on
			if mid == from {
				return found, nil
			}
			last = mid - 1
		case ok(m):
			found = m
			if mid == from {
				return found, nil
			}
			last = mid - 1
		default:
			from = m.seq + 1
		}
	}
	return found, nil
}

// version returns the first message with a version in it or behind it, of those that follow the
// newest base; nil: there is none.
func (s *store) version(ctx context.Context, last *message, v uint64) (*message, error) {
	return s.find(ctx, max(last.note.Base, 1), last.seq, func(m *message) bool { return m.note.Version >= v })
}

// append publishes one message behind the last one, and waits for it. errMoved: the log has another
// end, and nothing was stored.
func (s *store) append(ctx context.Context, m *message, end uint64) error {
	m.seq = end + 1
	ack, err := s.js.PublishMsg(ctx, m.encode(s.subject), jetstream.WithExpectLastSequence(end), jetstream.WithExpectStream(streamName(s.name)))
	return placed(ack, err, end+1)
}

// send is append without the waiting.
func (s *store) send(m *message, end uint64) (jetstream.PubAckFuture, error) {
	m.seq = end + 1
	return s.js.PublishMsgAsync(m.encode(s.subject), jetstream.WithExpectLastSequence(end), jetstream.WithExpectStream(streamName(s.name)), jetstream.WithRetryAttempts(0))
}

// placed returns the error of a message that was to get a sequence.
func placed(ack *jetstream.PubAck, err error, seq uint64) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
		return errMoved
	}
	if err == nil && (ack.Sequence != seq || ack.Duplicate) {
		return fmt.Errorf("%w: message %d was acknowledged as %d", errMoved, seq, ack.Sequence)
	}
	return err
}
