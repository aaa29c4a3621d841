package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/spacetest"
)

func init() {
	spacetest.Children["leading"] = leadingChild
	spacetest.Children["applying"] = applyingChild
}

// leadingChild works on a leader, again and again, as its work says: it changes the space and
// confirms a subscription; or it subscribes; or it makes the space a replica and promotes it.
func leadingChild() int {
	c := spacetest.NewInChild()
	s, err := c.Open()
	if err != nil {
		return spacetest.Failed("open", err)
	}
	for i := 0; !c.Ended.Load(); i++ {
		switch {
		case c.Has("subscribe"):
			_, err = s.Subscribe("mine", 0)
		case c.Has("demote"):
			var r *everheap.Replica
			if r, err = s.AsReplica("the child"); err == nil && c.Has("promote") {
				err = r.Promote(context.Background())
			}
		default:
			err = leadOn(s, c, i)
		}
		if err != nil && !errors.Is(err, everheap.ErrSuspended) && !errors.Is(err, everheap.ErrReadOnly) {
			return spacetest.Failed("leading", err)
		}
		spacetest.Say("did", i)
		if c.Has("once") {
			<-c.Asked
			break
		}
	}
	if err := s.Close(); err != nil {
		return spacetest.Failed("close", err)
	}
	return 0
}

// leadOn changes a leader, by a version that lists its changes and by one that does not.
func leadOn(s *everheap.Space, c *spacetest.InChild, i int) error {
	m, err := everheap.OpenMap[int, int](s, "m")
	for range 1 + c.Rng.IntN(5) {
		if err == nil {
			err = m.Set(s, c.Rng.IntN(100), i)
		}
	}
	name := fmt.Sprint("of ", c.Id)
	if err == nil {
		err = s.Checkpoint(name)
	}
	if err == nil || errors.Is(err, everheap.ErrExists) {
		err = s.DropCheckpoint(name)
	}
	if err == nil && i%4 == 3 {
		u, subscribeErr := s.Subscribe("helper", 0)
		if subscribeErr != nil {
			return subscribeErr
		}
		err = u.Confirm(s.Stats().Version)
	}
	return err
}

// applyingChild applies the changes of a leader, whose directory is in its environment, to a replica.
func applyingChild() int {
	c := spacetest.NewInChild()
	s, err := c.Open()
	if err != nil {
		return spacetest.Failed("open", err)
	}
	leader, err := everheap.Open(os.Getenv("EVERHEAP_LEADER"))
	if err != nil {
		return spacetest.Failed("open the leader", err)
	}
	spacetest.Say("begins")
	for !c.Ended.Load() {
		if err := applyWhile(leader, s, func() bool { return c.Ended.Load() }); err != nil {
			return spacetest.Failed("applying", err)
		}
	}
	if err := errors.Join(s.Close(), leader.Close()); err != nil {
		return spacetest.Failed("close", err)
	}
	return 0
}

// applyWhile applies the versions of a leader, while other processes do the same.
func applyWhile(leader, s *everheap.Space, over func() bool) error {
	r, err := s.AsReplica("the leader")
	if err != nil {
		return err
	}
	at, err := r.Version()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	for f, err := range leader.ChangesSince(ctx, at) {
		if errors.Is(err, everheap.ErrBusy) {
			return nil
		}
		if err == nil {
			err = r.Apply(context.Background(), f)
		}
		if errors.Is(err, everheap.ErrOutOfOrder) { // another process was faster
			at, versionErr := r.Version()
			if versionErr != nil || at < f.Version() {
				return fmt.Errorf("at version %d: %w", at, errors.Join(err, versionErr))
			}
			continue
		}
		if err != nil || over() {
			return err
		}
	}
	return nil
}

