package rest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
)

// atRest waits until the journal has one segment, with all of its space.
func atRest(t testing.TB, dir string) {
	t.Helper()
	var size, disk int64
	if !wait(func() bool {
		size, disk = length(t, dir, "journal")
		return size == segment
	}) {
		t.Fatalf("the journal has %d bytes, at rest", size)
	}
	if disk < size {
		t.Errorf("the journal takes %d bytes of the disk, and has %d", disk, size)
	}
}

// verifyAll opens the space as after a power loss, and verifies the acknowledged entries of authors.
func verifyAll(t testing.TB, dir string, size int, acked map[int]int) {
	t.Helper()
	powerLoss(t, dir)
	s := openAlone(t, dir)
	defer func() { must(t, s.Close()) }()
	for id, n := range acked {
		a, err := newAuthor(s, id, size)
		must(t, err)
		a.verify(t, n)
	}
	whole(t, s)
}

// Some processes write much, and then nothing, and keep the space open: the journal becomes short by
// itself, and grows when they write again. Their entries survive a power loss at any of these times.
func TestJournal_IsShortAtRest(t *testing.T) { // J7
	t.Parallel()
	dir, size := newDir(t), 50_000
	acked := map[int]int{}
	for round := range 2 {
		var authors []*proc
		for id := range 3 {
			p := start(t, "author", dir, "", id, size)
			authors = append(authors, p)
			p.hear("ready")
		}
		for again := range 2 {
			for n := int64(0); n < 4*segment; n, _ = length(t, dir, "journal") {
				for _, p := range authors {
					p.tell("write", 40)
				}
				for id, p := range authors {
					p.hear("done")
					acked[id] = number(t, p.said("acked"))
				}
			}
			if round+again < 2 {
				atRest(t, dir)
			}
		}
		for _, p := range authors {
			p.kill()
		}
		verifyAll(t, dir, size, acked)
	}
}

// One process writes a little all the time: the journal does not keep the length that others needed
// before.
func TestJournal_BesideOneWhoWritesALittle(t *testing.T) { // J8
	if testing.Short() {
		t.Skip("takes half a minute, of looks once a second")
	}
	t.Parallel()
	dir := newDir(t)
	little := start(t, "author", dir, "", 1, 100)
	little.hear("ready")
	much := start(t, "author", dir, "", 2, 100_000)
	much.hear("ready")
	n := int64(0)
	for ; n < 5*segment; n, _ = length(t, dir, "journal") {
		much.tell("write", 40)
		much.hear("done")
	}
	written := 0
	if !wait(func() bool {
		time.Sleep(30 * time.Millisecond) // otherwise it writes more than a segment between two anchors
		little.tell("write", 1)
		little.hear("done")
		written++
		n, _ = length(t, dir, "journal")
		return n <= 2*segment
	}) {
		t.Fatalf("the journal has %d bytes while one process writes a little", n)
	}
	little.kill()
	much.kill()
	verifyAll(t, dir, 100, map[int]int{1: written})
	verifyAll(t, dir, 100_000, map[int]int{2: number(t, much.said("acked"))})
}

// The last Close of a space, and Compact, leave a short journal at once; so does Close while others
// only read.
func TestJournal_IsShortAfterCloseAndCompact(t *testing.T) { // J7
	dir, size := newDir(t), 100_000
	for round := range 3 {
		s := opened(t, dir)
		a, err := newAuthor(s, 1, size)
		must(t, err)
		a.lengthen(t, dir)
		var reader *proc
		switch round {
		case 1:
			_, err := s.Compact(context.Background())
			must(t, err)
			if n, _ := length(t, dir, "journal"); n != segment {
				t.Errorf("the journal has %d bytes after it was compacted", n)
			}
			a.lengthen(t, dir)
		case 2:
			reader = start(t, "reader", dir, "")
			reader.hear("ready")
		}
		must(t, s.Close())
		if n, _ := length(t, dir, "journal"); n != segment {
			t.Errorf("the journal has %d bytes after the space was closed (round %d)", n, round)
		}
		if reader != nil {
			reader.kill()
		}
		verifyAll(t, dir, size, map[int]int{1: a.seq})
	}
}

// lengthen writes until the journal has some segments.
func (a *author) lengthen(t testing.TB, dir string) {
	t.Helper()
	for n := int64(0); n < 3*segment; n, _ = length(t, dir, "journal") {
		must(t, a.write())
	}
}

func init() {
	children["reader"] = func(dir string, _ []string) error {
		s, err := everheap.Open(dir, everheap.WithReadOnly())
		if err != nil {
			return err
		}
		say("ready")
		for range lines() {
			break
		}
		return s.Close()
	}
}

