package live

import (
	"sync/atomic"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// When a page does not reach the disk, the kernel still marks it clean, and reports the
// error once to each open file, at its next sync. A file opened later gets no error. So a
// process that opens a file while another one syncs it, or after a process died in a
// sync, does not know whether earlier writes are on disk: its own sync would succeed.
//
//	L13  A process announces each sync that others may rely on, in its entry, before
//	    it begins, and ends the announcement when the outcome is known to all: a
//	    failed sync is marked in Failed before. An announcement that never ends counts
//	    as doubt for every process that opened the file later.

// SyncedFile is a file whose syncs are announced.
type SyncedFile int

// The files.
const (
	HeapFile SyncedFile = iota
	JournalFile
)

// syncWord returns the word by which the owner of an entry announces its syncs.
func syncWord(e *format.LiveProcess, f SyncedFile) *atomic.Uint64 {
	if f == HeapFile {
		return &e.HeapSync
	}
	return &e.JournalSync
}

// doubtWord returns the word that counts the syncs without an outcome.
func (v *Live) doubtWord(f SyncedFile) *atomic.Uint64 {
	if f == HeapFile {
		return &v.words.HeapDoubt
	}
	return &v.words.JournalDoubt
}

// BeginSync announces a sync. One goroutine of the process at a time syncs a file.
func (v *Live) BeginSync(f SyncedFile) {
	syncWord(v.entry, f).Add(1)
	invariant.Point("sync.begun")
}

// EndSync ends the announcement. If the sync has failed, the caller has set Failed before.
func (v *Live) EndSync(f SyncedFile) {
	invariant.Point("sync.done")
	syncWord(v.entry, f).Add(1)
}

// doubtOver counts the syncs that a dead process had announced. It comes before its
// entry is cleared.
func (v *Live) doubtOver(e *format.LiveProcess) {
	for _, f := range []SyncedFile{HeapFile, JournalFile} {
		if w := syncWord(e, f); w.Load()&1 != 0 {
			v.doubtWord(f).Add(1)
			w.Store(0)
		}
	}
}

// Doubt has the syncs of a file, from before a process opened the file, whose outcome it
// does not know.
type Doubt struct {
	live *Live
	file SyncedFile
	dead uint64 // how many syncs have no outcome because their process died
	open []openSync
}

// openSync is a sync that was announced and had not ended.
type openSync struct {
	owner format.Incarnation
	count uint64
}

// Doubt looks for syncs of a file whose outcome is not known; nil if there are none.
// The caller has joined, and has opened the file before.
func (v *Live) Doubt(f SyncedFile) *Doubt {
	d := &Doubt{live: v, file: f}
	for i := range min(v.words.ProcessesUsed.Load(), format.NumProcesses) {
		e := &v.words.Processes[i]
		if n := syncWord(e, f).Load(); n&1 != 0 && e != v.entry {
			d.open = append(d.open, openSync{format.Incarnation(e.Incarnation.Load()), n})
		}
	}
	d.dead = v.doubtWord(f).Load() // after the entries: a dead process's sync is counted before its entry is cleared
	if d.dead == 0 && len(d.open) == 0 {
		return nil
	}
	return d
}

// Resolved reports whether the outcomes of all those syncs are known now.
func (d *Doubt) Resolved() bool {
	for _, s := range d.open {
		e := &d.live.words.Processes[s.owner.Entry()]
		if syncWord(e, d.file).Load() == s.count && format.Incarnation(e.Incarnation.Load()) == s.owner {
			return false
		}
	}
	return d.live.doubtWord(d.file).Load() == 0 // after the entries
}

// MadeGood says that this process has written and synced everything in doubt again, so later
// openers need not.
func (d *Doubt) MadeGood() {
	d.live.doubtWord(d.file).CompareAndSwap(d.dead, 0) // if it fails, another process has died since
}

// InDoubt reports whether a sync of either file has no known outcome. The caller knows that
// no other process has the space open.
func (v *Live) InDoubt() bool {
	return v.Doubt(HeapFile) != nil || v.Doubt(JournalFile) != nil
}
