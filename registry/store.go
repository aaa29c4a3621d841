package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/everheap/everheap/internal/oslock"
)

const (
	fileName = "spaces.toml"
	lockName = fileName + ".lock"
	tempName = fileName + ".tmp"

	maxFileSize = 16 << 20 // bytes; a file larger than that is not a registry
)

// lockPatience is how long a process waits for one holder of the lock. Creating a space under the
// lock takes milliseconds; so a longer wait means that the holder is suspended, or waits for itself.
const lockPatience = 20 * time.Second

// patience bounds the wait for one holder; tests replace it.
var patience = func(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, lockPatience)
}

// system has the calls by which a change works on files and directories; tests replace them by
// failing ones.
var system = struct {
	create  func(path string, flag int) (*os.File, error)
	write   func(f *os.File, b []byte) error
	sync    func(f *os.File) error
	rename  func(from, to string) error
	syncDir func(dir string) error
}{
	create: func(path string, flag int) (*os.File, error) { return os.OpenFile(path, flag|os.O_CREATE, 0o600) },
	write: func(f *os.File, b []byte) error {
		_, err := f.Write(b)
		return err
	},
	sync:    (*os.File).Sync,
	rename:  os.Rename,
	syncDir: syncDir,
}

// load reads and parses the file; a missing one is an empty document. It takes no lock (RG1).
func (r *Registry) load() (*document, error) {
	if r.homeErr != nil {
		return nil, r.homeErr
	}
	data, err := readFile(r.File())
	if errors.Is(err, fs.ErrNotExist) {
		return parse(r.File(), nil)
	}
	if err != nil {
		return nil, fmt.Errorf("registry: cannot read the names of spaces: %w", err)
	}
	return parse(r.File(), data)
}

// readFile reads a regular file of bounded size. It does not hang on a pipe or a terminal.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|noBlock, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file; move it away", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err == nil && len(data) > maxFileSize {
		err = fmt.Errorf("%s is larger than %s; it cannot be a registry, move it away", path, formatSize(maxFileSize))
	}
	return data, err
}

// lock takes the exclusive lock of the registry, and creates the home if it is missing (RG2). The
// lock file names its holder, for people. The kernel drops the lock when its holder dies.
func (r *Registry) lock() (unlock func(), err error) {
	if r.homeErr != nil {
		return nil, r.homeErr
	}
	if err := os.MkdirAll(r.home, 0o700); err != nil {
		return nil, cannotWrite(r.home, err)
	}
	f, err := r.waitForLock(filepath.Join(r.home, lockName))
	if err != nil {
		return nil, err
	}
	giveToOwnerOf(r.home, f)
	_ = f.Truncate(0)
	_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return func() {
		_ = f.Truncate(0)
		f.Close()
	}, nil
}

// waitForLock waits for the lock in the kernel, which grants it in the order of arrival. The wait
// ends with the context of the registry, or when one holder has kept the lock for lockPatience. A
// long queue is fine as long as the lock changes hands.
func (r *Registry) waitForLock(path string) (*os.File, error) {
	var openErr error
	open := func() (f *os.File, err error) {
		f, openErr = system.create(path, os.O_RDWR|noBlock)
		return f, openErr
	}
	for before := holderOf(path); ; {
		bounded, cancel := patience(r.ctx)
		f, err := oslock.WaitFile(bounded, open)
		cancel()
		switch {
		case err == nil:
			return f, nil
		case openErr != nil:
			return nil, cannotWrite(r.home, openErr)
		case !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled):
			return nil, fmt.Errorf("registry: cannot lock %s: %w; set EVERHEAP_HOME to a directory on a local disk", path, err)
		}
		now := holderOf(path)
		if err := r.ctx.Err(); err != nil {
			return nil, fmt.Errorf("%w: %s holds %s (%w)", ErrLocked, now.name(), path, err)
		}
		if now == before {
			return nil, fmt.Errorf("%w: %s holds %s for more than %v; end that process, or let it continue, and try again", ErrLocked, now.name(), path, lockPatience)
		}
		before = now
	}
}

// holder is the content of the lock file.
type holder struct {
	pid   string   // "": the file is empty, since the lock has just been taken or released
	since [2]int64 // time at which the file was written
}

// holderOf reads the holder from the lock file. Each holder writes the file, so two holders differ at
// least in since.
func holderOf(path string) (h holder) {
	f, err := os.OpenFile(path, os.O_RDONLY|noBlock, 0)
	if err != nil {
		return h
	}
	defer f.Close()
	buf := make([]byte, 20)
	n, _ := f.ReadAt(buf, 0)
	h.pid = strings.TrimSpace(string(buf[:n]))
	if info, err := f.Stat(); err == nil {
		h.since = [2]int64{info.ModTime().Unix(), int64(info.ModTime().Nanosecond())}
	}
	return h
}

