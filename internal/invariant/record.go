//go:build invariants && linux

package invariant

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Record has the notes of all processes of a space, in memory that they share: a ring of
// events for each process, and the ledger of owners. It is a sparse file in /dev/shm, or in
// the directory that EVERHEAP_RECORDS names ("off": there is none), and its name comes from
// the heap file of the space. So it outlives all processes, and deleting files of the space
// does not delete it.
//
//	D1  A record does not change the behaviour of the library. A process that cannot open the
//	    record works without it.
//	D2  A process allocates a page before it touches the page: on a full file system the
//	    record ends, and no process gets a signal. (record.allocate)
//	D3  The ledger belongs to one live file, identified by its salt. Under another live file
//	    it begins again with all owners unknown: the lists and transactions of before are
//	    gone. A process that finds another salt first clears the ledger, and then swaps in
//	    its own salt. Clearing the ledger twice forgets owners, but is never wrong.
//	D4  A process that joins the space counts itself here first, and then in the live file.
//	    So if the live file has counted more, a process without the tag uses the space or has
//	    used it, and the ledger lacks its changes: then the ledger asserts nothing until
//	    there is another live file. A process compares the counts when it opens the space,
//	    and before an assertion fails. (Record.Strangers)
//	D5  A process that creates a record removes the records whose spaces are gone. Each user
//	    of a record holds a shared lock on its file, so no process removes a file in use. A
//	    process that has just opened and locked a file verifies that the name still names it.
type Record struct{ *record }

// record is an open Record.
type record struct {
	file   *os.File
	head   *recordHead
	mapped []byte // the mapped head
	row    *ringRow
	ring   atomic.Pointer[ring]
	ledger ledgerMaps
}

const (
	recordMagic = 0x44524f4345525645 // EVRECORD
	recordName  = "everheap-record-"
	headBytes   = 12 * pageBytes
	pageBytes   = 4096
	numRings    = 576 // more than the processes that a space can have
	manyRings   = 64  // this many rings are used before the ring of a dead process is reused
)

// recordHead is the beginning of the file.
type recordHead struct {
	magic  atomic.Uint64
	joined atomic.Uint64 // high half: the low half of the salt (D3); low half: how many processes have joined (D4)
	off    atomic.Uint64 // why the ledger asserts nothing; 0: it does
	space  [2]atomic.Uint64
	dir    [1024]byte // directory of the space when it was opened first
	rows   [numRings]ringRow
}

var _ [headBytes - unsafe.Sizeof(recordHead{})]byte

// Why a ledger asserts nothing.
const (
	offDamaged  = 1 // the files of the space were damaged on purpose: Distrust
	offNoRoom   = 2
	offStranger = 3 // D4
)

// Subject identifies the space of a record.
type Subject struct {
	Dir   string
	Heap  os.FileInfo // of its heap file
	Space [16]byte
	Salt  uint64
	// Joined returns how many processes have joined the space under its live file. It may panic.
	Joined func() uint64
}

// OpenRecord opens the record of a space. The record is empty if it cannot be opened (D1).
func OpenRecord(s Subject) Record {
	path := recordPath(s.Heap)
	if path == "" {
		return Record{}
	}
	r, err := openRecord(path, true)
	if err != nil {
		return Record{}
	}
	begun := false
	defer func() {
		if !begun {
			Record{r}.Close()
		}
	}()
	r.begin(s)
	begun = true
	return Record{r}
}

// recordPath returns the path of the record of a space; "": records are off.
func recordPath(heap os.FileInfo) string {
	dir := recordDir()
	st, ok := heap.Sys().(*syscall.Stat_t)
	if dir == "" || !ok {
		return ""
	}
	return filepath.Join(dir, fmt.Sprintf("%s%x-%x", recordName, st.Dev, st.Ino))
}

// recordDir returns the directory of records. All processes must find the same one: so it
// depends on the size of /dev/shm, and not on its free space.
var recordDir = sync.OnceValue(func() string {
	const least = 1 << 30
	if dir, ok := os.LookupEnv("EVERHEAP_RECORDS"); ok {
		if dir == "off" {
			return ""
		}
		return dir
	}
	var fs unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &fs); err == nil && fs.Blocks*uint64(fs.Bsize) >= least {
		return "/dev/shm"
	}
	return os.TempDir()
})

// openRecord opens the file at path and locks it (D5). If create is set it creates a missing file.
func openRecord(path string, create bool) (*record, error) {
	for range 100 {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if errors.Is(err, os.ErrNotExist) && create {
			forgetRecords(filepath.Dir(path))
			if f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666); errors.Is(err, os.ErrExist) {
				continue
			}
			if err == nil {
				err = f.Chmod(0o666) // for every user of the space
			}
		}
		if err != nil {
			return nil, err
		}
		r := &record{file: f}
		if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil || !leadsTo(path, f) {
			f.Close() // another process is removing it
			time.Sleep(time.Millisecond)
			continue
		}
		if err := r.mapHead(); err != nil {
			f.Close()
			return nil, err
		}
		return r, nil
	}
	return nil, os.ErrNotExist
}

