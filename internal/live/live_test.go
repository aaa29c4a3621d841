package live_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/heap/heaptest"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/oslock"
)

// patience is how long a test waits for something that should take a moment, on a busy
// machine.
const patience = time.Minute

// within ends the tests, and prints the stacks of all goroutines, if fn does not return.
func within(t *testing.T, what string, fn func()) {
	t.Helper()
	watch := time.AfterFunc(patience, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("%s: %s takes longer than %v", t.Name(), what, patience))
	})
	defer watch.Stop()
	fn()
}

// member joins the space once more. Locks belong to open files, so the package cannot
// distinguish the new member from another process.
func member(t *testing.T, s *heaptest.Space) *live.Live {
	t.Helper()
	info, err := os.Stat(filepath.Join(s.Dir, engine.HeapName))
	if err != nil {
		t.Fatal(err)
	}
	v, err := live.Open(openDir(t, s.Dir), s.Header.SpaceID, info)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Join(); err != nil {
		t.Fatal(err)
	}
	return v
}

// openDir opens the directory of a space until the test ends.
func openDir(t *testing.T, path string) *mapping.Dir {
	t.Helper()
	d, err := mapping.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestOpen_UntrustedIfAnythingDiffers(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	heapInfo, err := os.Stat(filepath.Join(s.Dir, engine.HeapName))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.Dir, live.FileName)
	liveInfo, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	other := s.Header.SpaceID
	other[3] ^= 1
	expect := func(what string, space [16]byte, info os.FileInfo) {
		t.Helper()
		if v, err := live.Open(openDir(t, s.Dir), space, info); !errors.Is(err, live.ErrUntrusted) {
			t.Errorf("%s: %v", what, err)
			if err == nil {
				v.Leave(false)
			}
		}
	}
	expect("another space", other, heapInfo)
	expect("another heap file", s.Header.SpaceID, liveInfo)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect("no file", s.Header.SpaceID, heapInfo)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	expect("a copy", s.Header.SpaceID, heapInfo)
	if err := os.WriteFile(path, b[:5000], 0o600); err != nil {
		t.Fatal(err)
	}
	expect("a short one", s.Header.SpaceID, heapInfo)
}

func TestLockWriter_OneAtATime(t *testing.T) { // safety does not rest on the lock, but it should work
	s := heaptest.Open(t, 64<<20)
	var inside, count atomic.Int64 // the race detector does not see locks in mapped memory
	var wg sync.WaitGroup
	for range 3 {
		v := member(t, s)
		wg.Go(func() {
			defer v.Leave(true)
			for range 200 {
				grant, err := v.LockWriter(context.Background())
				if err != nil || grant != live.Free || !v.OwnsWriter() {
					t.Errorf("grant %v (%v)", grant, err)
					return
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d inside", n)
				}
				count.Add(1)
				inside.Add(-1)
				v.UnlockWriter()
			}
		})
	}
	within(t, "taking turns", wg.Wait)
	if n := count.Load(); n != 600 {
		t.Errorf("%d turns", n)
	}
}

func TestLockWriter_HeartBeats(t *testing.T) { // otherwise other processes take over from a living holder
	s := heaptest.Open(t, 64<<20)
	a := member(t, s)
	defer a.Leave(true)
	if _, err := a.LockWriter(context.Background()); err != nil {
		t.Fatal(err)
	}
	before := a.Entry().Heartbeat.Load()
	within(t, "a beat", func() {
		for a.Entry().Heartbeat.Load() < before+2 {
			time.Sleep(time.Millisecond)
		}
	})
	a.UnlockWriter()
}

// The heart of a process that has the lock beats between Holding and its end, even if the
// process begins no transaction: otherwise other processes would think that it stands still.
func TestHolding_HeartBeats(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	v := member(t, s)
	defer v.Leave(true)
	end := v.Holding()
	defer end()
	const more = 60 // more beats than before it falls asleep
	for began := time.Now(); v.Entry().Heartbeat.Load() < more; time.Sleep(time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("it has beaten %d times, and falls asleep", v.Entry().Heartbeat.Load())
		}
	}
}

// A process whose heart does not beat loses the lock, although it is not stopped: other
// processes cannot see that it runs. Then it can no longer publish.
func TestLockWriter_HeartDoesNotBeat(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	a, b := member(t, s), member(t, s)
	defer a.Leave(true)
	defer b.Leave(true)
	if !a.Words().Owner.CompareAndSwap(0, uint64(a.Incarnation())) { // LockWriter would wake its heart
		t.Fatal("another process has the lock")
	}
	within(t, "taking over", func() {
		grant, err := b.LockWriter(t.Context())
		if err != nil || grant != live.FromSuspended {
			t.Errorf("the grant is %v (%v)", grant, err)
		}
	})
	if a.OwnsWriter() || !b.OwnsWriter() {
		t.Error("the former holder has the lock still")
	}
}

