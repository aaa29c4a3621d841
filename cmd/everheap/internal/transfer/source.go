package transfer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
)

// maxRecord bounds the memory that one row takes.
const maxRecord = 1 << 30

// source reads lines, and counts bytes and lines.
type source struct {
	in     *bufio.Reader
	hash   hash.Hash // of all bytes read
	offset uint64
	line   uint64 // number of the last line that was read
	open   bool   // that line had no line end
}

// newSource reads from the beginning.
func newSource(in io.Reader) *source {
	return &source{in: bufio.NewReaderSize(in, 1<<18), hash: sha256.New()}
}

// next appends the next line, with its end, to buf. The error is io.EOF if there is none.
func (s *source) next(buf []byte) ([]byte, error) {
	start := len(buf)
	for {
		part, err := s.in.ReadSlice('\n')
		buf = append(buf, part...)
		s.offset += uint64(len(part))
		_, _ = s.hash.Write(part) // never fails
		switch {
		case err == nil:
			s.line, s.open = s.line+1, false
			return s.unmarked(buf, start), nil
		case err == io.EOF && len(buf) > start:
			s.line, s.open = s.line+1, true
			return s.unmarked(buf, start), nil
		case err != bufio.ErrBufferFull:
			return buf, err
		case len(buf) > maxRecord:
			return buf, fmt.Errorf("line %d has more than %d bytes", s.line+1, maxRecord)
		}
	}
}

// unmarked drops the byte order mark of a UTF-8 file.
func (s *source) unmarked(buf []byte, start int) []byte {
	if s.line == 1 && bytes.HasPrefix(buf[start:], []byte("\xef\xbb\xbf")) {
		return append(buf[:start], buf[start+3:]...)
	}
	return buf
}

// errOtherSource says that a source does not begin with the bytes that were imported before.
var errOtherSource = errors.New("it does not begin with what was imported before")

// skip reads the part that was imported before, up to the position, and verifies its sum.
func (s *source) skip(p *position) error {
	n, err := io.CopyN(s.hash, s.in, int64(p.Offset-s.offset))
	s.offset += uint64(n)
	if err != nil && err != io.EOF {
		return err
	}
	if s.offset != p.Offset || !bytes.Equal(s.sum(), p.Sum) {
		return errOtherSource
	}
	s.line = p.Line
	if p.Open { // the last line had no line end: the end must follow, or nothing
		if c, err := s.in.ReadByte(); err == nil && c != '\n' {
			return fmt.Errorf("line %d, the last one that was imported, has become longer", p.Line)
		} else if err == nil {
			s.offset++
			_, _ = s.hash.Write([]byte{c})
		}
	}
	return nil
}

// sum identifies all bytes read.
func (s *source) sum() []byte { return s.hash.Sum(nil) }

// idle reports whether reading more may have to wait.
func (s *source) idle() bool { return s.in.Buffered() == 0 }

// atHeading reports whether the next line names a collection.
func (s *source) atHeading() bool {
	const begin = `{"collection":`
	b, _ := s.in.Peek(len(begin))
	return string(b) == begin
}

// record appends the next record of a CSV, which may have several lines, to buf. bad says that the
// line is not a record; then buf gets one line.
func (s *source) record(buf []byte, delimiter byte) (_ []byte, bad, err error) {
	state := cellStart
	for start := len(buf); ; {
		from := len(buf)
		if buf, err = s.next(buf); err != nil {
			if err == io.EOF && state == inQuotes {
				return buf, errOpenQuote, nil
			}
			return buf, nil, err
		}
		if state, bad = scan(buf[from:], state, delimiter); bad != nil || state != inQuotes {
			return buf, bad, nil
		}
		if len(buf)-start > maxRecord {
			return buf, errOpenQuote, nil
		}
	}
}
