package power

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/powercut"
	"github.com/everheap/everheap/internal/spacetest"
)

// A followedRun is a run of a leader, and of a replica on a disk of its own. A version has the same
// contents in both.
type followedRun struct {
	*cutRun
	reader  *everheap.Subscription
	replica *everheap.Replica
	second  *powercut.Disk // disk of the replica
	other   string         // directory of the replica
	first   int            // moment of the replica's first image
	options []everheap.Option

	frames    map[uint64]everheap.Frame
	given     []told // frames, once they were read
	confirmed told2
	applied   cutModel // its begun and durable
	reached   []pair   // the frames that the replica has read from the leader
	spec      int

	replayed, images int // images whose recovery has replayed an aside, and all images
}

// told2 has the begun and the returned operations.
type told2 struct{ begun, returned []told }

// pair is two moments, of both disks.
type pair struct{ leader, replica int }

// newestAt returns the newest version in the list up to a moment.
func newestAt(list []told, moment int) (version uint64) {
	for _, t := range list {
		if t.moment <= moment {
			version = max(version, t.version)
		}
	}
	return version
}

// changeFiles reports whether a file belongs to subscriptions, asides or replicas.
func changeFiles(name string) bool {
	return strings.HasPrefix(name, "subscription-") || strings.HasPrefix(name, "changes-") || strings.HasPrefix(name, "replica")
}

// watched returns a disk that also watches the files of changes, and the options for it.
func watched(opts ...everheap.Option) (*powercut.Disk, []everheap.Option) {
	disk := powercut.New()
	disk.Ignore["live"], disk.Mapped["heap"] = true, true
	disk.Follow(changeFiles)
	return disk, append(opts, spacetest.WithNames(disk.Rename, disk.SyncDir), spacetest.WithFiles(disk.OpenFile), spacetest.WithoutBackground())
}

// newFollowedRun makes a leader with a subscription, and a replica.
func newFollowedRun(t testing.TB, seed uint64) *followedRun {
	t.Helper()
	disk := powercut.New()
	disk.Follow(changeFiles)
	f := &followedRun{cutRun: newCutRun(t, seed, disk, spacetest.WithNames(disk.Rename, disk.SyncDir)), frames: map[uint64]everheap.Frame{}}
	f.subscribe()
	f.second, f.options = watched(everheap.WithMaxSize(64 << 20))
	f.other = filepath.Join(spacetest.MemoryDir(t), "r")
	stream := spacetest.BackupOf(t, f.space)
	version := uint64(f.space.Stats().Version)
	spacetest.Must(t, everheap.RestoreReplica(f.other, bytes.NewReader(stream), "the leader", f.options...))
	f.applied.durable = append(f.applied.durable, told{f.second.Observe(), version})
	f.applied.begun = append(f.applied.begun, told{0, version})
	f.first = f.second.Now()
	f.follow()
	return f
}

// subscribe subscribes, or continues with the subscription.
func (f *followedRun) subscribe() {
	f.t.Helper()
	var err error
	f.confirmed.begun = append(f.confirmed.begun, told{f.disk.Observe(), uint64(f.space.Stats().Version)})
	f.reader, err = f.space.Subscribe("cut", 0)
	spacetest.Must(f.t, err)
	v, err := f.reader.Version()
	spacetest.Must(f.t, err)
	f.confirmed.returned = append(f.confirmed.returned, told{f.disk.Observe(), uint64(v)})
}

// follow opens the replica.
func (f *followedRun) follow() {
	f.t.Helper()
	s, err := everheap.Open(f.other, f.options...)
	spacetest.Must(f.t, err)
	f.replica, err = s.AsReplica("the leader")
	spacetest.Must(f.t, err)
}

// at returns the version of the replica.
func (f *followedRun) at() uint64 {
	v, err := f.replica.Version()
	spacetest.Must(f.t, err)
	return uint64(v)
}

// ended returns a context that has ended: reading changes with it yields the available ones.
func ended() context.Context {
	ctx, end := context.WithCancel(context.Background())
	end()
	return ctx
}

