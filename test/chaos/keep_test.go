package chaos

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
)

// keep preserves the state when an error was found: it suspends all processes, copies the files of
// the space, and then makes each process write its stacks and die.
func (f *storm) keep(found error) {
	f.log, _ = os.OpenFile(filepath.Join(f.dir, "log"), os.O_APPEND|os.O_WRONLY, 0o600)
	f.told("FOUND: %v", found)
	running := map[int]bool{}
	for id, p := range f.processes {
		running[id] = p.state() != "T"
		p.signal(syscall.SIGSTOP)
	}
	if out, err := exec.Command("cp", "-a", "--sparse=always", f.Space, filepath.Join(f.dir, "space-as-found")).CombinedOutput(); err != nil {
		f.t.Logf("the space could not be copied: %v %s", err, out)
	}
	f.events()
	for id, p := range f.processes {
		f.told("%s is asked where it stands; it was running: %v", p.name(), running[id])
		p.signal(syscall.SIGQUIT)
		p.signal(syscall.SIGCONT)
	}
	for _, p := range f.processes {
		select {
		case <-p.done:
		case <-time.After(10 * time.Second):
			f.told("%s does not say where it stands", p.name())
			p.signal(syscall.SIGKILL)
			<-p.done
		}
	}
	if f.disk != nil {
		if err := f.disk.unmount(filepath.Join(f.dir, "disk-at-the-end")); err != nil {
			f.t.Log(err)
		}
	}
}

// events keeps the events of all processes, if the programs record events.
func (f *storm) events() {
	if !invariant.Enabled {
		return
	}
	file, err := os.Create(filepath.Join(f.dir, "events"))
	if err == nil {
		err = errors.Join(invariant.DumpEventsOf(f.Space, file), file.Close())
	}
	if err != nil {
		f.t.Logf("the events could not be kept: %v", err)
	}
}

// summary summarizes a round.
func (f *storm) summary() string {
	commits := uint64(0)
	size := int64(0)
	if info, err := os.Stat(filepath.Join(f.Space, "heap")); err == nil {
		size = info.Size()
	}
	live := uint64(0)
	_ = f.alone(func(s *everheap.Space, w world) error {
		live = s.Stats().Live
		return s.View(func(tx *everheap.Tx) error { commits = w.pulse.Peek(tx).Commits; return nil })
	})
	lives := 0
	for _, n := range f.lives {
		lives += n
	}
	tried := uint64(0)
	for id := range workers * owners {
		if l, err := openLedger(f.dir, ownerID(0, id)); err == nil {
			tried += l.last
			l.file.Close()
		}
	}
	return fmt.Sprintf("seed %d: %d processes, %d stops, %d kills, %d losses of power; %d transactions tried, %d commits in the last history; %d MiB live in a file of %d MiB; %v without a commit at the most",
		f.Seed, lives, f.stops, f.kills, f.losses, tried, commits, live>>20, size>>20, f.waited.Round(time.Millisecond))
}
