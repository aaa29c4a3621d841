//go:build unix

package spacetest

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/everheap/everheap"
)

// A Bank is contents of a space that prove by themselves whether they are consistent. Each
// transaction increments the counter of its child and the shared counter, writes a record to
// two maps, moves an amount between two accounts, and notes itself at the end of a list, in
// a single value, in a sorted map and in a chain of objects without names. So in every
// version the shared counter is the sum of the children's counters, the records are in equal
// pairs, the accounts have the sum with which they began, the list ends with the note in the
// single value, an index has all records, and no expired entry is found.
type Bank struct {
	counters    everheap.Map[string, uint64]
	accounts    everheap.Map[uint16, int64]
	left, right everheap.Map[uint64, Record]
	notes       everheap.List[note]
	newest      everheap.Ref[summary]
	log         bankLog
	chains      bankChains
	marks       bankMarks
	leases      bankLeases
	owned       everheap.Map[int, bankOwned]
}

// note is the note of a transaction.
type note struct {
	Child int
	N     uint64
	Text  string
}

// summary is the single value, about the newest version.
type summary struct {
	Shared uint64
	Len    int // of the list
	Last   note
	Notes  everheap.List[note]
}

// Record is a value of the two maps of records.
type Record struct {
	Seq  uint64
	Text string
	Blob []byte
	Sum  uint32
}

const (
	bankAccounts = 1000
	bankEach     = 100
	bankRecords  = 64 // per child
	bankNotes    = 200
)

// OpenBank opens the bank's collections, and creates missing ones.
func OpenBank(sc everheap.Scope) (b Bank, err error) {
	b.counters, err = everheap.OpenMap[string, uint64](sc, "counters")
	if err == nil {
		b.accounts, err = everheap.OpenMap[uint16, int64](sc, "accounts")
	}
	if err == nil {
		b.left, err = everheap.OpenMap[uint64, Record](sc, "left", everheap.WithIndex("seq", "Seq"), everheap.WithIndex("sum", "Sum,Text"))
	}
	if err == nil {
		b.right, err = everheap.OpenMap[uint64, Record](sc, "right")
	}
	if err == nil {
		b.notes, err = everheap.OpenList[note](sc, "notes")
	}
	if err == nil {
		b.newest, err = everheap.OpenRef(sc, "newest", summary{})
	}
	if err == nil {
		b.log, err = everheap.OpenSorted[logKey, uint64](sc, "log")
	}
	if err == nil {
		b.chains, err = everheap.OpenMap[int, everheap.Ref[bankLink]](sc, "chains")
	}
	if err == nil {
		b.marks, err = everheap.OpenMap[logKey, bankMark](sc, "marks")
	}
	if err == nil {
		err = b.leases.open(sc)
	}
	if err == nil {
		b.owned, err = everheap.OpenMap[int, bankOwned](sc, "owned")
	}
	return b, err
}

// Found founds the bank: it fills the accounts.
func (b Bank) Found(s *everheap.Space) error {
	return s.Update(context.Background(), func(tx *everheap.Tx) error {
		for i := range uint16(bankAccounts) {
			if err := b.accounts.Set(tx, i, bankEach); err != nil {
				return err
			}
		}
		return nil
	})
}

// Own names the counter of a child.
func Own(id int) string { return fmt.Sprint("own ", id) }

// NewRecord makes a record of about the given size.
func NewRecord(seq uint64, size int) Record {
	r := Record{Seq: seq, Text: strings.Repeat(fmt.Sprint(seq, ","), 1+size%7), Blob: make([]byte, size)}
	for i := range r.Blob {
		r.Blob[i] = byte(uint64(i) * (seq | 1) >> 3)
	}
	r.Sum = r.Checksum()
	return r
}

// Checksum computes the checksum of a record.
func (r *Record) Checksum() uint32 {
	return crc32.ChecksumIEEE(fmt.Append(r.Blob[:len(r.Blob):len(r.Blob)], r.Seq, r.Text))
}

