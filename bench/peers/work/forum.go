package work

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/everheap/everheap/bench/peers/engines"
	"github.com/everheap/everheap/bench/peers/measure"
	"github.com/everheap/everheap/bench/peers/model"
)

// The day of a forum at scale 1: logins, posts of 10,000 characters and reads of pages of 50
// headers, shuffled, on users and threads that are there, of 50 posts of 1,000 characters.
const (
	forumUsers   = 100_000
	forumThreads = 1_000
	forumPosts   = 50 // of each thread, before
	forumLogins  = 100_000
	forumNew     = 10_000
	forumPages   = 1_000_000
	forumPage    = 50
	forumWriters = 16 // goroutines if commits are durable
	forumWorkers = 2  // otherwise
)

// forumDay is the state of a run.
type forumDay struct {
	users, threads int
	ops            []byte // l: login, p: post, r: read
	next, post     atomic.Int64
	latency        map[byte][]measure.Histogram // by worker
}

// forum runs the day with commits that survive the process, and with durable ones.
func (b *Bench) forum(dir string) error {
	for _, d := range []engines.Durability{engines.Async, engines.Sync} {
		if d == engines.Sync && !b.Info.Durable {
			continue
		}
		sub, err := subdir(dir, d.String())
		if err != nil {
			return err
		}
		if err := b.forumDay(sub, d); err != nil {
			return fmt.Errorf("%s: %w", d, err)
		}
	}
	return nil
}

func (b *Bench) forumDay(dir string, d engines.Durability) error {
	day := b.newForumDay()
	workers := forumWorkers
	if d == engines.Sync {
		workers = forumWriters
	}
	o, err := b.loadForum(dir, day, d, workers)
	if err != nil {
		return err
	}
	runtime.GC()
	b.quiet(o)
	day.latency = map[byte][]measure.Histogram{'l': make([]measure.Histogram, workers), 'p': make([]measure.Histogram, workers), 'r': make([]measure.Histogram, workers)}
	errs := make([]error, workers)
	var all sync.WaitGroup
	watch := measure.StartWatch(o.pids()...)
	for w := range workers {
		all.Go(func() { errs[w] = day.work(o.sessions[w].(engines.Forum), w) })
	}
	all.Wait()
	r := &result{ops: int64(len(day.ops))}
	r.took, r.foreign = watch.Stop()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	rec := r.record("day", d.String(), r.rate(), "/s")
	rec.N = day.users
	rec.Extra = map[string]float64{"workers": float64(workers), "disk_mib": measure.DiskMiB(dir)}
	for op, name := range map[byte]string{'l': "login_", 'p': "post_", 'r': "page_"} {
		h := day.latency[op]
		for i := range h[1:] {
			h[0].Merge(&h[i+1])
		}
		h[0].Extra(rec.Extra, name)
	}
	b.Emit(rec)
	return o.close()
}

// newForumDay draws the operations of a day.
func (b *Bench) newForumDay() *forumDay {
	scaled := func(n int) int { return max(batch/10, int(float64(n)*b.Scale)) }
	day := &forumDay{users: max(batch, scaled(forumUsers)/batch*batch), threads: scaled(forumThreads)}
	for _, part := range []struct {
		op byte
		n  int
	}{{'l', scaled(forumLogins)}, {'p', scaled(forumNew)}, {'r', scaled(forumPages)}} {
		for range part.n {
			day.ops = append(day.ops, part.op)
		}
	}
	r := model.NewRNG(8)
	for i := len(day.ops) - 1; i > 0; i-- {
		j := r.N(i + 1)
		day.ops[i], day.ops[j] = day.ops[j], day.ops[i]
	}
	day.post.Store(int64(day.threads * forumPosts))
	return day
}

func (b *Bench) loadForum(dir string, day *forumDay, d engines.Durability, workers int) (*opened, error) {
	keeps := b.Info.Persistent && b.Info.Snapshot == ""
	first, sessions := engines.Options{Dir: dir, Durability: engines.None}, 1
	if !keeps {
		sessions = workers
	}
	o, err := b.open(first, sessions)
	if err != nil {
		return nil, err
	}
	err = o.sessions[0].(engines.Forum).LoadForum(day.users, day.threads, forumPosts, func(th, i int) *model.Post {
		id := uint64(i*day.threads + th + 1)
		return model.NewPost(id, th, int(id*7919%uint64(day.users)), 1000)
	})
	if err != nil || !keeps {
		return o, err
	}
	if err := o.close(); err != nil {
		return nil, err
	}
	unix.Sync()
	return b.open(engines.Options{Dir: dir, Durability: d, Writers: workers}, workers)
}

// work does operations, one after the other, until none is left.
func (day *forumDay) work(f engines.Forum, w int) error {
	t := newWorkers(1, uint64(w)+500)[0]
	page := make([]model.PostHeader, forumPage)
	for {
		i := int(day.next.Add(1)) - 1
		if i >= len(day.ops) {
			return nil
		}
		user, thread := t.rng.N(day.users), t.rng.N(day.threads)
		var p *model.Post
		if day.ops[i] == 'p' {
			p = model.NewPost(uint64(day.post.Add(1)), thread, user, 10_000)
		}
		start := time.Now()
		var err error
		switch day.ops[i] {
		case 'l':
			err = f.Login(t.key.Key(user), start.Unix())
		case 'p':
			err = f.Post(p, t.key.Key(user))
		case 'r':
			var n int
			if n, err = f.Page(uint64(thread), page); err == nil && (n != forumPage || page[0].ID <= page[n-1].ID) {
				err = fmt.Errorf("a page of %d headers, from %d to %d", n, page[0].ID, page[max(n, 1)-1].ID)
			}
		}
		if err != nil {
			return err
		}
		day.latency[day.ops[i]][w].Add(int64(time.Since(start)))
	}
}
