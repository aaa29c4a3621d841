package replica

import (
	"context"
	"fmt"
	"time"

	"github.com/everheap/everheap"
	"github.com/nats-io/nats.go/jetstream"
)

// flying is a message that is sent but not acknowledged yet.
type flying struct {
	message
	future jetstream.PubAckFuture
}

const (
	checkEvery  = 2 * time.Second  // interval for verifying the end of the log
	quietAtMost = 15 * time.Second // maximum time without an acknowledgement
)

// pump appends frames at the end of the log, many messages at a time, until an error. It returns
// errMoved if the log has another end than expected.
func (l *Leader) pump(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	frames, failed := l.source(ctx)
	l.packer.open, l.tip = message{}, l.whole
	var air []flying
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		var first <-chan *jetstream.PubAck
		var bad <-chan error
		in, snaps := frames, l.snapshots
		if len(air) > 0 {
			first, bad = air[0].future.Ok(), air[0].future.Err()
			snaps = nil // send a mark only when all messages before it are acknowledged (JS4)
		}
		if len(air) >= window || l.waiting() {
			in = nil
		}
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err = <-failed:
			return err
		case f := <-in:
			air, err = l.fly(air, frames, f)
		case a := <-first:
			err = l.landed(&air[0].message, a)
			air = air[1:]
		case err = <-bad:
			err = placed(nil, err, 0)
		case s := <-snaps:
			l.making = false
			err = l.announce(ctx, s)
		case mark := <-l.wanted:
			if l.mark <= mark {
				l.snap(ctx)
			}
		case <-tick.C:
			err = l.check(ctx, len(air) == 0)
		}
		if err != nil {
			return err
		}
	}
}

// waiting reports whether a finished snapshot waits to be announced. Then the leader sends no more
// frames until it is announced.
func (l *Leader) waiting() bool { return len(l.snapshots) > 0 }

// source yields the frames after the newest version in the log.
func (l *Leader) source(ctx context.Context) (<-chan everheap.Frame, <-chan error) {
	frames, failed := make(chan everheap.Frame, 1024), make(chan error, 1)
	from := l.whole.version
	go func() {
		for f, err := range l.space.ChangesSince(ctx, everheap.Version(from)) {
			if err != nil {
				failed <- err
				return
			}
			select {
			case frames <- f:
			case <-ctx.Done():
				return
			}
		}
	}()
	return frames, failed
}

// pack adds a frame to the messages to send, if it follows the newest version in the log.
func (l *Leader) pack(f everheap.Frame) ([]message, error) {
	if v := uint64(f.Version()); v != l.tip.version+1 || beforeOf(f) != l.tip.chain {
		return nil, fmt.Errorf("%w: version %d of the space does not follow version %d there", errMoved, v, l.tip.version)
	}
	l.tip = point2{uint64(f.Version()), chainOf(f)}
	return l.packer.add(f), nil
}

// fly sends a frame, together with all frames that are available.
func (l *Leader) fly(air []flying, frames <-chan everheap.Frame, f everheap.Frame) ([]flying, error) {
	full, err := l.pack(f)
	for err == nil && len(full) == 0 {
		select {
		case f := <-frames:
			full, err = l.pack(f)
		default:
			full = l.packer.flush()
		}
	}
	if err != nil {
		return air, err
	}
	if len(frames) == 0 {
		full = append(full, l.packer.flush()...)
	}
	for i := range full {
		m := full[i]
		l.complete(&m)
		l.known.put(m.note.Version, m.note.Chain)
		future, err := l.store.send(&m, l.end)
		if err != nil {
			return air, err
		}
		l.end++
		air = append(air, flying{m, future})
	}
	return air, nil
}

// landed notes that a message is in the log.
func (l *Leader) landed(m *message, a *jetstream.PubAck) error {
	if err := placed(a, nil, m.seq); err != nil {
		return err
	}
	l.has(m.whole())
	l.marked += int64(len(m.data))
	if l.marked >= max(l.o.SnapshotBytes, l.largest) {
		l.want(anyMark)
	}
	return nil
}

// snap makes a snapshot in the background.
func (l *Leader) snap(ctx context.Context) {
	if l.making || l.waiting() {
		return
	}
	l.making = true
	l.marked = 0
	go func() {
		s, err := l.store.makeSnapshot(ctx, l.space, l.memory.dir, l.memory.Token)
		l.snapshots <- made{s, err}
	}()
}

// announce marks a snapshot in the log if the log has its version, or waits for that.
func (l *Leader) announce(ctx context.Context, s made) error {
	if s.err != nil {
		l.o.Log.Warn("no snapshot could be made", "error", s.err)
		return nil
	}
	if s.version > l.whole.version {
		l.making = true
		time.AfterFunc(10*time.Millisecond, func() { l.snapshots <- s })
		return nil
	}
	last, _, err := l.store.last(ctx)
	if err != nil {
		return err
	}
	if last == nil || last.seq != l.end {
		return errMoved
	}
	from := l.end + 1
	m, err := l.store.version(ctx, last, s.version)
	if err != nil {
		return err
	}
	if m != nil && m.note.Kind == kindBase && s.version < m.note.Version {
		return nil // the log has begun again meanwhile
	}
	if m != nil {
		from = m.seq
	}
	n := note{Kind: kindSnapshot, Version: l.whole.version, Chain: l.whole.chain, Object: s.object, Of: s.version, OfChain: s.chain, Size: s.size, From: from}
	if err := l.publish(ctx, &message{note: n}); err != nil {
		return err
	}
	l.tell(func(s *Status) { s.Snapshots++ })
	l.o.Log.Info("made a snapshot", "version", s.version, "bytes", s.size)
	return l.store.prune(ctx, l.o.Snapshots)
}

// check runs at intervals: it confirms frames, and verifies that JetStream still has the messages
// that it has acknowledged.
func (l *Leader) check(ctx context.Context, quiet bool) error {
	if l.whole.version > 0 {
		if err := l.keeper.safe(l.whole.version, l.space); err != nil {
			return err
		}
	}
	if !quiet {
		return nil
	}
	last, end, err := l.store.last(ctx)
	if err != nil {
		return err
	}
	if last == nil || end != l.end || last.note.Token != l.memory.Token {
		return fmt.Errorf("%w: message %d is the last one, not %d", errMoved, end, l.end)
	}
	if v, _ := last.whole(); v != l.whole.version {
		return fmt.Errorf("%w: it ends with version %d, not %d", errMoved, v, l.whole.version)
	}
	return nil
}
