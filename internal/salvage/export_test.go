package salvage

import (
	"io"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/mapping"
)

// Opened is a salvager whose files are open.
type Opened struct{ s *salvager }

// Open opens and locks a space, as Run does first.
func Open(dir string) (*Opened, error) {
	d, err := mapping.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	s := &salvager{dir: d, reported: map[Loss]bool{}}
	if err := s.open(); err != nil {
		s.close()
		return nil, err
	}
	return &Opened{s}, nil
}

// Work does the rest of Run.
func (o *Opened) Work(w io.Writer) error { return o.s.work(w) }

// Verify verifies a block of a version.
func (o *Opened) Verify(version format.Version, a format.Addr, kind format.Kind) error {
	return o.s.verifier(version)(a, kind)
}

// File returns the heap file.
func (o *Opened) File() mapping.File { return o.s.file }

// Header returns the header of the heap file.
func (o *Opened) Header() *format.Header { return o.s.header }

// Close closes the files and releases the locks.
func (o *Opened) Close() { o.s.close() }