// transact is the n-th transaction of a child. It verifies that the counter is n-1 before.
// So a refused transaction has changed nothing, and each successful one counts once.
func (b Bank) transact(tx *everheap.Tx, id int, n uint64, size int, r *rand.Rand) error {
	err := b.counters.Upsert(tx, Own(id), func(v *uint64, _ bool) error {
		if *v != n-1 {
			return fmt.Errorf("before transaction %d of child %d its counter is %d", n, id, *v)
		}
		*v = n
		return nil
	})
	if err != nil {
		return err
	}
	key := func(n uint64) uint64 { return uint64(id)<<32 | n%bankRecords }
	if err := b.left.Set(tx, key(n), NewRecord(n, size)); err != nil {
		return err
	}
	if n%5 == 0 {
		for _, m := range []everheap.Map[uint64, Record]{b.left, b.right} {
			if _, err := m.Delete(tx, key(n+bankRecords/2)); err != nil {
				return err
			}
		}
	}
	amount := r.Int64N(bankEach)
	if err := b.accounts.Modify(tx, uint16(r.IntN(bankAccounts)), func(v *int64) error { *v -= amount; return nil }); err != nil {
		return err
	}
	if err := b.right.Set(tx, key(n), NewRecord(n, size)); err != nil {
		return err
	}
	if err := b.accounts.Modify(tx, uint16(r.IntN(bankAccounts)), func(v *int64) error { *v += amount; return nil }); err != nil {
		return err
	}
	if err := b.takeNote(tx, note{id, n, strings.Repeat("n", size%100)}); err != nil {
		return err
	}
	if err := b.logIn(tx, id, n); err != nil {
		return err
	}
	if err := b.addLink(tx, id, n); err != nil {
		return err
	}
	if err := b.mark(tx, id, n); err != nil {
		return err
	}
	if err := b.lease(tx, id, n, r); err != nil {
		return err
	}
	if err := b.own(tx, id, n); err != nil {
		return err
	}
	return b.counters.Upsert(tx, "shared", func(v *uint64, _ bool) error { *v++; return nil })
}

// takeNote appends a note to the list, and sometimes truncates the list.
func (b Bank) takeNote(tx *everheap.Tx, n note) error {
	count, err := b.notes.Len(tx)
	if err == nil && count >= bankNotes {
		count = bankNotes / 2
		err = b.notes.Truncate(tx, count)
	}
	if err == nil {
		err = b.notes.Append(tx, n)
	}
	if err != nil {
		return err
	}
	return b.newest.Modify(tx, func(s *summary) error {
		*s = summary{Shared: s.Shared + 1, Len: count + 1, Last: n, Notes: b.notes}
		return nil
	})
}

// auditNotes verifies the list and the value; the children's counters are given.
func (b Bank) auditNotes(tx *everheap.Tx, shared uint64, owns map[string]uint64) error {
	s := b.newest.Peek(tx)
	count, seen, last := 0, map[int]uint64{}, note{}
	for i, n := range b.notes.All(tx) {
		if i != count || n.N <= seen[n.Child] || n.N > owns[Own(n.Child)] {
			return fmt.Errorf("version %d: note %d is of transaction %d of child %d, after %d and before %d", tx.Version(), i, n.N, n.Child, seen[n.Child], owns[Own(n.Child)])
		}
		count, last = count+1, *n
		seen[n.Child] = n.N
	}
	if s.Shared != shared || s.Len != count || s.Last != last || shared > 0 && s.Notes != b.notes {
		return fmt.Errorf("version %d: the summary says %d transactions and %d notes with the last one %v, there are %d, %d, %v", tx.Version(), s.Shared, s.Len, s.Last, shared, count, last)
	}
	return nil
}

// Audit verifies the version that tx sees and returns the children's counters. If it finds
// an error it looks once more. A version never changes: so an error that is gone the second
// time was not in the space, but in the memory of this process.
func (b Bank) Audit(tx *everheap.Tx) (map[string]uint64, error) {
	owns, err := b.audit(tx)
	if err == nil {
		return owns, nil
	}
	if _, again := b.audit(tx); again == nil {
		err = fmt.Errorf("%w; a second look at the version finds nothing wrong", err)
	} else if again.Error() != err.Error() {
		err = fmt.Errorf("%w; a second look at the version finds: %w", err, again)
	}
	return nil, err
}

