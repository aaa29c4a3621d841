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

// shipper is one call of Run.
type shipper struct {
	space        *everheap.Space
	dir          *directory
	o            Options
	subscription *everheap.Subscription

	at       everheap.Position // the end of the line of frames
	time     time.Time
	segment  *os.File // the open segment; nil: the next frame begins one
	name     string   // of the segment
	size     int64    // of the segment
	since    int64    // approximate bytes of frames since the newest snapshot
	snapshot file     // the newest snapshot
	progress Progress

	making    *making // the snapshot in the making; nil: none
	confirmed time.Time
	dirty     everheap.Version // written and not confirmed; 0: none
}

// run continues from the files in the directory until ctx ends.
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

// restart begins another line with a snapshot: the space does not keep the versions in between.
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

// drop drops the subscription. s may have no handle of it.
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

// close ends Run: it confirms the written versions, and keeps the subscription.
func (s *shipper) close() {
	_ = s.confirm(true)
	s.closeSegment()
}

// openSegment opens a segment for appending at an offset, and cuts off the bytes after it.
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

// tell calls Report.
func (s *shipper) tell(snapshot bool) {
	s.progress.Version, s.progress.Time, s.progress.Snapshot = s.at.Version, s.time, snapshot
	if s.o.Report != nil {
		s.o.Report(s.progress)
	}
	s.progress.Damage = nil
}

// confirm tells the space that it need not keep the versions in the directory. It does so at
// intervals, since that takes two syncs.
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

// follow appends frames until ctx ends, and makes snapshots at the same time.
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
				err = s.appendFrames(list)
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
	if s.startIfDue(ctx); s.making != nil { // so that many short Runs also make snapshots
		return s.place(<-s.making.made())
	}
	return nil
}

// read puts the frames after a version into a queue. When ctx ends, it continues up to the version
// that is durable then. It also ends with reading. It returns the reason.
func (s *shipper) read(ctx, reading context.Context, frames *queue, since everheap.Version) error {
	either, cancel := context.WithCancel(reading)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	last := everheap.Version(0) // set when ctx has ended
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

// appendFrames appends frames, with one sync if they fit into the segment.
func (s *shipper) appendFrames(list []everheap.Frame) error {
	var batch []byte
	n := uint64(0)
	for _, f := range list {
		if f.Before() != s.at { // SH3
			if err := s.write(batch, n); err != nil {
				return err
			}
			return fmt.Errorf("%w: the space has another history after version %d", everheap.ErrNotKept, s.at.Version)
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
