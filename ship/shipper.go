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

	at       everheap.Position // of the last frame in the directory, or of the snapshot
	time     time.Time
	segment  *os.File // that is appended to; nil: none
	size     int64    // of it
	since    int64    // bytes of frames since the newest snapshot
	snapshot file     // the newest one
	progress Progress

	confirmed time.Time
	dirty     everheap.Version // written and not confirmed; 0: none
}

// run goes on from what is in the directory until ctx ends.
func (s *shipper) run(ctx context.Context) (err error) {
	if s.subscription, err = s.space.Subscribe(SubscriptionName(s.dir.path), s.o.Retain); err != nil {
		return err
	}
	found, err := s.resume()
	if err != nil {
		return err
	}
	if !found {
		if err := s.takeSnapshot(); err != nil {
			return err
		}
	}
	s.tell(false)
	return s.follow(ctx)
}

// restart makes the directory go on with a snapshot: what lies between is not kept by the space.
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
	return s.takeSnapshot()
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

// resume finds where the directory ends, cuts off what is not whole (SH2), and reports whether
// there is something to go on from.
func (s *shipper) resume() (bool, error) {
	if err := s.dir.read(); err != nil {
		return false, err
	}
	for i := len(s.dir.snapshots) - 1; i >= 0; i-- {
		at, err := s.dir.positionOf(s.dir.snapshots[i])
		if errors.Is(err, everheap.ErrCorrupt) { // an older one leads on to as much
			continue
		}
		if err != nil {
			return false, err
		}
		s.snapshot, s.at, s.time, s.since = s.dir.snapshots[i], at, s.dir.snapshots[i].time, 0
		if err := s.toTheEnd(); err != nil {
			return false, err
		}
		return true, nil
	}
	return false, nil
}

// toTheEnd goes through the segments that follow the snapshot, and opens the last one.
func (s *shipper) toTheEnd() error {
	s.closeSegment()
	for {
		next, ok := s.dir.segmentAt(s.at)
		if !ok {
			return nil
		}
		end, last := int64(0), s.at
		_, err := scan(s.dir.join(next.name), func(f everheap.Frame, to int64) error {
			if f.Before() == last {
				last, s.time = f.Position(), f.Time()
			}
			end = to
			return nil
		})
		damage := (*Damage)(nil)
		if err != nil && !errors.As(err, &damage) {
			return err
		}
		s.since += end
		moved := last != s.at
		s.at = last
		if !moved || damage != nil {
			return s.openSegment(next.name, end)
		}
		if _, more := s.dir.segmentAt(s.at); !more {
			return s.openSegment(next.name, end)
		}
	}
}

// openSegment opens a segment to append to, at its end.
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
	s.segment, s.size = f, end
	return s.dir.syncNames()
}

func (s *shipper) closeSegment() {
	if s.segment != nil {
		s.segment.Close()
		s.segment = nil
	}
}

// close ends the Run: what was written is confirmed, and the subscription stays.
func (s *shipper) close() {
	_ = s.confirm(true)
	s.closeSegment()
}

// takeSnapshot writes a snapshot of the newest version, and goes on from there.
func (s *shipper) takeSnapshot() error {
	s.closeSegment()
	temporary := s.dir.join("snapshot" + newSuffix)
	f, err := os.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(temporary)
	err = s.space.Backup(f)
	if err == nil {
		err = f.Sync()
	}
	var at everheap.Position
	size := int64(0)
	if err == nil {
		if size, err = f.Seek(0, io.SeekEnd); err == nil {
			if _, err = f.Seek(0, io.SeekStart); err == nil {
				at, s.time, err = everheap.BackupPosition(f)
			}
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	name := snapshotName(at)
	if err := os.Rename(temporary, s.dir.join(name)); err != nil {
		return err
	}
	if err := s.dir.syncNames(); err != nil {
		return err
	}
	s.at, s.since = at, 0
	s.snapshot = file{name: name, version: at.Version, time: time.Now(), size: size}
	s.progress.Bytes += uint64(size)
	s.dirty = at.Version
	s.tell(true)
	return errors.Join(s.confirm(true), s.dir.prune(s.o.Keep))
}

// tell says how far it is.
func (s *shipper) tell(snapshot bool) {
	s.progress.Version, s.progress.Time, s.progress.Snapshot = s.at.Version, s.time, snapshot
	if s.o.Report != nil {
		s.o.Report(s.progress)
	}
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

// follow appends frames until ctx ends.
func (s *shipper) follow(all context.Context) error {
	ctx, cancel := context.WithCancel(all)
	defer cancel()
	frames := make(chan everheap.Frame, 1024)
	failed := make(chan error, 1)
	go func() {
		defer close(frames)
		for f, err := range s.space.ChangesSince(ctx, s.at.Version) {
			if err != nil {
				failed <- err
				return
			}
			select {
			case frames <- f:
			case <-ctx.Done():
				failed <- fmt.Errorf("%w: %w", everheap.ErrBusy, ctx.Err())
				return
			}
		}
	}()
	defer func() {
		cancel()
		for range frames { // until the reader has ended
		}
	}()
	tick := time.NewTicker(confirmEvery)
	defer tick.Stop()
	for s.o.Once == 0 || s.at.Version < s.o.Once {
		select {
		case f, ok := <-frames:
			if !ok {
				return <-failed
			}
			if err := s.take(f, frames); err != nil {
				return err
			}
		case <-tick.C:
			if err := s.confirm(false); err != nil {
				return err
			}
			if s.snapshotDue() {
				if err := s.takeSnapshot(); err != nil {
					return err
				}
				cancel()
				for range frames { // this reader ends before another one begins
				}
				return s.follow(all)
			}
		}
	}
	return nil
}

// snapshotDue reports whether it is time for another snapshot.
func (s *shipper) snapshotDue() bool {
	return s.since > max(s.snapshot.size, leastSnapshotBytes) || s.since > 0 && time.Since(s.snapshot.time) > s.o.SnapshotEvery
}

// take appends a frame, and whatever others are at hand, with one sync.
func (s *shipper) take(f everheap.Frame, more <-chan everheap.Frame) error {
	var batch []byte
	n := uint64(0)
	for {
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
			batch, n = nil, 0
			s.closeSegment()
			if err := s.openSegment(segmentName(s.at), 0); err != nil {
				return err
			}
		}
		batch = append(batch, f.Bytes()...)
		n++
		s.at, s.time = f.Position(), f.Time()
		if len(batch) < batchBytes {
			select {
			case next, ok := <-more:
				if ok {
					f = next
					continue
				}
			default:
			}
		}
		return s.write(batch, n)
	}
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