// audit is one look of Audit.
func (b Bank) audit(tx *everheap.Tx) (map[string]uint64, error) {
	owns := map[string]uint64{}
	var shared, total uint64
	for name, v := range b.counters.All(tx) {
		if name == "shared" {
			shared = *v
			continue
		}
		owns[name] = *v
		total += *v
	}
	if shared != total {
		return nil, fmt.Errorf("version %d: the shared counter is %d, those of the children add up to %d", tx.Version(), shared, total)
	}
	if err := b.auditNotes(tx, shared, owns); err != nil {
		return nil, err
	}
	if err := b.auditLog(tx, owns); err != nil {
		return nil, err
	}
	if err := b.auditChains(tx, owns); err != nil {
		return nil, err
	}
	var sum int64
	n := 0
	for _, v := range b.accounts.All(tx) {
		sum += *v
		n++
	}
	if n != bankAccounts || sum != bankAccounts*bankEach {
		return nil, fmt.Errorf("version %d: %d accounts with the sum %d", tx.Version(), n, sum)
	}
	n = 0
	for key, l := range b.left.All(tx) {
		n++
		r := b.right.Peek(tx, key)
		switch {
		case r == nil:
			return nil, fmt.Errorf("version %d: record %#x is only in one map", tx.Version(), key)
		case l.Sum != l.Checksum() || r.Sum != r.Checksum() || l.Sum != r.Sum || l.Seq != r.Seq:
			return nil, fmt.Errorf("version %d: the records %#x differ or are damaged: seq %d and %d", tx.Version(), key, l.Seq, r.Seq)
		case l.Seq > owns[Own(int(key>>32))]:
			return nil, fmt.Errorf("version %d: record %#x is of transaction %d, the counter is %d", tx.Version(), key, l.Seq, owns[Own(int(key>>32))])
		}
	}
	if err := b.auditIndexes(tx, n); err != nil {
		return nil, err
	}
	if err := b.auditMarks(tx, owns); err != nil {
		return nil, err
	}
	if err := b.auditLeases(tx, owns); err != nil {
		return nil, err
	}
	if err := b.auditOwned(tx, owns); err != nil {
		return nil, err
	}
	if m, err := b.right.Len(tx); err != nil || m != n {
		return nil, fmt.Errorf("version %d: %d and %d records (%v)", tx.Version(), n, m, err)
	}
	return owns, nil
}

// auditIndexes verifies the indexes of n records.
func (b Bank) auditIndexes(tx *everheap.Tx, n int) error {
	seqs, last := 0, uint64(0)
	for key, r := range everheap.IndexOf[Record, uint64](b.left, "seq").All(tx) {
		if r.Seq < last || b.left.Peek(tx, key) != r {
			return fmt.Errorf("version %d: the index has record %#x with seq %d after %d", tx.Version(), key, r.Seq, last)
		}
		seqs, last = seqs+1, r.Seq
	}
	sums := everheap.IndexOf[Record, uint32](b.left, "sum").Len(tx)
	if seqs != n || sums != n {
		return fmt.Errorf("version %d: of %d records %d and %d are in the indexes", tx.Version(), n, seqs, sums)
	}
	return nil
}

// The work of a bank child is a list of words: "reopen" closes and opens the space often,
// "busy" does background work more often, "grow" writes large records, "locks" also takes
// named locks, "compact" gives free space back, "watch" also watches everything, "collect"
// collects garbage often. Some transactions are durable; the others soon become durable.
func init() { Children["bank"] = bankChild }

func bankChild() int {
	c := NewInChild()
	n, first := uint64(0), true
	for !c.Ended.Load() {
		opts := []everheap.Option{everheap.WithFlushInterval(10 * time.Millisecond)}
		if c.Has("busy") {
			opts = append(opts, WithAnchorInterval(20*time.Millisecond))
		}
		s, err := c.Open(opts...)
		if err != nil {
			return Failed("open", err)
		}
		b, err := OpenBank(s)
		if err != nil {
			return Failed("opening the maps", err)
		}
		if first {
			if n, err = b.counters.Get(s, Own(c.Id)); err != nil && !errors.Is(err, everheap.ErrNotFound) {
				return Failed("get", err)
			}
			Say("start", n)
			first = false
		}
		if n, err = c.session(s, b, n); err != nil {
			return Failed("session", err)
		}
		if err := s.Close(); err != nil {
			return Failed("close", err)
		}
	}
	return 0
}

