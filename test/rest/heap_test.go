package rest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/inside"
	"github.com/everheap/everheap/internal/invariant"
)

// The heap file of a space may take factor times the live bytes, plus extra.
const (
	factor = 8
	extra  = 16 << 20
)

// most returns how much the heap file may take.
func most(s *everheap.Space) int64 { return factor*int64(s.Stats().Live) + extra }

// shrinks waits until the heap file takes no more of the disk than allowed. The test does not use the
// space meanwhile.
func shrinks(t testing.TB, s *everheap.Space, dir string) {
	t.Helper()
	_, before := length(t, dir, "heap")
	if before <= most(s) {
		t.Errorf("there is nothing to see: %d bytes of the disk for %d", before, s.Stats().Live)
	}
	disk := before
	if !wait(func() bool { _, disk = length(t, dir, "heap"); return disk <= most(s) }) {
		t.Fatalf("the heap takes %d bytes of the disk, for %d that are live", disk, s.Stats().Live)
	}
	t.Logf("%d of the disk became %d; %d are live", before, disk, s.Stats().Live)
}

// short fails the test unless the heap file is as short as it must be.
func short(t testing.TB, s *everheap.Space, dir string) {
	t.Helper()
	if size, disk := length(t, dir, "heap"); size > most(s) || disk > most(s) {
		t.Errorf("the heap is %d bytes long, and takes %d of the disk, for %d that are live", size, disk, s.Stats().Live)
	}
}

// Nearly all entries are deleted: the file becomes small by itself, and shorter when the last user
// closes it. The other entries are unchanged, also for concurrent readers, before and after a power
// loss.
func TestHeap_AfterNearlyAllWasDeleted(t *testing.T) { // H1
	t.Parallel() // it waits for the background, which looks once a second
	dir := newDir(t)
	s := opened(t, dir)
	w := openThings(t, s)
	w.fill(t, rand.New(rand.NewPCG(*seedFlag, 2)), 40_000)
	must(t, s.View(func(tx *everheap.Tx) error { // as long as the version is held, little can be given back
		version := s.Stats().Version
		if !wait(func() bool { return s.Stats().Version > version }) {
			t.Error("nothing is tried")
		}
		atPeace(t, s, dir, func() bool { return looks(s) })
		w.verify(t, tx)
		return nil
	}))
	shrinks(t, s, dir)
	w.verify(t, s)
	whole(t, s)
	atPeace(t, s, dir, func() bool { return looks(s) })
	must(t, s.Close())
	s = opened(t, dir)
	short(t, s, dir)
	w = reopen(t, w, s)
	w.verify(t, s)
	must(t, s.Close())
	powerLoss(t, dir)
	s = opened(t, dir)
	w = reopen(t, w, s)
	w.verify(t, s)
	whole(t, s)
}

// reopen returns the world of a space that was opened again.
func reopen(t testing.TB, old *world, s *everheap.Space) *world {
	t.Helper()
	w := openThings(t, s)
	w.left, w.kept = old.left, old.kept
	return w
}

// The background of each process looks at an idle space once in lookTicks ticks. The third look
// without a commit finds it at rest, and the next one may begin to make it smaller. restLooks looks
// without a change are more than that.
const (
	lookTicks = 10
	restLooks = 5
	mostLooks = 300 // until it must be at rest
)

// looks waits until the background of this process has looked at the space once more.
// It counts ticks: on a busy machine they come late.
func looks(s *everheap.Space) bool {
	lv, n := inside.Engine(s).Live, 0
	last := lv.Now()
	return wait(func() bool {
		if now := lv.Now(); now != last {
			last, n = now, n+1
		}
		return n == lookTicks
	})
}

// atPeace waits until a space in which nobody writes, and its files, stay as they are
// however often the background looks at it: look waits for that.
func atPeace(t testing.TB, s *everheap.Space, dir string, look func() bool) {
	t.Helper()
	type sight struct {
		version, anchored everheap.Version
		files             [4]int64
	}
	see := func() (x sight) {
		st := s.Stats()
		x.version, x.anchored = st.Version, st.Anchored
		x.files[0], x.files[1] = length(t, dir, "heap")
		x.files[2], x.files[3] = length(t, dir, "journal")
		return x
	}
	last := see()
	for n, still := 0, 0; still < restLooks; n, still = n+1, still+1 {
		if !look() {
			t.Fatal("the background does not look at the space")
		}
		if now := see(); now != last {
			last, still = now, -1
		}
		if n == mostLooks {
			t.Fatal("the space does not come to rest")
		}
	}
}

