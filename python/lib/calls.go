package main

// #include "everheap.h"
import "C"

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/everheap/everheap"
)

// call is an operation that may take long: it has a goroutine of its own, and its caller looks
// now and then whether it has ended (PY4). What it is about, and what comes of it, is JSON.
type call struct {
	cancel context.CancelFunc
	done   chan struct{}
	result []byte
	err    error
}

var calls table[call]

// ehCall begins an operation, and waits for a moment; ehAwait waits on.
//
//export ehCall
func ehCall(h C.long, op *C.char, on C.size_t, args *C.char, n C.size_t, id *C.long, out *C.eh_buf) (result C.int) {
	defer guard(out, &result)
	name := string(input(op, on))
	fn := operations[name]
	if fn == nil {
		return report(out, "Error", "everheap: there is no operation "+name)
	}
	s := spaces.get(h)
	if s == nil && name != "open" && name != "restore_backup" {
		return closed(out, "space")
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &call{cancel: cancel, done: make(chan struct{})}
	given := bytes.Clone(input(args, n))
	go func() {
		defer close(c.done)
		defer func() {
			if r := recover(); r != nil {
				c.err = &panicked{fmt.Sprintf("%s: %v\n%s", name, r, debug.Stack())}
			}
		}()
		var a arguments
		if c.err = json.Unmarshal(given, &a); c.err != nil {
			return
		}
		var v any
		if v, c.err = fn(ctx, s, &a); c.err == nil || v != nil {
			var err error
			c.result, err = json.Marshal(v)
			c.err = errors.Join(c.err, err)
		}
	}()
	*id = calls.add(c)
	return ehAwait(*id, out)
}

// ehAwait waits for a moment for an operation to end, and forgets it if it has.
//
//export ehAwait
func ehAwait(id C.long, out *C.eh_buf) (result C.int) {
	defer guard(out, &result)
	c := calls.get(id)
	if c == nil {
		return report(out, "Error", "everheap: there is no such call")
	}
	timer := time.NewTimer(slice)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
		return C.EH_AGAIN
	}
	calls.remove(id)
	c.cancel()
	if c.err != nil {
		return fail(out, c.err)
	}
	return put(out, c.result)
}

// ehCancel asks an operation to end early; ehAwait says when it has.
//
//export ehCancel
func ehCancel(id C.long) {
	if c := calls.get(id); c != nil {
		c.cancel()
	}
}

// arguments are those of all operations.
type arguments struct {
	Name     string   `json:"name"`
	Names    []string `json:"names"`
	To       string   `json:"to"`
	Spec     string   `json:"spec"`
	Path     string   `json:"path"`
	ID       uint64   `json:"id"`
	Txn      int      `json:"txn"`
	Handle   int      `json:"handle"`
	Evolve   bool     `json:"evolve"`
	Dir      string   `json:"dir"`
	MaxSize  uint64   `json:"max_size"`
	Flush    float64  `json:"flush_interval"` // seconds
	Mode     uint32   `json:"mode"`
	ReadOnly bool     `json:"read_only"`
	Durable  bool     `json:"durable"`
	Verify   bool     `json:"verify"`
	NoSweep  bool     `json:"no_collect"`
	Initial  bool     `json:"initial"`
	Timeout  float64  `json:"timeout"` // seconds; negative: none
	Permits  int      `json:"permits"`
}

// options returns the options of an open.
func (a *arguments) options() (opts []everheap.Option) {
	if a.Dir != "" {
		opts = append(opts, everheap.WithDir(a.Dir))
	}
	if a.MaxSize > 0 {
		opts = append(opts, everheap.WithMaxSize(a.MaxSize))
	}
	if a.Flush > 0 {
		opts = append(opts, everheap.WithFlushInterval(time.Duration(a.Flush*float64(time.Second))))
	}
	if a.Mode != 0 {
		opts = append(opts, everheap.WithMode(os.FileMode(a.Mode)))
	}
	if a.ReadOnly {
		opts = append(opts, everheap.WithReadOnly())
	}
	if a.Durable {
		opts = append(opts, everheap.Durable)
	}
	if a.Verify {
		opts = append(opts, everheap.WithVerify())
	}
	if a.NoSweep {
		opts = append(opts, everheap.WithoutCollect())
	}
	return opts
}