// session works until the child must end or open the space again.
func (c *InChild) session(s *everheap.Space, b Bank, n uint64) (_ uint64, err error) {
	length := 1 << 62
	if c.Has("reopen") {
		length = 1 + c.Rng.IntN(40)
	}
	var side sync.WaitGroup
	var over atomic.Bool
	side.Go(func() { c.read(s, b, &over) })
	if c.Has("locks") {
		w, err := NewLockWork(s, c.Id, false)
		if err != nil {
			over.Store(true)
			side.Wait()
			return n, err
		}
		defer w.marks.Close()
		w.Run(&side, &over, c.Rng.Uint64())
	}
	defer side.Wait()
	defer over.Store(true)
	if c.Has("watch") {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		new(mirrors).run(ctx, s, b, &side, func(uint64) {})
	}
	rare := 64
	if c.Has("busy") {
		rare = 8
	}
	for i := 0; i < length && !c.Ended.Load(); i++ {
		n++
		size := c.Rng.IntN(300)
		if c.Rng.IntN(16) == 0 {
			size = c.Rng.IntN(150_000)
		}
		if c.Has("grow") {
			size = 1 << 20
		}
		durability := everheap.Periodic
		if c.Rng.IntN(8) == 0 {
			durability = everheap.Durable
		}
		err = Again(func() error {
			return s.Update(context.Background(), func(tx *everheap.Tx) error { return b.transact(tx, c.Id, n, size, c.Rng) }, durability)
		})
		if err != nil {
			return n, err
		}
		Ack(n)
		if durability == everheap.Durable {
			Say("durable", n)
		}
		if c.Has("collect") && i%bankCut == 0 {
			if _, err = s.Collect(context.Background()); err != nil && !errors.Is(err, everheap.ErrSuspended) {
				return n, err
			}
		}
		switch c.Rng.IntN(rare) {
		case 0:
			// During a sweep no process reuses space below its floor: with one sweep after
			// the other the space would only grow.
			if pause := time.Since(c.swept); pause > FleetSize*time.Second {
				err = Sweep(s)
				c.swept = time.Now()
			}
		case 1:
			if err = s.Sync(context.Background()); err == nil {
				Say("durable", n)
			}
		case 3:
			if time.Since(c.pinned) > FleetSize*time.Second/2 {
				err = c.pin(s, b)
				c.pinned = time.Now()
			}
		case 2:
			time.Sleep(time.Duration(c.Rng.IntN(3000)) * time.Microsecond)
		}
		if err == nil && c.Has("compact") && n%16 == 0 {
			_, err = s.Compact(context.Background())
		}
		if err != nil && !errors.Is(err, everheap.ErrBusy) && !errors.Is(err, everheap.ErrSuspended) {
			return n, err
		}
	}
	return n, nil
}

// pin creates a checkpoint, or audits and drops the existing one.
func (c *InChild) pin(s *everheap.Space, b Bank) error {
	name := fmt.Sprint("pin ", c.Id)
	err := s.Checkpoint(name)
	if !errors.Is(err, everheap.ErrExists) {
		return err
	}
	err = s.ViewAt(name, func(tx *everheap.Tx) error { _, err := b.Audit(tx); return err })
	if err == nil {
		err = s.DropCheckpoint(name)
	}
	return err
}

// Sweep sweeps the space, unless another process is sweeping.
func Sweep(s *everheap.Space) error {
	_, err := Engine(s).Sweep()
	if errors.Is(err, context.DeadlineExceeded) {
		return nil // the writer lock was not free
	}
	return err
}

// read audits one version after the other.
func (c *InChild) read(s *everheap.Space, b Bank, over *atomic.Bool) {
	for !over.Load() {
		err := s.View(func(tx *everheap.Tx) error { _, err := b.Audit(tx); return err })
		if err != nil {
			Failed("reading", err)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
