package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/everheap/everheap"
)

// watchOver reads one version after the other, each of them twice.
func (w *worker) watchOver(r *rand.Rand) {
	for !w.ended.Load() {
		w.reopen.RLock()
		s := w.session.Load()
		err := s.View(func(tx *everheap.Tx) error { return s.twice(tx, r) })
		w.reopen.RUnlock()
		if !w.harmless(err) {
			w.fail("reading", err)
		}
		if id := r.IntN(owners); true {
			owner := ownerID(w.id, id)
			key := fmt.Sprintf("o%d/card %d", owner, r.IntN(20))
			if err := stale(s.Space, s.former, key, owner); !w.harmless(err) && !errors.Is(err, everheap.ErrNilHandle) {
				w.fail("a handle of the former type", err)
			}
		}
		time.Sleep(time.Duration(r.IntN(400)) * time.Millisecond)
	}
}

// twice audits the version of a transaction, waits, and audits it again.
func (w world) twice(tx *everheap.Tx, r *rand.Rand) error {
	first, err := w.audit(tx)
	if err != nil {
		return err
	}
	pause := r.IntN(100)
	if r.IntN(8) == 0 {
		pause = r.IntN(2000)
	}
	time.Sleep(time.Duration(pause) * time.Millisecond)
	second, err := w.audit(tx)
	if err != nil {
		return fmt.Errorf("read again after %d ms: %w", pause, err)
	}
	if first.Hash != second.Hash {
		return fmt.Errorf("version %d has changed while it was held: %#x became %#x", tx.Version(), first.Hash, second.Hash)
	}
	return nil
}

// A chore is an operation on the whole space, with its frequency.
type chore struct {
	name   string
	weight int
	do     func(*worker, *session, *rand.Rand) error
}

var chores = []chore{
	{"checkpoint", 8, (*worker).checkpoint},
	{"view a checkpoint", 8, (*worker).viewCheckpoint},
	{"drop a checkpoint", 6, (*worker).dropCheckpoint},
	{"restore", 3, (*worker).restore},
	{"compact", 5, (*worker).compact},
	{"collect", 5, (*worker).collect},
	{"resize", 3, (*worker).resize},
	{"fork", 4, (*worker).fork},
	{"evolve", 6, (*worker).evolve},
	{"backup", 3, (*worker).backup},
	{"lock", 5, (*worker).lock},
	{"inspect", 5, (*worker).inspect},
}

// steward does chores, and closes the space and opens it again.
func (w *worker) steward(r *rand.Rand, options []everheap.Option) {
	total := 0
	for _, c := range chores {
		total += c.weight
	}
	for !w.ended.Load() {
		time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
		if r.IntN(8) == 0 {
			w.comeAgain(r, options)
		}
		s := w.session.Load()
		if w.full.Swap(false) {
			w.makeRoom(s, r)
		}
		n := r.IntN(total)
		for _, c := range chores {
			if n -= c.weight; n < 0 {
				w.log("%s", c.name)
				if err := c.do(w, s, r); !w.harmless(err) {
					w.fail(c.name, err)
				} else if err != nil {
					w.log("%s: %v", c.name, err)
				}
				break
			}
		}
	}
}

// comeAgain closes the space, sometimes while others of the process use it, and
// opens it again.
func (w *worker) comeAgain(r *rand.Rand, options []everheap.Option) {
	beside := r.IntN(3) == 0
	w.log("reopen, beside the others: %v", beside)
	if !beside {
		w.reopen.Lock()
		defer w.reopen.Unlock()
	}
	if err := w.session.Load().Close(); !w.harmless(err) {
		w.fail("close", err)
	}
	s, err := w.open(options...)
	if err != nil {
		w.fail("open again", err)
	}
	w.session.Store(s)
}