// described is what a caller knows of a collection. Its types refer to each other by their
// indexes in Types; -1 is none.
type described struct {
	Handle int        `json:"handle"`
	ID     uint64     `json:"id"`
	Kind   string     `json:"kind"`
	Key    int        `json:"key"`
	Value  int        `json:"value"`
	Types  []typeNode `json:"types"`
}

// typeNode is a TypeInfo; only types of the program have names.
type typeNode struct {
	Kind   string      `json:"kind"`
	Name   string      `json:"name,omitempty"`
	Elem   int         `json:"elem"`
	Key    int         `json:"key"`
	Len    int         `json:"len,omitempty"`
	Fields []typeField `json:"fields,omitempty"`
}

type typeField struct {
	Name string `json:"name"`
	Type int    `json:"type"`
}

// number returns the index of a type, and adds it and what it is made of.
func (d *described) number(t *everheap.TypeInfo, seen map[*everheap.TypeInfo]int) int {
	if t == nil {
		return -1
	}
	i, ok := seen[t]
	if ok {
		return i
	}
	i = len(d.Types)
	seen[t] = i
	d.Types = append(d.Types, typeNode{})
	n := typeNode{Kind: t.Kind, Name: t.Name, Len: t.Len, Elem: d.number(t.Elem, seen), Key: d.number(t.Key, seen)}
	if strings.HasPrefix(t.Name, "struct{") || strings.HasPrefix(t.Name, "struct {") {
		n.Name = ""
	}
	for _, f := range t.Fields {
		n.Fields = append(n.Fields, typeField{f.Name, d.number(f.Type, seen)})
	}
	d.Types[i] = n
	return i
}

// describe gives a collection a handle.
func (s *space) describe(c *everheap.Collection, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	d := described{ID: uint64(c.ID()), Kind: c.Kind()}
	seen := map[*everheap.TypeInfo]int{}
	d.Key, d.Value = d.number(c.KeyInfo(), seen), d.number(c.ValueInfo(), seen)
	d.Handle = int(collections.add(&collection{s, c, c.As(everheap.Binary)}))
	return d, nil
}

// in runs fn in the transaction of the arguments, or in the space.
func (s *space) in(ctx context.Context, a *arguments, write bool, fn func(sc everheap.Scope, tx *everheap.Tx) error) error {
	if a.Txn != 0 {
		t := transactions.get(C.long(a.Txn))
		if t == nil {
			return everheap.ErrClosed
		}
		return t.use(func(tx *everheap.Tx) error { return fn(tx, tx) })
	}
	if write {
		return s.Update(ctx, func(tx *everheap.Tx) error { return fn(tx, tx) })
	}
	return s.View(func(tx *everheap.Tx) error { return fn(tx, tx) })
}

