package engine

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"runtime/debug"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/everheap/everheap/internal/check"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/faultdisk"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/untyped"
)

// A hidden is a part of the heap file that the disk cannot read for a while.
type hidden struct{ off, n uint64 }

// protect makes pages of both views inaccessible, so that touching them is a fault, or accessible
// again.
func protect(t *testing.T, sp *Space, h hidden, hide bool) {
	t.Helper()
	for _, view := range []struct {
		at   uintptr
		prot int
	}{{uintptr(sp.Head.Base), unix.PROT_READ}, {uintptr(sp.Head.Base) + sp.Region.Delta(), unix.PROT_READ | unix.PROT_WRITE}} {
		page := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), view.at+uintptr(h.off))), h.n)
		if hide {
			view.prot = unix.PROT_NONE
		}
		if err := unix.Mprotect(page, view.prot); err != nil {
			t.Fatal(err)
		}
	}
}

// pageSteps are steps that touch memory all over.
func pageSteps(n uint64) []faultStep {
	var b background
	return []faultStep{
		plain("view", false, func(sp *Space) error { // the whole space
			return sp.look(func(tx *Tx) error { _, err := untyped.Names(&tx.Editor); return err })
		}),
		{name: "iterate", do: func(l *faultLife) error { _, err := l.read(); return err }},
		{name: "get", do: func(l *faultLife) (err error) {
			for key := uint64(0); key < 60 && err == nil; key++ {
				var word uint64
				_, err = l.sp.Alone(false).Get(words(l.id[0]), pointerTo(key), unsafe.Pointer(&word))
			}
			return err
		}},
		{name: "open map", do: func(l *faultLife) error { _, err := l.sp.OpenMap("m0", words(0)); return err }},
		setWord(1, n, false),
		batch(10, 60, n),
		setText(1, 5000),
		setText(2, 70_000),
		deleteWord(10 + n%50),
		setWord(2, n, true),
		plain("spool", false, (*Space).Spool),
		plain("sync", true, (*Space).Sync),
		plain("anchor", false, func(sp *Space) error { return sp.Anchor(false) }),
		plain("check", false, func(sp *Space) error {
			report, err := sp.Check(context.Background())
			if err == nil && len(report.Findings) > 0 {
				return &failure.CorruptError{What: report.Findings[0].What}
			}
			return err
		}),
		plain("sweep", false, func(sp *Space) error { _, err := sp.Sweep(); return err }),
		plain("compaction", false, func(sp *Space) error { _, _, err := sp.Compact(context.Background()); return err }),
		plain("collection", false, func(sp *Space) error { _, err := sp.Collect(context.Background()); return err }),
		plain("background", false, func(sp *Space) error {
			none := errors.New("none")
			sp.Note(none)
			b.sp, b.n = sp, 19
			b.tick()
			if failure := sp.Failure(); failure != none {
				return failure
			}
			return nil
		}),
		plain("status", false, func(sp *Space) error { _, err := sp.Status(); return err }),
		plain("claims", false, func(sp *Space) error { _, err := sp.Claims(); return err }),
	}
}

// blind does a step while a page cannot be read, and then compares the space with the model.
func (l *faultLife) blind(s faultStep, h hidden) (failed bool) {
	l.t.Helper()
	protect(l.t, l.sp, h, true)
	err := l.sp.Explain(s.name, s.do(l))
	protect(l.t, l.sp, h, false)
	if err != nil && !errors.Is(err, failure.ErrFault) && !errors.Is(err, failure.ErrCorrupt) {
		l.t.Errorf("%s with %d hidden: the error does not say what it is: %v", s.name, h, err)
	}
	if debug.SetPanicOnFault(false) {
		l.t.Errorf("%s: the goroutine's setting is not restored", s.name)
	}
	if !l.sp.Live.Idle() {
		l.t.Errorf("%s: a version is still held", s.name)
	}
	free := l.sp.Queue.TryLock()
	if free {
		l.sp.Queue.Unlock()
	}
	if !free || l.sp.Live.OwnsWriter() || l.sp.Live.Entry().Active.Load() != 0 {
		l.t.Errorf("%s: the turn was not given back", s.name)
	}
	if l.sp.Live.Words().Failed.Load() != 0 {
		l.t.Errorf("%s: a page that cannot be read counts as a failed write", s.name)
	}
	after := maps.Clone(l.now)
	if s.change != nil {
		s.change(after)
	}
	got, readErr := l.read()
	switch {
	case readErr != nil:
		l.t.Errorf("%s (%v): reading fails after the page can be read again: %v", s.name, err, readErr)
	case err == nil && !maps.Equal(got, after), err != nil && !maps.Equal(got, l.now) && !(s.durable && maps.Equal(got, after)):
		l.t.Errorf("%s with %d hidden: the outcome is %v, and the space has other contents than it must", s.name, h, err)
	}
	l.now, l.history, l.durable = got, []textContents{got}, 0
	return err != nil
}

// someBlock picks a small block that the newest version can reach, and returns the
// page that it begins in.
func someBlock(t *testing.T, sp *Space, i int) hidden {
	t.Helper()
	var small []format.Addr
	r := sp.Heap.Reader(true)
	hold := sp.Live.HoldCurrent()
	defer sp.Live.Release(&hold)
	err := check.Newer(&r, hold.State, 0, func(a format.Addr, size format.ByteCount) {
		if size < format.PageSize {
			small = append(small, a)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return hidden{(uint64(small[i%len(small)]) - sp.Head.Base) &^ (format.PageSize - 1), format.PageSize}
}

// hideable lists the parts to hide, one after the other: the extent table, and every page.
func hideable(sp *Space) (list []hidden) {
	first, carved := format.FirstExtent(sp.Head.Window), sp.Live.Words().Carved.Load()
	list = append(list, hidden{format.TableOffset, format.PageSize})
	for off := first; off < carved; off += format.PageSize {
		if sp.Heap.ExtentInUse(off) {
			list = append(list, hidden{off, format.PageSize})
		}
	}
	return list
}

// Whichever page the disk cannot read during whichever step, the step returns an answer or an
// error, and everything works once the disk reads the page again.
func TestFault_EveryPage(t *testing.T) { // E6
	l := &faultLife{t: t, dir: filepath.Join(faultDir(t), "s"), disk: faultdisk.New(), now: textContents{}}
	l.history = []textContents{l.now}
	l.lived(recent()...)
	list := hideable(l.sp)
	stride := 1
	if testing.Short() {
		stride = 7
	}
	failures := map[string]int{}
	n := uint64(1)
	for i := 0; i < len(list)+200; i += stride {
		for _, s := range pageSteps(n) {
			h := list[min(i, len(list)-1)]
			if i >= len(list) { // from here on every step by itself
				h = someBlock(t, l.sp, int(n*2654435761>>16&0xffff))
			}
			if l.blind(s, h) {
				failures[s.name]++
			}
			if n++; t.Failed() {
				t.FailNow()
			}
		}
		if _, err := l.sp.Sweep(); err != nil {
			t.Fatal(err)
		}
		if report, err := l.sp.Check(context.Background()); err != nil || len(report.Findings) > 0 {
			t.Fatalf("after round %d: %v (%v)", i, report, err)
		}
	}
	t.Logf("%d pages and 200 blocks; failures by step: %v", len(list)/stride, failures)
	if len(failures) < 12 && stride == 1 {
		t.Errorf("too little has failed: %v", failures)
	}
	l.close()
	l.survives()
}
