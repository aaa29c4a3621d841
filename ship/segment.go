package ship

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/format"
)

// Damage says which versions a directory lacks, and which file is damaged or missing.
type Damage struct {
	File    string           // the path of the segment
	Missing bool             // the segment is missing; else it cannot be read from Offset on
	Offset  int64            // of the first damaged frame
	Last    everheap.Version // all versions up to this one can be restored
	Next    everheap.Version // all versions from this one on can be restored again; 0: none
	Aside   string           // the path of the copy that Run made before it wrote those versions again; "": none

	torn bool // a kill may have left it: the beginning of a frame, or zeros
}

// Error implements error.
func (d *Damage) Error() string {
	var b strings.Builder
	if d.Missing {
		fmt.Fprintf(&b, "%s is missing", d.File)
	} else {
		fmt.Fprintf(&b, "%s is damaged at offset %d", d.File, d.Offset)
	}
	if d.Aside != "" {
		fmt.Fprintf(&b, "; it was copied to %s, and the versions after %d, which the space still keeps, are written anew", d.Aside, d.Last)
		return b.String()
	}
	fmt.Fprintf(&b, ": everything up to version %d can be restored", d.Last)
	if d.Next != 0 {
		fmt.Fprintf(&b, ", and everything from version %d on", d.Next)
	}
	return b.String()
}

// errEnough ends a scan.
var errEnough = errors.New("enough")

// scan calls fn with each frame of a segment and the offset of the frame's end. first is the version
// of the first frame. At a damaged frame it ends with the error *Damage.
func scan(path string, first everheap.Version, fn func(f everheap.Frame, end int64) error) (end int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	r := bufio.NewReaderSize(file, 1<<20)
	last := max(first, 1) - 1
	for {
		f, err := readFrame(r, info.Size()-end)
		switch {
		case err == io.EOF:
			return end, nil
		case errors.Is(err, everheap.ErrCorrupt):
			is, err := torn(file, end)
			if err != nil {
				return end, err
			}
			return end, &Damage{File: path, Offset: end, Last: last, torn: is}
		case err != nil:
			return end, err
		}
		if err := fn(f, end+int64(len(f.Bytes()))); err != nil {
			return end, err
		}
		end, last = end+int64(len(f.Bytes())), f.Version()
	}
}

// readFrame is everheap.ReadFrame for a reader with left bytes, to which another process may be
// appending.
func readFrame(r *bufio.Reader, left int64) (everheap.Frame, error) {
	head, _ := r.Peek(format.ChangeHeadSize)
	h, ok := format.DecodeChangeHead(head)
	if size := int64(len(head)) + int64(h.Size); ok && size <= left {
		b := make([]byte, size)
		if _, err := io.ReadFull(r, b); err != nil {
			return everheap.Frame{}, err
		}
		return everheap.ParseFrame(b)
	}
	return everheap.ReadFrame(r)
}

