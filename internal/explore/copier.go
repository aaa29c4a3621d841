//go:build explore

package explore

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/mapping"
)

// arenaBits is the number of low bits of an address that do not tell whether it lies in Go
// memory.
const arenaBits = 40

// staticEnd is above all package variables of a program that is not position-independent.
const staticEnd = 1 << 32

// A copier copies everything that can be reached in Go memory. It keeps pointers to mapped
// memory, to package variables and to functions.
type copier struct {
	heap   uintptr // the upper bits of addresses in Go memory
	areas  []area  // the copied areas, by address
	places map[unsafe.Pointer]reflect.Value
	from   uintptr // where the parent has the words of live mapped
	size   uintptr
	to     unsafe.Pointer // where the fork has them mapped
	files  []*os.File
}

// area is a copied piece of Go memory.
type area struct {
	from, size uintptr
	to         unsafe.Pointer
}

// newCopier returns a copier for a fork of a process that has the words of live mapped at from,
// which the fork has at to.
func newCopier(from, size uintptr, to unsafe.Pointer) *copier {
	c := &copier{from: from, size: size, to: to, places: map[unsafe.Pointer]reflect.Value{}}
	c.heap = uintptr(unsafe.Pointer(c)) >> arenaBits
	return c
}

// try runs fn, and returns the reason if fn could not copy something.
func (c *copier) try(fn func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			text, ok := r.(uncopied)
			if !ok {
				panic(r)
			}
			err = fmt.Errorf("the memory of a space cannot be copied: %s", string(text))
		}
	}()
	fn()
	return nil
}

// uncopied is the panic of a copier that meets a value it cannot copy.
type uncopied string

// note notes that an area was copied.
func (c *copier) note(p unsafe.Pointer, size uintptr, to unsafe.Pointer) {
	i, _ := slices.BinarySearchFunc(c.areas, uintptr(p), func(a area, p uintptr) int { return int(a.from) - int(p) })
	c.areas = slices.Insert(c.areas, i, area{uintptr(p), size, to})
}

// copied returns the copy of an area of that size; nil if there is none yet.
func (c *copier) copied(p unsafe.Pointer, size uintptr, path string) unsafe.Pointer {
	at := uintptr(p)
	i, found := slices.BinarySearchFunc(c.areas, at, func(a area, p uintptr) int { return int(a.from) - int(p) })
	if !found {
		i--
	}
	if i >= 0 && at < c.areas[i].from+c.areas[i].size {
		a := c.areas[i]
		if at+size > a.from+a.size {
			panic(uncopied(path + " is larger than its copy"))
		}
		return unsafe.Add(a.to, at-a.from)
	}
	if i+1 < len(c.areas) && at+size > c.areas[i+1].from {
		panic(uncopied("a part of " + path + " was copied before it"))
	}
	return nil
}

// pointer returns the pointer in the copy for a pointer to a value of the type.
func (c *copier) pointer(t reflect.Type, p unsafe.Pointer, path string) unsafe.Pointer {
	if at := uintptr(p) - c.from; at < c.size {
		return unsafe.Add(c.to, at)
	}
	if p == nil || t.Size() == 0 || !c.private(p) || unchanging(t) {
		return p
	}
	if to := c.copied(p, t.Size(), path); to != nil {
		return to
	}
	switch t {
	case reflect.TypeFor[os.File]():
		return c.file(p)
	case reflect.TypeFor[mapping.Pin]():
		to := unsafe.Pointer(new(mapping.Pin))
		c.note(p, t.Size(), to)
		return to
	case reflect.TypeFor[mapping.Shared]():
		panic(uncopied(path + " is shared memory other than the words"))
	}
	to := reflect.New(t)
	to.Elem().Set(reflect.NewAt(t, p).Elem())
	c.note(p, t.Size(), to.UnsafePointer())
	c.fix(t, to.UnsafePointer(), path)
	return to.UnsafePointer()
}

// private reports whether a pointer points to Go memory that is not a package variable.
func (c *copier) private(p unsafe.Pointer) bool {
	return uintptr(p)>>arenaBits == c.heap && uintptr(p) >= staticEnd
}

// unchanging reports whether values of a type never change, or belong to no process: the
// copy shares them.
func unchanging(t reflect.Type) bool {
	path := t.PkgPath()
	return t == reflect.TypeFor[mapping.Region]() || path != "" && slices.ContainsFunc([]string{
		"reflect", "internal/abi", "errors", "fmt", "time", "context", "runtime",
		"everheap/internal/layout", "everheap/internal/entry", "everheap/internal/invariant",
	}, func(of string) bool { return path == of || strings.HasSuffix(path, "/"+of) })
}

// file returns a duplicate of the descriptor of an open file.
func (c *copier) file(p unsafe.Pointer) unsafe.Pointer {
	f := (*os.File)(p)
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		return p // the file is closed
	}
	again := os.NewFile(uintptr(fd), f.Name())
	c.files = append(c.files, again)
	c.note(p, unsafe.Sizeof(*f), unsafe.Pointer(again))
	return unsafe.Pointer(again)
}

