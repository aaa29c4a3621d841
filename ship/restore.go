package ship

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/everheap/everheap"
)

// At says which version to restore: the last one that is not newer than the field that is set. The
// zero At is the newest version.
type At struct {
	Version everheap.Version
	Time    time.Time
}

// includes reports whether a version is not newer than At says.
func (a At) includes(v everheap.Version, t time.Time) bool {
	return (a.Version == 0 || v <= a.Version) && (a.Time.IsZero() || !t.After(a.Time))
}

// String returns At as text for people.
func (a At) String() string {
	switch {
	case a.Version != 0:
		return fmt.Sprintf("version %d", a.Version)
	case !a.Time.IsZero():
		return a.Time.Format(time.RFC3339)
	}
	return "the newest version"
}

// Restored describes the result of Restore.
type Restored struct {
	Version everheap.Version
	Time    time.Time // of its commit
	Frames  int       // that were applied to the snapshot
	Damaged []string  // the paths of unreadable snapshots; Restore began with an older one, and came to the same version
}

// unfinished is the name of the leader of a space that is being restored (SH4).
const unfinished = "a restore that has not ended; remove this space, and restore again"

// Restore creates a space, with the contents of the shipped space at a version or time. name is a
// registered name or a directory, as for everheap.Open. The directory may have several histories, if
// a space was restored and shipped there again; Restore takes the newest history that has the
// version. It begins with the newest snapshot that is not newer than the version, and applies the
// frames after it. The new space has a history of its own from there on. Restore calls progress now
// and then, unless it is nil.
//
// Errors: everheap.ErrNotFound if the version is older or newer than all versions in the directory;
// *Damage if a segment before the version is damaged or missing: all versions up to the one in the
// error can be restored; everheap.ErrCorrupt if no snapshot can be read; everheap.ErrExists. After an
// error there is no space, or one that says that it is unfinished.
func Restore(ctx context.Context, dir, name string, at At, progress func(Restored), opts ...everheap.Option) (Restored, error) {
	var done Restored
	if _, err := os.Stat(dir); err != nil {
		return done, err
	}
	d := &directory{path: dir}
	if err := d.read(); err != nil {
		return done, err
	}
	starts, damaged, err := d.starts(at)
	if err != nil {
		return done, err
	}
	done.Damaged = damaged
	for _, d.straight = range []bool{false, true} { // if a history has forked, try the newest line first
		var again error
		if done, again = d.restore(ctx, name, at, starts, done, progress, opts); !errors.Is(again, everheap.ErrNotFound) {
			return done, again
		}
		if err == nil {
			err = again
		}
	}
	return done, err
}

// restore restores from the first snapshot in a list from which the frames reach the version.
func (d *directory) restore(ctx context.Context, name string, at At, starts []start, done Restored, progress func(Restored), opts []everheap.Option) (Restored, error) {
	var unread, none error
	goal := everheap.Position{} // the version that the first unreadable snapshot would have led to
	tried := map[everheap.Position]bool{}
	for _, s := range starts {
		target, err := d.plan(ctx, s, at, tried)
		switch {
		case goal.Version != 0 && (err != nil || target != goal): // the frames after an older snapshot do not reach it
			return done, errors.Join(unread, err)
		case errors.Is(err, everheap.ErrNotFound): // an older history may have it
			if none == nil {
				none = err
			}
			continue
		case err != nil:
			return done, err
		}
		space, err := d.make(ctx, name, s, opts)
		if errors.Is(err, everheap.ErrCorrupt) {
			done.Damaged = append(done.Damaged, d.join(s.name))
			unread = errors.Join(unread, fmt.Errorf("%s: %w", d.join(s.name), err))
			goal = target
			clear(tried)
			continue
		}
		if err != nil {
			return done, err
		}
		err = d.apply(ctx, space, s, target, &done, progress)
		return done, errors.Join(err, space.Close())
	}
	return done, errors.Join(unread, none)
}

