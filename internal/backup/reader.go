package backup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/everheap/everheap/internal/format"
)

// largeBuffer is what a reader lets go of when it does not need it any more.
const largeBuffer = 4 << 20

// ahead is how much more room than it has read a reader makes for a change that says to
// need it; and it makes room for all of it, or for a part that is so much smaller. So
// little is copied when it makes more.
const ahead = 8

// Reader reads a backup and verifies it. What is not a whole, unaltered backup is a
// *format.DamageError; errors of the source are returned as they are.
type Reader struct {
	Head format.BackupHead

	r      io.Reader
	frame  []byte // the last one
	buf    []byte // changes of verified frames; from pos on they were not returned yet
	pos    int
	offset int64 // in the stream, behind the last frame
	number uint64
	sum    uint32
	end    *format.BackupEnd // once the last frame was read
	have   format.BackupEnd  // what was counted
}

// NewReader reads the head, and the first frame: so that most of what is no backup is
// refused before anything is done.
func NewReader(r io.Reader) (*Reader, error) {
	rd := &Reader{r: r}
	b := make([]byte, format.BackupHeadSize)
	n, err := io.ReadFull(r, b)
	if err != nil && !cut(err) {
		return nil, fmt.Errorf("reading the backup: %w", err)
	}
	h, err := format.DecodeBackupHead(b[:n])
	if err != nil {
		return nil, err
	}
	rd.Head, rd.sum, rd.offset = *h, h.Sum, int64(n)
	if err := rd.more(); err != nil {
		return nil, err
	}
	return rd, nil
}

// cut reports whether an error of io.ReadFull says that the source has ended.
func cut(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }

// damage describes what is wrong with the frame that is being read.
func (r *Reader) damage(what string, args ...any) error {
	return &format.DamageError{File: "backup", Offset: r.offset, What: fmt.Sprintf(what, args...)}
}

// Next returns the next change, which is valid until the next call; io.EOF behind
// the last one, when the whole stream was verified. The payload begins at a multiple of 8
// bytes, and the caller may change it.
func (r *Reader) Next() (h format.OpHead, payload []byte, err error) {
	for {
		rest := r.buf[r.pos:]
		if h, payload, next, ok := format.NextOp(rest); ok {
			r.pos = len(r.buf) - len(next)
			r.have.Changes++
			return h, payload, nil
		}
		if len(rest) >= format.OpHeadSize && binary.LittleEndian.Uint64(rest[24:]) > format.MaxPayload {
			return h, nil, r.damage("a change with a payload of impossible size")
		}
		if r.end != nil {
			return h, nil, r.finish(len(rest))
		}
		if err := r.more(); err != nil {
			return h, nil, err
		}
	}
}

// Offset returns how many bytes of the stream were read.
func (r *Reader) Offset() int64 { return r.offset }

// End returns what the last frame says, after Next has returned io.EOF.
func (r *Reader) End() format.BackupEnd { return *r.end }

// more reads one frame.
func (r *Reader) more() error {
	r.frame = slices.Grow(r.frame[:0], format.BackupFrameSize)[:format.BackupFrameSize]
	if err := r.read(r.frame); err != nil {
		return err
	}
	h, ok := format.DecodeBackupFrame(r.frame)
	if !ok {
		return r.damage("no frame of a backup begins here")
	}
	r.frame = slices.Grow(r.frame, int(h.Size))[:format.BackupFrameSize+int(h.Size)]
	if err := r.read(r.frame[format.BackupFrameSize:]); err != nil {
		return err
	}
	if h.Number != r.number+1 {
		return r.damage("frame %d follows frame %d", h.Number, r.number)
	}
	if r.sum = format.BackupFrameSum(r.frame, r.sum); r.sum != h.Sum { // BK1
		return r.damage("the checksum of frame %d does not match: it was altered, or is of another backup", h.Number)
	}
	r.number = h.Number
	payload := r.frame[format.BackupFrameSize:]
	r.offset += int64(len(r.frame))
	if h.Kind == format.BackupLast {
		return r.last(payload)
	}
	r.keep(payload)
	return nil
}

// read fills b.
func (r *Reader) read(b []byte) error {
	_, err := io.ReadFull(r.r, b)
	switch {
	case err == nil:
		return nil
	case cut(err):
		return r.damage("the stream ends here, before its last frame: it was cut")
	}
	return fmt.Errorf("reading the backup: %w", err)
}

// keep adds changes behind those that were not returned yet.
func (r *Reader) keep(payload []byte) {
	r.have.Bytes += uint64(len(payload))
	rest := r.buf[r.pos:]
	switch need := len(rest) + len(payload); {
	case need > cap(r.buf), cap(r.buf) > largeBuffer && need < largeBuffer/4:
		r.buf = append(make([]byte, 0, roomFor(rest, payload)), rest...)
	case r.pos > 0:
		r.buf = r.buf[:copy(r.buf, rest)]
	}
	r.pos = 0
	r.buf = append(r.buf, payload...)
}

// roomFor returns how many bytes to make room for, for what follows changes: so many as
// the first of them says to need, if not much less was read of it (BK3), and a frame
// more, where the next one begins.
func roomFor(rest, payload []byte) int {
	need := len(rest) + len(payload)
	var head [format.OpHeadSize]byte
	if copy(head[copy(head[:], rest):], payload); need < format.OpHeadSize {
		return need
	}
	size := binary.LittleEndian.Uint64(head[24:])
	if size > format.MaxPayload {
		return need // damage, as Next will find
	}
	whole := int(size) + format.OpHeadSize + 8 + len(payload)
	if whole <= ahead*need {
		return max(whole, need)
	}
	return max(need, min(ahead*need, whole/ahead), min(largeBuffer, whole))
}

// last takes the last frame.
func (r *Reader) last(payload []byte) error {
	end, ok := format.DecodeBackupEnd(payload)
	if !ok {
		return r.damage("the last frame is impossible")
	}
	if n, err := io.ReadFull(r.r, make([]byte, 1)); n > 0 { // BK2
		return r.damage("more follows the end of the backup")
	} else if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the backup: %w", err)
	}
	r.end = &end
	return nil
}

// finish compares what was read with what the last frame says.
func (r *Reader) finish(rest int) error {
	if rest > 0 {
		return r.damage("the last change is not whole")
	}
	if r.have.Changes != r.end.Changes || r.have.Bytes != r.end.Bytes {
		return r.damage("the backup says %d changes in %d bytes, there are %d in %d", r.end.Changes, r.end.Bytes, r.have.Changes, r.have.Bytes)
	}
	return io.EOF
}
