package ship

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/everheap/everheap"
)

// made is a finished snapshot without its name.
type made struct {
	at   everheap.Position
	time time.Time // of the commit
	size int64
	err  error
}

// making is a snapshot that another goroutine makes while Run appends frames.
type making struct {
	cancel context.CancelFunc
	done   chan made
}

// made returns the channel that gets the snapshot, or nil if none is being made.
func (m *making) made() <-chan made {
	if m == nil {
		return nil
	}
	return m.done
}

// startIfDue begins to make a snapshot if one is due. The line of frames continues, in another
// segment (SH3).
func (s *shipper) startIfDue(ctx context.Context) {
	due := s.since > max(s.snapshot.size, leastSnapshotBytes) || s.since > 0 && time.Since(s.snapshot.time) > s.o.SnapshotEvery
	if s.making != nil || !due || ctx.Err() != nil {
		return
	}
	s.closeSegment()
	s.since = 0
	ctx, cancel := context.WithCancel(ctx)
	m := &making{cancel, make(chan made, 1)}
	s.making = m
	go func() { m.done <- s.make(ctx) }()
}

// abandon stops the making of a snapshot, if one is being made.
func (s *shipper) abandon() {
	if s.making != nil {
		s.making.cancel()
		<-s.making.done
		s.making = nil
		_ = os.Remove(s.temporary())
	}
}

func (s *shipper) temporary() string { return s.dir.join("snapshot" + newSuffix) }

// make writes a snapshot of the newest version, and syncs it.
func (s *shipper) make(ctx context.Context) (m made) {
	f, err := os.OpenFile(s.temporary(), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return made{err: err}
	}
	m.err = s.space.Backup(untilDone{ctx, f})
	if m.err == nil {
		m.err = f.Sync()
	}
	if m.err == nil {
		m.size, m.err = f.Seek(0, io.SeekEnd)
	}
	if m.err == nil {
		m.at, m.time, m.err = everheap.BackupPosition(io.NewSectionReader(f, 0, m.size))
	}
	if m.err = errors.Join(m.err, f.Close()); m.err != nil && ctx.Err() != nil {
		m.err = errors.Join(everheap.ErrBusy, m.err)
	}
	return m
}

// untilDone writes until a context ends.
type untilDone struct {
	ctx context.Context
	w   io.Writer
}

// Write implements io.Writer.
func (u untilDone) Write(b []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.w.Write(b)
}

// place gives a snapshot its name, and removes old files.
func (s *shipper) place(m made) error {
	if s.making != nil {
		s.making.cancel()
		s.making = nil
	}
	if m.err != nil {
		return errors.Join(m.err, os.Remove(s.temporary()))
	}
	name := snapshotName(m.at)
	if err := os.Rename(s.temporary(), s.dir.join(name)); err != nil {
		return err
	}
	if err := s.dir.syncNames(); err != nil {
		return err
	}
	s.snapshot = file{name: name, version: m.at.Version, time: time.Now(), size: m.size}
	s.progress.Bytes += uint64(m.size)
	if s.at.Version != 0 {
		s.tell(true)
	}
	return s.dir.prune(s.o.Keep, s.name)
}

// begin begins a line, with a snapshot of the newest version, and a segment for the frames after it.
func (s *shipper) begin(ctx context.Context) error {
	s.closeSegment()
	s.at = everheap.Position{}
	m := s.make(ctx)
	if err := s.place(m); err != nil {
		return err
	}
	s.at, s.time, s.since, s.dirty = m.at, m.time, 0, m.at.Version
	if d := s.progress.Damage; d != nil {
		d.Next = m.at.Version
	}
	if err := s.openSegment(s.dir.freeName(s.at), 0); err != nil {
		return err
	}
	s.tell(true)
	return s.confirm(true)
}