// makeRoom drops checkpoints and values to make room.
func (w *worker) makeRoom(s *session, r *rand.Rand) {
	for _, do := range []func(*session, *rand.Rand) error{w.dropCheckpoint, w.collect, w.compact} {
		if err := do(s, r); !w.harmless(err) {
			w.fail("making room", err)
		}
	}
}

// maxCheckpoints is the approximate maximum number of checkpoints at once.
const maxCheckpoints = 5

// checkpoint makes a checkpoint, and writes that down outside of the space.
func (w *worker) checkpoint(s *session, r *rand.Rand) error {
	list, err := s.Checkpoints()
	if err != nil || len(list) >= maxCheckpoints {
		return err
	}
	name := fmt.Sprint("p", w.name(), "-", clock())
	if err := s.Checkpoint(name); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(w.Dir, "made", name), nil, 0o600); err != nil {
		return err
	}
	return nil
}

// pick chooses a checkpoint; "" if there is none.
func pick(s *session, r *rand.Rand) (string, error) {
	list, err := s.Checkpoints()
	if err != nil || len(list) == 0 {
		return "", err
	}
	return list[r.IntN(len(list))].Name, nil
}

// viewCheckpoint audits a checkpoint, and compares it with the result of its first audit.
func (w *worker) viewCheckpoint(s *session, r *rand.Rand) error {
	name, err := pick(s, r)
	if err != nil || name == "" {
		return err
	}
	err = s.ViewAt(name, func(tx *everheap.Tx) error {
		sum, err := s.audit(tx)
		if err == nil {
			err = w.compare(name, sum)
		}
		if err == nil && r.IntN(3) == 0 {
			err = s.twice(tx, r)
		}
		return err
	})
	return w.gone(name, err)
}

// gone accepts that a checkpoint is missing if a process is dropping it.
func (w *worker) gone(name string, err error) error {
	if !errors.Is(err, everheap.ErrNotFound) {
		return err
	}
	if _, e := os.Stat(filepath.Join(w.Dir, "dropped", name)); e != nil {
		return fmt.Errorf("no process has dropped the checkpoint %s: %w", name, err)
	}
	return nil
}

// compare notes the summary of a checkpoint, or compares it with the noted one.
func (w *worker) compare(name string, sum summary) error {
	path, text := filepath.Join(w.Dir, "seen", name), fmt.Sprintf("%#x at version %d", sum.Hash, sum.Version)
	mine := path + "~" + w.name()
	defer os.Remove(mine)
	if err := os.WriteFile(mine, []byte(text), 0o600); err != nil {
		return err
	}
	if os.Link(mine, path) == nil {
		return nil
	}
	was, err := os.ReadFile(path)
	if err == nil && string(was) != text {
		err = fmt.Errorf("the checkpoint %s had %s, and has %s", name, was, text)
	}
	return err
}

// dropCheckpoint writes down that it drops a checkpoint, and then drops it.
func (w *worker) dropCheckpoint(s *session, r *rand.Rand) error {
	name, err := pick(s, r)
	if err != nil || name == "" {
		return err
	}
	if err := os.WriteFile(filepath.Join(w.Dir, "dropped", name), nil, 0o600); err != nil {
		return err
	}
	return w.gone(name, s.DropCheckpoint(name))
}

// restore restores a checkpoint. Before that, it writes down the last transaction of each owner
// there, so that no process takes the change for a loss.
func (w *worker) restore(s *session, r *rand.Rand) error {
	name, err := pick(s, r)
	if err != nil || name == "" {
		return err
	}
	e := restoration{ID: fmt.Sprint(w.name(), "-", clock()), What: "begin", By: w.name(), Name: name, Pins: map[uint32]uint64{}}
	err = s.ViewAt(name, func(tx *everheap.Tx) error {
		for owner, st := range s.states.All(tx) {
			e.Pins[owner] = st.Seq
		}
		return nil
	})
	if err != nil {
		return w.gone(name, err)
	}
	w.restores.tell(e)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = s.Restore(ctx, name)
	e.What, e.Pins = "end", nil
	if errors.Is(err, everheap.ErrSuspended) || errors.Is(err, everheap.ErrNotFound) || errors.Is(err, everheap.ErrBusy) {
		e.What = "void"
	}
	w.restores.tell(e)
	return w.gone(name, err)
}