// name names the holder, for people.
func (h holder) name() string {
	if h.pid == "" {
		return "another process"
	}
	return "process " + h.pid
}

// staged is a change that is written and synced to a new file, but not yet renamed into place.
type staged struct {
	edit   func(*document) error
	before []byte // the contents of the file that the change was applied to
	temp   string // path of the new file; "" if nothing changes, or after the rename
	target string // path of the new file after the rename
}

// discard removes the new file, unless it was renamed into place.
func (st *staged) discard() {
	if st.temp != "" {
		_ = os.Remove(st.temp)
	}
}

// stage applies edit to d and writes the result beside the file. The caller holds the lock, so there
// is one new file at a time: a file that already exists was left behind by a process that died.
func (r *Registry) stage(d *document, edit func(*document) error) (*staged, error) {
	st := &staged{edit: edit, before: d.bytes()}
	target, err := filepath.EvalSymlinks(r.File()) // a link stays a link
	if errors.Is(err, fs.ErrNotExist) {
		if _, lerr := os.Lstat(r.File()); lerr == nil {
			return nil, fmt.Errorf("registry: %s is a symbolic link to nothing; remove it, or create what it points to", r.File())
		}
		target, err = r.File(), nil
	}
	if err != nil {
		return nil, cannotWrite(r.home, err)
	}
	st.target = target
	temp := filepath.Join(filepath.Dir(target), tempName)
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, cannotWrite(r.home, err)
	}
	if err := edit(d); err != nil {
		return nil, err
	}
	after := d.bytes()
	if bytes.Equal(st.before, after) {
		return st, nil
	}
	// The new file must parse: a mistake here must not cost people their file (RG4).
	if _, err := parse(d.file, after); err != nil {
		return nil, fmt.Errorf("registry: the change would make the file unreadable: %w", err)
	}
	st.temp = temp
	if err := writeNew(temp, target, after); err != nil {
		st.discard()
		return nil, cannotWrite(r.home, err)
	}
	return st, nil
}

// publish renames a staged change into place (RG1). An editor takes no lock; so if the file has
// changed since it was read, publish applies the change again to the current file.
func (r *Registry) publish(st *staged) error {
	for range 10 {
		if st.temp == "" {
			return nil
		}
		now, err := readFile(st.target)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return cannotWrite(r.home, err)
		}
		if bytes.Equal(now, st.before) {
			if err := system.rename(st.temp, st.target); err != nil {
				return cannotWrite(r.home, err)
			}
			st.temp = ""
			return system.syncDir(filepath.Dir(st.target))
		}
		d, err := r.load()
		if err != nil {
			return err
		}
		again, err := r.stage(d, st.edit)
		if err != nil {
			return err
		}
		*st = *again
	}
	return fmt.Errorf("registry: %s keeps changing; stop the program that writes it, and try again", st.target)
}

// writeNew writes and syncs a new file that will replace old. It has the mode and owner of old; if
// old does not exist, only its owner can read it.
func writeNew(path, old string, data []byte) error {
	f, err := system.create(path, os.O_WRONLY|os.O_EXCL)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := os.Stat(old)
	switch {
	case err == nil:
		uid, gid := ownerOf(info)
		if uid != os.Geteuid() || gid != os.Getegid() {
			if err := f.Chown(uid, gid); err != nil && uid != os.Geteuid() {
				return fmt.Errorf("%s belongs to another user, and cannot be replaced: %w", old, err)
			}
		}
		if err := f.Chmod(info.Mode().Perm()); err != nil {
			return err
		}
	case errors.Is(err, fs.ErrNotExist):
		giveToOwnerOf(filepath.Dir(path), f)
	default:
		return err
	}
	if err := system.write(f, data); err != nil {
		return err
	}
	if err := system.sync(f); err != nil {
		return err
	}
	return f.Close()
}

// giveToOwnerOf makes the owner of dir the owner of f if this process runs as root: otherwise one
// command run by root would lock people out of their own registry. Only root can change an owner.
func giveToOwnerOf(dir string, f *os.File) {
	if os.Geteuid() != 0 {
		return
	}
	if info, err := os.Stat(dir); err == nil {
		uid, gid := ownerOf(info)
		_ = f.Chown(uid, gid)
	}
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("registry: cannot sync the change: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("registry: cannot sync the change: %w", err)
	}
	return nil
}

// cannotWrite returns the error for a change that failed, and says what to do.
func cannotWrite(home string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("registry: cannot change the registry in %s: %w; nothing was changed: make room there and try again", home, err)
	}
	return fmt.Errorf("registry: cannot change the registry in %s: %w; make that directory writable, or set EVERHEAP_HOME to a writable one", home, err)
}
