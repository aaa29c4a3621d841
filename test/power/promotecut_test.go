package power

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/powercut"
	"github.com/everheap/everheap/internal/spacetest"
)

// A promotedRun is a space that becomes a replica and is promoted, in turns, on a watched disk.
type promotedRun struct {
	t       *testing.T
	disk    *powercut.Disk
	dir     string
	opts    []everheap.Option
	space   *everheap.Space
	states  []stateSince
	durable []told
	stale   everheap.Frame // of the first leader, right after the restored version
	own     uint64         // the version that the first Promote has made, durably; 0: none yet
	ownAt   int
}

// stateSince says whether the space is a replica from a moment on; unsure: it may be, until the next
// entry.
type stateSince struct {
	moment          int
	replica, unsure bool
}

// becomes calls fn, which makes the space a replica, or ends that.
func (p *promotedRun) becomes(replica bool, fn func() error) {
	p.t.Helper()
	p.states = append(p.states, stateSince{p.disk.Observe(), replica, true})
	spacetest.Must(p.t, fn())
	p.states = append(p.states, stateSince{p.disk.Observe(), replica, false})
}

// write makes a durable commit.
func (p *promotedRun) write(n int) {
	p.t.Helper()
	m := spacetest.MapOf[int, string](p.t, p.space)
	for i := range n {
		spacetest.Must(p.t, p.space.Update(context.Background(), func(tx *everheap.Tx) error { return m.Set(tx, i, fmt.Sprint(n)) }, everheap.Durable))
		p.durable = append(p.durable, told{p.disk.Observe(), uint64(p.space.Stats().Version)})
	}
}

// run restores a replica, and promotes and demotes it.
func (p *promotedRun) run(r *rand.Rand) {
	t := p.t
	leader := spacetest.Open(t, filepath.Join(spacetest.MemoryDir(t), "leader"))
	m := spacetest.MapOf[int, string](t, leader)
	spacetest.Must(t, m.Set(leader, 1, "one"))
	_, err := leader.Subscribe("mine", 0)
	spacetest.Must(t, err)
	stream := spacetest.BackupOf(t, leader)
	from := leader.Stats().Version
	spacetest.Must(t, m.Set(leader, 1, "two"))
	spacetest.Must(t, leader.Sync(context.Background()))
	for f, err := range leader.ChangesSince(ended(), from) {
		if err == nil {
			p.stale = f
		}
		break
	}
	p.becomes(true, func() error { return everheap.RestoreReplica(p.dir, bytes.NewReader(stream), "the leader", p.opts...) })
	p.states[0].unsure = false // from the first moment with a space
	p.space, err = everheap.Open(p.dir, p.opts...)
	spacetest.Must(t, err)
	for range 3 {
		rep, err := p.space.AsReplica("another leader")
		spacetest.Must(t, err)
		p.becomes(false, func() error { return rep.Promote(context.Background()) })
		p.durable = append(p.durable, told{p.disk.Observe(), uint64(p.space.Stats().Version)})
		if p.own == 0 {
			p.own, p.ownAt = uint64(p.space.Stats().Version), p.disk.Now()
		}
		p.write(1 + r.IntN(3))
		p.becomes(true, func() error { _, err := p.space.AsReplica("one more"); return err })
		if r.IntN(2) == 0 {
			spacetest.Must(t, p.space.Close())
			p.space, err = everheap.Open(p.dir, p.opts...)
			spacetest.Must(t, err)
		}
	}
	spacetest.Must(t, p.space.Close())
	p.disk.Observe()
}

// stateAt returns the state of the space at a moment.
func (p *promotedRun) stateAt(moment int) (s stateSince) {
	for _, next := range p.states {
		if next.moment <= moment {
			s = next
		}
	}
	return s
}

// image verifies an image: it is a replica, and cannot be written to, or the other way round.
func (p *promotedRun) image(dir string, moment int) error {
	s, err := everheap.Open(dir, spacetest.WithoutBackground())
	if err != nil {
		return fmt.Errorf("it does not open: %w", err)
	}
	defer s.Close()
	version := uint64(s.Stats().Version)
	if least := newestAt(p.durable, moment); version < least {
		return fmt.Errorf("it has version %d, and %d was durable", version, least)
	}
	_, is, err := s.Leader()
	if err != nil {
		return err
	}
	if want := p.stateAt(moment); is != want.replica && !want.unsure {
		return fmt.Errorf("it is a replica: %v, want %v", is, want.replica)
	}
	err = s.Update(context.Background(), func(tx *everheap.Tx) error { _, err := everheap.NewMap[int, int](tx); return err })
	if is != errors.Is(err, everheap.ErrReadOnly) || !is && err != nil {
		return fmt.Errorf("it is a replica: %v, and writing to it is %w", is, err)
	}
	r, err := s.AsReplica("the first leader")
	if err != nil {
		return err
	}
	switch err := r.Apply(context.Background(), p.stale); {
	case is && p.own == 0, errors.Is(err, everheap.ErrDiverged), errors.Is(err, everheap.ErrOutOfOrder):
	case err == nil && is && (moment < p.ownAt || version < p.own): // the space was never written
	default:
		return fmt.Errorf("at version %d, written to since version %d: the frame of the first leader is %w", version, p.own, err)
	}
	return s.Close()
}

// A power cut at any moment of RestoreReplica, AsReplica and Promote leaves a replica that cannot be
// written, or a space with a history of its own; before and after the call the state is certain.
func TestPowerCut_DuringPromote(t *testing.T) { // RP4, RP5
	spacetest.Rounds(t, 2, func(t *testing.T, r *rand.Rand) {
		disk, opts := watched()
		p := &promotedRun{t: t, disk: disk, opts: opts, dir: filepath.Join(spacetest.MemoryDir(t), "s")}
		p.run(r)
		total, first := 0, p.states[1].moment
		image := filepath.Join(filepath.Dir(p.dir), "image")
		for moment := first; moment <= disk.Now(); moment++ {
			policy := powercut.Policy(r.IntN(int(powercut.NumPolicies)))
			spacetest.Must(t, os.RemoveAll(image))
			spacetest.Must(t, os.Mkdir(image, 0o700))
			spacetest.Must(t, disk.Image(image, "heap", moment, policy, r))
			if err := p.image(image, moment); err != nil {
				t.Fatalf("after a cut at %d, policy %d: %v; states %+v", moment, policy, err, p.states)
			}
			total++
		}
		t.Logf("%d images", total)
	})
}
