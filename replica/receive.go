package replica

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// follow applies the log from the version of the space on. The error errSeek says that a message is
// missing or damaged.
func (f *Follower) follow(ctx context.Context) error {
	if f.stale {
		return fmt.Errorf("%w: the space has changes that the log has not", errRebuild)
	}
	if f.replica == nil {
		return fmt.Errorf("%w: there is no space yet", errRebuild)
	}
	from, err := f.seek(ctx)
	if err != nil {
		return err
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	messages, err := f.messages(inner, from)
	if err != nil {
		return err
	}
	f.open = parts2{}
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for next, quiet := from, false; ; {
		var g got
		select {
		case <-ctx.Done():
			return ctx.Err()
		case g = <-messages:
		case <-tick.C:
			if quiet {
				if err := f.idle(ctx, next); err != nil {
					return err
				}
			}
			quiet = true
			continue
		}
		if g.err != nil {
			return g.err
		}
		quiet, next = false, g.seq+1
		if err := f.deliver(ctx, g.message); err != nil {
			return err
		}
	}
}

// got is a received message, or the error that ends the receiving.
type got struct {
	message
	err error
}

// messages yields the messages of the log from a sequence on, until the context ends. The client
// library may wait without limit when a server has changed. So the receiving has a goroutine of its
// own, and the follower itself finds out whether messages are missing (Follower.idle).
func (f *Follower) messages(ctx context.Context, from uint64) (<-chan got, error) {
	short, cancel := context.WithTimeout(ctx, quietAtMost)
	defer cancel()
	consumer, err := f.store.stream.OrderedConsumer(short, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from, MaxResetAttempts: 1})
	if err != nil {
		return nil, err
	}
	iterator, err := consumer.Messages(jetstream.PullMaxMessages(128))
	if err != nil {
		return nil, err
	}
	all := make(chan got)
	go func() {
		defer iterator.Stop()
		for {
			var g got
			raw, err := iterator.Next(jetstream.NextContext(ctx))
			if err == nil {
				g, err = read(raw)
			}
			g.err = err
			select {
			case all <- g:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return all, nil
}

// read decodes a message of a consumer.
func read(raw jetstream.Msg) (g got, err error) {
	meta, err := raw.Metadata()
	if err != nil {
		return g, err
	}
	g.message, err = decode(meta.Sequence.Stream, raw.Headers(), raw.Data())
	return g, err
}

// deliver handles a message; tests lose, repeat and damage messages here.
func (f *Follower) deliver(ctx context.Context, m message) error {
	f.hold.Lock()
	defer f.hold.Unlock()
	switch {
	case f.claimed:
		return fmt.Errorf("%w: it is this copy now", ErrLeads)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	if f.o.deliver == nil {
		return f.handle(ctx, m)
	}
	for _, m := range f.o.deliver(m) {
		if err := f.handle(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// idle returns an error if no message came although the log has more.
func (f *Follower) idle(ctx context.Context, next uint64) error {
	applied := f.applied()
	if f.hold.Lock(); f.claimed {
		f.hold.Unlock()
		return fmt.Errorf("%w: it is this copy now", ErrLeads)
	}
	f.hold.Unlock()
	last, _, err := f.store.last(ctx)
	if err != nil || last == nil {
		return err
	}
	if v, _ := last.whole(); last.seq < next-1 && v >= applied.version || v > applied.version {
		again, _, err := f.store.last(ctx)
		if err == nil && again != nil && again.seq == last.seq && f.applied() == applied {
			return fmt.Errorf("%w: the log ends with message %d and version %d, and no message from %d on came", errSeek, last.seq, v, next)
		}
	}
	f.tell(func(s *Status) { s.Problem = "" })
	return nil
}

// seek returns the sequence of the message with the version of the space, or with the frame after it.
func (f *Follower) seek(ctx context.Context) (uint64, error) {
	last, end, err := f.store.last(ctx)
	if err != nil {
		return 0, err
	}
	at := f.applied().version
	if last == nil {
		return end + 1, nil
	}
	// JetStream may have lost messages, which the leader will send again; or this is another history.
	if v, _ := last.whole(); v < at {
		f.compare = true
		return last.seq, nil
	}
	m, err := f.store.version(ctx, last, at)
	if err != nil {
		return 0, err
	}
	if m == nil {
		return end + 1, nil
	}
	switch {
	case m.note.Kind == kindBase && m.note.Version > at:
		return 0, fmt.Errorf("%w: the log has version %d and later ones, and the space has version %d", errRebuild, m.note.Version, at)
	case m.note.First > at+1:
		return 0, fmt.Errorf("%w: the log has version %d and later ones, and the space has version %d", errRebuild, m.note.First, at)
	}
	return m.seq, nil
}
