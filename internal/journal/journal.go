// Package journal is the file with the changes of the versions since the older
// usable anchor.
//
// Terms: a record is one version's list of changes. A frame is the unit of a write: some
// records, or a part of a large one; it begins at a multiple of a sector. A segment is a
// piece of the file that one process at a time writes, frame after frame. The chain of a
// version is a number that is computed from the previous version's chain, and that is never
// the same in two histories of a space. Written, Durable, SegmentCount and JournalCuts are
// words of format.Live.
//
// A commit writes no record. Its state names the blocks with the changes, which takes 24
// bytes. The leading process copies them to the file later, many versions of all processes
// at a time. It does not matter which process leads, nor whether two do: so another process
// replaces a leader that died or stands still. One sync serves every waiting process.
//
// Measured: durable commits are as fast as the disk syncs, 1.13 of the rate of a 4 KiB pwrite
// and fdatasync for one writer (records are smaller than a page), 9 times that for 16
// goroutines. A commit that does not wait takes 1.2 times as long as without a journal.
//
// Invariants:
//
//	J1  Every version up to Written is in the file or in both usable anchors. Every version
//	    up to Durable is there on disk: a sync has ended that began after Written had that
//	    value.
//	J2  The file is true: a frame holds only records of published versions, copied from
//	    intact blocks. The copier reads Written before and after: no process reuses blocks
//	    that a log refers to until Written has passed them (I2), so if Written has not moved,
//	    no block was reused while it was copied.
//	J3  A process writes only segments that it has claimed. A process claims a used segment
//	    only if no record in it is needed, and its claimant has released it or is dead. So no
//	    process ever overwrites a needed record, however late it writes.
//	J4  A record is replayed only onto the version that it followed: its frame has a good
//	    checksum, its number is the next one, and the chain before it is that of the version
//	    reached. So a missing version ends the replay, and records of an abandoned history
//	    are never replayed after those of a newer one.
//	J5  All segments below SegmentCount have their space in the file. A process that makes
//	    another segment first claims it, allocates the space of all segments up to it, fills
//	    it with zeros, and raises the count; only then does it write there.
//	J6  A process cuts the file only after it has claimed all segments beyond the new end,
//	    including those that the file does not have, and has then found that both usable
//	    anchors, which are on disk, have all versions in these segments. It lowers the count
//	    first, then raises JournalCuts, cuts the file, and releases the claims last.
//
// Why J6 is enough, wherever any process stands still:
//
//   - A process that has claimed a segment, and writes or makes it: no other process can
//     claim the segment while that one lives, so the file is cut above it or not at all. The
//     records that it wrote before are needed, or are in both anchors.
//   - A process that has chosen a segment, and claims it after the file was cut: it reads
//     the count after the claim, and releases the claim if the file lacks the segment.
//     A process that has chosen to make a segment, and claims it after another one has
//     made, filled and released it, finds the count above it and releases it too: its
//     zeros would replace records. While it holds the claim, no process lowers the count
//     to what it was before, so one look is enough.
//   - The process that cuts: it keeps its claims while it lives, so when it continues no
//     other process has written the part that it cuts off. Meanwhile the others have the
//     segments before, and two anchors if those are too few (ErrFull).
//   - A process that dies before it has cut: claims of the dead count for nothing. The file
//     is longer than the count says, which is harmless: both anchors have the versions
//     there, and a process that makes that segment again fills it with zeros.
//   - A power loss: the anchors are on disk before. Whether the cut is does not matter: a
//     recovery reads whatever the file has, and skips versions that its anchor has (J4). A
//     segment that was cut off and made again has zeros or its former contents until a
//     process writes and syncs it, and that sync makes its space and the length of the file
//     durable, too.
//   - A process that compares the length of the file with the count (examine of the
//     engine): if it finds the file shorter, the count was lowered since it read it, or
//     JournalCuts has changed since before that.
//
// By J2 and J4 it does not matter which process writes, how often it writes the same
// version, and in which order the segments lie.
//
// The file is written by pwrite, never through a mapping: a sync after touching one page of
// a mapping takes 3 to 5 times as long. O_DIRECT with O_DSYNC was 5 to 12 percent faster
// than pwrite and fdatasync, and was rejected: it cannot make earlier unsynced writes
// durable.
//
// Start reading at Writer, then Load and Log.Follow.
package journal

import (
	"errors"
	"fmt"
	"slices"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/subscription"
)

// FileName names the journal in the directory of a space.
const FileName = "journal"

// maxFrame is the greatest payload of a frame, in bytes. A record that needs more is split
// into parts of that size.
const maxFrame = 256 << 10

// ErrFull: the journal has no room for more records until an anchor makes old ones
// superfluous.
var ErrFull = errors.New("the journal is full")