// Compact does at once what the background does in time. Blocks that a checkpoint pins stay in place,
// unchanged.
func TestHeap_Compacted(t *testing.T) { // P4
	dir := newDir(t)
	s := opened(t, dir)
	w := openThings(t, s)
	w.fill(t, rand.New(rand.NewPCG(*seedFlag, 3)), 20_000)
	must(t, s.Checkpoint("then"))
	then := reopen(t, w, s)
	then.left = maps.Clone(w.left)
	w.fill(t, rand.New(rand.NewPCG(*seedFlag, 4)), 20_000) // the remaining entries stay
	for range 2 {
		_, err := s.Compact(context.Background())
		must(t, err)
		w.verify(t, s)
		must(t, s.ViewAt("then", func(tx *everheap.Tx) error { then.verify(t, tx); return nil }))
		whole(t, s)
	}
	must(t, s.DropCheckpoint("then"))
	_, err := s.Compact(context.Background())
	must(t, err)
	if _, disk := length(t, dir, "heap"); disk > most(s) {
		t.Errorf("the heap takes %d bytes of the disk, for %d that are live", disk, s.Stats().Live)
	}
	w.verify(t, s)
	whole(t, s)
}

// A run of Resume does not get ErrSuperseded although its state, and all other blocks, move
// meanwhile.
func TestHeap_MovedAroundResume(t *testing.T) {
	dir := newDir(t)
	s := opened(t, dir)
	w := openThings(t, s)
	r := rand.New(rand.NewPCG(*seedFlag, 5))
	type progress struct {
		N    int
		Text string
	}
	err := everheap.Resume(context.Background(), s, "run", progress{}, func(p *progress, checkpoint func() error) error {
		for ; p.N < 3; p.N++ {
			p.Text = strings.Repeat("state ", p.N)
			if err := checkpoint(); err != nil {
				return err
			}
			other := make(chan error) // another goroutine: not a part of the run
			go func() {
				w.fill(t, r, 10_000)
				_, err := s.Compact(context.Background())
				other <- err
			}()
			if err := <-other; err != nil {
				return err
			}
		}
		return nil
	})
	must(t, err)
	w.verify(t, s)
}

func init() {
	// It fills the space, deletes nearly all, and waits; it reports each look of its background.
	children["filler"] = func(dir string, args []string) error {
		s, err := everheap.Open(dir, everheap.WithMaxSize(window))
		if err != nil {
			return err
		}
		seed, err := strconv.ParseUint(args[0], 10, 64)
		if err != nil {
			return err
		}
		tb := new(childTB)
		openThings(tb, s).fill(tb, rand.New(rand.NewPCG(seed, 6)), 40_000)
		say("filled")
		for range lines() {
			if !looks(s) {
				return errors.New("the background does nothing")
			}
			say("looked")
		}
		return s.Close()
	}

	// It writes very much in one transaction, and never commits it.
	children["hoarder"] = func(dir string, args []string) error {
		s, err := everheap.Open(dir)
		if err != nil {
			return err
		}
		m, err := everheap.OpenMap[int, string](s, "hoard")
		if err != nil {
			return err
		}
		id, _ := strconv.Atoi(args[0])
		return s.Update(context.Background(), func(tx *everheap.Tx) error {
			for i := range 200 {
				if err := m.Set(tx, i, strings.Repeat("x", 1000+(id*31+i*977)%60_000)); err != nil {
					return err
				}
			}
			say("full")
			for range lines() {
				break
			}
			return errors.New("not to be committed")
		})
	}
}

// Many processes are killed during large transactions, while another is suspended in a transaction:
// no sweep can begin, and the file grows. As soon as that one continues, or dies, the file becomes
// small again.
func TestHeap_AfterManyDiedInTransactions(t *testing.T) {
	for _, how := range []string{"goes on", "dies"} {
		t.Run(how, func(t *testing.T) {
			if testing.Short() && how == "dies" {
				t.Skip("as when it goes on")
			}
			t.Parallel()
			dir := newDir(t)
			s := opened(t, dir)
			a, err := newAuthor(s, 0, 1000)
			must(t, err)
			for range 30 {
				must(t, a.write())
			}
			sleeper := start(t, "hoarder", dir, "", 0)
			sleeper.hear("full")
			sleeper.stop()
			for id := range 12 {
				p := start(t, "hoarder", dir, "", id)
				p.hear("full")
				p.kill()
				must(t, a.write())
			}
			_, disk := length(t, dir, "heap")
			if disk < 2*most(s) {
				t.Errorf("the file takes %d bytes only", disk)
			}
			if how == "goes on" { // and ends its transaction
				sleeper.resume()
				sleeper.tell("end")
			} else {
				sleeper.kill()
			}
			shrinks(t, s, dir)
			a.verify(t, a.seq)
			whole(t, s)
			must(t, s.Close())
			s = opened(t, dir)
			short(t, s, dir)
		})
	}
}