// ledSpaces makes a leader with a subscription, and a replica.
func ledSpaces(t *testing.T) (leader, replica *everheap.Space) {
	leader = spacetest.Open(t, filepath.Join(t.TempDir(), "leader"))
	m := spacetest.MapOf[int, int](t, leader)
	spacetest.Must(t, m.Set(leader, 1, 1))
	for _, name := range []string{"replica", "helper"} {
		_, err := leader.Subscribe(name, 0)
		spacetest.Must(t, err)
	}
	dir := filepath.Join(t.TempDir(), "replica")
	spacetest.Must(t, everheap.RestoreReplica(dir, bytes.NewReader(spacetest.BackupOf(t, leader)), "the leader"))
	return leader, spacetest.Open(t, dir)
}

// same brings the replica to the leader's newest version, and compares them.
func same(t *testing.T, leader, replica *everheap.Space) {
	t.Helper()
	want := leader.Stats().Version
	spacetest.Must(t, leader.Sync(context.Background()))
	for began := time.Now(); replica.Stats().Version < want; {
		spacetest.Must(t, applyWhile(leader, replica, func() bool { return replica.Stats().Version >= want }))
		if time.Since(began) > spacetest.Patience {
			t.Fatalf("the replica is at version %d of %d", replica.Stats().Version, want)
		}
	}
	spacetest.Same(t, spacetest.ReadDump(t, spacetest.BackupOf(t, replica)), spacetest.ReadDump(t, spacetest.BackupOf(t, leader)))
}

// armed is the environment of a child that dies or stands still at a point.
func armedAt(dir string, id int, work, point, how string, times int) []string {
	return append(spacetest.Env(dir, id, work, uint64(id)), fmt.Sprintf("EVERHEAP_POINT=%s:%d:%s", point, times, how))
}

// comes waits until a child has reached its point.
func comes(c *spacetest.Child, how string) {
	if how == "stop" {
		c.Await("standing still", c.Stopped)
	} else {
		c.Await("death", c.Gone)
	}
}

// A process that reads changes, subscribes, confirms, makes a space a replica or promotes it, dies or
// is suspended between two steps: others continue, and when it wakes the state is right.
func TestReplica_AtPoints(t *testing.T) { // CH1, CH4, CH5, RP4, RP5
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	for _, point := range invariant.Points {
		if !inChanges(point) {
			continue
		}
		for _, how := range []string{"kill", "stop"} {
			t.Run(how+" "+point, func(t *testing.T) {
				t.Parallel()
				leader, replica := ledSpaces(t)
				dir := leader.Stats().Dir
				switch {
				case strings.HasPrefix(point, "subscribe."):
					subscribedBeside(t, leader, replica, spacetest.StartChild(t, "leading", armedAt(dir, 1, "subscribe once", point, how, 1)...), how)
				case strings.HasPrefix(point, "replica."):
					promotedBeside(t, leader, spacetest.StartChild(t, "leading", armedAt(dir, 1, "demote promote once", point, how, 1)...), how, point)
				default:
					child := spacetest.StartChild(t, "leading", armedAt(dir, 1, "", point, how, 3)...)
					comes(child, how)
					other := spacetest.StartChild(t, "leading", spacetest.Env(dir, 2, "", 7)...)
					other.AwaitLine("did")
					other.AwaitLine("did")
					same2 := func() { spacetest.Must(t, applyWhile(leader, replica, func() bool { return false })) }
					same2()
					if how == "stop" {
						child.Resume()
						child.AwaitLine("did")
						child.AwaitLine("did")
					}
					same2()
					other.Kill()
					if how == "stop" {
						child.Kill()
					}
				}
				if !strings.HasPrefix(point, "replica.") {
					same(t, leader, replica)
				}
			})
		}
	}
}

// subscribedBeside subscribes while a child does the same.
func subscribedBeside(t *testing.T, leader, replica *everheap.Space, child *spacetest.Child, how string) {
	comes(child, how)
	u, err := leader.Subscribe("mine", 0)
	spacetest.Must(t, err)
	from, err := u.Version()
	spacetest.Must(t, err)
	m := spacetest.MapOf[int, int](t, leader)
	spacetest.Must(t, m.Set(leader, 2, 2))
	if how == "stop" {
		child.Resume()
		child.AwaitLine("did")
		child.Kill()
	}
	list, err := leader.Subscriptions()
	spacetest.Must(t, err)
	if len(list) != 3 || list[2].Name != "mine" || list[2].Lost || list[2].Version > from {
		t.Errorf("there are %+v; one was made at version %d", list, from)
	}
	spacetest.Must(t, u.Confirm(leader.Stats().Version))
	spacetest.Must(t, u.Drop())
	if list, err := leader.Subscriptions(); len(list) != 2 || err != nil {
		t.Errorf("after it was dropped there are %+v, %v", list, err)
	}
}

