package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/everheap/everheap"
)

// A profile has the parameters of a round for its processes.
type profile struct {
	Dir    string // of the round
	Space  string // directory of the space
	Window uint64 // WithMaxSize, at the beginning
	Full   bool   // the disk or the space may be full: ErrNoSpace is not a failure
	Seed   uint64
}

// A worker is one process of a round: some owners that write, one goroutine that
// reads, and a steward, which runs the operations on the whole space.
type worker struct {
	profile
	id, life int // the process, and how often it was started
	restores *restores
	session  atomic.Pointer[session]
	reopen   sync.RWMutex // locked for writing while the space is reopened
	ended    atomic.Bool
	full     atomic.Bool // an owner found no space
}

// A session is the space while it is open.
type session struct {
	*everheap.Space
	world
	former everheap.Map[string, Card1] // an old handle, not looked up again
}

// owners is how many goroutines of a process write.
const owners = 2

// ownerID numbers the owners of all processes from 1 on.
func ownerID(worker, n int) uint32 { return uint32(worker*owners + n + 1) }

// newWorker reads the profile and the task of the process, and begins to listen to the driver.
func newWorker() *worker {
	w := &worker{}
	if err := json.Unmarshal([]byte(os.Getenv("CHAOS_PROFILE")), &w.profile); err != nil {
		panic(err)
	}
	w.id, _ = strconv.Atoi(os.Getenv("CHAOS_ID"))
	w.life, _ = strconv.Atoi(os.Getenv("CHAOS_LIFE"))
	w.restores = newRestores(w.Dir)
	go func() {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			w.ended.Store(true)
		}
		os.Exit(3) // the driver is gone
	}()
	return w
}

// name names this life of the process.
func (w *worker) name() string { return fmt.Sprint(w.id, ".", w.life) }

// random returns a source for one goroutine.
func (w *worker) random(n int) *rand.Rand {
	return rand.New(rand.NewPCG(w.Seed+uint64(w.life)<<32, uint64(w.id*16+n)))
}

// log writes a line to the output that is kept.
func (w *worker) log(format string, args ...any) {
	fmt.Printf("%d.%06d %s\n", clock()/1e9, clock()/1000%1e6, fmt.Sprintf(format, args...))
}

// fail stops all processes at once, so that the state with the error stays, and tells the driver.
func (w *worker) fail(doing string, err error) {
	pids, _ := os.ReadFile(filepath.Join(w.Dir, "pids"))
	for _, field := range strings.Fields(string(pids)) {
		if pid, _ := strconv.Atoi(field); pid > 1 && pid != os.Getpid() {
			_ = syscall.Kill(pid, syscall.SIGSTOP)
		}
	}
	text := fmt.Sprintf("process %s, %s: %v\n%s", w.name(), doing, err, debug.Stack())
	w.log("FAIL %s", text)
	_ = appendTo(filepath.Join(w.Dir, "failure"), []byte(text))
	select {} // the driver reads the stacks of this process, and kills it
}