// A process is suspended, or dies, at every step of making, writing and cutting segments; meanwhile
// others do all of that, over and over. When it continues it does no harm: all acknowledged entries
// survive a power loss.
func TestJournal_CutAroundOneWhoStandsStill(t *testing.T) { // J6
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	t.Parallel() // it waits for the suspended process, and for syncs
	r := rand.New(rand.NewPCG(*seedFlag, 1))
	points := []string{"segment.chosen", "segment.claimed", "segment.made", "journal.write", "journal.written", "journal.synced", "journal.tail", "journal.shorter", "journal.cut"}
	for _, point := range points {
		for _, how := range []string{"stop", "kill"} {
			times := 1 + r.IntN(3)
			t.Run(fmt.Sprintf("%s:%d:%s", point, times, how), func(t *testing.T) {
				t.Parallel()
				aroundPoint(t, point, times, how)
			})
		}
	}
}

// aroundPoint is a round of TestJournal_CutAroundOneWhoStandsStill.
func aroundPoint(t *testing.T, point string, times int, how string) {
	dir, size := newDir(t), 60_000
	armed := start(t, "author", dir, fmt.Sprintf("%s:%d:%s", point, times, how), 0, size)
	armed.hear("ready")
	armed.tell("go")
	authors := []*proc{armed, start(t, "author", dir, "", 1, size), start(t, "author", dir, "", 2, size)}
	for _, p := range authors[1:] {
		p.hear("ready")
		p.tell("go")
	}
	until := func(what string, reached func() bool) {
		t.Helper()
		if !wait(reached) {
			t.Fatalf("%s did not happen; the others have %s and %s entries", what, authors[1].said("acked"), authors[2].said("acked"))
		}
	}
	progress := func(authors ...*proc) { // a segment and more, and a compaction or two
		t.Helper()
		for _, p := range authors {
			from := number(t, p.said("acked"))
			until("progress", func() bool { return number(t, p.said("acked")) >= from+60 })
		}
	}
	until(point, func() bool { return armed.gone() || armed.still() })
	progress(authors[1:]...)
	if how == "stop" {
		armed.resume()
		progress(authors...)
	} else {
		authors = authors[1:]
	}
	for _, p := range authors { // entries that are only in the journal, unless an anchor is due
		p.tell("write", 30)
		p.hear("done go")
	}
	for _, p := range authors {
		p.hear("done write")
	}
	if n, disk := length(t, dir, "journal"); disk < n {
		t.Errorf("the journal takes %d bytes of the disk, and has %d", disk, n)
	}
	acked := map[int]int{0: number(t, armed.said("acked"))}
	for _, p := range authors {
		p.kill()
	}
	for i := range 2 {
		p := authors[len(authors)-1-i]
		acked[2-i] = number(t, p.said("acked"))
	}
	verifyAll(t, dir, size, acked)
}

// A process has chosen to make a new segment, and is suspended before it claims it. Others make the
// segment, fill it with records that are needed, and continue with the next one. When the first
// process continues, it does not write over them.
func TestJournal_SegmentMadeByOthersMeanwhile(t *testing.T) { // J5
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	t.Parallel()
	dir, size := newDir(t), 100_000
	early := start(t, "author", dir, "", 0, size)
	early.hear("ready")
	early.tell("write", 1) // and has the first segment
	early.hear("done")
	late := start(t, "author", dir, "segment.chosen:1:stop", 1, size)
	late.hear("ready")
	late.tell("write", 1)
	if !wait(late.still) {
		t.Fatal("it does not come to the point")
	}
	for n := int64(0); n < 3*segment; n, _ = length(t, dir, "journal") {
		early.tell("write", 5)
		early.hear("done")
	}
	late.resume()
	late.hear("done")
	late.kill()
	early.kill()
	verifyAll(t, dir, size, map[int]int{0: number(t, early.said("acked")), 1: 1})
}

// A process is suspended when it is about to cut the journal. When it continues, it does not cut off
// records that others have written meanwhile.
func TestJournal_CutLate(t *testing.T) { // J6
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	for _, point := range []string{"journal.tail", "journal.shorter"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			dir, size := newDir(t), 100_000
			early := start(t, "author", dir, "", 0, size)
			early.hear("ready")
			early.tell("write", 1) // and has the first segment
			early.hear("done")
			much := start(t, "author", dir, "", 1, size)
			much.hear("ready")
			for n := int64(0); n < 4*segment; n, _ = length(t, dir, "journal") {
				much.tell("write", 10)
				much.hear("done")
			}
			much.kill()
			late := start(t, "author", dir, point+":1:stop", 2, size)
			late.hear("ready")
			late.tell("compact")
			if !wait(late.still) {
				t.Fatal("it does not come to the point")
			}
			early.tell("write", 60) // as much as three segments take
			early.hear("done")
			late.resume()
			late.hear("done")
			early.tell("write", 3)
			early.hear("done")
			late.kill()
			early.kill()
			verifyAll(t, dir, size, map[int]int{0: number(t, early.said("acked")), 1: number(t, much.said("acked"))})
		})
	}
}