// make creates a replica from a snapshot.
func (d *directory) make(ctx context.Context, name string, s start, opts []everheap.Option) (*everheap.Space, error) {
	f, err := os.Open(d.join(s.name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := everheap.RestoreReplica(name, f, unfinished, opts...); err != nil {
		return nil, err
	}
	return everheap.OpenContext(ctx, name, opts...)
}

// start is a snapshot that a restore may begin with.
type start struct {
	file
	position  everheap.Position
	committed time.Time
}

// starts returns the snapshots that are not newer than at, the newest first, and the paths of the
// snapshots with unreadable heads.
func (d *directory) starts(at At) (list []start, damaged []string, err error) {
	if len(d.snapshots) == 0 {
		return nil, nil, fmt.Errorf("%w: %s has no snapshot of a space", everheap.ErrNotFound, d.path)
	}
	first := start{}
	for _, f := range d.snapshots {
		p, committed, e := d.headOf(f)
		if errors.Is(e, everheap.ErrCorrupt) {
			damaged = append(damaged, d.join(f.name))
			err = errors.Join(err, fmt.Errorf("%s: %w", d.join(f.name), e))
			continue
		}
		if e != nil {
			return nil, nil, e
		}
		s := start{f, p, committed}
		if first.name == "" || p.Version < first.position.Version {
			first = s
		}
		if at.includes(p.Version, committed) {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b start) int {
		return -cmp.Or(a.committed.Compare(b.committed), cmp.Compare(a.position.Version, b.position.Version))
	})
	if len(list) > 0 {
		return list, damaged, nil
	}
	if first.name == "" {
		return nil, nil, err
	}
	return nil, nil, errors.Join(fmt.Errorf("%w: %s begins with version %d, of %s; %s is older",
		everheap.ErrNotFound, d.path, first.position.Version, first.committed.Format(time.RFC3339), at), err)
}

// plan reads the frames to be applied to a snapshot, and returns the position at which they end. So
// restore finds damage before it creates the space. tried has the snapshots that do not lead to the
// version; plan adds this one.
func (d *directory) plan(ctx context.Context, s start, at At, tried map[everheap.Position]bool) (everheap.Position, error) {
	tried[s.position] = true
	last := s.position
	if last.Version == at.Version {
		return last, nil
	}
	again := false
	w, err := d.each(s, func(f everheap.Frame) error {
		again = tried[f.Position()]
		if again || !at.includes(f.Version(), f.Time()) {
			return errEnough
		}
		last = f.Position()
		if last.Version == at.Version {
			return errEnough
		}
		return ctx.Err()
	})
	switch {
	case again:
		return last, fmt.Errorf("%w: %s", everheap.ErrNotFound, at)
	case errors.Is(err, errEnough):
		return last, nil
	case err != nil:
		return last, err
	}
	if err := d.broken(w); err != nil {
		return last, err
	}
	if at.Version > last.Version {
		return last, fmt.Errorf("%w: %s ends with version %d, of %s; version %d is newer", everheap.ErrNotFound, d.path, last.Version, w.time.Format(time.RFC3339), at.Version)
	}
	return last, nil
}

// broken returns an error if the frames of a line end because of damage or a missing file.
func (d *directory) broken(w walk) error {
	gap, next, err := d.later(w)
	switch {
	case err != nil:
		return err
	case w.damage != nil && (gap || !w.damage.torn):
		w.damage.Next = next
		return w.damage
	case gap:
		return &Damage{File: d.join(segmentName(w.at, 0)), Missing: true, Last: w.at.Version, Next: next}
	}
	return nil
}

// each calls fn with the frames that follow a snapshot, in order, until fn returns an error. It
// returns the position at which the frames end.
func (d *directory) each(s start, fn func(f everheap.Frame) error) (walk, error) {
	w := walk{at: s.position, time: s.committed}
	i, ok := d.named(w.at, -1)
	if !ok || d.straight {
		j, holds, damage, err := d.holding(w.at, -1)
		if err != nil {
			return w, err
		}
		if holds {
			i, ok = j, true
		}
		if !ok && damage != nil && !damage.torn && !d.begins(w.at) {
			damage.Last = w.at.Version // frames may follow, but cannot be read
			w.damage = damage
		}
	}
	for ok {
		through, err := d.through(i, w.at, fn)
		if through.time.IsZero() {
			through.time = w.time
		}
		if w = through; err != nil {
			return w, err
		}
		if i, ok, err = d.next(w.at, i); err != nil {
			return w, err
		}
	}
	return w, nil
}

// begins reports whether a line begins at a position: then there is a segment of that name, perhaps
// empty.
func (d *directory) begins(p everheap.Position) bool {
	return slices.ContainsFunc(d.segments, func(s file) bool { return s.version == p.Version+1 && s.chain == chainText(p.Chain) })
}

// clockSlack is the tolerated difference between the clocks of processes that commit.
const clockSlack = time.Second

// later reports whether the directory has newer versions than the end of a line, so that versions in
// between are missing. next is the version of the snapshot from which versions can be restored again;
// 0 if there is none. A file with an older version than the end, committed later than the end,
// belongs to another history.
func (d *directory) later(w walk) (gap bool, next everheap.Version, err error) {
	var other, first time.Time // of another history; of the first newer file
	newer := func(t time.Time) {
		if gap = true; first.IsZero() || t.Before(first) {
			first = t
		}
	}
	for _, f := range d.snapshots {
		_, committed, err := d.headOf(f)
		switch {
		case err != nil: // restore reports it
		case f.version > w.at.Version+1 && committed.After(w.time.Add(-clockSlack)):
			newer(committed)
			if next == 0 {
				next = f.version
			}
		case f.version <= w.at.Version && committed.After(w.time.Add(clockSlack)) && (other.IsZero() || committed.Before(other)):
			other = committed
		}
	}
	for _, f := range d.segments {
		if f.version <= w.at.Version+1 {
			continue
		}
		frame, _, err := firstOf(d.join(f.name))
		damage := (*Damage)(nil)
		switch {
		case err == nil && frame.Time().After(w.time.Add(-clockSlack)):
			newer(frame.Time())
		case errors.As(err, &damage) && f.time.After(w.time.Add(-clockSlack)):
			newer(f.time)
		case err != nil && err != io.EOF && damage == nil:
			return false, 0, err
		}
	}
	return gap && (other.IsZero() || first.Before(other)), next, nil
}

// apply applies the frames up to the target, and turns the replica into an ordinary space.
func (d *directory) apply(ctx context.Context, space *everheap.Space, s start, target everheap.Position, done *Restored, progress func(Restored)) error {
	r, err := space.AsReplica(unfinished)
	if err != nil {
		return err
	}
	done.Version, done.Time = s.position.Version, s.committed
	told := time.Now()
	if s.position != target {
		_, err = d.each(s, func(f everheap.Frame) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := r.Apply(ctx, f); err != nil {
				return err
			}
			done.Version, done.Time = f.Version(), f.Time()
			done.Frames++
			if progress != nil && time.Since(told) > 100*time.Millisecond {
				progress(*done)
				told = time.Now()
			}
			if f.Position() == target {
				return errEnough
			}
			return nil
		})
		if !errors.Is(err, errEnough) {
			return errors.Join(fmt.Errorf("the files in %s changed during the restore", d.path), err)
		}
	}
	if progress != nil {
		progress(*done)
	}
	return r.Promote(ctx)
}
