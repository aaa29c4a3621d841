package replica

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/everheap/everheap"
	"github.com/nats-io/nats.go"
)

// Follower is a copy that follows: its space is a replica, which any number of processes can read.
type Follower struct {
	o      Options
	name   string // of the space, as Open takes it
	dir    string
	memory *memory
	store  *store

	replica *everheap.Replica // nil: the copy has none yet, or a snapshot will replace it
	stale   bool              // the space has a tail, so its history differs from the log's
	keeping struct {
		sync.Mutex
		keeper
	}
	open    parts2
	compare bool            // compare frames that are already applied with the log's
	tries   int             // attempts to get the frame after the newest version
	restart uint64          // version of the snapshot with which the copy last began
	damaged map[uint64]bool // marks of snapshots found damaged

	mu struct {
		sync.Mutex
		Status
		space    *everheap.Space
		replica  *everheap.Replica // of it, for Hear
		applied  point2            // chain 0: not known yet
		said     word              // the last report of a leader
		led      lease
		revision uint64    // of the lease
		heard    time.Time // when the lease last changed, by this clock
	}
	news    chan struct{} // signals applied frames
	hold    sync.Mutex    // held while a message is applied, and by Promote while it claims
	claimed bool          // the log has this copy's claim; under hold
	cancel  context.CancelFunc
	done    chan struct{}
	err     error // after done
}

// errSeek says that the follower must search the log for the next frame.
var errSeek = errors.New("searches the log for the next frame")

// errRebuild says that the follower must begin again with a snapshot.
var errRebuild = errors.New("begins anew with a snapshot")

// Follow begins to follow with the space of a name, or in a directory if name contains a path
// separator. If the space does not exist, it is created from the newest snapshot. A space that has
// led before joins: the frames that the log lacks are kept in a file (Tail), and the copy begins
// again with a snapshot if necessary. The follower ends with ctx.
//
// Errors: ErrLeads, if this copy itself leads, ErrInUse. A problem that can pass, such as unreachable
// servers, is not an error, but a Problem in the Status.
func Follow(ctx context.Context, nc *nats.Conn, name string, o Options) (*Follower, error) {
	dir, err := dirOf(name)
	if err != nil {
		return nil, err
	}
	o, err = o.complete(dir)
	if err != nil {
		return nil, err
	}
	m, err := remember(o.StateDir)
	if err != nil {
		return nil, err
	}
	f := &Follower{o: o, name: name, dir: dir, memory: m, damaged: map[uint64]bool{}, news: make(chan struct{}, 1), done: make(chan struct{})}
	ctx, f.cancel = undated(ctx) // JS11
	f.tell(func(s *Status) { s.Copy, s.Role, s.Time = o.Copy, "follow", time.Now() })
	if f.store, err = openStore(ctx, nc, o, false); err == nil {
		err = f.openSpace(ctx)
	}
	if err != nil {
		f.cancel()
		f.closeSpace()
		m.close()
		return nil, err
	}
	go f.run(ctx)
	return f, nil
}

// Done is closed when the copy no longer follows; Err returns the reason.
func (f *Follower) Done() <-chan struct{} { return f.done }

// Err returns the reason why the copy no longer follows, once Done is closed.
func (f *Follower) Err() error { return f.err }

// Stop ends the follower, and closes its handle on the space.
func (f *Follower) Stop() error {
	f.cancel()
	<-f.done
	if errors.Is(f.err, context.Canceled) {
		return nil
	}
	return f.err
}

// Space returns the follower's handle on its space; nil while there is none. The handle is closed
// when the follower stops, or begins again with a snapshot; then Space returns another handle.
func (f *Follower) Space() *everheap.Space {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.space
}

// Status returns the state of the copy.
func (f *Follower) Status() Status {
	f.mu.Lock()
	s, space := f.mu.Status, f.mu.space
	s.Version = f.mu.applied.version
	s.LagVersions = f.mu.said.newest - min(f.mu.said.newest, s.Version)
	if s.Lead == "" {
		s.Lead = f.mu.led.Copy
	}
	f.mu.Unlock()
	if space == nil {
		return s
	}
	if r := space.Stats().Replica; r != nil { // the same in all processes
		s.LagVersions, s.Lag = r.LagVersions, r.Lag
	}
	return s
}

// tell changes the status.
func (f *Follower) tell(change func(s *Status)) {
	f.mu.Lock()
	change(&f.mu.Status)
	f.mu.Unlock()
}

// applied returns the version applied last.
func (f *Follower) applied() point2 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.applied
}

