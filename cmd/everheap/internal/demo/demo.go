// Package demo is the demonstration of everheap demo: several processes share ordinary Go objects,
// and some of them are killed in the middle of a transaction. When the space is closed and opened
// again, all objects are still there and intact.
//
// Terms: the first process tells the story; it starts the other processes, which run the same program
// in another role. A promise is a property that the demo verifies: if a promise is broken, Run
// returns an error.
//
// Start reading at demo.tell.
package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Options are the options of the demo.
type Options struct {
	Out   io.Writer
	Color bool
	Frobs int           // how many objects
	Phase time.Duration // how long the processes work side by side
	Kills int
	GoOn  time.Duration // how long a death may delay the other processes
	Dir   string        // parent of the demo's own directory; "": the usual directory of temporary files
}

// demo is one demonstration.
type demo struct {
	story
	Options
	dir     string // of the space
	n       int
	workers []*child
}

// Run runs the demo. It removes all its files before it returns, even if ctx ends.
func Run(ctx context.Context, o Options) (err error) {
	temporary, err := os.MkdirTemp(o.Dir, "everheap-demo-")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	d := &demo{story: story{w: o.Out, color: o.Color}, Options: o, dir: filepath.Join(temporary, "space"), n: o.Frobs}
	defer func() {
		interrupted := ctx.Err()
		cancel()
		for _, c := range d.workers {
			c.cmd.Wait() // the process has ended already, or was killed just now
		}
		if removeErr := os.RemoveAll(temporary); err == nil {
			err = removeErr
		}
		if interrupted != nil {
			err = fmt.Errorf("the demo was interrupted; %s is removed", temporary)
		}
	}()
	return d.tell(ctx, temporary)
}

// tell tells the story.
func (d *demo) tell(ctx context.Context, temporary string) error {
	began := time.Now()
	fmt.Fprintln(d.w, "Everheap: Go objects that processes share, and that outlive them.")
	fmt.Fprintln(d.w, "All of this happens in a directory that goes away at the end,")
	fmt.Fprintln(d.w, temporary)
	for _, step := range []func(context.Context) error{d.store, d.share, d.killSome, d.restart, d.compare} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	took := time.Since(began)
	if d.broken > 0 {
		fmt.Fprintf(d.w, "\n%d of %d promises were BROKEN. %s\n", d.broken, d.kept+d.broken, duration(took))
		return fmt.Errorf("%d promises of the demo were broken; please report it with the output above", d.broken)
	}
	fmt.Fprintf(d.w, "\n%s\n", d.paint("1", fmt.Sprintf("All %d promises kept, in %s.", d.kept, duration(took))))
	return nil
}

// store lets one process store the Frobs.
func (d *demo) store(ctx context.Context) error {
	d.title(fmt.Sprintf("A process stores %s Frobs", thousands(d.n)))
	d.say("type Frob struct { Foo, Bar int; Name string; Tags []string; Next *Frob }")
	d.say("frobs, err := everheap.OpenMap[string, Frob](space, \"frobs\")")
	d.say("err = frobs.Set(space, \"frob-000001\", Frob{Foo: 1000, …})")
	var answer stored
	pid, err := d.report(ctx, &answer, "store")
	if err != nil {
		return err
	}
	d.number(fmt.Sprintf("process %d, one transaction each", pid), duration(answer.Took), rate(d.n, answer.Took))
	d.number("they take", fmt.Sprintf("%.1f MiB", float64(answer.Live)/(1<<20)), fmt.Sprintf("%d bytes each", answer.Live/uint64(d.n)))
	return nil
}

// share lets two processes read and change the Frobs at the same time.
func (d *demo) share(ctx context.Context) error {
	d.title("Two others read and change them at the same time")
	d.say("A transfer moves some Foo from one Frob to another, in one transaction,")
	d.say("so the sum of all Foo never changes, whoever looks, whenever.")
	for range 2 {
		c, err := d.start(ctx, "change")
		if err != nil {
			return err
		}
		d.workers = append(d.workers, c)
		var ready string
		if err := c.hear(&ready); err != nil {
			return err
		}
	}
	if err := sleep(ctx, d.Phase); err != nil {
		return err
	}
	return d.tally(0)
}