// fix replaces all pointers to the parent's memory in a value of the fork, which is still a
// bitwise copy of the parent's value.
func (c *copier) fix(t reflect.Type, p unsafe.Pointer, path string) {
	if !leads(t) {
		return
	}
	value := reflect.NewAt(t, p).Elem()
	switch {
	case t == reflect.TypeFor[sync.WaitGroup](): // the goroutines that it counts do not run in the fork
		value.SetZero()
		return
	case t == reflect.TypeFor[sync.Map]():
		again := reflect.New(t)
		value.Addr().Interface().(*sync.Map).Range(func(k, v any) bool {
			again.Interface().(*sync.Map).Store(k, v)
			return true
		})
		value.Set(again.Elem())
		return
	case t == reflect.TypeFor[invariant.Record](): // mapped, and shared by all processes
		return
	case strings.HasPrefix(t.Name(), "Pointer[") && t.PkgPath() == "sync/atomic":
		of := t.Field(0).Type.Elem().Elem()
		at := (*unsafe.Pointer)(unsafe.Add(p, t.Size()-unsafe.Sizeof(p)))
		*at = c.pointer(of, *at, path)
		return
	}
	switch t.Kind() {
	case reflect.Pointer:
		at := (*unsafe.Pointer)(p)
		*at = c.pointer(t.Elem(), *at, path)
	case reflect.UnsafePointer:
		at := (*unsafe.Pointer)(p)
		if *at != nil && c.private(*at) {
			panic(uncopied(path + " points to a value of an unknown type"))
		}
		*at = c.pointer(reflect.TypeFor[byte](), *at, path)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			c.fix(f.Type, unsafe.Add(p, f.Offset), path+"."+f.Name)
		}
	case reflect.Array:
		c.elements(t.Elem(), p, t.Len(), path)
	case reflect.Slice:
		c.slice(t, p, path)
	case reflect.Map:
		c.table(t, value, path)
	case reflect.Chan:
		c.channel(t, value)
	case reflect.Interface:
		c.content(value, path)
	}
}

// leads reports whether values of the type contain pointers that fix must replace.
func leads(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Array:
		return leads(t.Elem())
	case reflect.Struct:
		if t == reflect.TypeFor[sync.WaitGroup]() {
			return true
		}
		for i := range t.NumField() {
			if leads(t.Field(i).Type) {
				return true
			}
		}
		return false
	case reflect.Pointer, reflect.UnsafePointer, reflect.Slice, reflect.Map, reflect.Chan, reflect.Interface:
		return true
	}
	return false // functions too: see BeFork
}

// elements fixes n consecutive values of the type.
func (c *copier) elements(t reflect.Type, p unsafe.Pointer, n int, path string) {
	if !leads(t) {
		return
	}
	for i := range n {
		c.fix(t, unsafe.Add(p, uintptr(i)*t.Size()), path+"[]")
	}
}

// slice fixes a slice.
func (c *copier) slice(t reflect.Type, p unsafe.Pointer, path string) {
	value := reflect.NewAt(t, p).Elem()
	of, n := t.Elem(), value.Cap()
	data := value.UnsafePointer()
	size := uintptr(n) * of.Size()
	if size == 0 || !c.private(data) {
		return
	}
	to := c.copied(data, size, path)
	if to == nil {
		whole := reflect.MakeSlice(reflect.SliceOf(of), n, n)
		to = whole.UnsafePointer()
		reflect.Copy(whole, reflect.NewAt(reflect.ArrayOf(n, of), data).Elem())
		c.note(data, size, to)
		c.elements(of, to, n, path)
	}
	*(*unsafe.Pointer)(p) = to // a slice's first word is its pointer
}

// table fixes a map.
func (c *copier) table(t reflect.Type, value reflect.Value, path string) {
	if value.IsNil() {
		return
	}
	p := value.UnsafePointer()
	again, ok := c.places[p]
	if !ok {
		again = reflect.MakeMap(t)
		c.places[p] = again
		for each := value.MapRange(); each.Next(); {
			k, v := reflect.New(t.Key()), reflect.New(t.Elem())
			reflect.NewAt(t.Key(), k.UnsafePointer()).Elem().Set(each.Key())
			v.Elem().Set(each.Value())
			c.fix(t.Key(), k.UnsafePointer(), path+"{key}")
			c.fix(t.Elem(), v.UnsafePointer(), path+"{}")
			again.SetMapIndex(k.Elem(), v.Elem())
		}
	}
	value.Set(again)
}

// channel fixes a channel: no goroutine waits at that of the fork, and it has the same
// contents.
func (c *copier) channel(t reflect.Type, value reflect.Value) {
	if value.IsNil() {
		return
	}
	p := value.UnsafePointer()
	again, ok := c.places[p]
	if !ok {
		both := reflect.ChanOf(reflect.BothDir, t.Elem())
		old := reflect.NewAt(both, unsafe.Pointer(&p)).Elem()
		again = reflect.MakeChan(both, value.Cap())
		c.places[p] = again
		for range value.Len() {
			v, _ := old.Recv()
			old.Send(v)
			again.Send(v)
		}
		if value.Len() == 0 {
			if v, open := old.TryRecv(); v.IsValid() && !open {
				again.Close()
			}
		}
	}
	value.Set(again.Convert(t))
}

// content fixes an interface.
func (c *copier) content(value reflect.Value, path string) {
	if value.IsNil() {
		return
	}
	in := value.Elem()
	t := in.Type()
	if unchanging(t) || !leads(t) {
		return
	}
	again := reflect.New(t)
	again.Elem().Set(in)
	c.fix(t, again.UnsafePointer(), path+".("+t.String()+")")
	value.Set(again.Elem())
}