// torn reports whether the rest of a file, from an offset on, may come from a kill or a power loss:
// the beginning of a frame, or zeros.
func torn(f *os.File, at int64) (bool, error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	r := io.NewSectionReader(f, at, max(0, info.Size()-at))
	head := make([]byte, min(r.Size(), int64(format.ChangeHeadSize)))
	if _, err := io.ReadFull(r, head); err != nil {
		return false, err
	}
	if h, ok := format.DecodeChangeHead(head); ok {
		return int64(h.Size) > r.Size()-int64(len(head)), nil
	}
	if n := min(len(head), len(format.ChangeMagic)); len(head) < format.ChangeHeadSize && string(head[:n]) == format.ChangeMagic[:n] {
		return true, nil
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	for buf := make([]byte, 64<<10); ; {
		n, err := r.Read(buf)
		if len(bytes.Trim(buf[:n], "\x00")) > 0 {
			return false, nil
		}
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// firstOf returns the first frame of a segment, and the offset of its end. The error is io.EOF if the
// segment has no frame and may be cut: it is empty, or has the beginning of a frame.
func firstOf(path string) (f everheap.Frame, end int64, err error) {
	_, err = scan(path, 0, func(first everheap.Frame, to int64) error {
		f, end = first, to
		return errEnough
	})
	damage := (*Damage)(nil)
	switch {
	case errors.Is(err, errEnough):
		return f, end, nil
	case err == nil || errors.As(err, &damage) && damage.torn:
		return f, 0, io.EOF
	}
	return f, 0, err
}

// walk is the position that a line of frames reaches.
type walk struct {
	at     everheap.Position
	time   time.Time // of the commit; zero: unknown, since no frame was read
	end    int64     // offset of the end of the last frame, in the segment
	damage *Damage   // at the end of the line; nil: none
}

// errFork ends a scan where another segment begins.
var errFork = errors.New("another segment begins")

// through reads a segment from a position on, and calls fn, unless it is nil, with each frame that
// follows. It ends where a newer segment begins, unless d.straight is set. Damage is not an error;
// the walk has it.
func (d *directory) through(i int, p everheap.Position, fn func(f everheap.Frame) error) (w walk, err error) {
	s := d.segments[i]
	w.at = p
	forks := map[everheap.Version]bool{}
	for _, other := range d.segments[i+1:] {
		forks[other.version] = !d.straight
	}
	w.end, err = scan(d.join(s.name), s.version, func(f everheap.Frame, _ int64) error {
		if f.Before() == w.at {
			if forks[f.Version()] {
				if _, ok := d.named(w.at, i); ok {
					return errFork
				}
			}
			if fn != nil {
				if err := fn(f); err != nil {
					return err
				}
			}
			w.at = f.Position()
		}
		if f.Position() == w.at {
			w.time = f.Time()
		}
		return nil
	})
	if errors.As(err, &w.damage) {
		w.damage.Last = w.at.Version
		return w, nil
	}
	if errors.Is(err, errFork) {
		err = nil
	}
	return w, err
}

// named returns the number of the segment whose first frame follows a position, among those after
// segment number after (-1: all). If there are several, it returns the one begun last, or the first
// one if d.straight is set.
func (d *directory) named(p everheap.Position, after int) (int, bool) {
	for n := range len(d.segments) - 1 - after {
		i := len(d.segments) - 1 - n
		if d.straight {
			i = after + 1 + n
		}
		s := d.segments[i]
		if s.version != p.Version+1 || s.chain != chainText(p.Chain) {
			continue
		}
		f, _, err := firstOf(d.join(s.name))
		if err == nil && f.Before() != p || err == io.EOF {
			continue
		}
		return i, true // the segment may be damaged there; its reader finds that
	}
	return 0, false
}

// holding returns the number of the segment that contains a position, or ends with it, among those
// after segment number after. If there is none, damage is the damage of the last segment that begins
// before the position, which may have contained it.
func (d *directory) holding(p everheap.Position, after int) (i int, ok bool, damage *Damage, err error) {
	newest := true
	for i := len(d.segments) - 1; i > after; i-- {
		s := d.segments[i]
		if s.version > p.Version {
			continue
		}
		_, err := scan(d.join(s.name), s.version, func(f everheap.Frame, _ int64) error {
			if f.Position() == p {
				ok = true
				return errEnough
			}
			return nil
		})
		found := (*Damage)(nil)
		switch {
		case ok:
			return i, true, nil, nil
		case errors.As(err, &found):
			if newest && found.Last < p.Version {
				damage = found
			}
		case err != nil:
			return 0, false, nil, err
		}
		newest = false
	}
	return 0, false, damage, nil
}

// next returns the number of the segment that continues from a position at which segment i ends.
func (d *directory) next(p everheap.Position, i int) (next int, ok bool, err error) {
	if next, ok = d.named(p, i); !ok {
		next, ok, _, err = d.holding(p, i)
	}
	return next, ok, err
}