// A process is suspended in a transaction while another one moves blocks: no sweep can find the
// emptied extents. When the first has died, the file becomes small, although no process commits any
// more.
func TestHeap_SweptAfterOneWhoStoodStillWhileBlocksWereMoved(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	t.Parallel()
	dir := newDir(t)
	mover := start(t, "filler", dir, "move.found:1:stop", *seedFlag)
	mover.hear("filled")
	if !wait(mover.still) {
		t.Fatal("no process moves blocks")
	}
	sleeper := start(t, "hoarder", dir, "", 0)
	sleeper.hear("full")
	sleeper.stop()
	s := opened(t, dir, inside.Option(func(o *engine.Options) { o.Manual = true }).(everheap.Option))
	version := s.Stats().Version
	mover.resume()
	if !wait(func() bool { return s.Stats().Version > version }) {
		t.Fatal("nothing is moved")
	}
	atPeace(t, s, dir, func() bool { mover.tell("look"); mover.hear("looked"); return true }) // this process has no background
	if _, disk := length(t, dir, "heap"); disk <= most(s) {
		t.Errorf("there is nothing to see: %d bytes of the disk for %d", disk, s.Stats().Live)
	}
	sleeper.kill()
	shrinks(t, s, dir)
	whole(t, s)
}

// A process is suspended, or dies, at every step of moving blocks, sweeping, giving space back and
// cutting the file; meanwhile others do all of that, and write. When it continues it does no harm.
func TestHeap_ShrunkAroundOneWhoStandsStill(t *testing.T) { // H3, P1, P2, P3, U1, U2
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	t.Parallel() // it waits for the suspended process, and for the time afterwards
	r := rand.New(rand.NewPCG(*seedFlag, 1))
	points := []string{"move.found", "move.moved", "move.committed", "sweep.held", "sweep.marked", "punch.marked", "punch.synced", "punch.punched", "batch.built", "batch.taken"}
	for i, point := range points {
		if testing.Short() && i%5 != int(*seedFlag)%5 { // a stop takes 20 s here
			continue
		}
		for _, how := range []string{"stop", "kill"} {
			times := 1 + r.IntN(3)
			own := rand.New(rand.NewPCG(*seedFlag, r.Uint64()))
			t.Run(fmt.Sprintf("%s:%d:%s", point, times, how), func(t *testing.T) {
				t.Parallel()
				shrunkAround(t, point, times, how, own)
			})
		}
	}
}

// shrunkAround is a round of TestHeap_ShrunkAroundOneWhoStandsStill.
func shrunkAround(t *testing.T, point string, times int, how string, r *rand.Rand) {
	dir, size := newDir(t), 3000
	s := opened(t, dir)
	w := openThings(t, s)
	w.fill(t, r, 10_000)
	other := start(t, "author", dir, "", 1, size)
	other.hear("ready")
	armed := start(t, "author", dir, fmt.Sprintf("%s:%d:%s", point, times, how), 2, size)
	armed.hear("ready")
	armed.tell("go")
	other.tell("go")
	work := func(until func() bool) {
		t.Helper()
		if !wait(func() bool {
			w.fill(t, r, 1000)
			if _, err := s.Compact(context.Background()); err != nil {
				t.Log(err) // another process does it already
			}
			return until()
		}) {
			t.Fatalf("no process reached %s, or none continues after that", point)
		}
	}
	progress := func(p *proc) func() bool {
		from := number(t, p.said("acked"))
		return func() bool { return number(t, p.said("acked")) >= from+60 }
	}
	work(func() bool { return armed.gone() || armed.still() })
	work(progress(other))
	w.verify(t, s)
	if how == "stop" {
		armed.resume()
		work(progress(armed))
	}
	other.kill()
	armed.kill()
	w.verify(t, s)
	whole(t, s)
	must(t, s.Close())
	verifyAll(t, dir, size, map[int]int{1: number(t, other.said("acked")), 2: number(t, armed.said("acked"))})
	s = opened(t, dir)
	w = reopen(t, w, s)
	w.verify(t, s)
	short(t, s, dir)
}

