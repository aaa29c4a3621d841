// Package readahead reads the heap ahead, in the background, in a process that has to wait for
// many of its pages.
//
// The views of a heap are mapped for random access, since pages that the
// kernel reads together on its own would be changed and written together. So after a
// start without the heap in memory, each page that is touched first waits for a read of
// its own, and disks deliver many times as much in order. What is here makes up for it:
// a process that has to wait for many pages reads the heap ahead, in the background, in
// the order of the file.
//
//	A1  It begins when pages are waited for while the space is opened, or in numbers
//	    after that, and goes on, piece by piece, as long as they are: so who finds all in
//	    memory causes no reads.
//	A2  Each byte is read ahead once at most by each process that has opened the space,
//	    and in all no more than half of the memory that is there, for the control
//	    groups of the process, too: so with more data
//	    than memory it ends.
//	A3  Only extents in use are read: holes and free ones would fill memory with nothing.
//	A4  It waits for each step before the next one: who needs a page meanwhile does not
//	    wait behind more than that.
//	A5  It is only advice: a page that cannot be read ends it, and whoever needs the page
//	    is told.
//
// Start reading at Reader.Look.
package readahead

import (
	"bytes"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/member"
)

// Faults is how many pages that were waited for in a tenth of a second are worth it.
const Faults = 32

const (
	aheadPiece = 64 << 20 // bytes that are read before there is another look
	aheadStep  = 1 << 20  // bytes that are read at once

)

// Reader is how far this process has read ahead.
type Reader struct {
	faults int64       // pages that the process had waited for at the last look
	busy   atomic.Bool // a piece is being read; whoever set it has what follows
	at     uint64      // offset in the heap up to which it was read
	bytes  uint64      // that were read
	over   bool
}

// Begin says how many pages the process had waited for before it opened the space.
func (a *Reader) Begin(faults int64) { a.faults = faults }

// Look reads the next piece of the heap, in another goroutine, if so many pages were waited for
// since the last look.
func (a *Reader) Look(m *member.Member, least int64) {
	faults := mapping.MajorFaults()
	waited := faults - a.faults
	a.faults = faults
	if waited < least || !a.busy.CompareAndSwap(false, true) {
		return
	}
	m.Done.Add(1)
	go func() {
		defer m.Done.Done()
		defer a.busy.Store(false)
		if a.over {
			return
		}
		err := m.Guarded(func() error {
			a.piece(m.Live.Carved(), memoryThere()/2, m.Heap.ExtentInUse, func(off, n uint64) bool {
				return !m.Quitting() && m.Region.ReadAhead(int64(off), int64(n))
			})
			return nil
		})
		a.over = a.over || err != nil // A5
	}()
}

// piece reads the next piece of what is in use up to end, if no more than limit was read
// then in all.
func (a *Reader) piece(end, limit uint64, inUse func(off uint64) bool, read func(off, n uint64) bool) {
	for left := int64(aheadPiece); left > 0 && !a.over; {
		n := uint64(0)
		for n < aheadStep && a.at+n < end && inUse(a.at+n) {
			n += format.ExtentSize
		}
		switch {
		case a.at >= end:
			a.over = true
		case n == 0:
			a.at += format.ExtentSize
		case a.bytes+n > limit || !read(a.at, n):
			a.over = true
		default:
			a.at, a.bytes, left = a.at+n, a.bytes+n, left-int64(n)
		}
	}
}

// memoryThere returns how many bytes of memory could be used for files, or are, as far
// as the kernel tells; 0: it does not.
func memoryThere() uint64 {
	there := uint64(0)
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		_, b, _ = bytes.Cut(b, []byte("\nMemAvailable:"))
		kilobytes, _, _ := bytes.Cut(bytes.TrimSpace(b), []byte(" "))
		n, _ := strconv.ParseUint(string(kilobytes), 10, 54)
		there = n << 10
	}
	groups, _ := os.ReadFile("/proc/self/cgroup")
	return min(there, memoryLimit("/sys/fs/cgroup", string(groups)))
}

// memoryLimit returns the smallest limit of memory of the control groups that the process
// is in, and of those around them; the greatest number if there is none. root is where they
// are mounted, and groups what /proc/self/cgroup says. Source: cgroups(7).
func memoryLimit(root, groups string) uint64 {
	limit := uint64(math.MaxUint64)
	within := func(mount, group, name string) {
		for group = path.Clean("/" + group); ; group = path.Dir(group) {
			if b, err := os.ReadFile(filepath.Join(root, mount, group, name)); err == nil {
				if n, err := strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 64); err == nil { // else it is "max"
					limit = min(limit, n)
				}
			}
			if group == "/" {
				return
			}
		}
	}
	within("", "", "memory.max") // of a container that does not tell where it is
	for line := range strings.Lines(groups) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, _ := strings.Cut(rest, ":")
		switch {
		case controllers == "": // version 2
			within("", group, "memory.max")
			within("unified", group, "memory.max")
		case slices.Contains(strings.Split(controllers, ","), "memory"): // version 1
			within(controllers, group, "memory.limit_in_bytes")
		}
	}
	return limit
}