// leadsTo reports whether a path names an open file.
func leadsTo(path string, f *os.File) bool {
	here, err := os.Stat(path)
	if err != nil {
		return false
	}
	mine, err := f.Stat()
	return err == nil && os.SameFile(here, mine)
}

// mapHead allocates and maps the beginning of the file (D2).
func (r *record) mapHead() (err error) {
	if err = r.allocate(0, headBytes); err != nil {
		return err
	}
	r.mapped, err = r.mapAt(0, headBytes)
	if err == nil {
		r.head = (*recordHead)(unsafe.Pointer(&r.mapped[0]))
		r.head.magic.Store(recordMagic)
	}
	return err
}

// allocate allocates the disk space of a part of the file (D2).
func (r *record) allocate(off, size int64) error {
	return unix.Fallocate(int(r.file.Fd()), 0, off, size)
}

func (r *record) mapAt(off int64, size int) ([]byte, error) {
	return unix.Mmap(int(r.file.Fd()), off, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

// begin makes the record belong to the space and its live file, unless it does already (D3).
// Then it looks for strangers (D4).
func (r *record) begin(s Subject) {
	h, salt := r.head, s.Salt&(1<<32-1)
	space := [2]uint64{*(*uint64)(unsafe.Pointer(&s.Space[0])), *(*uint64)(unsafe.Pointer(&s.Space[8]))}
	next := s.Joined()
	seen := h.joined.Load()
	if seen>>32 == salt && h.space[0].Load() == space[0] && h.space[1].Load() == space[1] {
		Record{r}.Strangers(next)
		return
	}
	if seen != 0 { // the process that creates a live file is alone with it, and calls begin first
		r.endLife(space)
	}
	r.clearLedger()
	h.dir = [len(h.dir)]byte{}
	copy(h.dir[:len(h.dir)-1], s.Dir)
	h.space[0].Store(space[0])
	h.space[1].Store(space[1])
	h.joined.CompareAndSwap(seen, salt<<32|next&(1<<32-1))
}

// endLife forgets an earlier live file: its incarnations and strangers are gone. If the
// record was that of another space, whose heap file had the same inode number, endLife
// forgets everything else as well.
func (r *record) endLife(space [2]uint64) {
	h := r.head
	other := h.space[0].Load() != space[0] || h.space[1].Load() != space[1]
	h.off.CompareAndSwap(offStranger, 0)
	if other {
		h.off.Store(0)
	}
	for i := range h.rows {
		h.rows[i].owner.Store(0)
		if other {
			h.rows[i].count.Store(0)
		}
	}
}

// Strangers reports whether more processes have joined the space than have counted
// themselves in the record: then the ledger asserts nothing (D4).
func (r Record) Strangers(joined uint64) bool {
	if r.record == nil || uint32(joined) <= uint32(r.head.joined.Load()) {
		return false
	}
	if r.head.off.CompareAndSwap(0, offStranger) {
		r.Note(Unusual, 0, 0, 0)
	}
	return true
}

// Join counts a joining process, before the live file counts it (D4). The process then calls
// Own with its incarnation.
func (r Record) Join() {
	if r.record != nil {
		r.head.joined.Add(1)
	}
}

// Close closes the record. The caller may no longer use its methods or its words.
func (r Record) Close() {
	if r.record == nil {
		return
	}
	open.Delete(r.record)
	if ring := r.ring.Swap(nil); ring != nil {
		_ = unix.Munmap(ring.mapped)
	}
	for _, m := range r.ledger.chunks {
		if m != nil {
			_ = unix.Munmap(m)
		}
	}
	_ = unix.Munmap(r.mapped)
	r.file.Close()
}

// Distrust says that a test damages the files of the space in dir: from now on the ledger
// asserts nothing.
func Distrust(dir string) {
	info, err := os.Stat(filepath.Join(dir, "heap"))
	if err != nil {
		return
	}
	if path := recordPath(info); path != "" {
		if r, err := openRecord(path, true); err == nil {
			r.head.off.Store(offDamaged)
			Record{r}.Close()
		}
	}
}

// made counts the records that this process has created.
var made atomic.Uint64

// forgetRecords removes the records of spaces that are gone (D5), in every 16th call.
func forgetRecords(dir string) {
	if made.Add(1)%16 != 1 {
		return
	}
	paths, _ := filepath.Glob(filepath.Join(dir, recordName+"*"))
	for _, path := range paths {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if orphan(path, f) && unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && leadsTo(path, f) {
			os.Remove(path)
		}
		f.Close()
	}
}

// orphan reports whether the space of a record is gone from its directory.
func orphan(path string, f *os.File) bool {
	var head [unsafe.Sizeof(recordHead{}) - numRings*unsafe.Sizeof(ringRow{})]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return false // a process is creating it
	}
	h := (*recordHead)(unsafe.Pointer(&head[0]))
	info, err := os.Stat(filepath.Join(text(h.dir[:]), "heap"))
	return h.dir[0] != 0 && (errors.Is(err, os.ErrNotExist) || err == nil && recordPath(info) != path)
}

// text returns the bytes before the first zero.
func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
