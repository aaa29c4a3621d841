package live_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap/heaptest"
	"github.com/everheap/everheap/internal/live"
)

// named returns a lock.
func named(t testing.TB, name string, permits int) *live.NamedLock {
	t.Helper()
	l, err := live.NewNamedLock(name, permits)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// take takes a lock that must be free.
func take(t testing.TB, v *live.Live, l *live.NamedLock) live.HeldLock {
	t.Helper()
	h, ok, err := v.TryTake(l)
	if !ok || err != nil {
		t.Fatalf("%v was not free (%v)", l, err)
	}
	return h
}

// entriesOf returns the entries that a name has.
func entriesOf(v *live.Live, name string) (list []int) {
	var words [format.MaxLockName / 8]uint64
	for i := range len(name) {
		words[i/8] |= uint64(name[i]) << (i % 8 * 8)
	}
	for i := range v.Words().Locks {
		e := &v.Words().Locks[i]
		if phase := e.State.Load() & 3; phase != format.LockNamed && phase != format.LockLeaving {
			continue
		}
		same := e.Length.Load() == uint32(len(name))
		for w := range words {
			same = same && e.Name[w].Load() == words[w]
		}
		if same {
			list = append(list, i)
		}
	}
	return list
}

// Members compete for more names than there are entries, so that entries change their names
// all the time. No two members are ever inside one lock.
func TestTake_OneAtATime(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	const names = format.NumLocks * 2
	rounds := 4000
	if testing.Short() {
		rounds = 500
	}
	var inside [names]atomic.Int64 // the race detector does not see locks in mapped memory
	var wg sync.WaitGroup
	for m := range 4 {
		v := member(t, s)
		wg.Go(func() {
			defer v.Leave(true)
			r := rand.New(rand.NewPCG(1, uint64(m)))
			kept := map[int]*live.NamedLock{}
			for range rounds {
				i := r.IntN(8)
				if r.IntN(2) == 0 {
					i = r.IntN(names)
				}
				l := kept[i]
				if l == nil || r.IntN(4) == 0 { // otherwise it uses the place where the lock was long ago
					l = named(t, fmt.Sprint("lock ", i), 0)
					kept[i] = l
				}
				h, err := v.Take(context.Background(), l)
				if err != nil || h.OwnerDied() {
					t.Errorf("%v: %v, died %v", l, err, h.OwnerDied())
					return
				}
				if n := inside[i].Add(1); n != 1 {
					t.Errorf("%d hold %v", n, l)
				}
				inside[i].Add(-1)
				v.Give(h)
			}
		})
	}
	within(t, "taking turns", wg.Wait)
	for i := range names {
		if list := entriesOf(s.Live, fmt.Sprint("lock ", i)); len(list) > 1 {
			t.Errorf("lock %d has the entries %v", i, list)
		}
	}
	if list := s.Live.Locks(); len(list) > 0 {
		t.Errorf("in the end there are in use: %+v", list)
	}
}

func TestTake_UnitsNeverExceeded(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	const permits = 5
	var inside, most atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		v := member(t, s)
		l := named(t, "s", permits)
		var queue sync.Mutex // one goroutine at a time calls Take
		var local sync.WaitGroup
		for range 4 {
			local.Go(func() {
				for range 300 {
					queue.Lock()
					h, err := v.Take(context.Background(), l)
					queue.Unlock()
					if err != nil || h.OwnerDied() {
						t.Errorf("%v, died %v", err, h.OwnerDied())
						return
					}
					n := inside.Add(1)
					if n > permits {
						t.Errorf("%d have a permit of %d", n, permits)
					}
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					time.Sleep(10 * time.Microsecond)
					inside.Add(-1)
					v.Give(h)
				}
			})
		}
		wg.Go(func() { local.Wait(); v.Leave(true) })
	}
	within(t, "taking turns", wg.Wait)
	if most.Load() < 2 {
		t.Error("the permits were never used at the same time")
	}
}

func TestTake_AfterADeadHolder(t *testing.T) { // L9
	s := heaptest.Open(t, 64<<20)
	a, b := member(t, s), member(t, s)
	defer b.Leave(true)
	m, sem := named(t, "m", 0), named(t, "s", 3)
	take(t, a, m)
	take(t, a, sem)
	take(t, a, sem)
	mine := take(t, b, sem)
	if _, ok, _ := b.TryTake(named(t, "m", 0)); ok {
		t.Error("a mutex was taken twice")
	}
	if _, ok, _ := b.TryTake(sem); ok {
		t.Error("a fourth permit of three")
	}
	a.Leave(false)
	list := b.Locks()
	if len(list) != 2 || len(list[0].Holders) != 1 || !list[0].Holders[0].Dead || len(list[1].Holders) != 2 {
		t.Errorf("after a death: %+v", list)
	}
	h := take(t, b, named(t, "m", 0))
	if !h.OwnerDied() {
		t.Error("the next holder is not told")
	}
	b.GiveBack(h)
	b.Reap() // the dead member's entry is free; the notice stays
	c := member(t, s)
	defer c.Leave(true)
	h, err := c.Take(context.Background(), named(t, "m", 0))
	if err != nil || !h.OwnerDied() {
		t.Errorf("after GiveBack the next holder is not told (%v)", err)
	}
	c.Give(h)
	if h = take(t, b, named(t, "m", 0)); h.OwnerDied() {
		t.Error("the one after the next holder is told as well")
	}
	b.Give(h)
	for range 2 {
		if h = take(t, c, named(t, "s", 3)); !h.OwnerDied() {
			t.Error("who gets the permit of a dead one is not told")
		}
		defer c.Give(h)
	}
	if _, ok, _ := c.TryTake(named(t, "s", 3)); ok {
		t.Error("a permit too many")
	}
	b.Give(mine)
	if h = take(t, c, named(t, "s", 3)); h.OwnerDied() {
		t.Error("a permit that was given back tells of a death")
	}
	c.Give(h)
}