// tally asks the workers for their counts, and prints them. limit is the maximum time of a transfer;
// 0: no limit.
func (d *demo) tally(limit time.Duration) error {
	var all changed
	for _, c := range d.workers {
		var one changed
		if err := c.ask("report", &one); err != nil {
			return err
		}
		d.number(fmt.Sprintf("process %d, transfers", c.pid()), thousands(one.Transfers), rate(one.Transfers, one.Took))
		all.Reads += one.Reads
		all.Sums += one.Sums
		all.Wrong += one.Wrong
		all.Longest = max(all.Longest, one.Longest)
		if one.Transfers == 0 {
			all.Wrong++
		}
	}
	d.number("the longest that one transfer took", duration(all.Longest), "")
	if limit > 0 {
		d.promise(all.Longest < limit, "who waited for a process that died went on within %s", duration(limit))
	}
	d.promise(all.Wrong == 0, "%s reads and %d sums of all Foo beside them were right", thousands(all.Reads), all.Sums)
	return nil
}

// killSome kills processes in the middle of a transfer.
func (d *demo) killSome(ctx context.Context) error {
	d.title(fmt.Sprintf("Meanwhile, %d processes are killed (SIGKILL) in mid-transfer", d.Kills))
	d.say("Each had taken Foo from one Frob, and not given it to the other yet.")
	var again changed
	for _, c := range d.workers {
		if err := c.ask("report", &again); err != nil { // from now on
			return err
		}
	}
	for range d.Kills {
		victim, err := d.start(ctx, "victim")
		if err != nil {
			return err
		}
		var half string
		if err := victim.hear(&half); err != nil {
			return err
		}
		if err := victim.kill(); err != nil {
			return err
		}
	}
	if err := sleep(ctx, d.Phase/4); err != nil {
		return err
	}
	if err := d.tally(d.GoOn); err != nil {
		return err
	}
	report, sum, err := check(ctx, d.dir)
	if err != nil {
		return err
	}
	d.promise(sum == d.n*frobFoo, "the sum of all Foo is %s, to the last one", thousands(sum))
	for _, f := range report.Findings {
		d.say("%s at offset %d: %s", f.File, f.Offset, f.What)
	}
	d.promise(len(report.Findings) == 0, "every block, link, checksum and value verified: %s blocks", thousands(int(report.Blocks)))
	return nil
}

// restart ends all processes and starts again.
func (d *demo) restart(ctx context.Context) error {
	d.title("All processes end. A new one starts")
	for _, c := range d.workers {
		if err := c.end(); err != nil {
			return err
		}
	}
	d.workers = nil
	var space, file opened
	if _, err := d.report(ctx, &space, "first", fmt.Sprint(time.Now().UnixNano())); err != nil {
		return err
	}
	path := filepath.Join(filepath.Dir(d.dir), "frobs.gob")
	if err := saveGob(d.dir, path); err != nil {
		return err
	}
	if _, err := d.report(ctx, &file, "gob", path); err != nil {
		return err
	}
	d.number("from Open to the first Frob read", duration(space.Open), "")
	d.number("loading the same from a gob file", duration(file.Open), times(file.Open, space.Open)+" as long")
	d.number("from exec to the first Frob read", duration(space.Start), "")
	d.number("reading all of them, in place", duration(space.All), "")
	d.promise(space.Count == d.n && space.Sum == d.n*frobFoo, "all %s Frobs are there, and so is their Foo", thousands(space.Count))
	return nil
}

// compare measures single operations.
func (d *demo) compare(ctx context.Context) error {
	d.title("How fast it is, beside a Go map under a sync.RWMutex, in random order")
	var t measured
	if _, err := d.report(ctx, &t, "measure"); err != nil {
		return err
	}
	row := func(label, ours, theirs, ratio string) {
		d.say("%s", strings.TrimRight(fmt.Sprintf("%-34s%12s%12s%17s", label, ours, theirs, ratio), " "))
	}
	compare := func(label string, ours, theirs time.Duration) {
		row(label, duration(ours), duration(theirs), times(ours, theirs)+" as long")
	}
	row("", "everheap", "Go's map", "")
	compare("read in place (Peek)", t.Peek, t.GoRead)
	compare("read a private copy (Get)", t.Get, t.GoCopy)
	compare("write, a transaction each (Set)", t.Set, t.GoWrite)
	d.say("Go's map is private to its process, and gone with it.")
	return nil
}

// sleep waits, unless ctx ends.
func sleep(ctx context.Context, t time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(t):
		return nil
	}
}
