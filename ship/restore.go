package ship

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/everheap/everheap"
)

// At says which version is to be restored: the last one that is not newer than what is set. The zero At
// is the newest version.
type At struct {
	Version everheap.Version
	Time    time.Time
}

// includes reports whether a version is not newer.
func (a At) includes(v everheap.Version, t time.Time) bool {
	return (a.Version == 0 || v <= a.Version) && (a.Time.IsZero() || !t.After(a.Time))
}

// String says it for people.
func (a At) String() string {
	switch {
	case a.Version != 0:
		return fmt.Sprintf("version %d", a.Version)
	case !a.Time.IsZero():
		return a.Time.Format(time.RFC3339)
	}
	return "the newest version"
}

// Restored is what Restore has restored.
type Restored struct {
	Version everheap.Version
	Time    time.Time // of its commit
	Frames  int       // that were applied to the snapshot
}

// unfinished says who leads a space that is being restored (SH4).
const unfinished = "a restore that has not ended; remove this space, and restore again"

// Restore creates a space, under a registered name or in a directory as everheap.Open has it, as the
// shipped one was at a version or time. It begins with the newest snapshot that is not newer, and
// applies what follows. The space has a history of its own from there on. progress is called
// now and then; nil: nobody wants to know.
//
// Errors: everheap.ErrNotFound if the directory has nothing so old; *Damage if a segment on the way is
// damaged or missing: everything before it can be restored by asking for the version that the error
// says; everheap.ErrExists. After an error there is no space, or one that says that it is unfinished.
func Restore(ctx context.Context, dir, name string, at At, progress func(Restored), opts ...everheap.Option) (Restored, error) {
	var done Restored
	if _, err := os.Stat(dir); err != nil {
		return done, err
	}
	d := &directory{path: dir}
	if err := d.read(); err != nil {
		return done, err
	}
	from, position, committed, err := d.begin(at)
	if err != nil {
		return done, err
	}
	target, err := d.plan(position, committed, at)
	if err != nil {
		return done, err
	}
	f, err := os.Open(d.join(from.name))
	if err != nil {
		return done, err
	}
	defer f.Close()
	if err := everheap.RestoreReplica(name, f, unfinished, opts...); err != nil {
		return done, err
	}
	space, err := everheap.OpenContext(ctx, name, opts...)
	if err != nil {
		return done, err
	}
	done, err = d.apply(ctx, space, position, target, progress)
	return done, errors.Join(err, space.Close())
}

// begin returns the snapshot to begin with, its position, and when that was committed.
func (d *directory) begin(at At) (f file, position everheap.Position, committed time.Time, err error) {
	if len(d.snapshots) == 0 {
		return f, position, committed, fmt.Errorf("%w: %s has no snapshot of a space", everheap.ErrNotFound, d.path)
	}
	for i := len(d.snapshots) - 1; i >= 0; i-- {
		f = d.snapshots[i]
		position, committed, err = d.headOf(f)
		if err == nil && at.includes(position.Version, committed) {
			return f, position, committed, nil
		}
		if err != nil && !errors.Is(err, everheap.ErrCorrupt) {
			return f, position, committed, err
		}
	}
	return f, position, committed, errors.Join(fmt.Errorf("%w: %s begins with version %d, of %s; %s is older",
		everheap.ErrNotFound, d.path, d.snapshots[0].version, d.snapshots[0].time.Format(time.RFC3339), at), err)
}

// positionOf returns the position of a snapshot.
func (d *directory) positionOf(f file) (everheap.Position, error) {
	p, _, err := d.headOf(f)
	return p, err
}

// headOf returns the position of a snapshot, and when that version was committed.
func (d *directory) headOf(f file) (everheap.Position, time.Time, error) {
	r, err := os.Open(d.join(f.name))
	if err != nil {
		return everheap.Position{}, time.Time{}, err
	}
	defer r.Close()
	return everheap.BackupPosition(r)
}