// drain reads the available frames, and applies some of them.
func (f *followedRun) drain() {
	f.t.Helper()
	most := f.r.IntN(60)
	for frame, err := range f.space.ChangesSince(ended(), everheap.Version(f.at())) {
		if errors.Is(err, everheap.ErrBusy) {
			break
		}
		if err != nil {
			f.t.Fatalf("after version %d: %v", f.at(), err)
		}
		v := uint64(frame.Version())
		f.given = append(f.given, told{f.disk.Observe(), v})
		f.frames[v] = frame
		f.applied.begun = append(f.applied.begun, told{f.second.Observe(), v})
		spacetest.Must(f.t, f.replica.Apply(context.Background(), frame))
		if most--; most < 0 {
			break
		}
		if f.r.IntN(8) == 0 {
			f.tend()
		}
	}
	f.reached = append(f.reached, pair{f.disk.Observe(), f.second.Observe()})
}

// tend does other operations on the replica.
func (f *followedRun) tend() {
	f.t.Helper()
	s, v := f.replica.Space(), f.at()
	switch f.r.IntN(6) {
	case 0:
		spacetest.Must(f.t, spacetest.Engine(s).Spool())
	case 1:
		spacetest.Must(f.t, spacetest.Engine(s).Anchor(false))
	case 2:
		spacetest.Must(f.t, s.Sync(context.Background()))
		f.applied.durable = append(f.applied.durable, told{f.second.Observe(), v})
	}
}

// confirm confirms the durable versions of the replica.
func (f *followedRun) confirm() {
	f.t.Helper()
	v := f.at()
	spacetest.Must(f.t, f.replica.Space().Sync(context.Background()))
	f.applied.durable = append(f.applied.durable, told{f.second.Observe(), v})
	f.confirmed.begun = append(f.confirmed.begun, told{f.disk.Observe(), v})
	spacetest.Must(f.t, f.reader.Confirm(everheap.Version(v)))
	f.confirmed.returned = append(f.confirmed.returned, told{f.disk.Observe(), v})
}

var cutSpecs = []string{
	"map[string]Typed\ntype Typed struct { Name string; Age int }",
	"map[string]Typed\ntype Typed struct { Name string; Age int64; City string }",
}

// evolve changes types, or declares an index.
func (f *followedRun) evolve() error {
	f.begin()
	f.model.begun[len(f.model.begun)-1].version += 20
	c, err := f.space.Collection("typed")
	switch {
	case errors.Is(err, everheap.ErrNotFound):
		c, err = f.space.Create("typed", cutSpecs[0])
		f.spec = 0
	case err == nil && f.r.IntN(3) == 0:
		f.spec = 1 - f.spec
		err = f.space.EvolveCollection("typed", cutSpecs[f.spec], everheap.Evolve())
	case err == nil && f.r.IntN(2) == 0:
		var dropped bool
		if dropped, err = everheap.DropIndex(f.space, "typed", "by_name"); err == nil && !dropped {
			err = everheap.CreateIndex(f.space, "typed", "by_name", "Name")
		}
	}
	for i := 0; i < 5 && err == nil; i++ {
		err = c.SetJSON(f.space, fmt.Appendf(nil, "%q", fmt.Sprint("k", f.r.IntN(30))), fmt.Appendf(nil, `{"Name": "n%d", "Age": %d}`, f.r.IntN(9), f.r.IntN(90)))
		if errors.Is(err, everheap.ErrTypeChanged) {
			c, err = f.space.Collection("typed")
		}
	}
	if err == nil {
		f.committed()
	}
	return err
}

// run does steps of both.
func (f *followedRun) run(steps int) {
	f.t.Helper()
	for i := range steps {
		switch k := f.r.IntN(20); {
		case k < 10:
			spacetest.Must(f.t, f.step())
		case k < 12:
			spacetest.Must(f.t, f.evolve())
		case k < 18:
			f.drain()
		default:
			f.confirm()
		}
		if i%67 == 66 {
			f.close()
			f.open()
			f.subscribe()
		}
		if i%83 == 82 {
			v := f.at()
			spacetest.Must(f.t, f.replica.Space().Close())
			f.applied.durable = append(f.applied.durable, told{f.second.Observe(), v})
			f.follow()
		}
	}
	spacetest.Must(f.t, f.space.Sync(context.Background()))
	for f.at() < uint64(f.space.Stats().Version) {
		f.drain()
	}
	v := f.at()
	spacetest.Must(f.t, f.replica.Space().Close())
	f.applied.durable = append(f.applied.durable, told{f.second.Observe(), v})
	f.close()
}