// operations are those of ehCall, by name.
var operations = map[string]func(ctx context.Context, s *space, a *arguments) (any, error){
	"open":           openSpace,
	"close":          func(_ context.Context, s *space, a *arguments) (any, error) { return nil, s.shut(C.long(a.Handle)) },
	"restore_backup": restoreBackup,
	"backup":         backup,
	"lock":           func(ctx context.Context, s *space, a *arguments) (any, error) { return nil, lock(ctx, s, a) },
	"acquire":        func(ctx context.Context, s *space, a *arguments) (any, error) { return nil, acquire(ctx, s, a) },
	"release": func(_ context.Context, s *space, a *arguments) (any, error) {
		return nil, s.Semaphore(a.Name, a.Permits).Release()
	},
	"unlock": func(_ context.Context, s *space, a *arguments) (any, error) { return nil, s.Mutex(a.Name).Unlock() },
	"lookup": func(ctx context.Context, s *space, a *arguments) (v any, err error) {
		err = s.in(ctx, a, false, func(_ everheap.Scope, tx *everheap.Tx) error {
			if a.ID != 0 {
				v, err = s.describe(tx.CollectionOf(everheap.ID(a.ID)))
			} else {
				v, err = s.describe(tx.Collection(a.Name))
			}
			return err
		})
		return v, err
	},
	"create": func(ctx context.Context, s *space, a *arguments) (v any, err error) { // or open
		var c *everheap.Collection
		open := func(sc everheap.Scope, _ *everheap.Tx) (err error) {
			c, err = everheap.OpenCollection(sc, a.Name, a.Spec)
			return err
		}
		// What is known of one that is there are the types that are stored, and not the same ones of
		// the specification: so no act has to compare them.
		look := func(sc everheap.Scope, tx *everheap.Tx) (err error) {
			if err = open(sc, tx); err == nil && a.Txn == 0 {
				c, err = tx.Collection(a.Name)
			}
			return err
		}
		// One that is there needs no turn. OpenCollection in a space waits for the turn without ctx,
		// so it could not be cancelled.
		if err = s.in(ctx, a, false, look); a.Txn == 0 && (errors.Is(err, everheap.ErrNotFound) || errors.Is(err, everheap.ErrReadOnly)) {
			if err = s.in(ctx, a, true, open); err == nil {
				err = s.in(ctx, a, false, look)
			}
		}
		return s.describe(c, err)
	},
	"new": func(ctx context.Context, s *space, a *arguments) (v any, err error) {
		err = s.in(ctx, a, true, func(_ everheap.Scope, tx *everheap.Tx) error {
			v, err = s.describe(tx.NewCollection(a.Spec))
			return err
		})
		return v, err
	},
	"evolve": func(ctx context.Context, s *space, a *arguments) (any, error) {
		// EvolveCollection cannot be cancelled, so the caller has the turn once before.
		if err := s.Update(ctx, func(*everheap.Tx) error { return nil }); err != nil {
			return nil, err
		}
		return nil, s.EvolveCollection(a.Name, a.Spec)
	},
	"differences": func(_ context.Context, s *space, a *arguments) (any, error) { return s.Differences(a.Name, a.Spec) },
	"drop": func(ctx context.Context, s *space, a *arguments) (v any, err error) {
		err = s.in(ctx, a, true, func(sc everheap.Scope, _ *everheap.Tx) error {
			v, err = everheap.DropCollection(sc, a.Name)
			return err
		})
		return v, err
	},
	"rename": func(ctx context.Context, s *space, a *arguments) (any, error) {
		return nil, s.in(ctx, a, true, func(sc everheap.Scope, _ *everheap.Tx) error {
			return everheap.RenameCollection(sc, a.Name, a.To)
		})
	},
	"collections": func(ctx context.Context, s *space, a *arguments) (any, error) {
		list := [][]any{}
		err := s.in(ctx, a, false, func(_ everheap.Scope, tx *everheap.Tx) error {
			infos, err := tx.Collections()
			for _, c := range infos {
				list = append(list, []any{c.Name, c.Type(), c.Len})
			}
			return err
		})
		return list, err
	},
	"types": func(_ context.Context, s *space, a *arguments) (any, error) {
		b, err := s.TypeSource(a.Names...)
		return string(b), err
	},
	"version": func(ctx context.Context, s *space, a *arguments) (v any, err error) {
		err = s.in(ctx, a, false, func(_ everheap.Scope, tx *everheap.Tx) error {
			v = tx.Version()
			return nil
		})
		return v, err
	},
	"sync":            func(ctx context.Context, s *space, _ *arguments) (any, error) { return nil, s.Sync(ctx) },
	"checkpoint":      func(_ context.Context, s *space, a *arguments) (any, error) { return nil, s.Checkpoint(a.Name) },
	"drop_checkpoint": func(_ context.Context, s *space, a *arguments) (any, error) { return nil, s.DropCheckpoint(a.Name) },
	"restore":         func(ctx context.Context, s *space, a *arguments) (any, error) { return nil, s.Restore(ctx, a.Name) },
	"checkpoints": func(_ context.Context, s *space, _ *arguments) (any, error) {
		infos, err := s.Checkpoints()
		list := [][]any{}
		for _, c := range infos {
			list = append(list, []any{c.Name, c.Version, float64(c.Created.UnixMicro()) / 1e6, c.Exclusive})
		}
		return list, err
	},
	"check": func(ctx context.Context, s *space, _ *arguments) (any, error) {
		r, err := s.Check(ctx)
		if err != nil {
			return nil, err
		}
		findings := []string{}
		for _, f := range r.Findings {
			findings = append(findings, fmt.Sprint(f))
		}
		return map[string]any{"version": r.Version, "objects": r.Objects, "entries": r.Entries, "findings": findings}, nil
	},
	"stats": func(_ context.Context, s *space, _ *arguments) (any, error) {
		st := s.Stats()
		return map[string]any{"name": st.Name, "dir": st.Dir, "version": st.Version, "durable": st.Durable, "max_size": st.MaxSize,
			"objects": st.Objects, "live": st.Live, "used": st.Used, "file": st.File, "disk": st.Disk, "journal": st.Journal,
			"processes": st.Processes}, nil
	},
	"processes": func(_ context.Context, s *space, _ *arguments) (any, error) {
		infos, err := s.Processes()
		list := [][]any{}
		for _, p := range infos {
			list = append(list, []any{p.PID, p.Command, p.Commits, p.Writing, p.Self})
		}
		return list, err
	},
	"panic": func(context.Context, *space, *arguments) (any, error) { panic("as was asked for") }, // for tests
	"watch": func(_ context.Context, s *space, a *arguments) (any, error) {
		c := collections.get(C.long(a.Handle))
		if c == nil {
			return nil, everheap.ErrClosed
		}
		return watches.add(newWatch(c, a.Initial)), nil
	},
}

