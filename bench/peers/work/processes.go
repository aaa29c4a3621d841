package work

import (
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/everheap/everheap/bench/peers/engines"
	"github.com/everheap/everheap/bench/peers/measure"
)

// patience is how long a child may be silent.
const patience = 5 * time.Minute

// restart loads users and updates some in a child, which it kills; then it measures from
// the start of another process to its first read: the first one recovers, the second opens the
// recovered files, and the third has an empty page cache. It notes whether the last acknowledged
// update was there.
func (b *Bench) restart(dir string) error {
	spec := childSpec{Kind: "load", Engine: b.Name, Dir: dir, N: b.N}
	p, err := startChild(spec)
	if err != nil {
		return err
	}
	said, err := p.line(patience)
	server := 0
	if _, scan := fmt.Sscanf(said, "ready %d", &server); err == nil && scan != nil {
		err = fmt.Errorf("the child said %q", said)
	}
	if server != 0 { // the server dies
		_ = syscall.Kill(server, syscall.SIGKILL)
	}
	p.kill()
	if err != nil {
		return err
	}
	spec.Kind = "get"
	for i, op := range []string{"after-kill", "again", "cold"} {
		if op == "cold" {
			measure.DropCache(dir)
		}
		b.quiet(nil)
		watch := measure.StartWatch()
		p, err := startChild(spec)
		if err != nil {
			return err
		}
		rep, err := p.report(patience)
		took := time.Since(p.start)
		if err != nil {
			p.kill()
			return err
		}
		_, foreign := watch.Stop()
		if i == 0 && server == 0 {
			p.kill() // the database is not closed yet
		} else {
			p.end()
		}
		kept := 0.0
		if rep.Karma == markKarma {
			kept = 1
		}
		b.Emit(measure.Record{Op: op, Value: float64(took) / 1e6, Unit: "ms", Foreign: foreign,
			Extra: map[string]float64{"open_ms": rep.OpenMS, "get_ms": rep.GetMS, "last_update_kept": kept, "rss_mib": rep.RSS}})
	}
	return nil
}

// processes runs one process that writes and one, then three, that read, at once.
func (b *Bench) processes(dir string) error {
	o, err := b.loaded(dir, b.N, engines.Options{Durability: engines.Async}, 0)
	if err != nil {
		return err
	}
	var pids []int
	if pids = o.pids(); pids == nil { // a server stays for all
		if err := o.close(); err != nil {
			return err
		}
	} else {
		defer o.close()
	}
	unix.Sync()
	for _, count := range []int{2, 4} {
		if err := b.together(dir, count, pids); err != nil {
			return err
		}
	}
	return nil
}

// together runs count processes, the first of which writes.
func (b *Bench) together(dir string, count int, pids []int) error {
	var list []*child
	defer func() {
		for _, p := range list {
			p.kill()
		}
	}()
	for i := range count {
		kind := "read"
		if i == 0 {
			kind = "write"
		}
		p, err := startChild(childSpec{Kind: kind, Engine: b.Name, Dir: dir, N: b.N, Seconds: b.Seconds})
		if err != nil {
			return err
		}
		list = append(list, p)
		if said, err := p.line(patience); err != nil || said != "ready" {
			return fmt.Errorf("process %d of %d: %q: %w", i, count, said, err)
		}
		pids = append(pids, p.cmd.Process.Pid)
	}
	b.quiet(nil)
	watch := measure.StartWatch(pids...)
	for _, p := range list {
		if err := p.say("go"); err != nil {
			return err
		}
	}
	write, read := 0.0, 0.0
	for i, p := range list {
		rep, err := p.report(patience)
		if err != nil {
			return err
		}
		if i == 0 {
			write = rep.Rate
		} else {
			read += rep.Rate
		}
	}
	_, foreign := watch.Stop()
	b.Emit(measure.Record{Op: fmt.Sprintf("write-of-%d", count), Mode: "async", Value: write, Unit: "/s", Foreign: foreign})
	b.Emit(measure.Record{Op: fmt.Sprintf("read-of-%d", count), Mode: "async", Value: read, Unit: "/s", Foreign: foreign})
	return nil
}
