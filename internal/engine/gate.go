package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/oslock"
	"github.com/everheap/everheap/internal/spacefile"
)

// How processes come and go. Two bytes of the heap file are locked: presence, shared by
// every process that has the space open, and the gate, which one process at a time has.
//
//	K4  What members rely on is made, or taken away, only by one who has the presence
//	    byte exclusively meanwhile: a new live file, its recovery up to where members
//	    may join it, another heap file under the name, a clean anchor. Who joins takes
//	    presence shared first, and then looks whether the name still leads to this
//	    heap file and whether the live file is whole, of this boot and recovered. So
//	    what he has seen stays true for as long as he is a member, and joining needs
//	    no gate. If the look fails he lets go of presence.
//	K5  Who wants presence exclusively, without being refused by one of his kind who
//	    wants it too, has the gate: who creates or recovers live, heals, rewrites, or
//	    finds out at the end whether he is the last one. That last question is why the
//	    gate is kept until presence has been let go of: else two that close at once
//	    would each see the other, and neither would be the last.
//	K6  So one who stands still with the gate keeps nobody from joining a space that is
//	    alive, nor from using it. Who closes waits for the gate with bounded patience
//	    and then does without: he has made durable what was committed and given back
//	    what he had reserved before; only the clean anchor may be missing, as after
//	    the death of the last process.
//	K7  The gate is a lock on an open file of its own, which is opened anew from the
//	    descriptor of the heap file and not by its name.

const (
	gatePatience  = 10 * time.Second // for one who holds the gate and does not move, or cannot be seen
	closePatience = 2 * time.Second  // to find out whether this process is the last
	probePatience = time.Second      // for others who look whether they can join
	probePause    = time.Millisecond
)

// takeGate waits for the gate: as long as its holder goes on, as far as the system says,
// and the context does. spacefile.CloseLocks of the file that it returns gives the gate back.
func (sp *Space) takeGate(ctx context.Context, shared bool) (*os.File, error) {
	open := func() (*os.File, error) { return openAgain(sp.gate) }
	for began := time.Now(); ; {
		bounded, cancel := context.WithTimeout(ctx, gatePatience)
		f, err := oslock.Wait(bounded, open, format.LockGate, shared)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			return f, err
		}
		holders := oslock.Holders(sp.gate, format.LockGate)
		if ctx.Err() == nil && goesOn(holders) {
			continue
		}
		err = ctx.Err()
		if err == nil {
			err = context.DeadlineExceeded
		}
		return nil, fmt.Errorf("%w: %s for %v (%w)", ErrBusy, gateHolders(holders), time.Since(began).Round(time.Millisecond), err)
	}
}

// goesOn reports whether one of those who hold a lock is seen to be running.
func goesOn(holders []oslock.Holder) bool {
	for _, h := range holders {
		if !h.Stopped {
			return true
		}
	}
	return false
}

// gateHolders says who has the gate.
func gateHolders(holders []oslock.Holder) string {
	if len(holders) == 0 {
		return "another process has been opening, closing or rewriting the space"
	}
	var names []string
	for _, h := range holders {
		name := fmt.Sprintf("process %d (%s)", h.PID, h.Command)
		if h.Stopped {
			name += ", which is stopped: let it go on or end it,"
		}
		names = append(names, name)
	}
	return strings.Join(names, " and ") + " has been opening, closing or rewriting the space"
}

// openLocks opens the heap file for its locks. One who only reads and may not write it
// is a guest.
func (sp *Space) openLocks() (err error) {
	sp.gate, err = sp.dir.Open(HeapName, os.O_RDWR, 0)
	if err != nil && forbidden(err) && sp.readOnly {
		sp.guest = true
		sp.gate, err = sp.dir.Open(HeapName, os.O_RDONLY, 0)
	}
	if err != nil {
		return err
	}
	if sp.options.owner, err = mapping.OwnerOf(sp.gate); err != nil {
		return err
	}
	return sp.sameHeap()
}