func TestTake_ContextEnds(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	a, b := member(t, s), member(t, s)
	defer a.Leave(true)
	defer b.Leave(true)
	h := take(t, a, named(t, "m", 0))
	l := named(t, "m", 0)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Millisecond)
	defer cancel()
	_, err := b.Take(ctx, l)
	var busy *live.BusyError
	if !errors.As(err, &busy) || busy.PID != os.Getpid() || busy.What != `the mutex "m"` || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if list := a.Locks(); len(list) != 1 || list[0].Waiters != 0 {
		t.Errorf("a waiter that gave up still waits: %+v", list)
	}
	a.Give(h)
	b.Give(take(t, b, l))
}

// waitingIn waits until n processes have waited for the lock for a while.
func waitingIn(t *testing.T, v *live.Live, name string, n int) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		for _, l := range v.Locks() {
			if l.Name == name && l.Waiters == n {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatalf("there are not %d waiters: %+v", n, v.Locks())
		}
	}
}

// A process that has waited for a while gets the lock before any other process gets it a
// second time, whatever the others do.
func TestTake_HandedOver(t *testing.T) {
	defer live.SetOfferLapse(time.Hour)() // on a slow machine offers would lapse, and the order would change
	for _, permits := range []int{0, 1} {
		s := heaptest.Open(t, 64<<20)
		const others = 4
		first := member(t, s)
		defer first.Leave(true)
		l := named(t, "m", permits)
		for round := range 10 {
			h := take(t, first, l)
			var order []int // guarded by the lock, as far as we know
			var mu sync.Mutex
			var wg sync.WaitGroup
			for i := range others {
				v := member(t, s)
				wg.Go(func() {
					defer v.Leave(true)
					own := named(t, "m", permits)
					for range 3 {
						h, err := v.Take(context.Background(), own)
						if err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						order = append(order, i)
						mu.Unlock()
						time.Sleep(2 * time.Millisecond) // so that the others have waited for a while
						v.Give(h)
					}
				})
			}
			waitingIn(t, first, "m", others)
			first.Give(h)
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			h, err := first.Take(ctx, l)
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			order = append(order, others)
			mu.Unlock()
			first.Give(h)
			within(t, "taking turns", wg.Wait)
			early := slices.Clone(order[:others])
			slices.Sort(early)
			if !slices.Equal(early, []int{0, 1, 2, 3}) {
				t.Errorf("round %d: all had waited, and the order was %v", round, order)
			}
		}
	}
}

// An offer that its addressee does not take stops no other process, and reports no death.
func TestTake_OfferLapses(t *testing.T) { // L8
	l := func() *live.NamedLock { return named(t, "m", 0) }
	for _, what := range []string{"stands still", "died", "does not wait"} {
		s := heaptest.Open(t, 64<<20)
		a, sleeper := member(t, s), member(t, s)
		defer a.Leave(true)
		h := take(t, a, l())
		entry := &a.Words().Locks[entriesOf(a, "m")[0]]
		bit := uint64(1) << (sleeper.Incarnation().Entry() % 64)
		word := &entry.Waiting[sleeper.Incarnation().Entry()/64]
		word.Or(bit)
		entry.Contended.Store(1)
		a.Give(h)
		if w := entry.Owner.Load(); w != uint64(sleeper.Incarnation())|format.LockOffered {
			t.Fatalf("the owner is %#x: it was not offered", w)
		}
		if len(a.Locks()[0].Holders) != 0 {
			t.Error("what is offered has a holder")
		}
		switch what {
		case "stands still":
			if h, err := a.Take(context.Background(), l()); err != nil || h.OwnerDied() {
				t.Errorf("%v, died %v", err, h.OwnerDied())
			}
			if _, ok, _ := sleeper.TryTake(l()); ok {
				t.Error("the sleeper took what was taken from it")
			}
			sleeper.Leave(true)
		case "died":
			sleeper.Leave(false)
			if h := take(t, a, l()); h.OwnerDied() {
				t.Error("what was offered to a dead one tells of its death")
			}
		case "does not wait":
			word.And(^bit)
			take(t, a, l())
			sleeper.Leave(true)
		}
	}
}

// A process that only tries does not take a freshly offered lock.
func TestTryTake_OfferStands(t *testing.T) {
	defer live.SetOfferLapse(time.Hour)()
	s := heaptest.Open(t, 64<<20)
	a, b := member(t, s), member(t, s)
	defer a.Leave(true)
	defer b.Leave(true)
	h := take(t, a, named(t, "m", 0))
	done := make(chan live.HeldLock)
	go func() {
		h, err := b.Take(context.Background(), named(t, "m", 0))
		if err != nil {
			t.Error(err)
		}
		done <- h
	}()
	waitingIn(t, a, "m", 1)
	a.Give(h)
	if _, ok, err := a.TryTake(named(t, "m", 0)); ok || err != nil {
		t.Errorf("a lock that is handed over was taken (%v)", err)
	}
	within(t, "accepting an offer", func() { b.Give(<-done) })
}