// promotedBeside writes while a child makes the space a replica, or promotes it.
func promotedBeside(t *testing.T, s *everheap.Space, child *spacetest.Child, how, point string) {
	comes(child, how)
	m := spacetest.MapOf[int, int](t, s)
	err := spacetest.Again(func() error { return m.Set(s, 3, 3) })
	_, is, leadErr := s.Leader()
	if leadErr != nil || is != errors.Is(err, everheap.ErrReadOnly) || is != (point == "replica.removed") || !is && err != nil {
		t.Errorf("a replica: %v, %v; writing to it: %v", is, leadErr, err)
	}
	if how == "kill" {
		other := spacetest.StartChild(t, "leading", spacetest.Env(s.Stats().Dir, 2, "subscribe once", 7)...) // opening the space repairs it
		other.AwaitLine("did")
		other.Kill()
		want := point != "replica.ended"
		if _, is, err := s.Leader(); is != want || err != nil {
			t.Errorf("after it has died it is a replica: %v, %v", is, err)
		}
		dir := s.Stats().Dir
		spacetest.Must(t, s.Close())
		spacetest.Must(t, os.Remove(filepath.Join(dir, "live")))
		again := spacetest.Open(t, dir)
		if _, is, err := again.Leader(); is != want || err != nil {
			t.Errorf("with a new live file the space is a replica: %v, %v", is, err)
		}
		return
	}
	child.Resume()
	child.AwaitLine("did")
	if _, is, err := s.Leader(); is || err != nil {
		t.Errorf("it was promoted, and is a replica: %v, %v", is, err)
	}
	spacetest.Must(t, spacetest.Again(func() error { return m.Set(s, 4, 4) }))
	child.Kill()
}

// Two processes apply the same changes side by side; they and the leader are killed, suspended and
// continued at random: the replica gets the leader's versions.
func TestReplica_ManyApply(t *testing.T) { // RP1, RP2, RP3
	leader, replica := ledSpaces(t)
	env := "EVERHEAP_LEADER=" + leader.Stats().Dir
	start := []func() *spacetest.Child{
		func() *spacetest.Child {
			return spacetest.StartChild(t, "leading", spacetest.Env(leader.Stats().Dir, 1, "", 1)...)
		},
		func() *spacetest.Child {
			return spacetest.StartChild(t, "applying", append(spacetest.Env(replica.Stats().Dir, 2, "", 2), env)...)
		},
		func() *spacetest.Child {
			return spacetest.StartChild(t, "applying", append(spacetest.Env(replica.Stats().Dir, 3, "", 3), env)...)
		},
	}
	children := make([]*spacetest.Child, len(start))
	for i := range start {
		children[i] = start[i]()
	}
	for i := range spacetest.Scaled(12) {
		time.Sleep(time.Duration(30+37*i%90) * time.Millisecond)
		c := children[i%len(children)]
		if i%2 == 0 {
			c.Kill()
			children[i%len(children)] = start[i%len(children)]()
			continue
		}
		c.Stop()
		time.Sleep(time.Duration(i%3) * 700 * time.Millisecond) // others take over, or not
		c.Resume()
	}
	before := replica.Stats().Version
	if !spacetest.Wait(spacetest.Patience, func() bool { return replica.Stats().Version > before+3 }) {
		t.Errorf("the replica stays at version %d", before)
	}
	children[0].Kill()
	same(t, leader, replica)
	for _, c := range children[1:] {
		if c.Gone() {
			t.Errorf("a process that applies has ended: %q", c.Words())
		}
		c.Kill()
	}
}