// imageOf makes an image and opens it.
func (f *followedRun) imageOf(disk *powercut.Disk, name string, moment int, policy powercut.Policy, k uint64) (*everheap.Space, string, error) {
	dir := filepath.Join(filepath.Dir(f.dir), name)
	spacetest.Must(f.t, os.RemoveAll(dir))
	spacetest.Must(f.t, os.Mkdir(dir, 0o700))
	spacetest.Must(f.t, disk.Image(dir, "heap", moment, policy, rand.New(rand.NewPCG(k, 7))))
	s, err := everheap.Open(dir, spacetest.Created(dir, 64<<20, spacetest.WithoutBackground())...)
	if err != nil {
		err = fmt.Errorf("it does not open: %w", err)
	}
	return s, dir, err
}

// leaderImage verifies an image of the leader, and lets a replica continue from it.
func (f *followedRun) leaderImage(moment int, policy powercut.Policy, k uint64) error {
	s, dir, err := f.imageOf(f.disk, "image", moment, policy, k)
	if err != nil {
		return err
	}
	defer s.Close()
	version := uint64(s.Stats().Version)
	f.images++
	e := spacetest.Engine(s)
	if slices.ContainsFunc(e.Changes.AsideVersions(), func(v format.Version) bool { return v > e.Live.NewestAnchor() && uint64(v) <= version }) { // CH4
		f.replayed++
	}
	if given := newestAt(f.given, moment); version < given { // CH3
		return fmt.Errorf("it has version %d, and the frame of version %d was given out", version, given)
	}
	if moment >= f.confirmed.returned[0].moment { // CH5
		list, err := s.Subscriptions()
		if err != nil || len(list) != 1 || list[0].Lost || list[0].Name != "cut" {
			return fmt.Errorf("it has the subscriptions %+v, %v", list, err)
		}
		at, least, most := uint64(list[0].Version), newestAt(f.confirmed.returned, moment), newestAt(f.confirmed.begun, moment)
		if at < least || at > most || at > version {
			return fmt.Errorf("the subscription is at version %d of %d; %d was confirmed, and %d about to be", at, version, least, most)
		}
		if err := f.goOn(s, at, moment, k); err != nil {
			return err
		}
	}
	if err := s.Close(); err != nil {
		return err
	}
	return f.model.verifyImage(dir, moment, version)
}

// goOn reads changes from an image of the leader: all frames read before are the same, and a replica,
// cut as well, continues with them.
func (f *followedRun) goOn(s *everheap.Space, from uint64, moment int, k uint64) error {
	var before everheap.Frame
	at := from
	for frame, err := range s.ChangesSince(ended(), everheap.Version(from)) {
		if errors.Is(err, everheap.ErrBusy) {
			break
		}
		if err != nil {
			return fmt.Errorf("after version %d: %w", at, err)
		}
		if at++; uint64(frame.Version()) != at || before.Bytes() != nil && frame.Before() != before.Position() {
			return fmt.Errorf("the frame of version %d comes after that of version %d", frame.Version(), at-1)
		}
		if was, ok := f.frames[at]; ok && !bytes.Equal(was.Bytes(), frame.Bytes()) {
			return fmt.Errorf("the frame of version %d is another one than before", at)
		}
		before = frame
	}
	if newest := uint64(s.Stats().Version); at != newest {
		return fmt.Errorf("the frames end with version %d, but the space has version %d", at, newest)
	}
	cut := pair{replica: -1}
	for _, p := range f.reached {
		if p.leader <= moment {
			cut = p
		}
	}
	since := cut.replica + 1 // from then on it has the confirmed versions durably
	for _, d := range f.applied.durable {
		if d.version >= from {
			since = min(since, d.moment)
		}
	}
	if cut.replica < since {
		return nil
	}
	r := rand.New(rand.NewPCG(k, 9))
	second, _, err := f.imageOf(f.second, "second", since+r.IntN(cut.replica-since+1), powercut.Policy(r.IntN(int(powercut.NumPolicies))), k)
	if err != nil {
		return fmt.Errorf("the replica: %w", err)
	}
	defer second.Close()
	if err := catchUp(second, s, uint64(second.Stats().Version)); err != nil {
		return fmt.Errorf("the replica: %w", err)
	}
	spacetest.Same(f.t, spacetest.ReadDump(f.t, spacetest.BackupOf(f.t, second)), spacetest.ReadDump(f.t, spacetest.BackupOf(f.t, s)))
	return nil
}

