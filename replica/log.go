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

// store has what the copies share in JetStream: the log, the object store, and the key-value store
// with their reports.
type store struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	name    string
	subject string
	stream  jetstream.Stream
	objects jetstream.ObjectStore
	words   jetstream.KeyValue
}

// Names in JetStream.
func streamName(name string) string  { return "EVERHEAP_" + name }
func subjectName(name string) string { return "everheap." + name + ".log" }
func ackSubject(name string) string  { return "everheap." + name + ".ack" }
func askSubject(name string) string  { return "everheap." + name + ".snapshot" }
func promoteSubject(name, copy string) string {
	return "everheap." + name + ".promote." + copy
}

// window is the maximum number of messages without an acknowledgement.
const window = 64

// remembered is how long servers remember the IDs of messages: the shortest time that they allow
// (JS2).
const remembered = 100 * time.Millisecond

// answerAtMost is the maximum wait of a call for the answer of a server (JS11).
const answerAtMost = 5 * time.Second

// undated returns a context that ends with ctx, or when it is cancelled, but has no deadline. Without
// a deadline, each call waits at most answerAtMost for its answer (JS11).
func undated(ctx context.Context) (context.Context, context.CancelFunc) {
	inner, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	return inner, func() { stop(); cancel(context.Canceled) }
}

// openStore opens the store of a space, and creates it if create is set.
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

// missing reports whether an error says that an object does not exist in JetStream.
func missing(err error) bool {
	return errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrBucketNotFound)
}

// open opens an existing store.
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

// create creates the missing parts of the store.
func (s *store) create(ctx context.Context, o Options) error {
	_, err := s.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: streamName(s.name), Subjects: []string{s.subject}, Replicas: o.Replicas,
		Description: "changes of the Everheap space " + s.name,
		Storage:     jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
		Duplicates:  remembered,
		AllowDirect: false, // so that reads come from the server that appends
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

// last returns the last message of the log, or nil if the log is empty. end is the sequence that the
// next message must expect.
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
		if raw.Sequence < end { // the last messages were deleted, but their numbers remain used
			next, err := s.at(ctx, raw.Sequence+1)
			if err != nil {
				return nil, 0, err
			}
			if next != nil { // more messages came meanwhile
				continue
			}
		}
		d, err := decode(raw.Sequence, raw.Header, raw.Data)
		return &d, max(end, d.seq), err
	}
}

// at returns the first message of the log from a sequence on, or nil.
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

// find returns the first message in a range of sequences for which ok is true, or nil. If ok is true
// for a message, it must be true for all later ones.
func (s *store) find(ctx context.Context, from, last uint64, ok func(*message) bool) (found *message, err error) {
	for from <= last {
		mid := from + (last-from)/2
		m, err := s.at(ctx, mid)
		if err != nil {
			return nil, err
		}
		switch {
		case m == nil || m.seq > last: // no messages from mid on
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

// version returns the first message after the newest base that reaches a version, or nil.
func (s *store) version(ctx context.Context, last *message, v uint64) (*message, error) {
	return s.find(ctx, max(last.note.Base, 1), last.seq, func(m *message) bool { return m.note.Version >= v })
}

// append publishes one message at the end of the log, and waits for the acknowledgement. The error
// errMoved says that the log has another end, and that the message was not stored.
func (s *store) append(ctx context.Context, m *message, end uint64) error {
	m.seq = end + 1
	ack, err := s.js.PublishMsg(ctx, m.encode(s.subject), jetstream.WithExpectLastSequence(end), jetstream.WithExpectStream(streamName(s.name)))
	return placed(ack, err, end+1)
}

// send is append without the wait.
func (s *store) send(m *message, end uint64) (jetstream.PubAckFuture, error) {
	m.seq = end + 1
	return s.js.PublishMsgAsync(m.encode(s.subject), jetstream.WithExpectLastSequence(end), jetstream.WithExpectStream(streamName(s.name)), jetstream.WithRetryAttempts(0))
}

// placed returns an error unless a message got its expected sequence.
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