func (w *worker) compact(s *session, _ *rand.Rand) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := s.Compact(ctx)
	return err
}

// resize gives the space another maximum size: an equivalent one, or a little more in a round that
// fills the space.
func (w *worker) resize(s *session, r *rand.Rand) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	most := w.Window
	if w.Full {
		most += uint64(r.IntN(8)) << 20
	} else {
		most = most/2 + uint64(r.Int64N(int64(most)))
	}
	err := s.Resize(ctx, most)
	if errors.Is(err, everheap.ErrMaxSize) && most < s.Stats().Window { // more is in use
		return nil
	}
	return err
}

func (w *worker) collect(s *session, _ *rand.Rand) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := s.Collect(ctx)
	return err
}

func (w *worker) evolve(s *session, _ *rand.Rand) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return evolve(ctx, s.Space)
}

// backup makes a backup, restores it as a new space, and audits that.
func (w *worker) backup(s *session, _ *rand.Rand) (err error) {
	path := filepath.Join(w.Dir, "backup-"+strconv.Itoa(w.id))
	os.RemoveAll(path) // of a former life
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(path, "stream"))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := s.Backup(f); err != nil {
		return err
	}
	if _, err := f.Seek(0, 0); err != nil {
		return err
	}
	dir := filepath.Join(path, "restored")
	if err := everheap.RestoreBackup(dir, f); err != nil {
		return fmt.Errorf("restoring: %w", err)
	}
	if err := inspectCopy(dir); err != nil {
		return fmt.Errorf("the restored space: %w", err)
	}
	return os.RemoveAll(path)
}

// inspectCopy audits and checks a space of its own.
func inspectCopy(dir string) error {
	s, err := everheap.Open(dir)
	if err != nil {
		return err
	}
	err = inspectAll(s)
	return errors.Join(err, s.Close())
}

// inspectAll audits and checks a space.
func inspectAll(s *everheap.Space) error {
	w, err := openWorld(s)
	if err != nil {
		return err
	}
	if err := s.View(func(tx *everheap.Tx) error { _, err := w.audit(tx); return err }); err != nil {
		return err
	}
	return check(s)
}

// check is Check, whose findings are an error.
func check(s *everheap.Space) error {
	report, err := s.Check(context.Background())
	if err != nil || len(report.Findings) == 0 {
		return err
	}
	text := fmt.Sprintf("version %d: %d findings", report.Version, len(report.Findings))
	for i, f := range report.Findings {
		if i == 20 {
			break
		}
		text += fmt.Sprintf("\n\t%s at %#x, object %d: %s", f.File, f.Offset, f.Object, f.What)
	}
	return errors.New(text)
}

// lock takes the lock that all processes share, and releases it. The lock protects a file with the
// name of the holder.
func (w *worker) lock(s *session, r *rand.Rand) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	m := s.Mutex("chaos")
	err := m.Lock(ctx)
	if err != nil && !errors.Is(err, everheap.ErrOwnerDied) {
		return err
	}
	path := filepath.Join(w.Dir, "holder")
	if was, e := os.ReadFile(path); e == nil && len(was) > 0 && err == nil {
		return fmt.Errorf("the lock is held by this process, and by %s", was)
	}
	if err := os.WriteFile(path, []byte(w.name()), 0o600); err != nil {
		return err
	}
	time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	return m.Unlock()
}

// inspect calls all methods that report the state of a space.
func (w *worker) inspect(s *session, _ *rand.Rand) error {
	_ = s.Stats()
	_, err1 := s.Processes()
	_, err2 := s.Readers()
	_, err3 := s.Locks()
	_, err4 := s.Collections()
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			return err
		}
	}
	return nil
}