// open opens the space; another process may be stopped while it opens the space.
func (w *worker) open(opts ...everheap.Option) (*session, error) {
	opts = append(opts, everheap.WithFlushInterval(20*time.Millisecond))
	for {
		s, err := everheap.Open(w.Space, opts...)
		if errors.Is(err, everheap.ErrBusy) || w.Full && errors.Is(err, everheap.ErrNoSpace) {
			w.log("open: %v", err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if err != nil {
			return nil, err
		}
		found := &session{Space: s}
		if found.world, err = openWorld(s); err != nil {
			return nil, fmt.Errorf("opening the collections: %w", err)
		}
		found.former, err = everheap.OpenMap[string, Card1](s, cardsName)
		if err != nil && !errors.Is(err, everheap.ErrTypeChanged) {
			return nil, fmt.Errorf("opening the cards: %w", err)
		}
		return found, nil
	}
}

// harmless reports whether an error is one that others, or a stop, may cause.
func (w *worker) harmless(err error) bool {
	return err == nil || errors.Is(err, everheap.ErrSuspended) || errors.Is(err, everheap.ErrBusy) || errors.Is(err, everheap.ErrClosed) ||
		w.Full && errors.Is(err, everheap.ErrNoSpace)
}

// workerChild is the life of a worker.
func workerChild() int {
	w := newWorker()
	r := w.random(0)
	var options []everheap.Option
	if r.IntN(4) == 0 {
		options = append(options, everheap.WithVerify())
	}
	s, err := w.open(options...)
	if err != nil {
		w.fail("open", err)
	}
	w.session.Store(s)
	var all sync.WaitGroup
	for n := range owners {
		all.Go(func() { w.own(ownerID(w.id, n), w.random(n+1)) })
	}
	all.Go(func() { w.watchOver(w.random(owners + 1)) })
	all.Go(func() { w.watcher(w.random(owners + 3)) })
	all.Go(func() { w.steward(w.random(owners+2), options) })
	all.Wait()
	if err := w.session.Load().Close(); err != nil && !w.harmless(err) {
		w.fail("close", err)
	}
	return 0
}

// anOwner is a goroutine that writes.
type anOwner struct {
	*worker
	id     uint32
	ledger *ledger
	sure   bool // the acknowledged transactions of the ledger were seen in the space
	r      *rand.Rand
	hungry int // transactions in a row that found no space
}

// own works for an owner until the process is to end.
func (w *worker) own(id uint32, r *rand.Rand) {
	l, err := openLedger(w.Dir, id)
	if err != nil {
		w.fail("ledger", err)
	}
	o := &anOwner{worker: w, id: id, ledger: l, r: r}
	for !w.ended.Load() {
		w.reopen.RLock()
		s := w.session.Load()
		err := o.work(s)
		w.reopen.RUnlock()
		switch {
		case errors.Is(err, everheap.ErrClosed):
			time.Sleep(time.Millisecond) // the steward closes the space, and opens it again
		case err != nil:
			w.fail(fmt.Sprint("owner ", id), err)
		}
		if r.IntN(8) == 0 {
			time.Sleep(time.Duration(r.IntN(4000)) * time.Microsecond)
		}
	}
}

// lost is the error for a missing acknowledged transaction.
type lost struct{ text string }

func (l *lost) Error() string { return l.text }

// expect compares the state of an owner in the space with its ledger.
func (o *anOwner) expect(seq uint64) error {
	note := o.ledger.note
	if seq == note.Seq || o.restores.allow(o.id, seq, note.Began) {
		return nil
	}
	return &lost{fmt.Sprintf("transaction %d has returned (begun at %d, returned at %d), and the last one in the space is %d (highest ever %d, unknown %d)",
		note.Seq, note.Began, note.At, seq, o.ledger.last, o.ledger.open)}
}

// settle finds out the outcome of a transaction that the process does not know, since it died or the
// space was closed.
func (o *anOwner) settle(s *session) error {
	began := clock()
	var seq uint64
	err := s.View(func(tx *everheap.Tx) error {
		if st := s.states.Peek(tx, o.id); st != nil {
			seq = st.Seq
		}
		return nil
	})
	if err != nil {
		return err
	}
	if o.ledger.open == 0 || seq != o.ledger.open {
		if err := o.expect(seq); err != nil {
			return err
		}
	}
	o.ledger.ack(seq, began)
	o.sure = true
	return nil
}

// work does one transaction.
func (o *anOwner) work(s *session) error {
	if !o.sure || o.ledger.open != 0 {
		if err := o.settle(s); err != nil {
			return err
		}
	}
	durability := everheap.Periodic
	if o.r.IntN(8) == 0 {
		durability = everheap.Durable
	}
	seq, began := o.ledger.attempt(), clock()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := s.Update(ctx, func(tx *everheap.Tx) error { return o.transact(s, tx, seq) }, durability)
	switch {
	case err == nil:
		o.ledger.ack(seq, began)
		if durability == everheap.Durable {
			o.ledger.durable(o.ledger.note)
		}
		o.hungry = 0
	case errors.Is(err, errAborted), errors.Is(err, everheap.ErrSuspended), errors.Is(err, everheap.ErrBusy):
		o.ledger.failed()
		if errors.Is(err, everheap.ErrBusy) {
			o.log("owner %d: %v", o.id, err)
		}
	case errors.Is(err, everheap.ErrClosed):
		return err // it may be committed: settle finds out
	case o.Full && errors.Is(err, everheap.ErrNoSpace):
		if durability == everheap.Periodic {
			o.ledger.failed()
		}
		o.hungry++
		o.full.Store(true)
	default:
		return err
	}
	if o.r.IntN(64) == 0 {
		return o.sync(s)
	}
	return nil
}

// sync makes the acknowledged transactions durable.
func (o *anOwner) sync(s *session) error {
	note := o.ledger.note
	err := s.Sync(context.Background())
	if err == nil {
		o.ledger.durable(note)
	}
	if o.harmless(err) {
		return nil
	}
	return err
}

// transact is one transaction. It begins by verifying the state before.
func (o *anOwner) transact(s *session, tx *everheap.Tx, seq uint64) error {
	st, err := s.states.Get(tx, o.id)
	if err != nil && !errors.Is(err, everheap.ErrNotFound) {
		return err
	}
	if err := o.expect(st.Seq); err != nil {
		return err
	}
	c, err := openCards(tx)
	if err != nil {
		return err
	}
	d := &deed{world: s.world, tx: tx, st: &st, cards: c, owner: o.id, seq: seq, r: o.r}
	if err := d.look(); err != nil {
		return err
	}
	choice := kinds
	if o.hungry > 0 {
		choice = removals
	}
	for range o.r.IntN(7) {
		if err := choice[o.r.IntN(len(choice))](d); err != nil {
			return err
		}
	}
	if o.r.IntN(20) == 0 {
		return errAborted
	}
	return d.sign()
}
