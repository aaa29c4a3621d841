package replica

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// memory is the memory of a copy, in a file that only one process at a time can lock.
type memory struct {
	dir  string
	lock *os.File
	state
}

// state is the content of the file, as JSON.
type state struct {
	// Token is the token of the term in which the copy leads, or has led without standing down yet.
	// It is on disk before the claim is published.
	Token string
	Term  uint64
	// Claiming says that the claim may not be published, and that the space is still a replica.
	Claiming bool
}

const (
	stateName = "state.json"
	lockName  = "lock"
)

// remember opens the memory of a copy.
func remember(dir string) (*memory, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	m := &memory{dir: dir, lock: lock}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("%w: %s is locked", ErrInUse, lock.Name())
	}
	b, err := os.ReadFile(filepath.Join(dir, stateName))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &m.state)
	}
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("replica: cannot read the memory of this copy: %w", err)
	}
	return m, nil
}

// close unlocks the memory for other processes.
func (m *memory) close() { m.lock.Close() }

// set stores another state, on disk.
func (m *memory) set(s state) error {
	b, err := json.Marshal(s)
	if err == nil {
		err = writeFile(filepath.Join(m.dir, stateName), append(b, '\n'))
	}
	if err == nil {
		m.state = s
	}
	return err
}

// newToken returns a random token.
func newToken() string { return rand.Text() }

// writeFile replaces a file durably and atomically.
func writeFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // it has another name then, unless something failed
	_, err = f.Write(b)
	return errors.Join(err, place(f, path))
}

// place syncs and closes a file, and renames it to path.
func place(f *os.File, path string) error {
	err := f.Sync()
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
