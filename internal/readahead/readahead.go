// Package readahead reads the heap ahead, in the background, in a process that waits for many of the
// heap's pages.
//
// The views of a heap are mapped for random access: pages that the kernel reads together on its own
// initiative it would also write together. So when the heap is not in memory, the first access to
// each page waits for a read of that page. Disks deliver many times as much when they read in order.
// Therefore a process that waits for many pages reads the heap in the order of the file, in the
// background.
//
//	A1  A process begins to read ahead when it waits for pages while it opens the space, or for many
//	    pages later. It continues, piece by piece, as long as it waits for many. So a process that
//	    finds all pages in memory causes no reads.
//	A2  A process reads each byte ahead at most once, and in all at most half of the available memory,
//	    within the limits of its control groups, too. So with more data than memory it ends.
//	A3  It reads only extents in use: holes and free extents would fill memory with nothing.
//	A4  It waits for each step before it begins the next. So a process that needs a page meanwhile
//	    waits for at most one step.
//	A5  Reading ahead is only advice: a page that cannot be read ends it, and the goroutine that needs
//	    the page gets the error.
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

// Faults is the number of pages waited for within a tenth of a second that starts reading ahead.
const Faults = 32

const (
	aheadPiece = 64 << 20 // bytes read between two calls of Look
	aheadStep  = 1 << 20  // bytes read at once

)

// Reader reads the heap ahead for one process.
type Reader struct {
	faults int64       // pages that the process had waited for at the last Look
	busy   atomic.Bool // a piece is being read; the goroutine that set it has the fields below
	at     uint64      // offset in the heap up to which it has read
	bytes  uint64      // read in all
	over   bool
}

// Begin says how many pages the process had waited for before it opened the space.
func (a *Reader) Begin(faults int64) { a.faults = faults }

// Look reads the next piece of the heap, in another goroutine, if the process has waited for at least
// least pages since the last Look.
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

// piece reads the next piece of the extents in use before end. In all it reads at most limit bytes.
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

// memoryThere returns the bytes of memory that are available for files or used by them, as the kernel
// reports; 0 if it does not report them.
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

// memoryLimit returns the smallest memory limit of the control groups of the process and of their
// parents; the greatest number if no group has a limit. root is their mount point, and groups is the
// text of /proc/self/cgroup. Source: cgroups(7).
func memoryLimit(root, groups string) uint64 {
	limit := uint64(math.MaxUint64)
	within := func(mount, group, name string) {
		for group = path.Clean("/" + group); ; group = path.Dir(group) {
			if b, err := os.ReadFile(filepath.Join(root, mount, group, name)); err == nil {
				if n, err := strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 64); err == nil { // otherwise it is "max"
					limit = min(limit, n)
				}
			}
			if group == "/" {
				return
			}
		}
	}
	within("", "", "memory.max") // for a container that hides the path of its group
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