// openSpace opens a space. If the call is cancelled, the space is closed again.
func openSpace(ctx context.Context, _ *space, a *arguments) (any, error) {
	s, err := everheap.OpenContext(ctx, a.Name, a.options()...)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	dir := s.Stats().Dir
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	return map[string]any{"handle": spaces.add(&space{Space: s, durable: a.Durable}), "dir": dir}, nil
}

// shut ends all that is in progress in a space, aborts its transactions, and closes it.
func (s *space) shut(h C.long) error {
	if spaces.remove(h) == nil {
		return nil
	}
	s.watches.Range(func(w, _ any) bool { w.(*watch).close(); return true })
	s.walks.Range(func(w, _ any) bool { w.(*iteration).close(); return true })
	s.txs.Range(func(t, _ any) bool { t.(*transaction).end(false); return true })
	return s.Close()
}

func backup(_ context.Context, s *space, a *arguments) (any, error) {
	f, err := os.OpenFile(a.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%w: the file %s", everheap.ErrExists, a.Path)
	}
	if err != nil {
		return nil, err
	}
	err = s.Backup(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(a.Path)
	}
	return nil, err
}

func restoreBackup(_ context.Context, _ *space, a *arguments) (any, error) {
	f, err := os.Open(a.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return nil, everheap.RestoreBackup(a.Name, f, a.options()...)
}

// lock locks a mutex.
func lock(ctx context.Context, s *space, a *arguments) error {
	m := s.Mutex(a.Name)
	return waited(ctx, a, m.Lock, m.Unlock)
}

// acquire takes a permit of a semaphore.
func acquire(ctx context.Context, s *space, a *arguments) error {
	m := s.Semaphore(a.Name, a.Permits)
	return waited(ctx, a, m.Acquire, m.Release)
}

// waited waits with take for as long as the call says. If the call was cancelled while it got
// what it waits for, it gives that back.
func waited(ctx context.Context, a *arguments, take func(context.Context) error, give func() error) error {
	waiting := ctx
	if a.Timeout >= 0 {
		w, cancel := context.WithTimeout(ctx, time.Duration(a.Timeout*float64(time.Second)))
		defer cancel()
		waiting = w
	}
	err := take(waiting)
	if (err == nil || errors.Is(err, everheap.ErrOwnerDied)) && ctx.Err() != nil {
		return errors.Join(ctx.Err(), give())
	}
	return err
}

// watch follows a collection. Its goroutine stands still until a change is asked for.
type watch struct {
	c      *collection
	cancel context.CancelFunc
	next   chan bool
	out    chan []byte
	done   chan struct{}
	err    error
	once   sync.Once
	asked  bool // a change was asked for and has not come yet
	mu     sync.Mutex
}

var watches table[watch]

func newWatch(c *collection, initial bool) *watch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{c: c, cancel: cancel, next: make(chan bool, 1), out: make(chan []byte), done: make(chan struct{})}
	var opts []everheap.WatchOption
	if initial {
		opts = append(opts, everheap.WithInitial())
	}
	c.space.watches.Store(w, true)
	begun := &beginning{Context: ctx, began: make(chan struct{})}
	go w.run(ctx, c.in.Watch(begun, opts...))
	select { // from here on nothing is missed
	case <-begun.began:
	case <-w.done:
	}
	return w
}

