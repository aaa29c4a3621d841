package chaos

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/zeebo/xxh3"
	"golang.org/x/sys/unix"
)

// A ledger is an owner's knowledge in a file outside of the space, which a kill does not harm. After
// the death of its process, the space must have every transaction that the ledger calls acknowledged,
// and none that it does not call attempted.
//
// Each of the records lies at an offset of its own, is written by one call, and has a
// sum. Only the owner writes, and the driver while the owner's process is dead.
type ledger struct {
	file *os.File
	last uint64 // the highest number ever attempted
	open uint64 // a transaction with an unknown outcome; or 0
	note acked
}

// acked is a transaction that is known to be, or to have been, in the space.
type acked struct {
	Seq   uint64
	Began uint64 // a time before it was committed or seen
	At    uint64 // a time after it
}

const (
	attemptedAt = 0   // last, open
	ackedAt     = 64  // Seq, Began, At of the transaction that returned
	durableAt   = 128 // the same of the transaction that survives power loss
	recordSize  = 32
)

// clock returns the time in nanoseconds, the same for all processes.
func clock() uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return uint64(ts.Nano())
}

// openLedger opens an owner's ledger, and creates it if it does not exist.
func openLedger(dir string, owner uint32) (*ledger, error) {
	f, err := os.OpenFile(filepath.Join(dir, "ledger", strconv.Itoa(int(owner))), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	l := &ledger{file: f}
	attempt, err := l.read(attemptedAt)
	l.last, l.open = attempt.Seq, attempt.Began
	if err == nil {
		l.note, err = l.read(ackedAt)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

// read reads a record; a record never written is zero.
func (l *ledger) read(at int64) (a acked, err error) {
	var b [recordSize]byte
	for range 1000 { // another process may be writing it
		n, _ := l.file.ReadAt(b[:], at)
		if n < recordSize || b == [recordSize]byte{} {
			return acked{}, nil
		}
		if xxh3.Hash(b[:24]) == binary.LittleEndian.Uint64(b[24:]) {
			return acked{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])}, nil
		}
	}
	return a, fmt.Errorf("the ledger %s is damaged", l.file.Name())
}

func (l *ledger) write(at int64, a acked) {
	var b [recordSize]byte
	binary.LittleEndian.PutUint64(b[:], a.Seq)
	binary.LittleEndian.PutUint64(b[8:], a.Began)
	binary.LittleEndian.PutUint64(b[16:], a.At)
	binary.LittleEndian.PutUint64(b[24:], xxh3.Hash(b[:24]))
	if _, err := l.file.WriteAt(b[:], at); err != nil {
		panic(err)
	}
}

// attempt takes a new number. No number is used twice, so that a transaction that a restore has
// undone differs from all later ones.
func (l *ledger) attempt() uint64 {
	l.last++
	l.open = l.last
	l.write(attemptedAt, acked{Seq: l.last, Began: l.open, At: clock()})
	return l.last
}

// failed notes that the transaction was not committed.
func (l *ledger) failed() {
	l.open = 0
	l.write(attemptedAt, acked{Seq: l.last, At: clock()})
}

// ack notes that a transaction has returned, or was seen, after the given time.
func (l *ledger) ack(seq, began uint64) {
	l.note = acked{seq, began, clock()}
	l.write(ackedAt, l.note)
	if l.open != 0 {
		l.failed()
	}
}

// durable notes that all acknowledged transactions survive power loss.
func (l *ledger) durable(a acked) { l.write(durableAt, a) }

// A restoration is an entry of the file of restores: before a process restores a checkpoint, it
// writes down the last transaction of each owner there.
type restoration struct {
	ID   string
	What string            // begin, end, void (it changed nothing), dead (its process died)
	By   string            // process and incarnation
	At   uint64            // a time
	Name string            `json:",omitempty"`
	Pins map[uint32]uint64 `json:",omitempty"`
}

// restores reads the file of restores, and new entries in it.
type restores struct {
	mu    sync.Mutex
	path  string
	size  int64
	began []restoration
	ended map[string]uint64
	void  map[string]bool
	dead  map[string]uint64
}

func newRestores(dir string) *restores {
	return &restores{path: filepath.Join(dir, "restores"), ended: map[string]uint64{}, void: map[string]bool{}, dead: map[string]uint64{}}
}

// tell appends an entry.
func (r *restores) tell(e restoration) {
	e.At = clock()
	line, err := json.Marshal(e)
	if err == nil {
		err = appendTo(r.path, append(line, '\n'))
	}
	if err != nil {
		panic(err)
	}
}

// appendTo adds to a file by one call.
func appendTo(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

// load reads new entries.
func (r *restores) load() {
	b, err := os.ReadFile(r.path)
	b = b[:bytes.LastIndexByte(b, '\n')+1] // an incomplete line is still being written
	if err != nil || int64(len(b)) <= r.size {
		return
	}
	for dec := json.NewDecoder(bytes.NewReader(b[r.size:])); dec.More(); {
		var e restoration
		if dec.Decode(&e) != nil {
			panic("the file of restores is damaged")
		}
		switch e.What {
		case "begin":
			r.began = append(r.began, e)
		case "end":
			r.ended[e.ID] = e.At
		case "void":
			r.void[e.ID] = true
		case "dead":
			r.dead[e.By] = e.At
		}
	}
	r.size = int64(len(b))
}

// allow reports whether a restore that was under way after a time can have brought an
// owner back to a transaction.
func (r *restores) allow(owner uint32, seq, since uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.load()
	for _, e := range r.began {
		end, ended := r.ended[e.ID]
		if !ended {
			end, ended = r.dead[e.By]
		}
		if !r.void[e.ID] && e.Pins[owner] == seq && (!ended || end >= since) {
			return true
		}
	}
	return false
}

// least returns the lowest transaction of an owner that power loss may leave, if one
// was durable at a time: a restore after that may have gone back further.
func (r *restores) least(owner uint32, durable acked) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.load()
	least := durable.Seq
	for _, e := range r.began {
		end, ended := r.ended[e.ID]
		if !ended {
			end, ended = r.dead[e.By]
		}
		if !r.void[e.ID] && (!ended || end >= durable.Began) {
			least = min(least, e.Pins[owner])
		}
	}
	return least
}