func init() {
	// It fills a space, deletes nearly all of it, and dies at a point while it closes the space as
	// the last user.
	children["tidier"] = func(dir string, args []string) error {
		s, err := everheap.Open(dir, everheap.WithMaxSize(window))
		if err != nil {
			return err
		}
		seed, _ := strconv.ParseUint(args[0], 10, 64)
		t := new(childTB)
		w := openThings(t, s)
		w.fill(t, rand.New(rand.NewPCG(seed, 6)), 10_000)
		if err := s.Sync(context.Background()); err != nil {
			return err
		}
		say("filled")
		defer invariant.Hook(func(point string) {
			if point == args[1] {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {} // end here
			}
		})()
		return s.Close()
	}
}

// childTB stands for a test in a child.
type childTB struct{ testing.TB }

func (*childTB) Helper()           {}
func (*childTB) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// The last user dies at every step of shortening the heap file. The next user finds all entries,
// before and after a power loss, and the file becomes short when that one closes the space.
func TestHeap_LastUserDies(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	t.Parallel()
	for _, point := range []string{"shorten.told", "batch.built", "shorten.synced", "anchor.synced", "anchor.written", "punch.marked", "shorten.cut"} {
		for i, lost := range []bool{false, true} {
			if testing.Short() && i == len(point)%2 {
				continue
			}
			t.Run(fmt.Sprintf("%s:%t", point, lost), func(t *testing.T) {
				t.Parallel()
				dir := newDir(t)
				p := start(t, "tidier", dir, "", *seedFlag, point)
				p.hear("filled")
				if !wait(p.gone) || p.cmd.ProcessState.Success() {
					t.Fatalf("the child does not reach %s: %s", point, &p.err)
				}
				if lost {
					powerLoss(t, dir)
				}
				s := opened(t, dir)
				w := openThings(t, s)
				w.choose(rand.New(rand.NewPCG(*seedFlag, 6)), 10_000)
				w.verify(t, s)
				whole(t, s)
				must(t, s.Close())
				s = opened(t, dir)
				short(t, s, dir)
				w = reopen(t, w, s)
				w.verify(t, s)
				w.fill(t, rand.New(rand.NewPCG(*seedFlag, 7)), 1000) // the file grows again
				w.verify(t, s)
				whole(t, s)
			})
		}
	}
}

// A Resume that begins while the block of its state is being moved waits for the end of the
// transaction, and reads the block at its new place (P5).
func TestHeap_ResumedWhileMoved(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	s := opened(t, newDir(t))
	ctx := context.Background()
	run := func(begun chan<- bool, goOn <-chan bool) error {
		return everheap.Resume(ctx, s, "run", Thing{}, func(x *Thing, checkpoint func() error) error {
			begun <- true
			<-goOn
			x.Name += "x"
			return checkpoint()
		})
	}
	w := openThings(t, s)
	w.fill(t, rand.New(rand.NewPCG(*seedFlag, 8)), 10_000) // so that the state lies among others
	goOn := make(chan bool)
	close(goOn)
	must(t, run(make(chan bool, 1), goOn))
	w.fill(t, rand.New(rand.NewPCG(*seedFlag, 9)), 10_000)
	runs, last := 0, make(chan error, 1)
	last <- nil
	defer invariant.Hook(func(point string) {
		if point != "move.moved" {
			return
		}
		select {
		case err := <-last:
			if err != nil {
				t.Error(err)
			}
		default:
			return // a run is still active
		}
		runs++
		begun, goOn := make(chan bool, 1), make(chan bool)
		go func() { last <- run(begun, goOn) }()
		select {
		case <-begun:
		case <-time.After(50 * time.Millisecond):
		}
		time.AfterFunc(20*time.Millisecond, func() { close(goOn) }) // after this transaction
	})()
	for range 3 {
		_, err := s.Compact(ctx)
		must(t, err)
	}
	if err := <-last; err != nil || runs == 0 {
		t.Errorf("%d runs: %v", runs, err)
	}
	w.verify(t, s)
}
