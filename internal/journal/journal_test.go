package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap/heaptest"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/mapping"
)

// A book is the journal of a space, and the records that were written to it.
type book struct {
	t       *testing.T
	space   *heaptest.Space
	file    mapping.File
	records []record // by version, from the first one on
}

// record is the record of a version.
type record struct {
	head format.RecordHead
	ops  []byte
}

// firstVersion is the version of the first record; the anchor of a new space has the version before.
const firstVersion = 2

// newBook opens the journal of a new space.
func newBook(t *testing.T) *book {
	t.Helper()
	space := heaptest.Open(t, 64<<20)
	file, err := mapping.OpenFile(filepath.Join(space.Dir, journal.FileName), os.O_RDWR, 0)
	must(t, err)
	t.Cleanup(func() { must(t, file.Close()) })
	return &book{t: t, space: space, file: file}
}

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// writer returns another writer.
func (b *book) writer() *journal.Writer {
	return journal.NewWriter(b.file, b.space.Live, b.space.Header.SpaceID)
}

// chain returns the chain of a version.
func (b *book) chain(v format.Version) uint64 {
	if v < firstVersion {
		return 77
	}
	return b.records[v-firstVersion].head.Chain
}

// last returns the version of the last record.
func (b *book) last() format.Version { return format.Version(firstVersion + len(b.records) - 1) }

// add adds a random record of a size for the next version.
func (b *book) add(r *rand.Rand, size int) {
	ops := make([]byte, size)
	for i := range ops {
		ops[i] = byte(r.Uint32())
	}
	v := uint64(b.last()) + 1
	b.records = append(b.records, record{format.RecordHead{Version: v, Chain: r.Uint64(), UnixNano: v * 1000}, ops})
}

// write writes the records from one version to another. It adds them in all possible ways.
func (b *book) write(w *journal.Writer, from, to format.Version) {
	b.t.Helper()
	w.Begin(from-1, b.chain(from-1))
	for v := from; v <= to; v++ {
		rec := b.records[v-firstVersion]
		switch v % 3 {
		case 0:
			w.Add(rec.head, rec.ops)
			continue
		case 1:
			_ = append(w.Record(rec.head), make([]byte, 1000)...)
			w.Drop()
		}
		w.End(rec.head, append(w.Record(rec.head), rec.ops...))
	}
	must(b.t, w.Write())
}

// follow verifies the records that a recovery finds which starts from a version: they must
// be those written, and end at the version to.
func (b *book) follow(from, to format.Version) {
	b.t.Helper()
	log, err := journal.Load(b.file, b.space.Header.SpaceID, from)
	must(b.t, err)
	history, err := log.Follow(from, b.chain(from))
	must(b.t, err)
	if history.Last != to || history.Empty() != (from == to) {
		b.t.Fatalf("from version %d on, it ends at %d, not at %d", from, history.Last, to)
	}
	next := from + 1
	must(b.t, history.All(func(h format.RecordHead, ops []byte) error {
		want := b.records[next-firstVersion]
		want.head.Size = uint64(len(want.ops))
		if h != want.head || !bytes.Equal(ops, want.ops) {
			return fmt.Errorf("the record of version %d is %+v, with %d bytes", next, h, len(ops))
		}
		next++
		return nil
	}))
	if next != to+1 {
		b.t.Fatalf("the records end before version %d", next)
	}
}

// size returns the size of a random record: most are small, some fill frames, some need
// several.
func size(r *rand.Rand) int {
	switch r.IntN(10) {
	case 0:
		return r.IntN(300 << 10)
	case 1:
		return 200<<10 + r.IntN(500<<10)
	}
	return r.IntN(300)
}

// A recovery finds the records that were written, from any version on, whichever of several
// writers wrote them, and if two wrote the same record (J2, J4).
func TestJournal_ComesBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	b := newBook(t)
	writers := []*journal.Writer{b.writer(), b.writer(), b.writer()}
	for range 60 {
		from := b.last() + 1
		for range 1 + r.IntN(8) {
			b.add(r, size(r))
		}
		if from > firstVersion+3 && r.IntN(3) == 0 {
			from -= format.Version(r.IntN(4)) // another writer has written these, too
		}
		b.write(writers[r.IntN(len(writers))], from, b.last())
	}
	for range 20 {
		b.follow(format.Version(firstVersion-1+r.IntN(len(b.records)+1)), b.last())
	}
	if n := b.space.Live.Segments(); n < 3 {
		t.Errorf("all of it is in %d segments", n)
	}
}

