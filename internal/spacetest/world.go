//go:build unix

package spacetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/everheap/everheap"
)

// Folder is a value with a handle to an object of each kind, which have handles to others.
type Folder struct {
	Name    string
	Notes   []string
	Counts  everheap.Map[string, int]
	Prices  everheap.Sorted[int, string]
	Lines   everheap.List[line]
	Owner   everheap.Ref[author]
	Folders everheap.Map[string, Folder]
}

type line struct {
	Text string
	By   everheap.Ref[author]
}

type author struct {
	Name  string
	Works everheap.List[line]
}

// newFolder creates a folder with all objects that it refers to.
func newFolder(tx *everheap.Tx, name string, n, depth int) (Folder, error) {
	f := Folder{Name: name, Notes: []string{name, fmt.Sprint(n)}}
	var errs [5]error
	f.Counts, errs[0] = everheap.NewMap[string, int](tx)
	f.Prices, errs[1] = everheap.NewSorted[int, string](tx)
	f.Lines, errs[2] = everheap.NewList[line](tx)
	f.Owner, errs[3] = everheap.New(tx, author{"owner of " + name, f.Lines}) // whose lines refer back to it
	if depth > 0 {
		f.Folders, errs[4] = everheap.NewMap[string, Folder](tx)
	}
	err := errors.Join(errs[:]...)
	for i := range n {
		err = errors.Join(err, f.Counts.Set(tx, fmt.Sprint("k", i), i*n), f.Prices.Set(tx, 1000*i%n, fmt.Sprint(name, " costs ", i)),
			f.Lines.Append(tx, line{fmt.Sprint("line ", i), f.Owner}))
	}
	for i := 0; i < 2 && depth > 0; i++ {
		sub, e := newFolder(tx, fmt.Sprint(name, "/", i), n/2+i, depth-1)
		err = errors.Join(err, e, f.Folders.Set(tx, sub.Name, sub))
	}
	return f, err
}

// A World is a space that has a name for an object of each kind.
type World struct {
	Folders everheap.Map[string, Folder]
	Ranks   everheap.Sorted[string, int]
	Log     everheap.List[string]
	Root    everheap.Ref[Folder]
}

// OpenWorld finds the objects, or creates them.
func OpenWorld(t testing.TB, s *everheap.Space) (w World) {
	t.Helper()
	var err error
	w.Folders, err = everheap.OpenMap[string, Folder](s, "folders")
	Must(t, err)
	w.Ranks, err = everheap.OpenSorted[string, int](s, "ranks")
	Must(t, err)
	w.Log, err = everheap.OpenList[string](s, "log")
	Must(t, err)
	w.Root, err = everheap.OpenRef(s, "root", Folder{})
	Must(t, err)
	return w
}

// Fill fills a world; n determines its size.
func (w World) Fill(t testing.TB, s *everheap.Space, n int) {
	t.Helper()
	Update(t, s, func(tx *everheap.Tx) error {
		root, err := newFolder(tx, "root", n, 2)
		err = errors.Join(err, w.Root.Set(tx, root))
		for i := range n {
			f, e := newFolder(tx, fmt.Sprint("f", i), 3, 0)
			err = errors.Join(err, e, w.Folders.Set(tx, f.Name, f), w.Ranks.Set(tx, fmt.Sprint("r", i), i), w.Log.Append(tx, fmt.Sprint("entry ", i)))
		}
		return err
	})
}

// Upset changes, deletes or adds parts of everything, at all depths.
func (w World) Upset(t testing.TB, s *everheap.Space) {
	t.Helper()
	Update(t, s, func(tx *everheap.Tx) error {
		_, err1 := w.Folders.Delete(tx, "f1")
		_, err2 := w.Ranks.Delete(tx, "r0")
		_, err3 := w.Log.Pop(tx)
		err := errors.Join(err1, err2, err3, w.Ranks.Set(tx, "r1", -1), w.Ranks.Set(tx, "new", 1), w.Log.Set(tx, 0, "other"))
		added, e := newFolder(tx, "added", 5, 1)
		err = errors.Join(err, e, w.Folders.Set(tx, "added", added))
		return errors.Join(err, w.Root.Modify(tx, func(f *Folder) error {
			f.Notes = nil
			err2 := f.Owner.Modify(tx, func(a *author) error { a.Name = "somebody else"; return nil })
			sub, err := f.Folders.Get(tx, "root/1")
			_, err1 := f.Folders.Delete(tx, "root/0")
			return errors.Join(err, err1, err2, sub.Counts.Set(tx, "k0", -5), sub.Prices.Set(tx, -5, "low"), sub.Lines.Truncate(tx, 1),
				f.Lines.Append(tx, line{"last", added.Owner}), f.Folders.Set(tx, "loop", *f))
		}))
	})
}

// look returns the contents of a version of a world, by the path to each part. IDs are part
// of the contents.
func (w World) look(tx *everheap.Tx) map[string]string {
	all := map[string]string{}
	seen := map[everheap.ID]bool{}
	put := func(path string, v any) { all[path] = fmt.Sprint(v) }
	first := func(path string, id everheap.ID) bool {
		put(path, id)
		was := seen[id]
		seen[id] = true
		return !was && id != 0
	}
	var visitFolder func(path string, f *Folder)
	var visitLines func(path string, l everheap.List[line])
	visitAuthor := func(path string, r everheap.Ref[author]) {
		if first(path, r.ID()) {
			put(path+".Name", r.Peek(tx).Name)
			visitLines(path+".Works", r.Peek(tx).Works)
		}
	}
	visitLines = func(path string, l everheap.List[line]) {
		if !first(path, l.ID()) {
			return
		}
		for i, v := range l.All(tx) {
			put(fmt.Sprintf("%s[%d]", path, i), v.Text)
			visitAuthor(fmt.Sprintf("%s[%d].By", path, i), v.By)
		}
	}
	visitFolder = func(path string, f *Folder) {
		put(path, fmt.Sprint(f.Name, f.Notes))
		if first(path+".Counts", f.Counts.ID()) {
			for k, v := range f.Counts.All(tx) {
				put(path+".Counts."+k, *v)
			}
		}
		if first(path+".Prices", f.Prices.ID()) {
			for k, v := range f.Prices.All(tx) {
				put(fmt.Sprint(path, ".Prices.", k), *v)
			}
		}
		visitLines(path+".Lines", f.Lines)
		visitAuthor(path+".Owner", f.Owner)
		if first(path+".Folders", f.Folders.ID()) {
			for k, v := range f.Folders.All(tx) {
				visitFolder(path+".Folders."+k, v)
			}
		}
	}
	// The single values and lists come first. A map has no order, so the first path to a
	// part must not depend on it. Parts that two folders share are under root.
	visitFolder("root", w.Root.Peek(tx))
	for k, v := range w.Folders.All(tx) {
		visitFolder("folders."+k, v)
	}
	for k, v := range w.Ranks.All(tx) {
		put("ranks."+k, *v)
	}
	for i, v := range w.Log.All(tx) {
		put(fmt.Sprint("log.", i), *v)
	}
	return all
}

// LookAt is look in a view, of a checkpoint if it has a name.
func (w World) LookAt(t testing.TB, s *everheap.Space, checkpoint string) (all map[string]string) {
	t.Helper()
	fn := func(tx *everheap.Tx) error { all = w.look(tx); return nil }
	if checkpoint == "" {
		Must(t, s.View(fn))
	} else {
		Must(t, s.ViewAt(checkpoint, fn))
	}
	return all
}
