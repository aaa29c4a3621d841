package journal_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/mapping"
)

// countedFile counts the reads and their bytes.
type countedFile struct {
	mapping.File
	reads, bytes int
}

func (f *countedFile) ReadAt(p []byte, off int64) (int, error) {
	f.reads++
	f.bytes += len(p)
	return f.File.ReadAt(p, off)
}

// A reader is a Tail that verifies the records that it gets.
type reader struct {
	*book
	tail *journal.Tail
	file *countedFile
	most int // how many records it reads at once; 0: any number
}

var errMost = errors.New("so many are enough")

// newReader returns a reader of the records after a version.
func (b *book) newReader(v format.Version) *reader {
	f := &countedFile{File: b.file}
	return &reader{book: b, tail: journal.NewTail(f, b.space.Live, b.space.Header.SpaceID, v, 0), file: f}
}

// next reads the records up to a version.
func (r *reader) next(limit format.Version) (n int) {
	r.t.Helper()
	err := r.tail.Next(limit, func(h format.RecordHead, before uint64, ops []byte) error {
		if r.most > 0 && n == r.most {
			return errMost
		}
		at, _ := r.tail.At()
		want := r.records[at+1-firstVersion]
		if h.Version != uint64(at)+1 || h.Chain != want.head.Chain || before != r.chain(at) || !bytes.Equal(ops, want.ops) {
			r.t.Fatalf("version %d comes after version %d, or is not what was written", h.Version, at)
		}
		n++
		return nil
	})
	if !errors.Is(err, errMost) {
		must(r.t, err)
	}
	return n
}

// For each commit a Tail reads little more than its frame, whichever process writes it,
// whatever records there were before, and if it continues in another segment.
func TestTail_ReadsLittle(t *testing.T) {
	b, random := newBook(t), rand.New(rand.NewPCG(7, 2))
	w := []*journal.Writer{b.writer(), b.writer()}
	write := func(i, size int) {
		b.add(random, size)
		b.write(w[i], b.last(), b.last())
	}
	for range 200 {
		write(0, 3000)
	}
	r := b.newReader(firstVersion - 1)
	r.most = 10
	for r.next(b.last()) > 0 { // what was there before, in many batches
	}
	if at, _ := r.tail.At(); at != b.last() {
		t.Fatalf("it reads up to version %d of %d", at, b.last())
	}
	if most := 2 * format.SegmentSize; r.file.bytes > most {
		t.Errorf("of 200 records of 3,000 bytes, %d bytes are read, want at most %d", r.file.bytes, most)
	}
	r.most = 0
	for _, commits := range []struct{ writer, size int }{{0, 100}, {0, 2000}, {1, 100}, {0, 100}} {
		write(commits.writer, commits.size) // the first one may have to be searched
		r.next(b.last())
		*r.file = countedFile{File: r.file.File}
		const n, segments = 150, 8 // it may go on in as many segments
		for range n {
			write(commits.writer, commits.size)
			if got := r.next(b.last()); got != 1 {
				t.Fatalf("of one commit %d were read", got)
			}
		}
		frame := (commits.size + format.FrameHeadSize + format.RecordHeadSize + 2*format.FrameAlign - 1) &^ (format.FrameAlign - 1)
		t.Logf("%d bytes, in %.1f reads, of a commit of %d", r.file.bytes/n, float64(r.file.reads)/n, commits.size)
		if most := n * (frame + segments*format.FrameAlign); r.file.bytes > most {
			t.Errorf("of %d commits of %d bytes, %d bytes are read, want at most %d", n, commits.size, r.file.bytes, most)
		}
	}
	for _, w := range w {
		w.Release()
	}
}

// A Tail reads records of every size, in parts or not, from several writers, written once or
// twice, a few at a time or only a part of a frame.
func TestTail_Any(t *testing.T) {
	for seed := range uint64(6) {
		b, random := newBook(t), rand.New(rand.NewPCG(seed, 3))
		w := []*journal.Writer{b.writer(), b.writer(), b.writer()}
		r := b.newReader(firstVersion - 1)
		for range 60 {
			from := b.last() + 1
			for range 1 + random.IntN(5) {
				size := random.IntN(3000)
				if random.IntN(20) == 0 {
					size = random.IntN(1 << 20)
				}
				b.add(random, size)
			}
			i := random.IntN(len(w))
			b.write(w[i], from, b.last())
			if random.IntN(4) == 0 { // another writer has led meanwhile
				b.write(w[(i+1)%len(w)], max(firstVersion, from-format.Version(random.IntN(3))), b.last()-format.Version(random.IntN(2)))
			}
			r.most = random.IntN(8)
			for range random.IntN(6) {
				at, _ := r.tail.At()
				if limit := at + format.Version(random.IntN(int(b.last()-at)+1)); random.IntN(3) > 0 {
					r.next(limit)
				} else {
					r.next(b.last())
				}
			}
		}
		r.most = 0
		for r.next(b.last()) > 0 {
		}
		if at, _ := r.tail.At(); at != b.last() {
			t.Fatalf("seed %d: it reads up to version %d of %d", seed, at, b.last())
		}
		for _, w := range w {
			w.Release()
		}
	}
}

// A Tail accepts a frame only with the next number, the chain of the last version, and a
// correct checksum.
func TestTail_Believes(t *testing.T) { // J4
	for name, spoil := range map[string]func(b *book, w *journal.Writer){
		"another history": func(b *book, w *journal.Writer) {
			w.Begin(b.last()-1, b.chain(b.last()-1)+1)
			w.Add(b.records[len(b.records)-1].head, b.records[len(b.records)-1].ops)
			must(b.t, w.Write())
		},
		"a frame that is not whole": func(b *book, w *journal.Writer) {
			b.write(w, b.last(), b.last())
			sector := make([]byte, format.FrameAlign)
			for off := int64(0); ; off += format.FrameAlign {
				_, err := b.file.ReadAt(sector, off)
				must(b.t, err)
				if h, ok := format.DecodeFrameHead(sector); ok && h.First == uint64(b.last()) {
					_, err := b.file.WriteAt([]byte{^sector[format.FrameHeadSize+int(h.Size)-1]}, off+int64(format.FrameHeadSize)+int64(h.Size)-1)
					must(b.t, err)
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, random := newBook(t), rand.New(rand.NewPCG(5, 2))
			w := b.writer()
			for range 3 {
				b.add(random, 100)
				b.write(w, b.last(), b.last())
			}
			r := b.newReader(firstVersion - 1)
			r.next(b.last())
			b.add(random, 100)
			spoil(b, w)
			err := r.tail.Next(b.last(), func(h format.RecordHead, _ uint64, _ []byte) error {
				t.Errorf("the record of version %d is returned", h.Version)
				return nil
			})
			if !errors.Is(err, journal.ErrGap) {
				t.Errorf("it is %v, want ErrGap", err)
			}
			b.write(w, b.last(), b.last())
			if n := r.next(b.last()); n != 1 {
				t.Errorf("of the right one %d are read", n)
			}
			w.Release()
		})
	}
}