// A missing or damaged record ends a recovery, and all records before it are found (J4).
func TestJournal_EndsWhereAVersionIsMissing(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	b := newBook(t)
	w := b.writer()
	for range 30 {
		b.add(r, 100+r.IntN(2000))
		b.write(w, b.last(), b.last()) // a frame each
	}
	b.add(r, 100) // is not written
	b.add(r, 100)
	b.write(w, b.last(), b.last())
	b.follow(firstVersion-1, b.last()-2)
	b.follow(b.last()-1, b.last())

	victim := format.Version(firstVersion + 11)
	off := b.find(victim)
	_, err := b.file.WriteAt([]byte{0xaa}, off+int64(format.FrameHeadSize)+20)
	must(t, err)
	b.follow(firstVersion-1, victim-1)
	b.follow(victim, b.last()-2)
	if at, ok := journal.Damaged(b.file, b.space.Header.SpaceID, uint64(victim)); !ok || at != off {
		t.Errorf("the damage at %d is found at %d: %t", off, at, ok)
	}
	if _, ok := journal.Damaged(b.file, b.space.Header.SpaceID, uint64(victim+1)); ok {
		t.Error("a frame that is whole is called damaged")
	}
	b.write(b.writer(), victim, victim) // once more, elsewhere
	b.follow(firstVersion-1, b.last()-2)
}

// A recovery finds a record in parts as a whole, or not at all.
func TestJournal_PartMissing(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	b := newBook(t)
	w := b.writer()
	for _, size := range []int{100, 700 << 10, 100} {
		b.add(r, size)
		b.write(w, b.last(), b.last())
	}
	b.follow(firstVersion-1, b.last())
	for off := b.find(firstVersion+1) + 300<<10; ; off += format.FrameAlign { // in the second part
		head := make([]byte, format.FrameAlign)
		_, err := b.file.ReadAt(head, off)
		must(t, err)
		if h, ok := format.DecodeFrameHead(head); ok && h.Part == 2 {
			_, err := b.file.WriteAt(make([]byte, format.FrameAlign), off)
			must(t, err)
			break
		}
	}
	b.follow(firstVersion-1, firstVersion)
	b.follow(firstVersion+1, b.last())
}

// find returns where the frame of a version begins.
func (b *book) find(v format.Version) int64 {
	b.t.Helper()
	head := make([]byte, format.FrameAlign)
	for off := int64(0); ; off += format.FrameAlign {
		if _, err := b.file.ReadAt(head, off); err != nil {
			b.t.Fatalf("there is no frame of version %d: %v", v, err)
		}
		if h, ok := format.DecodeFrameHead(head); ok && h.First <= uint64(v) && uint64(v) <= h.Last {
			return off
		}
	}
}

// A recovery does not continue with an abandoned history, one of whose versions was lost,
// although it has the next versions (J4). Nor does it follow the journal of another space.
func TestJournal_OtherHistories(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	b := newBook(t)
	w := b.writer()
	for range 20 {
		b.add(r, 200)
		b.write(w, b.last(), b.last())
	}
	_, err := b.file.WriteAt(make([]byte, format.FrameAlign), b.find(firstVersion+10))
	must(t, err)
	b.follow(firstVersion-1, firstVersion+9)
	b.records = b.records[:10:10]
	for range 5 {
		b.add(r, 300) // other records than before
		b.write(w, b.last(), b.last())
	}
	b.follow(firstVersion-1, b.last())
	b.follow(firstVersion+9, b.last())

	other := b.space.Header.SpaceID
	other[3]++
	for id, foreign := range map[[16]byte]bool{b.space.Header.SpaceID: false, other: true} {
		if got, err := journal.ForeignTo(b.file, id); err != nil || got != foreign {
			t.Errorf("it is of another space: %t, %v", got, err)
		}
	}
	log, err := journal.Load(b.file, other, 0)
	must(t, err)
	history, err := log.Follow(firstVersion-1, b.chain(firstVersion-1))
	must(t, err)
	if !history.Empty() {
		t.Error("the journal of another space is followed")
	}
}

// No two writers write one segment, and no writer overwrites needed records: neither anchor
// of the space has these versions (J3). Cut does not cut off needed records either (J6).
func TestJournal_KeepsWhatIsNeeded(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	b := newBook(t)
	one, two := b.writer(), b.writer()
	for range 40 {
		b.add(r, 200<<10)
		w := one
		if r.IntN(2) == 0 {
			w = two
		}
		b.write(w, b.last(), b.last())
		if one.Segment() == two.Segment() && one.Segment() >= 0 {
			t.Fatalf("two writers have segment %d", one.Segment())
		}
	}
	one.Release()
	two.Release()
	before := b.space.Live.Segments()
	must(t, journal.Cut(b.file, b.space.Live, 1))
	if after := b.space.Live.Segments(); after != before {
		t.Errorf("of %d segments %d are left", before, after)
	}
	b.follow(firstVersion-1, b.last())
}

