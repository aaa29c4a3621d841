package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/registry"
)

// spaceArg is the argument that names a space, which must exist.
type spaceArg struct {
	Space string `arg:"" help:"Registered name or directory of the space."`
}

// dir finds the directory of the space. A name that is not registered may be a directory in the
// working directory.
func (a spaceArg) dir() (string, error) {
	if !strings.ContainsRune(a.Space, filepath.Separator) {
		reg := registry.Open("")
		entry, found, err := reg.Lookup(a.Space)
		if found {
			return entry.Dir, registered(entry)
		}
		lookErr := lookFor(a.Space)
		if errors.Is(lookErr, fs.ErrNotExist) {
			if err != nil && !errors.Is(err, registry.ErrInvalidName) {
				return "", err
			}
			return "", fmt.Errorf("there is no space %q; %s; make one: everheap create %[1]s", a.Space, known(reg))
		}
	}
	switch err := lookFor(a.Space); {
	case errors.Is(err, fs.ErrNotExist):
		return "", noSpace(a.Space)
	case err != nil:
		return "", err
	}
	return filepath.Abs(a.Space)
}

// lookFor returns nil if a directory holds a space, fs.ErrNotExist if it does not, and another error
// if that is unknown.
func lookFor(dir string) error {
	path := filepath.Join(dir, "heap")
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("user %d may not read %s: %w; run the command as the owner of the space", os.Geteuid(), dir, fs.ErrPermission)
	case errors.Is(err, syscall.ENOTDIR):
		return fs.ErrNotExist
	case err == nil && !info.Mode().IsRegular():
		return fs.ErrNotExist
	}
	return err
}

// noSpace is the error for a directory without a space.
func noSpace(dir string) error {
	return fmt.Errorf("%s holds no space; give the directory that holds its heap file, or make one: everheap create %[1]s", dir)
}

// registered returns an error if the directory of a registered space has no space.
func registered(e registry.Entry) error {
	err := lookFor(e.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is registered in %s, but no space is there; if it was moved: everheap adopt NEWDIR %s; if it is gone: everheap forget %s", e.Name, e.Dir, e.Name, e.Name)
	}
	return err
}

// known lists the registered spaces, as a phrase of an error.
func known(reg *registry.Registry) string {
	entries, err := reg.List()
	if err != nil || len(entries) == 0 {
		return fmt.Sprintf("none is registered in %s", reg.File())
	}
	const most = 8
	var names []string
	for i, e := range entries {
		if i == most {
			names = append(names, fmt.Sprintf("and %d more", len(entries)-most))
			break
		}
		names = append(names, e.Name)
	}
	return "registered are: " + strings.Join(names, ", ")
}

// open opens the space, which must exist.
func (a spaceArg) open(opts ...everheap.Option) (*everheap.Space, error) {
	dir, err := a.dir()
	if err != nil {
		return nil, err
	}
	return everheap.Open(dir, opts...)
}

// read runs fn with the space opened for reading. If the machine lost power while the space was open,
// read recovers the space first, and prints that. If the user may not write the space, the error says
// that it must be recovered.
func (a spaceArg) read(std *streams, fn func(s *everheap.Space) error) error {
	s, err := a.look(std)
	if err != nil {
		return err
	}
	err = fn(s)
	return errors.Join(err, s.Close())
}

// look opens the space for reading: see read.
func (a spaceArg) look(std *streams) (*everheap.Space, error) {
	s, err := a.open(everheap.WithReadOnly())
	if errors.Is(err, everheap.ErrReadOnly) {
		if err := a.recover(std); err != nil {
			return nil, fmt.Errorf("the space was open when the machine lost power, and could not be recovered: %w; a user who may write it recovers it by: everheap recover %s", err, a.Space)
		}
		s, err = a.open(everheap.WithReadOnly())
	}
	return s, err
}