// beginning is a context that notes when somebody first looks at it: a watch does once it
// holds the version from which it reports.
type beginning struct {
	context.Context
	began chan struct{}
	once  sync.Once
}

func (b *beginning) note() { b.once.Do(func() { close(b.began) }) }

// Done implements context.Context.
func (b *beginning) Done() <-chan struct{} { b.note(); return b.Context.Done() }

// Err implements context.Context.
func (b *beginning) Err() error { b.note(); return b.Context.Err() }

// run passes changes on, one for each time that one is asked for.
func (w *watch) run(ctx context.Context, changes iter.Seq2[everheap.EncodedChange, error]) {
	defer close(w.done)
	defer w.c.space.watches.Delete(w)
	for c, err := range changes {
		if err != nil {
			w.err = err
			return
		}
		b := binary.LittleEndian.AppendUint64(nil, uint64(c.Version))
		flags := byte(0)
		for i, part := range [][]byte{c.Key, c.Old, c.New} {
			if part != nil {
				flags |= 1 << i
			}
		}
		if c.More {
			flags |= 8
		}
		b = append(append(append(append(b, flags), c.Key...), c.Old...), c.New...)
		select {
		case <-w.next:
		case <-ctx.Done():
			w.err = ctx.Err()
			return
		}
		w.out <- b
	}
}

// close ends the watch.
func (w *watch) close() {
	w.once.Do(func() {
		w.cancel()
		for {
			select {
			case <-w.out:
			case <-w.done:
				return
			}
		}
	})
}

// ehChange waits for a moment for the next change: the version, a byte that says which of key,
// old and new value there are, and whether more of this version follow; then those.
//
//export ehChange
func ehChange(id C.long, out *C.eh_buf) (result C.int) {
	defer guard(out, &result)
	w := watches.get(id)
	if w == nil {
		return closed(out, "watch")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.asked {
		w.asked = true
		w.next <- true
	}
	timer := time.NewTimer(slice)
	defer timer.Stop()
	select {
	case b := <-w.out:
		w.asked = false
		return put(out, b)
	case <-w.done:
		if errors.Is(w.err, context.Canceled) {
			return closed(out, "watch")
		}
		return fail(out, w.err)
	case <-timer.C:
		return C.EH_AGAIN
	}
}

// ehWatched ends a watch.
//
//export ehWatched
func ehWatched(id C.long) {
	if w := watches.remove(id); w != nil {
		w.close()
	}
}