// segmentAt returns the segment that has what follows a position: the last one of those that begin
// at or before it and lead on; ok is false if there is none.
func (d *directory) segmentAt(p everheap.Position) (file, bool) {
	for i := len(d.segments) - 1; i >= 0; i-- {
		s := d.segments[i]
		if s.version > p.Version+1 {
			continue
		}
		if s.version == p.Version+1 {
			if s.chain == chainText(p.Chain) {
				return s, true
			}
			continue
		}
		if d.leadsOn(s, p) {
			return s, true
		}
	}
	return file{}, false
}

// leadsOn reports whether a segment has the frame that follows a position.
func (d *directory) leadsOn(s file, p everheap.Position) (found bool) {
	_, _ = scan(d.join(s.name), func(f everheap.Frame, _ int64) error {
		if f.Before() == p {
			found = true
			return errEnough
		}
		return nil
	})
	return found
}

var errEnough = errors.New("enough")

// each calls fn with the frames that follow a position, in order, until it returns an error, and returns
// the last position. A segment that is damaged before its end is an error, unless it is the last one.
func (d *directory) each(p everheap.Position, fn func(f everheap.Frame) error) (everheap.Position, error) {
	for {
		s, ok := d.segmentAt(p)
		if !ok {
			return p, d.missing(p)
		}
		began := p
		_, err := scan(d.join(s.name), func(f everheap.Frame, _ int64) error {
			if f.Before() != p {
				return nil
			}
			if err := fn(f); err != nil {
				return err
			}
			p = f.Position()
			return nil
		})
		damage := (*Damage)(nil)
		if errors.As(err, &damage) {
			damage.Last = p.Version
			if d.missing(p) == nil && s.name == d.segments[len(d.segments)-1].name { // what a kill has left
				return p, nil
			}
		}
		if err != nil {
			return p, err
		}
		if p == began {
			return p, d.missing(p)
		}
	}
}

// missing returns an error if there are segments of versions after a position, but none that leads on:
// those in between are missing. Snapshots make up for that: there the space kept too little.
func (d *directory) missing(p everheap.Position) error {
	for _, s := range d.segments {
		if s.version > p.Version+1 && !d.covered(s) {
			return &Damage{File: d.join(segmentName(p)), Last: p.Version}
		}
	}
	return nil
}

// covered reports whether a segment begins with what follows a snapshot.
func (d *directory) covered(s file) bool {
	for _, snapshot := range d.snapshots {
		if snapshot.version+1 == s.version && snapshot.chain == s.chain {
			return true
		}
	}
	return false
}

// plan goes through what is to be applied, and returns where it ends: so nothing is made of what turns
// out to be damaged.
func (d *directory) plan(p everheap.Position, committed time.Time, at At) (everheap.Position, error) {
	last, lastTime := p, committed
	if p.Version == at.Version {
		return p, nil
	}
	end, err := d.each(p, func(f everheap.Frame) error {
		if !at.includes(f.Version(), f.Time()) {
			return errEnough
		}
		last, lastTime = f.Position(), f.Time()
		if f.Version() == at.Version {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return last, nil
	}
	if err != nil {
		return last, err
	}
	if at.Version > end.Version {
		return last, fmt.Errorf("%w: %s ends with version %d, of %s; version %d is newer", everheap.ErrNotFound, d.path, end.Version, lastTime.Format(time.RFC3339), at.Version)
	}
	return end, nil
}

// apply applies the frames up to the target, and makes the space one that is written to.
func (d *directory) apply(ctx context.Context, space *everheap.Space, p, target everheap.Position, progress func(Restored)) (done Restored, err error) {
	r, err := space.AsReplica(unfinished)
	if err != nil {
		return done, err
	}
	done.Version = p.Version
	told := time.Now()
	if p != target {
		_, err = d.each(p, func(f everheap.Frame) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := r.Apply(ctx, f); err != nil {
				return err
			}
			done.Version, done.Time = f.Version(), f.Time()
			done.Frames++
			if progress != nil && time.Since(told) > 100*time.Millisecond {
				progress(done)
				told = time.Now()
			}
			if f.Position() == target {
				return errEnough
			}
			return nil
		})
		if !errors.Is(err, errEnough) {
			return done, errors.Join(fmt.Errorf("the files in %s have changed meanwhile", d.path), err)
		}
	}
	if progress != nil {
		progress(done)
	}
	return done, r.Promote(ctx)
}
