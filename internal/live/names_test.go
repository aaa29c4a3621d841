package live_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap/heaptest"
	"github.com/everheap/everheap/internal/live"
)

func TestNames_AnyText(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	long := strings.Repeat("n", format.MaxLockName)
	names := []string{"", "\x00", "\x00\x00", "a", "a\x00", "æ\xff", long, long[1:], long[1:] + "\x00"}
	for _, name := range names {
		take(t, s.Live, named(t, name, 0))
		take(t, s.Live, named(t, name, 2)) // a semaphore is another lock
	}
	for _, name := range names {
		if _, ok, err := s.Live.TryTake(named(t, name, 0)); ok || err != nil {
			t.Errorf("%q is not the lock that was taken (%v)", name, err)
		}
	}
	if n := len(s.Live.Locks()); n != 2*len(names) {
		t.Errorf("%d locks for %d names", n, len(names))
	}
	if _, err := live.NewNamedLock(long+"n", 0); !errors.Is(err, live.ErrNameTooLong) {
		t.Errorf("a name that is too long: %v", err)
	}
}

func TestNames_EntriesAreUsedAgain(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	other := member(t, s)
	defer other.Leave(true)
	kept := named(t, "kept", 0)
	mine := take(t, s.Live, kept)
	old := named(t, "old", 0)
	s.Live.Give(take(t, s.Live, old))
	for i := range 3 * format.NumLocks {
		l := named(t, fmt.Sprint(i), i%3)
		other.Give(take(t, other, l))
	}
	if _, ok, err := other.TryTake(named(t, "kept", 0)); ok || err != nil {
		t.Errorf("the entry of a lock that is held was used for another one (%v)", err)
	}
	if len(entriesOf(s.Live, "old")) != 0 {
		t.Error("the entry that was used last the longest time ago was not used again")
	}
	h := take(t, s.Live, old) // by a handle that knows the entry that it had
	if _, ok, _ := other.TryTake(named(t, "old", 0)); ok {
		t.Error("the lock was taken twice")
	}
	s.Live.Give(h)
	s.Live.Give(mine)
}

func TestNames_Exhausted(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	dying := member(t, s)
	var held []live.HeldLock
	for i := range format.NumLocks - 1 {
		held = append(held, take(t, s.Live, named(t, fmt.Sprint(i), 0)))
	}
	take(t, dying, named(t, "of the dead", 0))
	dying.Leave(false)
	if _, ok, err := s.Live.TryTake(named(t, "more", 0)); ok || !errors.Is(err, live.ErrTooManyLocks) {
		t.Errorf("the name that is too many: %v (%v)", ok, err)
	}
	s.Live.Give(held[500])
	h := take(t, s.Live, named(t, "more", 0))
	if _, ok, err := s.Live.TryTake(named(t, "500", 0)); ok || !errors.Is(err, live.ErrTooManyLocks) {
		t.Errorf("again: %v (%v)", ok, err)
	}
	s.Live.Give(h)
	if h = take(t, s.Live, named(t, "of the dead", 0)); !h.OwnerDied() {
		t.Error("the notice of a death was lost")
	}
}

func TestNames_UnitsExhausted(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	const each = 1024
	var held []live.HeldLock
	for i := range format.NumUnits / each {
		held = append(held, take(t, s.Live, named(t, fmt.Sprint(i), each)))
	}
	if _, ok, err := s.Live.TryTake(named(t, "more", 1)); ok || !errors.Is(err, live.ErrTooManyLocks) {
		t.Errorf("the permit that is too many: %v (%v)", ok, err)
	}
	s.Live.Give(held[2])
	take(t, s.Live, named(t, "more", each/2))
	if _, ok, err := s.Live.TryTake(named(t, "2", each)); ok || !errors.Is(err, live.ErrTooManyLocks) {
		t.Errorf("half of the permits are taken: %v (%v)", ok, err)
	}
	take(t, s.Live, named(t, "rest", each/2))
}

