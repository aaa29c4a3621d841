package chaos

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A process is one life of a child, as the driver sees it.
type process struct {
	id, life int
	role     string
	cmd      *exec.Cmd
	in       io.WriteCloser
	out      string // file of its output
	point    string // where it is to die or to stop; may be ""
	stopped  bool   // by the driver, or at a point
	until    time.Time
	since    time.Time // from when on it must make progress
	asked    bool      // to end
	done     chan struct{}
	status   *os.ProcessState // after done
}

// start starts a child. Its output goes to a file of its own.
func (f *storm) start(id int, role, point string) {
	f.lives[id]++
	p := &process{id: id, life: f.lives[id], role: role, point: point, since: time.Now(), done: make(chan struct{})}
	p.out = filepath.Join(f.dir, "out", p.name())
	executable, err := os.Executable()
	if err != nil {
		f.t.Fatal(err)
	}
	out, err := os.Create(p.out)
	if err != nil {
		f.t.Fatal(err)
	}
	defer out.Close()
	prof, err := json.Marshal(f.profile)
	if err != nil {
		f.t.Fatal(err)
	}
	p.cmd = exec.Command(executable, "-test.run=^$")
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Env = append(os.Environ(), "CHAOS_CHILD="+role, "CHAOS_PROFILE="+string(prof), fmt.Sprint("CHAOS_ID=", id),
		fmt.Sprint("CHAOS_LIFE=", p.life), "EVERHEAP_POINT="+point, "EVERHEAP_HOME="+filepath.Join(f.dir, "home"), "GOTRACEBACK=all")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // signals of the terminal are for the driver
	if p.in, err = p.cmd.StdinPipe(); err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		f.t.Fatal(err)
	}
	f.processes[id] = p
	f.told("start %s, to stop or die at %q", p.name(), point)
	go func() {
		_ = p.cmd.Wait()
		p.status = p.cmd.ProcessState
		close(p.done)
	}()
	f.list()
	f.forgetOutputs(id)
}

// forgetOutputs removes the outputs of lives that are long over.
func (f *storm) forgetOutputs(id int) {
	os.Remove(filepath.Join(f.dir, "out", fmt.Sprint(id, ".", f.lives[id]-10)))
}

// list writes the list of processes to a file, for a process that finds an error.
func (f *storm) list() {
	var pids strings.Builder
	for _, p := range f.processes {
		fmt.Fprintln(&pids, p.cmd.Process.Pid)
	}
	if err := os.WriteFile(filepath.Join(f.dir, "pids"), []byte(pids.String()), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (p *process) name() string { return fmt.Sprint(p.id, ".", p.life) }

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// gone reports whether the process has ended.
func (p *process) gone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// state returns the letter that the kernel has for the process: T if it is stopped.
func (p *process) state() string {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	if rest == "" {
		return ""
	}
	return rest[:1]
}

// tail returns the end of the process's output.
func (p *process) tail() string {
	b, _ := os.ReadFile(p.out)
	if i := strings.Index(string(b), "panic"); i >= 0 && len(b)-i > 6000 {
		b = b[:i+6000]
	}
	if len(b) > 8000 {
		b = b[len(b)-8000:]
	}
	return string(b)
}

// bury handles a process that has ended; the error says that it should not have.
func (f *storm) bury(p *process) error {
	delete(f.processes, p.id)
	f.list()
	f.restores.tell(restoration{What: "dead", By: p.name()})
	status, _ := p.status.Sys().(syscall.WaitStatus)
	f.told("%s has ended: %v", p.name(), p.status)
	if status.Signaled() && status.Signal() == syscall.SIGKILL || p.asked && status.Exited() && status.ExitStatus() == 0 {
		return nil
	}
	return fmt.Errorf("process %s, which was at the point %q, has ended: %v\n%s", p.name(), p.point, p.status, p.tail())
}
