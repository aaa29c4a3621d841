package journal

import (
	"errors"
	"fmt"
	"io"

	"github.com/everheap/everheap/internal/format"
)

// Repeat writes every frame with versions above the floor once more, into segments of this
// process: the disk may have lost them although the kernel still has them. It need not know
// which frames belong together (J4). Errors are those of Write, and of reading the file.
func (w *Writer) Repeat(floor format.Version) error {
	size, err := w.file.Size()
	if err != nil {
		return err
	}
	w.Begin(0, 0)
	segment := make([]byte, format.SegmentSize)
	for off := int64(0); off < size; off += format.SegmentSize {
		n, err := w.file.ReadAt(segment[:min(format.SegmentSize, size-off)], off)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("reading the journal: %w", err)
		}
		for _, b := range framesIn(segment[:n], w.space) {
			if h, _ := format.DecodeFrameHead(b); h.Last > uint64(floor) {
				w.frames = append(w.frames, frame{from: len(w.buf), to: len(w.buf) + len(b), head: h})
				w.buf = append(w.buf, b...)
				w.pad()
			}
		}
	}
	return w.Write()
}
