package replica

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/everheap/everheap"
)

// Tail is the versions that a copy had committed and the log lacked when another copy began to lead.
type Tail struct {
	File          string // its frames, one after the other; "" if there are none
	First, Last   uint64 // versions
	From, Until   time.Time
	Bytes         int64
	WithoutBefore bool // frames before First were not kept, and may belong to the tail
	WithoutAfter  bool // the space has versions after Last whose frames cannot be had
}

// whole reports whether the tail has all that the log lacks.
func (t *Tail) whole() bool { return !t.WithoutBefore && !t.WithoutAfter }

// standDown ends the leading of this copy, since another copy has taken over (JS10).
func (l *Leader) standDown(ctx context.Context) error {
	_, err := standDown(ctx, l.store, l.space, l.memory, l.o)
	return err
}

// standDown makes the space a replica, and keeps its tail in a file. Then the copy forgets that it
// has led.
func standDown(ctx context.Context, s *store, space *everheap.Space, m *memory, o Options) (t Tail, err error) {
	last, _, err := s.last(ctx)
	if err != nil {
		return t, err
	}
	lead := "unknown"
	if last != nil {
		lead = last.note.Lead
	}
	if m.Token == "" { // the space has not led, or is a replica already
		return t, nil
	}
	if _, err := space.AsReplica(leadText(lead)); err != nil {
		return t, err
	}
	if err := space.Sync(ctx); err != nil {
		return t, err
	}
	fork, err := forkOf(ctx, s, last, m.Term)
	if err != nil {
		return t, err
	}
	if t, err = keepTail(ctx, space, m.dir, fork); err != nil {
		return t, fmt.Errorf("replica: the tail of %s could not be kept: %w", o.Copy, err)
	}
	switch {
	case t.File == "" && t.whole():
		o.Log.Info("another copy leads, and has everything of this one", "leads", lead, "version", fork)
	case t.File == "":
		o.Log.Warn("another copy leads, and lacks changes of this one, of which no frames are kept; the space is put aside, and has them", "leads", lead)
	default:
		o.Log.Warn("another copy leads, and lacks changes of this one, which are kept in a file; see everheap log",
			"leads", lead, "file", t.File, "first", t.First, "last", t.Last, "from", t.From, "until", t.Until, "bytes", t.Bytes, "incomplete", !t.whole())
	}
	return t, m.set(state{Term: m.Term})
}

// forkOf returns the last version that a term has in common with the log: the version at the claim of
// the next term; 0 if unknown.
func forkOf(ctx context.Context, s *store, last *message, term uint64) (uint64, error) {
	if last == nil {
		return 0, nil
	}
	m, err := s.find(ctx, 1, last.seq, func(m *message) bool { return m.note.Term > term })
	if err != nil || m == nil || m.note.Kind != kindClaim {
		return 0, err
	}
	return m.note.Version, nil
}

// keepTail writes the frames after a version to a file.
func keepTail(ctx context.Context, space *everheap.Space, dir string, fork uint64) (t Tail, err error) {
	newest, err := newestOf(space)
	if err != nil || fork >= newest {
		return t, err
	}
	from := max(fork, 1)
	if fork == 0 || !kept(ctx, space, from) {
		t.WithoutBefore = true
		if from, err = oldestKept(space, newest); err != nil || from >= newest {
			return t, err
		}
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return t, err
	}
	defer os.Remove(f.Name()) // it has another name then, unless something failed
	for c, err := range space.ChangesSince(ctx, everheap.Version(from)) {
		if errors.Is(err, everheap.ErrNotKept) { // a disk may have been full: keep the frames that exist
			t.WithoutAfter = true
			break
		}
		if err == nil {
			_, err = f.Write(c.Bytes())
		}
		if err != nil {
			f.Close()
			return t, err
		}
		if t.First == 0 {
			t.First, t.From = uint64(c.Version()), c.Time()
		}
		t.Last, t.Until = uint64(c.Version()), c.Time()
		t.Bytes += int64(len(c.Bytes()))
		if t.Last >= newest {
			break
		}
	}
	if t.First == 0 {
		return t, f.Close()
	}
	t.File = filepath.Join(dir, fmt.Sprintf("tail-%s-%d-%d.frames", t.Until.UTC().Format("20060102T150405"), t.First, t.Last))
	return t, place(f, t.File)
}

// kept reports whether the space still has the frames after a version.
func kept(ctx context.Context, space *everheap.Space, v uint64) bool {
	_, err := frameAfter(ctx, space, v)
	return err == nil
}

// oldestKept returns the oldest known version after which the space still has the frames.
func oldestKept(space *everheap.Space, newest uint64) (uint64, error) {
	list, err := space.Subscriptions()
	if err != nil {
		return 0, err
	}
	for _, s := range list {
		if !s.Lost {
			newest = min(newest, uint64(s.Version))
		}
	}
	return newest, nil
}

// ReadFrames calls fn with each frame of a file of frames, such as a tail. The error is
// everheap.ErrCorrupt if the file is damaged.
func ReadFrames(file string, fn func(f everheap.Frame) error) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for len(b) > 0 {
		one, rest, err := splitFrame(b)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		f, err := everheap.ParseFrame(one)
		if err == nil {
			err = fn(f)
		}
		if err != nil {
			return err
		}
		b = rest
	}
	return nil
}