func TestNames_UnitsDiffer(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	a, b := member(t, s), member(t, s)
	defer b.Leave(true)
	l2, l5 := named(t, "s", 2), named(t, "s", 5)
	mine := take(t, b, l2)
	take(t, a, l2)
	var permits *live.UnitsError
	if _, ok, err := a.TryTake(l5); ok || !errors.As(err, &permits) || permits.Have != 2 || permits.Want != 5 {
		t.Errorf("another number while permits are held: %v (%v)", ok, err)
	}
	a.Leave(false)
	if _, ok, err := b.TryTake(l5); ok || !errors.As(err, &permits) {
		t.Errorf("another number while one permit is held by the living: %v (%v)", ok, err)
	}
	b.Give(mine)
	died := 0
	for range 5 { // only dead processes hold a permit
		if h := take(t, b, l5); h.OwnerDied() {
			died++
		}
	}
	if died != 1 {
		t.Errorf("%d of 5 were told of one death", died)
	}
	if _, ok, err := b.TryTake(l2); ok || !errors.As(err, &permits) || permits.Have != 5 {
		t.Errorf("the number is another one now: %v (%v)", ok, err)
	}
	if n := len(entriesOf(b, "s")); n != 1 {
		t.Errorf("the semaphore has %d entries", n)
	}
}

// How far a claimant has come.
const (
	isClaimant  = iota // it has claimed the entry
	isLeaving          // the entry of another lock is leaving
	isFilled           // the phase is claimed, the name is written
	isStamped          // the number of the naming is written
	isGiven            // Namings has the naming, and it is not settled
	isSettled          // the entry is named
	isOvertaken        // the entry is stamped, and another naming has got the number
)

// claimTo makes the steps of a claimant of entry 1 up to there, by hand. The entry already
// has the name "n".
func claimTo(t *testing.T, step int, claimant, other *live.Live) {
	w := claimant.Words()
	e, number := &w.Locks[1], w.Namings.Load()>>format.LockIndexBits+1
	e.Claimant.Store(uint64(claimant.Incarnation()))
	state := e.State.Load()
	if step >= isLeaving {
		e.State.Store(state&^3 | format.LockLeaving)
	}
	if step >= isFilled {
		e.Stamp.Store(0)
		e.State.Store(state&^3 + 1<<format.LockPhaseBits | format.LockClaimed)
	}
	if step >= isStamped {
		e.Stamp.Store(number)
	}
	if step == isGiven || step == isSettled {
		w.Namings.Store(number<<format.LockIndexBits | 1)
	}
	if step == isSettled {
		e.State.Store(e.State.Load()&^3 | format.LockNamed)
	}
	if step == isOvertaken {
		other.Give(take(t, other, named(t, "other", 0)))
	}
}

// A claimant dies or stands still between any two steps: other processes are not blocked,
// and the name never has two entries.
func TestNames_ClaimantStops(t *testing.T) { // L6, L7
	for step := isClaimant; step <= isOvertaken; step++ {
		for _, dies := range []bool{true, false} {
			t.Run(fmt.Sprint(step, dies), func(t *testing.T) {
				s := heaptest.Open(t, 64<<20)
				a, stopped := member(t, s), member(t, s)
				defer a.Leave(true)
				a.Give(take(t, a, named(t, "before", 0)))
				a.Give(take(t, a, named(t, "n", 0)))
				claimTo(t, step, stopped, a)
				if dies {
					stopped.Leave(false)
				} else {
					defer stopped.Leave(true)
				}
				takeAtOnce(t, s, "n")
				if list := entriesOf(a, "n"); len(list) != 1 {
					t.Errorf("the name has the entries %v", list)
				} else if old := list[0] == 1; old != (dies || step < isFilled || step == isGiven || step == isSettled) {
					t.Errorf("the name has the entry %d", list[0])
				}
				for i := range 2 * format.NumLocks { // all entries are used again
					a.Give(take(t, a, named(t, fmt.Sprint(i), 0)))
				}
				used := 0
				for i := range a.Words().Locks {
					if a.Words().Locks[i].State.Load()&3 == format.LockNamed {
						used++
					}
				}
				if want := format.NumLocks; used != want && (dies || used != want-1) {
					t.Errorf("%d entries are in use", used)
				}
			})
		}
	}
}

