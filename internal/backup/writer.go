// Package backup is the stream that contains one version of a space.
//
// Terms: a change has the form that it has in the journal: a head, which says what happens to which
// object, and a payload. A frame is a piece of the stream with a number and a checksum; a change may
// begin in one frame and end in another.
//
// Invariants:
//
//	BK1 The checksum of a frame continues that of the frame before, and the first continues that of
//	    the head, which holds a random name. So a reader accepts a frame only after exactly the frames
//	    that precede it in its own backup.
//	BK2 The last frame says that it is the last, and how many changes the stream has. A stream without
//	    it was cut; bytes after it are not part of the backup.
//	BK3 A reader does not trust the sizes in the stream with its memory. For a change it allocates at
//	    most eight times the bytes that it has read and verified of it, and never more than the size
//	    that the change states. So no change takes much more memory than its own size, however large.
//	    A writer keeps one frame in memory.
//
// Start reading at Writer, then Reader.
package backup

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/everheap/everheap/internal/format"
)

// frameBytes is the size of the frames of a Writer.
const frameBytes = 256 << 10

// Writer writes a backup. After an error all further calls return it.
type Writer struct {
	w      io.Writer
	buf    []byte // a frame, its head included
	number uint64
	sum    uint32
	end    format.BackupEnd
	err    error
}

// NewWriter writes the head; the stream gets a new random name.
func NewWriter(w io.Writer, h format.BackupHead) (*Writer, error) {
	name := h.Stream[:]
	if h.Chained == 1 { // the other half of Stream has the chain of the version
		name = name[:8]
	}
	if _, err := rand.Read(name); err != nil {
		return nil, err
	}
	wr := &Writer{w: w, buf: make([]byte, format.BackupFrameSize, frameBytes)}
	head := h.Encode()
	wr.sum = h.Sum
	wr.send(head)
	return wr, wr.err
}

// Put writes a change.
func (w *Writer) Put(h format.OpHead, payload []byte) error {
	var head [format.OpHeadSize]byte
	h.Size = uint64(len(payload))
	for i, word := range [...]uint64{h.What, h.Addr, h.Arg, h.Size} {
		binary.LittleEndian.PutUint64(head[i*8:], word)
	}
	var zeros [7]byte
	w.fill(head[:])
	w.fill(payload)
	w.fill(zeros[:-len(payload)&7])
	w.end.Changes++
	return w.err
}

// fill adds bytes to the frame, and writes each full frame.
func (w *Writer) fill(b []byte) {
	w.end.Bytes += uint64(len(b))
	for len(b) > 0 && w.err == nil {
		if len(w.buf) == cap(w.buf) {
			w.flush(format.BackupChanges)
		}
		n := copy(w.buf[len(w.buf):cap(w.buf)], b)
		w.buf, b = w.buf[:len(w.buf)+n], b[n:]
	}
}

// Changes returns the number of changes that Put has written.
func (w *Writer) Changes() uint64 { return w.end.Changes }

// Close ends the stream: next is the index of the next new object, objects the
// number of objects, lost the number of pieces that the caller could not read.
func (w *Writer) Close(next, objects, lost uint64) error {
	if len(w.buf) > format.BackupFrameSize {
		w.flush(format.BackupChanges)
	}
	w.end.NextIndex, w.end.Objects, w.end.Lost = next, objects, lost
	w.buf = w.end.Append(w.buf)
	w.flush(format.BackupLast)
	return w.err
}

// flush writes the frame.
func (w *Writer) flush(kind uint32) {
	w.number++
	w.sum = format.PutBackupFrame(w.buf, kind, w.number, w.sum) // BK1
	w.send(w.buf)
	w.buf = w.buf[:format.BackupFrameSize]
}

// send writes bytes to the sink.
func (w *Writer) send(b []byte) {
	if w.err != nil {
		return
	}
	n, err := w.w.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		w.err = fmt.Errorf("writing the backup: %w", err)
	}
}