// openSpace opens the space if it exists. If the space has led, the copy stands down.
func (f *Follower) openSpace(ctx context.Context) error {
	last, _, err := f.store.last(ctx)
	if err != nil {
		return err
	}
	if last != nil && f.memory.Token != "" && last.note.Token == f.memory.Token {
		return fmt.Errorf("%w: it is this copy", ErrLeads)
	}
	switch _, err := os.Stat(f.dir); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	space, err := everheap.Open(f.name, f.o.Open...)
	if err != nil {
		return err
	}
	f.setSpace(space)
	if f.memory.Claiming { // another copy was faster
		if err := f.memory.set(state{Term: f.memory.Term}); err != nil {
			return err
		}
	}
	if f.memory.Token != "" {
		if last == nil || last.note.Term < f.memory.Term {
			return fmt.Errorf("%w: no other copy has led since; lead with this copy, or force another one", ErrLeads)
		}
		t, err := standDown(ctx, f.store, space, f.memory, f.o)
		if err != nil {
			return err
		}
		f.stale = t.File != "" || t.WithoutAfter
	}
	_, is, err := space.Leader()
	if err != nil {
		return err
	}
	if !is {
		return fmt.Errorf("%w: the space %s is not a replica, and is not known to have led; move it away, and a replica is made there", ErrUnknown, f.dir)
	}
	if f.stale {
		return nil
	}
	return f.begin(space)
}

// begin prepares to apply frames to the space.
func (f *Follower) begin(space *everheap.Space) error {
	lead, _, err := space.Leader()
	if err != nil {
		return err
	}
	if f.replica, err = space.AsReplica(lead); err != nil {
		return err
	}
	sub, err := subscribe(space, f.o)
	if err != nil {
		return err
	}
	f.keeping.Lock()
	f.keeping.keeper = keeper{sub: sub, after: f.o.ConfirmAfter}
	f.keeping.Unlock()
	v, err := f.replica.Version()
	f.mu.Lock()
	f.mu.applied, f.mu.replica = point2{version: uint64(v)}, f.replica
	f.mu.Unlock()
	f.tries = 0
	return err
}

func (f *Follower) setSpace(s *everheap.Space) {
	f.mu.Lock()
	f.mu.space, f.mu.replica = s, nil
	f.mu.Unlock()
}

// closeSpace closes the space, if it is open.
func (f *Follower) closeSpace() {
	if s := f.Space(); s != nil {
		if err := s.Close(); err != nil {
			f.o.Log.Warn("the space could not be closed", "error", err)
		}
		f.setSpace(nil)
	}
	f.keeping.Lock()
	f.keeping.keeper = keeper{}
	f.keeping.Unlock()
	f.replica = nil
}

// run follows until the context ends, or until this copy leads.
func (f *Follower) run(ctx context.Context) {
	defer close(f.done)
	defer func() {
		if f.hold.Lock(); f.claimed { // the claim has ended the context
			f.err = fmt.Errorf("%w: it is this copy now", ErrLeads)
		}
		f.hold.Unlock()
	}()
	defer f.memory.close()
	defer f.closeSpace()
	defer f.cancel()
	var group sync.WaitGroup
	defer group.Wait()
	inner, stop := context.WithCancel(ctx)
	defer stop()
	group.Go(func() { f.acknowledge(inner) })
	group.Go(func() { f.beat(inner) })
	group.Go(func() { f.listen(inner) })
	for wait := time.Duration(0); ; wait = min(2*wait+5*time.Millisecond, time.Second) {
		select {
		case <-ctx.Done():
			f.err = context.Cause(ctx)
			return
		case <-time.After(wait):
		}
		before := f.applied().version
		err := f.follow(ctx)
		if errors.Is(err, ErrLeads) {
			f.err = err
			return
		}
		if ctx.Err() != nil {
			f.err = context.Cause(ctx)
			return
		}
		if f.applied().version != before {
			wait, f.tries = 0, 0
		} else if f.tries++; f.tries >= 8 && errors.Is(err, errSeek) {
			err = fmt.Errorf("%w: the frame after version %d cannot be had", errRebuild, before)
		}
		if errors.Is(err, errRebuild) {
			err = f.rebuild(ctx, err)
		}
		if err != nil {
			was := ""
			f.tell(func(s *Status) { was, s.Problem = s.Problem, err.Error() })
			if was != err.Error() {
				f.o.Log.Info("the follower starts over", "version", before, "because", err)
			}
		}
	}
}