// takeAtOnce makes some members take a mutex at the same time.
func takeAtOnce(t *testing.T, s *heaptest.Space, name string) {
	var wg sync.WaitGroup
	var holders sync.Mutex
	for range 3 {
		v := member(t, s)
		wg.Go(func() {
			defer v.Leave(true)
			h, err := v.Take(context.Background(), named(t, name, 0))
			if err != nil || h.OwnerDied() {
				t.Errorf("%v, died %v", err, h.OwnerDied())
				return
			}
			if !holders.TryLock() {
				t.Error("two hold it")
				return
			}
			holders.Unlock()
			v.Give(h)
		})
	}
	within(t, "taking it at once", wg.Wait)
}

// A claimant that stood still continues after the entry's lock was taken: it gives up.
func TestNames_LateClaimant(t *testing.T) { // L7
	s := heaptest.Open(t, 64<<20)
	a := member(t, s)
	defer a.Leave(true)
	l := named(t, "n", 0)
	a.Give(take(t, a, l))
	e := &a.Words().Locks[0]
	state := e.State.Load()
	e.State.Store(state&^3 | format.LockLeaving)
	h := take(t, a, l)
	if e.State.Load() != state {
		t.Errorf("the state is %#x after a take, %#x before", e.State.Load(), state)
	}
	if e.State.CompareAndSwap(state&^3|format.LockLeaving, state&^3+4|format.LockClaimed) {
		t.Error("the claimant's step went through while the lock is held")
	}
	a.Give(h)
}

// Members ask for the same new name at the same moment, again and again, in a table
// that is full: one of them gets it, and it has one entry.
func TestNames_SameNameAtOnce(t *testing.T) { // L6
	s := heaptest.Open(t, 64<<20)
	for i := range format.NumLocks {
		s.Live.Give(take(t, s.Live, named(t, fmt.Sprint("fill ", i), 0)))
	}
	const members, most = 4, 4000
	rounds := most
	if testing.Short() { // an emulated machine takes minutes for more
		rounds = most / 20
	}
	var taken, here, gone [most]atomic.Int64
	meet := func(at *atomic.Int64) {
		for at.Add(1); at.Load() < members; {
			runtime.Gosched()
		}
	}
	var wg sync.WaitGroup
	for range members {
		v := member(t, s)
		wg.Go(func() {
			defer v.Leave(true)
			for i := range rounds {
				l, err := live.NewNamedLock(fmt.Sprint("new ", i), 0)
				if err != nil {
					t.Error(err)
				}
				meet(&here[i])
				h, ok, err := v.TryTake(l)
				if err != nil || h.OwnerDied() {
					t.Errorf("%v, died %v", err, h.OwnerDied())
				}
				if ok {
					taken[i].Add(1)
				}
				meet(&gone[i])
				if ok {
					v.Give(h)
				}
			}
		})
	}
	within(t, "taking them at once", wg.Wait)
	for i := range rounds {
		if n := taken[i].Load(); n != 1 {
			t.Errorf("new %d was taken by %d", i, n)
		}
	}
}

// Whatever the table contains, taking a lock returns an error or a lock, and does not hang.
func TestNames_DamagedTable(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	a := member(t, s)
	defer a.Leave(true)
	w := a.Words()
	table := unsafe.Slice((*uint64)(unsafe.Pointer(&w.Locks)), unsafe.Sizeof(w.Locks)/8)
	permits := unsafe.Slice((*uint64)(unsafe.Pointer(&w.Units)), unsafe.Sizeof(w.Units)/8)
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 300 {
		for _, words := range [][]uint64{table, permits, unsafe.Slice((*uint64)(unsafe.Pointer(&w.Namings)), 2)} {
			for range 1 + r.IntN(len(words)) {
				switch i := r.IntN(len(words)); r.IntN(4) {
				case 0:
					words[i] = r.Uint64() >> r.IntN(64)
				case 1:
					words[i] ^= 1 << r.IntN(64)
				case 2:
					words[i] = words[r.IntN(len(words))]
				default:
					words[i] = 0
				}
			}
		}
		for i := range 10 {
			l := named(t, fmt.Sprint(i), i%3)
			if h, ok, err := a.TryTake(l); ok {
				a.Give(h)
			} else if err != nil && round == 0 {
				t.Logf("%v: %v", l, err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Microsecond)
			if h, err := a.Take(ctx, l); err == nil {
				a.Give(h)
			}
			cancel()
		}
		a.Locks()
		a.Reap()
	}
}
