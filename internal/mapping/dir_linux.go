package mapping

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// retried repeats a call while signals interrupt it.
func retried[T any](call func() (T, error)) (T, error) {
	for {
		if v, err := call(); err != unix.EINTR {
			return v, err
		}
	}
}

// openDirectory opens a directory, and fails for any other file. It needs no permission to list the directory.
func openDirectory(path string) (*os.File, error) {
	fd, err := retried(func() (int, error) { return unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// within runs a system call with the descriptor of the directory. A concurrent Close does
// not close the descriptor meanwhile.
func (d *Dir) within(op, name string, call func(fd int) error) error {
	conn, err := d.f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if conn.Control(func(fd uintptr) {
		for {
			if failed = call(int(fd)); failed != unix.EINTR {
				return
			}
		}
	}) != nil {
		failed = os.ErrClosed
	}
	if failed != nil {
		return &os.PathError{Op: op, Path: d.Join(name), Err: failed}
	}
	return nil
}

// openAt is openat(2).
func openAt(d *Dir, name string, flag int, perm os.FileMode) (*os.File, error) {
	file := -1
	err := d.within("open", name, func(fd int) (err error) {
		file, err = unix.Openat(fd, name, flag|unix.O_CLOEXEC|unix.O_LARGEFILE, uint32(perm.Perm()))
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(file), d.Join(name)), nil
}

// statAt is fstatat(2).
func statAt(d *Dir, name string) (s Status, err error) {
	var st unix.Stat_t
	err = d.within("stat", name, func(fd int) error { return unix.Fstatat(fd, name, &st, 0) })
	return statusOf(&st), err
}

// statusAt is stat(2).
func statusAt(path string) (Status, error) {
	var st unix.Stat_t
	err := retryInterrupted(func() error { return unix.Stat(path, &st) })
	return statusOf(&st), err
}

// StatusOf returns the status of an open file.
func StatusOf(f *os.File) (s Status, err error) {
	info, err := f.Stat()
	if err != nil {
		return s, err
	}
	return StatusIn(info)
}

// StatusOfFile is StatusOf for a File.
func StatusOfFile(f File) (Status, error) {
	var st unix.Stat_t
	err := retryInterrupted(func() error { return unix.Fstat(int(f.Fd()), &st) })
	return statusOf(&st), err
}

// StatusIn returns the status in a FileInfo.
func StatusIn(info os.FileInfo) (Status, error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return Status{}, errors.New("the file system does not report inode numbers")
	}
	return Status{FileID: FileID{uint64(st.Dev), st.Ino}, Size: st.Size, Disk: st.Blocks * 512, Links: uint64(st.Nlink)}, nil
}

func statusOf(st *unix.Stat_t) Status {
	return Status{FileID: FileID{uint64(st.Dev), st.Ino}, Size: st.Size, Disk: st.Blocks * 512, Links: uint64(st.Nlink)}
}

// renameAt is renameat(2).
func renameAt(d *Dir, from, to string) error {
	return d.within("rename", from, func(fd int) error { return unix.Renameat(fd, from, fd, to) })
}

// removeAt is unlinkat(2).
func removeAt(d *Dir, name string) error {
	return d.within("remove", name, func(fd int) error { return unix.Unlinkat(fd, name, 0) })
}

// currentPath returns the system's path of an open file; "": unknown. If the file was
// removed, the system says so in the path.
func currentPath(f *os.File) string {
	conn, err := f.SyscallConn()
	if err != nil {
		return ""
	}
	path := ""
	if conn.Control(func(fd uintptr) { path, _ = os.Readlink("/proc/self/fd/" + strconv.Itoa(int(fd))) }) != nil {
		return ""
	}
	if !strings.HasPrefix(path, "/") {
		return ""
	}
	return path
}
