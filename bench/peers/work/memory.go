package work

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/everheap/everheap/bench/peers/engines"
	"github.com/everheap/everheap/bench/peers/measure"
)

// memory reads random users in a child that has much less memory than the data take. The
// control group bounds its page cache too. A child that the kernel kills is recorded with a
// note: its engine keeps all data in memory, or large buffers.
func (b *Bench) memory(dir string) error {
	group, err := newGroup(int64(b.LimitMiB) << 20)
	if err != nil {
		b.Emit(measure.Record{Op: "get", Unit: "/s", Note: "skipped: " + err.Error()})
		return nil
	}
	defer os.Remove(group)
	o, err := b.open(engines.Options{Dir: dir, Durability: engines.None}, 1)
	if err != nil {
		return err
	}
	server := len(o.pids()) > 0
	if err := errors.Join(loadUsers(o.sessions[0], b.LargeN), o.close()); err != nil {
		return err
	}
	if server { // the server would be in no group
		return nil
	}
	measure.DropCache(dir)
	extra := map[string]float64{"limit_mib": float64(b.LimitMiB), "disk_mib": measure.DiskMiB(dir)}
	for _, kind := range []string{"read", "write"} {
		p, err := startChild(childSpec{Kind: kind, Engine: b.Name, Dir: dir, N: b.LargeN, Seconds: 2 * b.Seconds, Group: group, Memory: int64(b.LimitMiB) << 20})
		if err != nil {
			return err
		}
		rep, err := func() (childReport, error) {
			if _, err := p.line(patience); err != nil {
				return childReport{}, err
			}
			if err := p.say("go"); err != nil {
				return childReport{}, err
			}
			return p.report(patience)
		}()
		op := map[string]string{"read": "get", "write": "put1"}[kind]
		if err != nil {
			p.kill()
			if !strings.Contains(err.Error(), "signal: killed") {
				return err
			}
			b.Emit(measure.Record{Op: op, Unit: "/s", N: b.LargeN, Extra: extra, Note: "killed by the kernel: it needs more memory"})
			return nil
		}
		p.end()
		r := measure.Record{Op: op, Mode: "async", Value: rep.Rate, Unit: "/s", N: b.LargeN, Extra: map[string]float64{"p50_us": rep.P50, "p99_us": rep.P99}}
		for k, v := range extra {
			r.Extra[k] = v
		}
		b.Emit(r)
	}
	return nil
}

// newGroup makes a control group with so much memory: of version 2 or 1, whichever is
// mounted and this user may write to.
func newGroup(bytes int64) (string, error) {
	limit := strconv.FormatInt(bytes, 10)
	var errs []error
	for _, place := range []struct{ root, file string }{
		{"/sys/fs/cgroup", "memory.max"},
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
	} {
		dir, err := os.MkdirTemp(place.root, "everheap-peers-")
		if err != nil {
			errs = append(errs, err)
			continue
		}
		path := filepath.Join(dir, place.file)
		if _, err = os.Stat(path); err == nil {
			err = os.WriteFile(path, []byte(limit), 0o600)
		}
		if err == nil {
			return dir, nil
		}
		os.Remove(dir)
		errs = append(errs, err)
	}
	return "", fmt.Errorf("no control group with a limit of memory can be made here: %w", errors.Join(errs...))
}

// enterGroup moves this process to a control group.
func enterGroup(dir string) error {
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0o600)
}