// sameHeap returns an error if the heap file of that name is not the one that was opened,
// or was looked for.
func (sp *Space) sameHeap() error {
	mine, err := mapping.StatusOf(sp.gate)
	if err != nil {
		return err
	}
	if !sp.dir.Has(HeapName, mine.FileID) || sp.id != (mapping.FileID{}) && sp.id != mine.FileID {
		return errOtherHeap
	}
	return nil
}

// join becomes a member if the space is alive, or whole since it was used last in this
// boot, without the gate (K4). It reports false if the gate is needed.
func (sp *Space) join() (bool, error) {
	info, err := sp.gate.Stat()
	if err != nil {
		return false, err
	}
	// Before presence is touched: who recovers the space needs that for himself.
	if ready, failed := live.Ready(sp.dir, sp.header.SpaceID, info); !ready || failed && !sp.readOnly {
		return false, nil
	}
	if ok, err := oslock.TryLock(sp.gate, format.LockPresence, true); err != nil || !ok {
		return false, err
	}
	err = sp.sameHeap()
	if err == nil {
		sp.live, err = live.Open(sp.dir, sp.header.SpaceID, info)
	}
	if err == nil {
		if err = sp.plausible(); err != nil {
			sp.live.Leave(false)
			sp.live = nil
		}
	}
	if err == nil {
		if sp.journalInOrder() {
			return true, nil
		}
		sp.live.Leave(false)
		sp.live = nil
	}
	if errors.Is(err, live.ErrUntrusted) {
		err = nil
	}
	return false, errors.Join(err, oslock.Unlock(sp.gate, format.LockPresence))
}

// journalInOrder reports whether the journal of that name is whole, and the one that all
// processes write: else opening it needs the gate (F4).
func (sp *Space) journalInOrder() bool {
	w := sp.live.Words()
	s, size, err := sp.journalSize(func() (mapping.Status, error) { return sp.dir.Stat(journal.FileName) })
	return err == nil && s.FileID == mapping.FileID{Device: w.JournalDevice.Load(), Inode: w.JournalInode.Load()} && whole(s, size)
}

// presence takes the presence byte, shared or exclusively, for one who has the gate. One
// who looks whether it can join, or whether it is alone, has it for a moment.
func (sp *Space) presence(shared bool) (ok bool, err error) {
	for began := time.Now(); ; time.Sleep(probePause) {
		ok, err = oslock.TryLock(sp.gate, format.LockPresence, shared)
		if ok || err != nil || time.Since(began) > probePatience {
			return ok, err
		}
	}
}

// openMember makes this process a member: without the gate if the space is alive, else
// with it. The gate is returned for as long as there is to recover or to heal something;
// nil: it is not needed any more.
func (sp *Space) openMember(ctx context.Context) (gate *os.File, err error) {
	if sp.guest {
		return nil, sp.openGuest(ctx)
	}
	gate, err = sp.joinOrRecover(ctx)
	if err != nil && sp.readOnly && forbidden(err) { // it may write the heap, but not beside it
		if gate != nil {
			spacefile.CloseLocks(gate)
		}
		if err := oslock.Unlock(sp.gate, format.LockPresence); err != nil {
			return nil, err
		}
		return nil, sp.openGuest(ctx)
	}
	return gate, err
}

// joinOrRecover is openMember for one who may write.
func (sp *Space) joinOrRecover(ctx context.Context) (gate *os.File, err error) {
	ok, err := sp.join()
	if ok && err == nil && !sp.readOnly { // left behind by one who died, since nobody rewrites while presence is held
		_ = sp.dir.Remove(newHeapName)
	}
	if ok || err != nil {
		return nil, err
	}
	gate, err = sp.takeGate(ctx, false)
	if err != nil {
		return nil, err
	}
	// Who had the gate may have put another heap in the place of this one.
	if err = sp.sameHeap(); err == nil {
		if !sp.readOnly { // left behind by one who died, since nobody rewrites while the gate is held
			_ = sp.dir.Remove(newHeapName) // what cannot be removed is in nobody's way
		}
		err = sp.openLive()
	}
	if w := sp.live; err == nil && w.Words().Recovering.Load() == 0 && w.Words().Failed.Load() == 0 && sp.journalInOrder() {
		spacefile.CloseLocks(gate) // presence is held: K4
		return nil, nil
	}
	return gate, err
}
