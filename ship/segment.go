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

// Damage says which versions a directory does not have, and which file is to blame.
type Damage struct {
	File    string           // the path of the segment
	Missing bool             // it is not there; else it cannot be read from Offset on
	Offset  int64            // of the first frame that is not whole
	Last    everheap.Version // up to which everything can be restored
	Next    everheap.Version // from which on everything can be restored again; 0: none
	Aside   string           // the path of the copy that Run has put aside, before it wrote those versions anew; "": none

	torn bool // it may be what a kill has left: the beginning of a frame, or zeros
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

// scan calls fn with each frame of a segment and the offset behind it. first is the version that the
// segment begins with. A frame that is not whole ends it with the error *Damage.
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

// readFrame is everheap.ReadFrame for a reader that has so many bytes, of which others may append more.
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

// torn reports whether a file has from an offset on what a kill or a loss of power leaves: the
// beginning of a frame, or zeros.
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

// firstOf returns the first frame of a segment, and the offset behind it. The error is io.EOF if it
// has none, and may be cut: nothing, or the beginning of a frame.
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

// walk is how far frames lead.
type walk struct {
	at     everheap.Position
	time   time.Time // of the commit; zero: no frame said so
	end    int64     // of the last frame that leads there, in the segment
	damage *Damage   // that ends the segment; nil: none
}

// errFork ends a scan where another segment begins.
var errFork = errors.New("another segment begins")

// through goes through a segment from a position on, and calls fn, unless it is nil, with each frame
// that follows. It ends where a segment begins that is newer, unless it goes straight on. Damage is no error.
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

// named returns the number of the segment that begins with what follows a position, and stands after
// another one; -1: after none. Of several it is the one that was begun last, or straight on the first one.
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
		return i, true // or it is damaged there, which whoever reads it finds
	}
	return 0, false
}

// holding returns the number of the segment that has a position inside, or ends with it, and stands after
// another one. If there is none, damage is that of the last segment that begins before it, which may have had it.
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

// next returns the number of the segment that goes on from a position that a segment has led to.
func (d *directory) next(p everheap.Position, i int) (next int, ok bool, err error) {
	if next, ok = d.named(p, i); !ok {
		next, ok, _, err = d.holding(p, i)
	}
	return next, ok, err
}
