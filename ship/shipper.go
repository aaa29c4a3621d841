package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/everheap/everheap"
)

// shipper is one Run.
type shipper struct {
	space        *everheap.Space
	dir          *directory
	o            Options
	subscription *everheap.Subscription

	at       everheap.Position // where the line of frames ends, or begins
	time     time.Time
	segment  *os.File // that is appended to; nil: the next frame begins one
	name     string   // of it
	size     int64    // of it
	since    int64    // bytes of frames since the newest snapshot, about
	snapshot file     // the newest one
	progress Progress

	making    *making // the snapshot that is being made; nil: none
	confirmed time.Time
	dirty     everheap.Version // written and not confirmed; 0: none
}

// run goes on from what is in the directory until ctx ends.
func (s *shipper) run(ctx context.Context) (err error) {
	if s.subscription, err = s.space.Subscribe(SubscriptionName(s.dir.path), s.o.Retain); err != nil {
		return err
	}
	found, err := s.resume(ctx)
	if err == nil && !found {
		err = s.begin(ctx)
	}
	if err != nil {
		return err
	}
	s.tell(false)
	return s.follow(ctx)
}

// restart begins another line with a snapshot: what lies between is not kept by the space.
func (s *shipper) restart(ctx context.Context) error {
	s.closeSegment()
	if s.subscription == nil || lost(s.subscription) {
		if err := s.drop(); err != nil {
			return err
		}
	}
	var err error
	if s.subscription, err = s.space.Subscribe(SubscriptionName(s.dir.path), s.o.Retain); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", everheap.ErrBusy, err)
	}
	return s.begin(ctx)
}

// lost reports whether a subscription has fallen too far behind.
func lost(u *everheap.Subscription) bool {
	_, err := u.Version()
	return errors.Is(err, everheap.ErrNotKept)
}

// drop drops the subscription, whose handle may not be there.
func (s *shipper) drop() error {
	err := s.space.DropSubscription(SubscriptionName(s.dir.path))
	if errors.Is(err, everheap.ErrNotFound) {
		return nil
	}
	return err
}

// closeSegment ends the segment: the next frame begins another one.
func (s *shipper) closeSegment() {
	if s.segment != nil {
		s.segment.Close()
		s.segment, s.name = nil, ""
	}
}

// close ends the Run: what was written is confirmed, and the subscription stays.
func (s *shipper) close() {
	_ = s.confirm(true)
	s.closeSegment()
}

// openSegment opens a segment to append to at an offset, and cuts off what is behind that.
func (s *shipper) openSegment(name string, end int64) error {
	f, err := os.OpenFile(s.dir.join(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err = f.Truncate(end); err == nil {
		_, err = f.Seek(end, io.SeekStart)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.segment, s.name, s.size = f, name, end
	return s.dir.syncNames()
}

// tell says how far it is.
func (s *shipper) tell(snapshot bool) {
	s.progress.Version, s.progress.Time, s.progress.Snapshot = s.at.Version, s.time, snapshot
	if s.o.Report != nil {
		s.o.Report(s.progress)
	}
	s.progress.Damage = nil
}

// confirm tells the space that it need not keep what is in the directory; now and then, since that
// takes two syncs.
func (s *shipper) confirm(now bool) error {
	if s.dirty == 0 || s.subscription == nil || !now && time.Since(s.confirmed) < confirmEvery {
		return nil
	}
	if err := s.subscription.Confirm(s.dirty); err != nil {
		return err
	}
	s.dirty, s.confirmed = 0, time.Now()
	return nil
}

// follow appends frames until ctx ends, and makes snapshots beside that.
func (s *shipper) follow(ctx context.Context) error {
	reading, quit := context.WithCancel(context.Background())
	frames, ended, since := newQueue(), make(chan struct{}), s.at.Version
	go func() {
		defer close(ended)
		frames.end(s.read(ctx, reading, frames, since))
	}()
	defer func() {
		quit()
		<-ended
		s.abandon()
	}()
	tick := time.NewTicker(confirmEvery)
	defer tick.Stop()
	for s.o.Once == 0 || s.at.Version < s.o.Once {
		s.startIfDue(ctx)
		select {
		case <-frames.more:
			list, err := frames.take()
			if err == nil {
				err = s.take(list)
			}
			if err != nil {
				return err
			}
		case m := <-s.making.made():
			if err := s.place(m); err != nil && ctx.Err() == nil {
				return err
			}
		case <-tick.C:
			if err := s.confirm(false); err != nil {
				return err
			}
		}
	}
	if s.startIfDue(ctx); s.making != nil { // who is called again and again gets snapshots as well
		return s.place(<-s.making.made())
	}
	return nil
}

// read puts what follows a version into a queue, and when ctx has ended what was durable then. It ends when reading
// has, and returns why.
func (s *shipper) read(ctx, reading context.Context, frames *queue, since everheap.Version) error {
	either, cancel := context.WithCancel(reading)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	last := everheap.Version(0) // when ctx has ended
	for f, err := range s.space.ChangesSince(either, since) {
		if err == nil && ctx.Err() != nil {
			if last == 0 {
				last = s.space.Stats().Durable
			}
			if f.Version() > last {
				err = fmt.Errorf("%w: %w", everheap.ErrBusy, ctx.Err())
			}
		}
		if err != nil {
			return err
		}
		if !frames.put(reading, f) {
			break
		}
	}
	return reading.Err()
}

// take appends frames, with one sync if they fit into the segment.
func (s *shipper) take(list []everheap.Frame) error {
	var batch []byte
	n := uint64(0)
	for _, f := range list {
		if f.Before() != s.at { // SH3
			if err := s.write(batch, n); err != nil {
				return err
			}
			return fmt.Errorf("%w: the space has gone on with another history after version %d", everheap.ErrNotKept, s.at.Version)
		}
		if s.segment == nil || s.size+int64(len(batch)) >= s.o.SegmentBytes {
			if err := s.write(batch, n); err != nil {
				return err
			}
			batch, n = batch[:0], 0
			s.closeSegment()
			if err := s.openSegment(s.dir.freeName(s.at), 0); err != nil {
				return err
			}
		}
		batch = append(batch, f.Bytes()...)
		n++
		s.at, s.time = f.Position(), f.Time()
	}
	return s.write(batch, n)
}

// write appends frames to the segment and syncs it (SH1).
func (s *shipper) write(batch []byte, n uint64) error {
	if len(batch) == 0 {
		return nil
	}
	if _, err := s.segment.Write(batch); err != nil {
		return err
	}
	if err := s.segment.Sync(); err != nil {
		return err
	}
	s.size += int64(len(batch))
	s.since += int64(len(batch))
	s.progress.Frames += n
	s.progress.Bytes += uint64(len(batch))
	s.dirty = s.at.Version
	s.tell(false)
	return s.confirm(false)
}