// Writer writes records to the file. One goroutine at a time uses it.
type Writer struct {
	file   mapping.File
	live   *live.Live
	space  uint64
	offset int64 // offset of the next frame; at the end of a segment if none is claimed
	end    int64 // end of the claimed segment

	buf    []byte
	frames []frame
	open   bool // records can still be added to the last frame
	record int  // where the record begins that Record has started
	alone  bool // its frame begins with it
	last   format.Version
	chain  uint64 // chain of last

	// Beside returns how many bytes subscriptions keep outside the journal, of versions after one; nil: none.
	Beside func(after format.Version) format.ByteCount
}

// frame is a frame that waits to be written: buf[from:to].
type frame struct {
	from, to int
	head     format.FrameHead
}

// NewWriter returns a writer to the journal of the space with an id.
func NewWriter(f mapping.File, lv *live.Live, space [16]byte) *Writer {
	return &Writer{file: f, live: lv, space: spaceWord(space)}
}

// Begin drops records that were added and not written. The next record follows the version
// last with the chain.
func (w *Writer) Begin(last format.Version, chain uint64) {
	w.buf, w.frames, w.open = w.buf[:0], w.frames[:0], false
	w.last, w.chain = last, chain
}

// Buffered returns how many bytes were added and not written.
func (w *Writer) Buffered() int { return len(w.buf) }

// Record starts a record that is usually short. The caller appends the list of changes to
// the returned bytes, and then calls End to add the record or Drop to discard it.
func (w *Writer) Record(h format.RecordHead) []byte {
	if w.alone = !w.open; w.alone {
		w.begin(h)
	}
	w.record = len(w.buf)
	return format.AppendRecordHead(w.buf, h)
}

// End adds the record of h, which Record has started.
func (w *Writer) End(h format.RecordHead, b []byte) {
	w.buf = b[:w.record]
	h.Size = uint64(len(b) - w.record - format.RecordHeadSize)
	if len(b)-w.frames[len(w.frames)-1].from-format.FrameHeadSize > maxFrame {
		ops := slices.Clone(b[w.record+format.RecordHeadSize:])
		w.Drop()
		w.Add(h, ops)
		return
	}
	format.AppendRecordHead(w.buf, h) // over the head that Record has written
	w.buf = b
	w.last, w.chain = format.Version(h.Version), h.Chain
}

// Drop discards the record that Record has started.
func (w *Writer) Drop() {
	w.buf = w.buf[:w.record]
	if w.alone {
		n := len(w.frames) - 1
		w.buf, w.frames, w.open = w.buf[:w.frames[n].from], w.frames[:n], false
	}
}

// Add adds a record with its list of changes.
func (w *Writer) Add(h format.RecordHead, ops []byte) {
	h.Size = uint64(len(ops))
	if format.RecordHeadSize+len(ops) > maxFrame {
		w.addParts(h, ops)
	} else {
		if w.open && len(w.buf)-w.frames[len(w.frames)-1].from-format.FrameHeadSize+format.RecordHeadSize+len(ops) > maxFrame {
			w.close()
		}
		if !w.open {
			w.begin(h)
		}
		w.buf = format.AppendRecordHead(w.buf, h)
		w.buf = append(w.buf, ops...)
	}
	w.last, w.chain = format.Version(h.Version), h.Chain
}

// begin begins a frame whose first record is the record of h.
func (w *Writer) begin(h format.RecordHead) {
	w.frames = append(w.frames, frame{from: len(w.buf), head: format.FrameHead{Space: w.space, Parts: 1, First: h.Version, Before: w.chain}})
	w.buf = append(w.buf, make([]byte, format.FrameHeadSize)...)
	w.open = true
}

// close ends a frame after the last record that was added.
func (w *Writer) close() {
	if !w.open {
		return
	}
	f := &w.frames[len(w.frames)-1]
	f.head.Last, f.head.After = uint64(w.last), w.chain
	w.seal(f)
	w.open = false
}

// seal computes the head of the last frame and pads it.
func (w *Writer) seal(f *frame) {
	f.to = len(w.buf)
	format.PutFrameHead(w.buf[f.from:f.to], f.head)
	w.pad()
}

// pad fills up the last sector.
func (w *Writer) pad() {
	if pad := -len(w.buf) & (format.FrameAlign - 1); pad != 0 {
		w.buf = append(w.buf, make([]byte, pad)...)
	}
}

// addParts adds a record that is too large for one frame.
func (w *Writer) addParts(h format.RecordHead, ops []byte) {
	w.close()
	head := format.AppendRecordHead(nil, h)
	parts := (len(head) + len(ops) + maxFrame - 1) / maxFrame
	w.buf = slices.Grow(w.buf, len(head)+len(ops)+parts*(format.FrameHeadSize+format.FrameAlign))
	for i := range parts {
		w.frames = append(w.frames, frame{from: len(w.buf), head: format.FrameHead{
			Space: w.space, Part: uint32(i), Parts: uint32(parts),
			First: h.Version, Last: h.Version, Before: w.chain, After: h.Chain,
		}})
		w.buf = append(w.buf, make([]byte, format.FrameHeadSize)...)
		w.buf = append(w.buf, head...)
		n := min(len(ops), maxFrame-len(head))
		w.buf = append(w.buf, ops[:n]...)
		w.seal(&w.frames[len(w.frames)-1])
		head, ops = nil, ops[n:]
	}
}