// catchUp applies the leader's frames after a version.
func catchUp(replica, leader *everheap.Space, from uint64) error {
	if _, is, err := replica.Leader(); !is || err != nil { // RP4
		return fmt.Errorf("it is no replica: %v, %w", is, err)
	}
	r, err := replica.AsReplica("the leader")
	if err != nil {
		return err
	}
	for frame, err := range leader.ChangesSince(ended(), everheap.Version(from)) {
		if errors.Is(err, everheap.ErrBusy) {
			return nil
		}
		if err == nil {
			err = r.Apply(context.Background(), frame)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// replicaImage verifies an image of the replica: it is at a version that it had reached, and can
// continue.
func (f *followedRun) replicaImage(moment int, policy powercut.Policy, k uint64) error {
	s, _, err := f.imageOf(f.second, "second", moment, policy, k)
	if err != nil {
		return err
	}
	defer s.Close()
	version := uint64(s.Stats().Version)
	if oldest, newest := f.applied.window(moment); version < oldest || version > newest {
		return fmt.Errorf("it has version %d; %d was durable, %d the newest", version, oldest, newest)
	}
	if _, is, err := s.Leader(); !is || err != nil { // RP4
		return fmt.Errorf("it is no replica: %v, %w", is, err)
	}
	if err := s.Update(context.Background(), func(*everheap.Tx) error { return nil }); !errors.Is(err, everheap.ErrReadOnly) {
		return fmt.Errorf("it can be written to: %w", err)
	}
	d, err := digestOf(s)
	if err != nil {
		return err
	}
	want, pins := f.model.expected(version)
	if d != want {
		return fmt.Errorf("version %d: %d entries that are not the %d that it had", version, d.n, want.n)
	}
	if err := verifyPins(s, pins); err != nil {
		return fmt.Errorf("version %d: %w", version, err)
	}
	r, err := s.AsReplica("the leader")
	if err != nil {
		return err
	}
	for f.frames[version+1].Bytes() != nil { // RP2
		version++
		if err := r.Apply(context.Background(), f.frames[version]); err != nil {
			return err
		}
	}
	report, err := s.Check(context.Background())
	if err != nil || len(report.Findings) > 0 {
		return fmt.Errorf("check: %v %w", report.Findings, err)
	}
	if d, err = digestOf(s); err != nil || d != f.model.now {
		return fmt.Errorf("with all changes: %d entries that are not the %d that there are: %w", d.n, f.model.now.n, err)
	}
	return nil
}

// momentsOf lists the moments around the syncs of a disk, and random ones.
func momentsOf(d *powercut.Disk, from, random int, r *rand.Rand) (list []int) {
	for _, s := range d.Syncs() {
		for _, m := range []int{s.From, s.From + 1, s.To, s.To + 1} {
			if m >= from {
				list = append(list, m)
			}
		}
	}
	for range random {
		list = append(list, from+r.IntN(d.Now()-from+1))
	}
	return list
}

// A leader, its replica, or both lose power. All frames read before are of versions that the leader
// still has. The subscription exists, with the frame of every version that it needs and the space
// has. The replica continues where it is.
func TestPowerCut_LeaderAndReplica(t *testing.T) { // CH3, CH4, CH5, CH6, RP2
	spacetest.Rounds(t, 3, func(t *testing.T, r *rand.Rand) {
		seed := r.Uint64()
		f := newFollowedRun(t, seed)
		f.run(160)
		for _, half := range []struct {
			name  string
			disk  *powercut.Disk
			from  int
			check func(moment int, policy powercut.Policy, k uint64) error
		}{{"leader", f.disk, f.firstImage(), f.leaderImage}, {"replica", f.second, f.first, f.replicaImage}} {
			moments := momentsOf(half.disk, half.from, 60, r)
			for range spacetest.Scaled(120) {
				k := r.Uint64()
				moment, policy := moments[r.IntN(len(moments))], powercut.Policy(r.IntN(int(powercut.NumPolicies)))
				if err := half.check(moment, policy, k); err != nil {
					t.Fatalf("seed %d, %s, after a cut at %d, policy %d, %d: %v", seed, half.name, moment, policy, k, err)
				}
				if t.Failed() {
					t.Fatalf("seed %d, %s, after a cut at %d, policy %d, %d", seed, half.name, moment, policy, k)
				}
			}
		}
		t.Logf("%d frames; in %d of %d images of the leader an aside was replayed", len(f.frames), f.replayed, f.images)
		if f.replayed == 0 {
			t.Error("no image of the leader needed an aside")
		}
	})
}