func TestLockWriter_ContextEnds(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	a, b := member(t, s), member(t, s)
	defer a.Leave(true)
	defer b.Leave(true)
	if _, err := a.LockWriter(context.Background()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	_, err := b.LockWriter(ctx)
	var busy *live.BusyError
	if !errors.As(err, &busy) || busy.PID != os.Getpid() || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	a.UnlockWriter()
	if _, err := b.LockWriter(context.Background()); err != nil {
		t.Error(err)
	}
	b.UnlockWriter()
}

// A dead member stays dead, whichever process locks its byte afterwards. A process that
// stands still with the right to give the entry away does not keep others from the rest
// (L11).
func TestReap_ReaperStandsStill(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	dead := member(t, s)
	if _, err := dead.LockWriter(context.Background()); err != nil {
		t.Fatal(err)
	}
	incarnation := dead.Incarnation()
	dead.Leave(false)
	if s.Live.Alive(incarnation) {
		t.Fatal("a dead member counts")
	}
	reaper, err := os.OpenFile(filepath.Join(s.Dir, live.FileName), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reaper.Close()
	for _, lock := range []int64{format.LockProcess, format.LockReap} {
		if ok, err := oslock.TryLock(reaper, lock+int64(incarnation.Entry()), false); err != nil || !ok {
			t.Fatal(ok, err)
		}
	}
	if s.Live.Alive(incarnation) {
		t.Error("the dead member looks alive again")
	}
	w := s.Live.Words()
	w.SlotsUsed.Store(8)
	w.Slots[7].State.Store(w.Current.Load())
	w.Slots[7].Owner.Store(uint64(incarnation))
	if n := len(s.Live.Readers()); n != 1 {
		t.Errorf("%d claims on versions", n)
	}
	if n := s.Live.Reap(); n != 0 {
		t.Errorf("%d entries were given away", n)
	}
	if w.Owner.Load() != 0 || len(s.Live.Readers()) != 0 {
		t.Errorf("owner %x; %d claims on versions", w.Owner.Load(), len(s.Live.Readers()))
	}
	next := member(t, s)
	defer next.Leave(true)
	if next.Incarnation().Entry() == incarnation.Entry() {
		t.Error("the entry was given to another one")
	}
}

func TestReap_AfterADeadWriterAndReader(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	dead := member(t, s)
	if _, err := dead.LockWriter(context.Background()); err != nil {
		t.Fatal(err)
	}
	dead.Entry().Reserved.Store(12345)
	dead.Entry().Active.Store(1)
	incarnation := dead.Incarnation()
	if !s.Live.Alive(incarnation) || !s.Live.Accompanied(true) {
		t.Error("a member that lives is not seen")
	}
	dead.Leave(false)
	if s.Live.Alive(incarnation) || s.Live.Accompanied(true) {
		t.Error("a dead member counts")
	}
	if n := s.Live.Reap(); n != 1 {
		t.Errorf("%d dead members were cleaned up after", n)
	}
	w := s.Live.Words()
	if w.Owner.Load() != 0 || w.Leaked.Load() < 12345 || w.SweepWish.Load() != 1 {
		t.Errorf("owner %x, leaked %d, wish %d", w.Owner.Load(), w.Leaked.Load(), w.SweepWish.Load())
	}
	if n := s.Live.Reap(); n != 0 {
		t.Errorf("%d were cleaned up after twice", n)
	}
	if _, err := s.Live.LockWriter(context.Background()); err != nil {
		t.Error(err)
	}
	s.Live.UnlockWriter()
	again := member(t, s)
	defer again.Leave(true)
	if again.Incarnation() == incarnation {
		t.Error("an incarnation was used twice (L1)")
	}
}

// ReapSome asks about a few members, however many there are: so the cost of all members
// together is linear. It finds at once a member that has died right behind its own entry;
// and any other dead member when all members before that one stand still.
func TestReapSome_AsksAboutAFew(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	all := []*live.Live{s.Live}
	for range 99 {
		all = append(all, member(t, s))
	}
	for _, v := range all {
		if n := v.ReapSome(); n > 20 {
			t.Fatalf("one of %d members asks about %d", len(all), n)
		}
	}
	there := func(entry int) bool { return s.Live.Words().Processes[entry].Incarnation.Load() != 0 }
	leave := func(i int) int {
		entry := all[i].Incarnation().Entry()
		all[i].Leave(false)
		return entry
	}
	behind, next, far := leave(51), leave(52), leave(90)
	all[50].ReapSome()
	if there(behind) || there(next) {
		t.Error("a member does not find out that those right behind it have died")
	}
	for range len(all)/16 + 1 {
		all[10].ReapSome()
	}
	if there(far) {
		t.Error("a dead member is not found by those that are far away")
	}
	for i, v := range all[1:] {
		if i+1 != 51 && i+1 != 52 && i+1 != 90 {
			v.Leave(true)
		}
	}
}

func TestHold_ProtectsItsVersionOnly(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	step := func() {
		if err := s.Update(t, func(*heap.Txn) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	var p live.Protected
	scan := func() []format.Version { s.Live.Protected(&p, s.Heap); return p.Versions }
	step()
	hold := s.Live.HoldCurrent()
	version := s.Heap.VersionOf(hold.State)
	for range 3 {
		step()
	}
	if !slices.Contains(scan(), version) || p.Current != version+3 {
		t.Errorf("version %d is held, protected are %v", version, p.Versions)
	}
	if _, covered := p.Covers(version+1, version+2); covered {
		t.Error("a block that came and went after the held version is protected")
	}
	if v, covered := p.Covers(version, version+1); !covered || v != version {
		t.Error("a block that the held version sees is not protected")
	}
	s.Live.Release(&hold)
	if slices.Contains(scan(), version) {
		t.Errorf("version %d was released, protected are %v", version, p.Versions)
	}
}

func TestHold_SharedWhenSlotsRunOut(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	if err := s.Update(t, func(*heap.Txn) error { return nil }); err != nil { // the version before is that of an anchor
		t.Fatal(err)
	}
	var holds []live.Hold
	for range 3000 {
		holds = append(holds, s.Live.HoldCurrent())
	}
	if s.Live.Idle() {
		t.Error("3000 holds count as none")
	}
	if n := len(s.Live.Readers()); n > 1024 {
		t.Errorf("%d slots of one process", n)
	}
	version := s.Heap.VersionOf(holds[0].State)
	if err := s.Update(t, func(*heap.Txn) error { return nil }); err != nil {
		t.Fatal(err)
	}
	newer := s.Live.HoldCurrent()
	if s.Heap.VersionOf(newer.State) != version+1 {
		t.Error("a new hold is on the old version")
	}
	var p live.Protected
	for i, h := range holds {
		if i%500 == 0 {
			if s.Live.Protected(&p, s.Heap); !slices.Contains(p.Versions, version) {
				t.Fatalf("the version is not protected while %d hold it", len(holds)-i)
			}
		}
		s.Live.Release(&h)
	}
	s.Live.Release(&newer)
	if s.Live.Protected(&p, s.Heap); slices.Contains(p.Versions, version) {
		t.Error("the version is still protected")
	}
	if !s.Live.Idle() {
		t.Error("something is still held")
	}
}

func TestAnchors_TwoNewestConfirmedStay(t *testing.T) { // E4
	s := heaptest.Open(t, 64<<20)
	v := s.Live
	newest := v.NewestAnchor()
	state := v.Current()
	for i := range 40 {
		version := newest + format.Version(i) + 1
		c, ok := v.ClaimAnchor()
		if !ok {
			t.Fatal("no slot")
		}
		if c.Doubtful {
			v.WipedAnchor(c)
		}
		v.NameAnchor(c, state, version)
		var p live.Protected
		v.Protected(&p, s.Heap)
		for _, want := range []format.Version{version, version - 1, version - 2} {
			if want > newest && i%5 > 2 && !slices.Contains(p.Versions, want) {
				t.Errorf("version %d is being anchored, %d is not protected: %v", version, want, p.Versions)
			}
		}
		if i%5 == 2 { // its write fails: it is doubtful until newer ones are confirmed
			v.AbandonAnchor(c)
			continue
		}
		v.ConfirmAnchor(c)
		if v.NewestAnchor() != version {
			t.Errorf("version %d was confirmed, the newest is %d", version, v.NewestAnchor())
		}
	}
	var claims []live.AnchorClaim
	for c, ok := v.ClaimAnchor(); ok; c, ok = v.ClaimAnchor() {
		if claims = append(claims, c); len(claims) > format.NumAnchors {
			t.Fatal("slots are claimed twice")
		}
	}
	if len(claims) != format.NumAnchors-2 {
		t.Errorf("%d slots can be claimed", len(claims))
	}
}

func TestStacks_AnotherEpochRefuses(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	v, epoch := s.Live, s.Live.Words().Epoch.Load()
	v.EmptyStack(3, epoch+1)
	var linked []uint64
	link := func(next uint64) { linked = append(linked, next) }
	if !v.PushStack(3, epoch+1, 1<<20, link) || !v.PushStack(3, epoch+1, 1<<21, link) {
		t.Fatal("push was refused")
	}
	if !slices.Equal(linked, []uint64{0, 1 << 20}) {
		t.Errorf("links %x", linked)
	}
	if v.PushStack(3, epoch, 1<<22, link) {
		t.Error("a push of an older epoch went through")
	}
	if _, ok := v.TakeStack(3, epoch); ok {
		t.Error("a take of an older epoch went through")
	}
	v.EmptyStack(3, epoch) // a sweeper that slept
	if first, ok := v.TakeStack(3, epoch+1); !ok || first != 1<<21 {
		t.Errorf("%#x %v", first, ok)
	}
	if first, ok := v.TakeStack(3, epoch+1); !ok || first != 0 {
		t.Errorf("%#x %v", first, ok)
	}
}

// heldStates fails the test if a scan reads the newest state while no slot holds it: its
// block could be reused before the read.
type heldStates struct {
	live.States
	t       *testing.T
	v       *live.Live
	current format.Addr
	looks   int
}

func (s *heldStates) look(a format.Addr) {
	if a == s.current {
		s.looks++
		if !slices.ContainsFunc(s.v.Readers(), func(r live.Reader) bool { return r.State == a }) {
			s.t.Error("the newest state is read, and no slot holds it")
		}
	}
}

func (s *heldStates) VersionOf(a format.Addr) format.Version {
	s.look(a)
	return s.States.VersionOf(a)
}

func (s *heldStates) Pins(a format.Addr, add func(state format.Addr, version format.Version)) {
	s.look(a)
	s.States.Pins(a, add)
}

// A scan for the protected versions holds the newest version while it reads that one, and no longer.
func TestProtected_HoldsTheNewest(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	states := &heldStates{s.Heap, t, s.Live, s.Live.Current(), 0}
	var p live.Protected
	s.Live.Protected(&p, states)
	if states.looks == 0 || p.Current != s.Heap.VersionOf(states.current) {
		t.Errorf("%d looks, version %d", states.looks, p.Current)
	}
	if n := len(s.Live.Readers()); n > 0 || !s.Live.Idle() {
		t.Errorf("%d versions are held after it", n)
	}
}

// A fork lives longer than the member that forked, and has copies of its descriptors: the
// member is dead nevertheless (L2).
func TestAlive_ForkOutlivesItsParent(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	dead := member(t, s)
	incarnation := dead.Incarnation()
	runtime.LockOSThread()
	fork, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno == 0 && fork == 0 {
		for { // waits until it is killed
			syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
		}
	}
	runtime.UnlockOSThread()
	if errno != 0 {
		t.Fatal(errno)
	}
	defer func() {
		_ = syscall.Kill(int(fork), syscall.SIGKILL)
		_, _ = syscall.Wait4(int(fork), nil, 0, nil)
	}()
	if !s.Live.Alive(incarnation) {
		t.Error("the member is dead before its end")
	}
	dead.Leave(false)
	if s.Live.Alive(incarnation) {
		t.Error("the member is alive after its end")
	}
	next := member(t, s)
	defer next.Leave(true)
	if next.Incarnation().Entry() != incarnation.Entry() {
		t.Errorf("its entry %d is still in use, the next member got %d", incarnation.Entry(), next.Incarnation().Entry())
	}
}

// The same holds when the readers of the process hold all slots that they can have (L12).
func TestProtected_HoldsTheNewestWithoutSlots(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	var holds []live.Hold
	for range 960 {
		holds = append(holds, s.Live.HoldCurrent())
	}
	if err := s.Update(t, func(*heap.Txn) error { return nil }); err != nil {
		t.Fatal(err)
	}
	states := &heldStates{s.Heap, t, s.Live, s.Live.Current(), 0}
	var p live.Protected
	s.Live.Protected(&p, states)
	if states.looks == 0 || states.current == holds[0].State {
		t.Errorf("%d looks at the newest state", states.looks)
	}
	for _, h := range holds {
		s.Live.Release(&h)
	}
	if !s.Live.Idle() {
		t.Error("a version is held still")
	}
}
