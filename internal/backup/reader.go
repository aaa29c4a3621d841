package backup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/everheap/everheap/internal/format"
)

// largeBuffer is the size from which a reader drops a buffer that it does not need any more.
const largeBuffer = 4 << 20

// ahead bounds the memory for a change (BK3): a reader makes room for at most ahead times the bytes
// that it has read of the change. It makes room for the whole change, or for a part that is at least
// ahead times smaller; so it copies little when it makes more room.
const ahead = 8

// Reader reads a backup and verifies it. The error is a *format.DamageError if the stream is not a
// complete, unaltered backup; the reader wraps errors of the source.
type Reader struct {
	Head format.BackupHead

	r      io.Reader
	frame  []byte // the frame read last
	buf    []byte // changes of verified frames; those from pos on are not returned yet
	pos    int
	offset int64 // in the stream, after the frame read last
	number uint64
	sum    uint32
	end    *format.BackupEnd // set when the last frame of the backup was read
	have   format.BackupEnd  // the reader's own counts
}

// NewReader reads the head and the first frame. So it refuses most streams that are not backups
// before the caller has done anything.
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

// damage returns the error for the current frame.
func (r *Reader) damage(what string, args ...any) error {
	return &format.DamageError{File: "backup", Offset: r.offset, What: fmt.Sprintf(what, args...)}
}

// Next returns the next change, which is valid until the next call. After the last change it returns
// io.EOF; then the whole stream is verified. The payload begins at a multiple of 8 bytes, and the
// caller may change it.
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

// Offset returns how many bytes of the stream the reader has read.
func (r *Reader) Offset() int64 { return r.offset }

// End returns the contents of the last frame, after Next has returned io.EOF.
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

// keep appends changes to those that are not returned yet.
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

// roomFor returns the size of a buffer for rest, changes not returned yet, and the payload of the
// next frame. The buffer has room for all of the first change, unless the reader has read too little
// of it (BK3), and for one more frame, where the next change begins.
func roomFor(rest, payload []byte) int {
	need := len(rest) + len(payload)
	var head [format.OpHeadSize]byte
	if copy(head[copy(head[:], rest):], payload); need < format.OpHeadSize {
		return need
	}
	size := binary.LittleEndian.Uint64(head[24:])
	if size > format.MaxPayload {
		return need // damage, which Next will find
	}
	whole := int(size) + format.OpHeadSize + 8 + len(payload)
	if whole <= ahead*need {
		return max(whole, need)
	}
	return max(need, min(ahead*need, whole/ahead), min(largeBuffer, whole))
}

// last reads the last frame.
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

// finish compares the reader's counts with those in the last frame.
func (r *Reader) finish(rest int) error {
	if rest > 0 {
		return r.damage("the last change is not whole")
	}
	if r.have.Changes != r.end.Changes || r.have.Bytes != r.end.Bytes {
		return r.damage("the backup says %d changes in %d bytes, there are %d in %d", r.end.Changes, r.end.Bytes, r.have.Changes, r.have.Bytes)
	}
	return io.EOF
}
