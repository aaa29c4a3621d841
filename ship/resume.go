package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/everheap/everheap"
)

// resume finds the end of the line of frames, and opens its last segment. It returns false if Run
// must begin another line (SH6).
func (s *shipper) resume(ctx context.Context) (bool, error) {
	if err := s.dir.read(); err != nil {
		return false, err
	}
	confirmed, err := s.subscription.Version()
	if err != nil {
		return false, err
	}
	from := []everheap.Version{confirmed}
	for _, f := range s.dir.snapshots {
		if f.version > confirmed {
			from = append(from, f.version)
		}
	}
	for _, v := range from {
		p, ok, err := s.positionAt(ctx, v)
		if err != nil {
			return false, err
		}
		if !ok {
			continue
		}
		if ok, err := s.reach(ctx, p); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// positionAt returns the position of the space at a version; ok is false if the space does not have
// that version, or does not keep all versions after it.
func (s *shipper) positionAt(ctx context.Context, v everheap.Version) (p everheap.Position, ok bool, err error) {
	if err := s.space.View(func(tx *everheap.Tx) error { p = tx.Position(); return nil }); err != nil {
		return p, false, err
	}
	if v >= p.Version {
		return p, v == p.Version, nil
	}
	for f, err := range s.space.ChangesSince(ctx, v) {
		if err != nil {
			return p, false, err
		}
		return f.Before(), true, nil
	}
	return p, false, nil
}

// reach reads the frames in the directory that follow a position of the space. It returns false if
// the directory does not have the position.
func (s *shipper) reach(ctx context.Context, p everheap.Position) (bool, error) {
	i, ok := s.dir.named(p, -1)
	if !ok && s.dir.snapshotAt(p) < 0 {
		var damage *Damage
		var err error
		if i, ok, damage, err = s.dir.holding(p, -1); err != nil {
			return false, err
		}
		if !ok {
			if damage != nil && s.progress.Damage == nil {
				s.progress.Damage = damage
			}
			return false, nil
		}
	}
	w := walk{at: p}
	for ok {
		var err error
		if w, err = s.dir.through(i, w.at, nil); err != nil {
			return false, err
		}
		next, more, err := s.dir.next(w.at, i)
		if err != nil {
			return false, err
		}
		if !more {
			break
		}
		i = next
	}
	have, is, err := s.positionAt(ctx, w.at.Version)
	if err != nil {
		return false, err
	}
	if !is || have != w.at {
		return true, s.fork(ctx, p)
	}
	s.goOn(w)
	if !ok {
		return true, nil
	}
	name := s.dir.segments[i].name
	if w.damage != nil && !w.damage.torn {
		if w.damage.Aside, err = s.dir.putAside(name); err != nil { // SH2
			return false, err
		}
		s.progress.Damage = w.damage
	}
	return true, s.openSegment(name, w.end)
}

// fork continues from a position after which the directory has versions that the space does not have;
// the space may have been restored from a copy of its files. The space keeps all versions since that
// position. They go into another segment, and a snapshot marks this line as the newest one.
func (s *shipper) fork(ctx context.Context, p everheap.Position) error {
	s.goOn(walk{at: p})
	return s.place(s.make(ctx))
}

// goOn sets the position and the segment from which Run continues.
func (s *shipper) goOn(w walk) {
	s.closeSegment()
	s.at, s.time, s.since, s.snapshot = w.at, w.time, 0, file{}
	if i := s.dir.snapshotAt(w.at); i >= 0 && s.time.IsZero() {
		_, s.time, _ = s.dir.headOf(s.dir.snapshots[i])
	}
	for _, f := range s.dir.snapshots {
		if f.time.After(s.snapshot.time) {
			s.snapshot = f
		}
	}
	for _, f := range s.dir.segments {
		if f.version > s.snapshot.version || f.time.After(s.snapshot.time) {
			s.since += f.size
		}
	}
}

// putAside copies a segment before it is cut, and returns the name of the copy (SH2).
func (d *directory) putAside(name string) (string, error) {
	in, err := os.Open(d.join(name))
	if err != nil {
		return "", err
	}
	defer in.Close()
	temporary := d.join(name + newSuffix)
	out, err := os.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return "", errors.Join(err, os.Remove(temporary))
	}
	aside := name + damagedSuffix
	for n := 2; ; n++ { // an older copy stays
		if _, err := os.Lstat(d.join(aside)); errors.Is(err, os.ErrNotExist) {
			break
		}
		aside = fmt.Sprintf("%s%s-%d", name, damagedSuffix, n)
	}
	if err := os.Rename(temporary, d.join(aside)); err != nil {
		return "", err
	}
	return d.join(aside), d.syncNames()
}