// Cut cuts off superfluous segments, down to the number to keep, and writers make them again
// when they need them (J5, J6).
func TestJournal_CutAndMadeAgain(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	b := newBook(t)
	w := b.writer()
	b.add(r, 100)
	b.write(w, b.last(), b.last())
	must(t, journal.Extend(b.file, 1, 3))
	b.space.Live.AddSegment(3) // as a process that died before it wrote anything
	must(t, journal.Cut(b.file, b.space.Live, 1))
	length, err := b.file.Size()
	must(t, err)
	if n := b.space.Live.Segments(); n != 1 || length != format.SegmentSize {
		t.Errorf("%d segments are left, and %d bytes", n, length)
	}
	for range 30 {
		b.add(r, 250<<10)
		b.write(w, b.last(), b.last())
	}
	b.follow(firstVersion-1, b.last())
}

// Repeat writes records again that a failed sync may have lost; a recovery finds them
// whether they were lost or not.
func TestWriter_Repeat(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	b := newBook(t)
	w := b.writer()
	for range 10 {
		b.add(r, size(r))
		b.write(w, b.last(), b.last())
	}
	floor := format.Version(firstVersion + 5)
	lost := b.find(floor + 2)
	again := b.writer()
	must(t, again.Repeat(floor))
	_, err := b.file.WriteAt(make([]byte, format.FrameAlign), lost)
	must(t, err)
	b.follow(firstVersion-1, b.last())
}

// Segments returns, for each segment, the newest version of its records, up to the limit.
func TestLog_Segments(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	b := newBook(t)
	w := b.writer()
	var newest []format.Version // by segment
	for range 40 {
		b.add(r, 240<<10)
		b.write(w, b.last(), b.last())
		for len(newest) <= w.Segment() {
			newest = append(newest, 0)
		}
		newest[w.Segment()] = b.last()
	}
	log, err := journal.Load(b.file, b.space.Header.SpaceID, 0)
	must(t, err)
	for _, limit := range []format.Version{1, firstVersion + 12, b.last()} {
		for i, got := range log.Segments(limit) {
			if got > limit || got > newest[i] || limit == b.last() && got != newest[i] {
				t.Errorf("segment %d has versions up to %d, up to %d it says %d", i, newest[i], limit, got)
			}
		}
	}
}

// A journal that cannot grow returns an error, and keeps its records.
func TestWriter_Full(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	b := newBook(t)
	w := b.writer()
	b.add(r, 100)
	b.write(w, b.last(), b.last())
	w.Release()
	for i := range format.NumSegments { // all are needed
		b.space.Live.FillSegment(i, format.MaxVersion)
	}
	b.space.Live.AddSegment(format.NumSegments - 1)
	b.add(r, 100)
	w.Begin(b.last()-1, b.chain(b.last()-1))
	w.Add(b.records[len(b.records)-1].head, b.records[len(b.records)-1].ops)
	if err := w.Write(); !errors.Is(err, journal.ErrFull) {
		t.Errorf("it was written: %v", err)
	}
	b.follow(firstVersion-1, b.last()-1)
}

// Whatever bytes the file has, reading it returns an error or frames; it never panics, and
// never takes other bytes for a frame.
func FuzzLoad(f *testing.F) {
	f.Add([]byte{}, uint64(1))
	f.Add(bytes.Repeat([]byte{0xff}, 2*format.FrameAlign), uint64(9))
	f.Fuzz(func(t *testing.T, data []byte, chain uint64) {
		path := filepath.Join(t.TempDir(), "journal")
		must(t, os.WriteFile(path, data, 0o600))
		file, err := mapping.OpenFile(path, os.O_RDWR, 0)
		must(t, err)
		defer file.Close()
		log, err := journal.Load(file, [16]byte{}, 0)
		must(t, err)
		history, err := log.Follow(0, chain)
		if err == nil {
			err = history.All(func(h format.RecordHead, ops []byte) error { return nil })
		}
		var damage *format.DamageError
		if err != nil && !errors.As(err, &damage) {
			t.Errorf("not reported as damage: %v", err)
		}
		_, _ = journal.Damaged(file, [16]byte{}, 1)
		_, err = journal.ForeignTo(file, [16]byte{1})
		must(t, err)
	})
}
