package opening

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/proctest"
)

func init() {
	proctest.Children["guest"] = guestChild
	proctest.Children["writer"] = writerChild
}

// nobody makes a command run as a user without files; the test binary is started by a path that this
// user can read.
func nobody(c *exec.Cmd) {
	c.Path = "/proc/self/exe"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}

// asRoot skips the test if it cannot run processes as other users.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can run processes as other users, or mount")
	}
}

// publicDir returns a directory that all users can read.
func publicDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	return filepath.Join(dir, "s")
}

// guestChild reads on command.
func guestChild(dir string) error {
	s, err := everheap.Open(dir, everheap.WithReadOnly())
	if err != nil {
		proctest.Say("refused", err)
		return nil
	}
	m, err := everheap.OpenMap[string, int](s, "m")
	if err != nil {
		return err
	}
	proctest.Say("opened")
	for n := 0; ; n++ {
		switch what := proctest.Told(); what {
		case "end":
			return s.Close()
		case "hold": // hold one version, and read it again and again until the next line
			err := s.View(func(tx *everheap.Tx) error {
				first, looks, done := -1, 0, make(chan string, 1)
				go func() { done <- proctest.Told() }()
				proctest.Say("holding")
				for over := false; !over; looks++ {
					select {
					case <-done:
						over = true
					default:
					}
					sum := 0
					for _, v := range m.All(tx) {
						sum = sum*31 + *v
					}
					if first < 0 {
						first = sum
					} else if sum != first {
						return fmt.Errorf("look %d sees something else", looks)
					}
				}
				proctest.Say("held", looks)
				return nil
			})
			if err != nil {
				return err
			}
		case "lock":
			err := s.Mutex("x").Lock(context.Background())
			proctest.Say("lock", errors.Is(err, everheap.ErrReadOnly), err)
		case "set":
			err := m.Set(s, "k", 9)
			proctest.Say("set", errors.Is(err, everheap.ErrReadOnly), err)
		case "check":
			report, err := s.Check(context.Background())
			proctest.Say("check", len(report.Findings), err)
		default:
			v, err := m.Get(s, what)
			proctest.Say("got"+fmt.Sprint(n), v, err)
		}
	}
}

// churn replaces all entries of the map many times, and frees all that it can.
func churn(t *testing.T, s *everheap.Space, rounds int) {
	t.Helper()
	m := mapOf(t, s)
	for r := range rounds {
		must(t, s.Update(context.Background(), func(tx *everheap.Tx) error {
			for i := range 300 {
				if err := m.Set(tx, fmt.Sprint("entry", i), r*1000+i); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	_, err := s.Compact(context.Background()) // sweeps, and punches free extents
	must(t, err)
}

// A user who may only read sees the commits of others, and a held version does not change. It can
// neither write nor lock, and the errors say why.
func TestReadOnly_UserWhoMayNotWrite(t *testing.T) { // K8, K9
	asRoot(t)
	dir := publicDir(t)
	s := open(t, dir, everheap.WithMode(0o755))
	m := mapOf(t, s)
	must(t, m.Set(s, "k", 1))
	churn(t, s, 2)
	g := proctest.Start(t, "guest", dir, nobody)
	g.Hear("opened")
	g.Tell("k")
	if got := g.Hear("got0"); got != "1 <nil>" {
		t.Errorf("it reads %s", got)
	}
	must(t, m.Set(s, "k", 2))
	g.Tell("k")
	if got := g.Hear("got1"); got != "2 <nil>" {
		t.Errorf("after a commit it reads %s", got)
	}
	g.Tell("hold")
	g.Hear("holding")
	churn(t, s, 50)
	g.Tell("let go")
	g.Hear("held")
	for _, what := range []string{"lock", "set"} {
		g.Tell(what)
		if said := g.Hear(what); !strings.HasPrefix(said, "true") {
			t.Errorf("%s: %s", what, said)
		}
	}
	g.Tell("check")
	if said := g.Hear("check"); said != "0 <nil>" {
		t.Errorf("check: %s", said)
	}
	g.Tell("end")
	g.Ends()
}

// Without a live file such a reader sees the version on disk, as long as it exists, and does not keep
// others from opening the space for writing.
func TestReadOnly_UserWhoMayNotWriteAfterARestart(t *testing.T) { // K10
	asRoot(t)
	dir := publicDir(t)
	s := openPlain(t, dir, everheap.WithMode(0o755))
	must(t, mapOf(t, s).Set(s, "k", 1))
	churn(t, s, 2)
	must(t, s.Close())
	must(t, os.Remove(filepath.Join(dir, "live")))
	g := proctest.Start(t, "guest", dir, nobody)
	g.Hear("opened")
	g.Tell("hold")
	g.Hear("holding")
	s = open(t, dir)
	must(t, mapOf(t, s).Set(s, "k", 2))
	churn(t, s, 50)
	g.Tell("let go")
	g.Hear("held")
	g.Tell("k")
	if got := g.Hear("got1"); got != "1 <nil>" {
		t.Errorf("it reads %s", got)
	}
	g.Tell("end")
	g.Ends()
}

// A user who may only read cannot open a space that must be recovered, and the error says so.
func TestErrReadOnly_GuestOfASpaceThatMustBeRecovered(t *testing.T) {
	asRoot(t)
	dir := publicDir(t)
	s := open(t, dir, everheap.WithMode(0o755))
	must(t, s.Close())
	w := proctest.Start(t, "writer", dir, nil)
	w.Hear("written")
	must(t, w.Cmd.Process.Kill())
	proctest.Wait(w.Gone)
	must(t, os.Remove(filepath.Join(dir, "live")))
	g := proctest.Start(t, "guest", dir, nobody)
	if said := g.Hear("refused"); !strings.Contains(said, "recover it first") {
		t.Errorf("the error is: %s", said)
	}
	g.Ends()
}

// writerChild writes, and stays.
func writerChild(dir string) error {
	s, err := everheap.Open(dir, everheap.WithDurability(everheap.Durable))
	if err != nil {
		return err
	}
	m, err := everheap.OpenMap[string, int](s, "m")
	if err == nil {
		err = m.Set(s, "k", 5)
	}
	if err != nil {
		return err
	}
	proctest.Say("written")
	proctest.Told()
	return s.Close()
}

// A space on a read-only mount can be read, open elsewhere or not, by root as well.
func TestReadOnly_Mount(t *testing.T) {
	asRoot(t)
	dir := publicDir(t)
	s := open(t, dir)
	m := mapOf(t, s)
	must(t, m.Set(s, "k", 1))
	mounted := t.TempDir()
	if err := syscall.Mount(dir, mounted, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("a directory cannot be mounted here: %v", err)
	}
	defer syscall.Unmount(mounted, syscall.MNT_DETACH)
	if err := syscall.Mount("", mounted, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("it cannot be mounted for reading: %v", err)
	}
	for i, live := range []bool{true, false} {
		if !live {
			must(t, s.Close())
			must(t, os.Remove(filepath.Join(dir, "live")))
		}
		g := proctest.Start(t, "guest", mounted, nil)
		g.Hear("opened")
		g.Tell("k")
		if got := g.Hear("got0"); got != "1 <nil>" {
			t.Errorf("look %d: it reads %s", i, got)
		}
		g.Tell("end")
		g.Ends()
	}
	s, err := everheap.Open(mounted)
	if err == nil {
		s.Close()
		t.Error("it can be opened for writing")
	}
}