// Write writes the added records to the file; they are not durable yet. Errors: ErrFull;
// those of the file. After an error some records may be written, which is harmless.
func (w *Writer) Write() error {
	w.close()
	for len(w.frames) > 0 {
		n := 0 // how many frames fit into the segment
		base := w.frames[0].from
		for n < len(w.frames) && w.offset+int64(w.frames[n].to-base) <= w.end {
			n++
		}
		if n == 0 {
			if err := w.nextSegment(); err != nil {
				return err
			}
			continue
		}
		last := w.frames[n-1]
		w.live.FillSegment(w.Segment(), format.Version(last.head.Last))
		invariant.Point("journal.write")
		to := (last.to + format.FrameAlign - 1) &^ (format.FrameAlign - 1)
		if _, err := w.file.WriteAt(w.buf[base:to], w.offset); err != nil {
			return fmt.Errorf("writing the journal: %w", err)
		}
		w.offset += int64(to - base)
		w.frames = w.frames[n:]
	}
	w.frames = nil
	w.buf = w.buf[:0]
	if cap(w.buf) > 4<<20 {
		w.buf = nil
	}
	return nil
}

// Segment returns the number of the claimed segment; -1 if there is none.
func (w *Writer) Segment() int { return int(w.end/format.SegmentSize) - 1 }

// nextSegment claims another segment: one that the file has, or a new one.
func (w *Writer) nextSegment() error {
	w.Release()
	i, ok := w.live.ClaimSegment()
	if !ok && w.live.Subscribed() { // CH2
		subscription.LoseBehind(w.live, func(after format.Version) format.ByteCount {
			if w.Beside == nil {
				return format.SegmentSize
			}
			return format.SegmentSize + w.Beside(after)
		})
		i, ok = w.live.ClaimSegment()
	}
	if !ok {
		if i, ok = w.live.ClaimNewSegment(); !ok {
			return ErrFull
		}
		if err := Extend(w.file, min(w.live.Segments(), i), i); err != nil {
			w.live.ReleaseSegment(i)
			return err
		}
		invariant.Point("segment.made")
		w.live.AddSegment(i)
	}
	w.offset = int64(i) * format.SegmentSize
	w.end = w.offset + format.SegmentSize
	return nil
}

// Release releases the claimed segment.
func (w *Writer) Release() {
	if w.end != 0 {
		w.live.ReleaseSegment(w.Segment())
	}
	w.offset, w.end = 0, 0
}

// Sync makes all earlier writes to the file durable, of all processes.
func (w *Writer) Sync() error {
	if err := w.file.Datasync(); err != nil {
		return fmt.Errorf("syncing the journal: %w", err)
	}
	return nil
}

// Extend makes segment i (J5). It allocates the space of all segments from the segment from
// up to i, since other processes may still be making those, and fills segment i with zeros,
// so that later writes there change only data.
func Extend(f mapping.File, from, i int) error {
	start, off := int64(from)*format.SegmentSize, int64(i)*format.SegmentSize
	if err := f.Allocate(start, off+format.SegmentSize-start); err != nil {
		return fmt.Errorf("growing the journal to %d bytes: %w", off+format.SegmentSize, err)
	}
	zeros := make([]byte, 256<<10)
	for n := int64(0); n < format.SegmentSize; n += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros, off+n); err != nil {
			return fmt.Errorf("growing the journal to %d bytes: %w", off+format.SegmentSize, err)
		}
	}
	return nil
}

// Cut truncates the file where the claims of live.ClaimTail begin, if it is longer (J6).
// Errors are those of the file. After an error the file is longer than necessary, which is
// harmless.
func Cut(f mapping.File, lv *live.Live, keep int) error {
	from := lv.ClaimTail(keep)
	defer lv.ReleaseTail(from)
	size, err := f.Size()
	if err != nil || size <= int64(from)*format.SegmentSize {
		return err
	}
	invariant.Point("journal.tail")
	lv.DropTail(from)
	invariant.Point("journal.shorter")
	if err := f.Truncate(int64(from) * format.SegmentSize); err != nil {
		return fmt.Errorf("making the journal shorter: %w", err)
	}
	invariant.Point("journal.cut")
	return nil
}

// spaceWord identifies a space in its frames.
func spaceWord(id [16]byte) uint64 {
	var w uint64
	for i := range 8 {
		w |= uint64(id[i]) << (8 * i)
	}
	return w
}