// recover recovers the space, by opening it for writing.
func (a spaceArg) recover(std *streams) error {
	return a.with(func(s *everheap.Space) error {
		st := s.Stats()
		fmt.Fprintf(std.err, "everheap: the space was open when the machine lost power; it was recovered to version %d, committed %s ago\n", st.Version, since(st.Committed))
		return nil
	})
}

// readAt runs fn with a version: that of a checkpoint, or the newest if at is empty.
func (a spaceArg) readAt(std *streams, at string, fn func(tx *everheap.Tx) error) error {
	return a.read(std, func(s *everheap.Space) error {
		view := s.View
		if at != "" {
			view = func(fn func(tx *everheap.Tx) error) error { return s.ViewAt(at, fn) }
		}
		var failed error // complete: returned without wrapping
		err := view(func(tx *everheap.Tx) error { failed = fn(tx); return nil })
		return errors.Join(err, failed)
	})
}

// atFlag is the flag that names a checkpoint, as an error shows it.
func atFlag(at string) string {
	if at == "" {
		return ""
	}
	return "--at=" + at + " "
}

// with runs fn with the space open.
func (a spaceArg) with(fn func(s *everheap.Space) error, opts ...everheap.Option) error {
	s, err := a.open(opts...)
	if err != nil {
		return unlessWritable(err)
	}
	err = fn(s)
	return errors.Join(err, s.Close())
}

// unlessWritable adds advice to an error of a user who may not write the space.
func unlessWritable(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; user %d may not write the space: run the command as its owner", err, os.Geteuid())
	}
	return err
}

// singleValue is the kind of a single value, which has no keys.
const singleValue = "ref"

// mapArg names a map, a list or a single value of a space.
type mapArg struct {
	spaceArg
	Map string `arg:"" help:"Name of the map, list or single value."`
}

// catalog looks up names, in the newest version of a space or in the version of a transaction.
type catalog interface {
	Collection(name string) (*everheap.Collection, error)
	Collections() ([]everheap.CollectionInfo, error)
}

// collection finds a map, a list or a single value by its name.
func collection(in catalog, name string) (*everheap.Collection, error) {
	c, err := in.Collection(name)
	if !errors.Is(err, everheap.ErrNotFound) {
		return c, err
	}
	list, listErr := in.Collections()
	if listErr != nil {
		return nil, errors.Join(err, listErr)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("the space has nothing named %q; it has no names at all", name)
	}
	var names []string
	for _, i := range list {
		names = append(names, i.Name)
	}
	return nil, fmt.Errorf("the space has nothing named %q; it has: %s", name, strings.Join(names, ", "))
}

// keyJSON turns a key of the command line into JSON. Text that is not JSON is taken for a string,
// since times are written so.
func keyJSON(c *everheap.Collection, text string, isJSON bool) []byte {
	if !isJSON && c.StringKeys() || !json.Valid([]byte(text)) {
		return stringJSON(text)
	}
	return []byte(text)
}

// keyText is the inverse of keyJSON.
func keyText(c *everheap.Collection, key []byte, isJSON bool) string {
	if s, ok := plain(key); ok && !isJSON && c.StringKeys() {
		return s
	}
	return string(key)
}

// stringJSON formats a string as JSON, even if it is not UTF-8.
func stringJSON(s string) []byte {
	var v any = s
	if !utf8.ValidString(s) {
		v = map[string]string{"$bytes": base64.StdEncoding.EncodeToString([]byte(s))}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // a string always encodes
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// plain returns the text of a JSON string.
func plain(b []byte) (s string, ok bool) {
	if len(b) == 0 {
		return "", false
	}
	if b[0] == '"' {
		return s, json.Unmarshal(b, &s) == nil
	}
	var wrapped struct {
		Bytes []byte `json:"$bytes"`
	}
	if b[0] == '{' && json.Unmarshal(b, &wrapped) == nil && wrapped.Bytes != nil {
		return string(wrapped.Bytes), true
	}
	return "", false
}
