package mapping

import (
	"fmt"
	"os"
)

// File is a file of a space. OSFile is the real implementation; tests replace it by a File
// that fails at the k-th call.
type File interface {
	// ReadAt and WriteAt are those of io.ReaderAt and io.WriterAt.
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	// Truncate sets the size. It drops the bytes beyond the size, or adds zeros (a hole).
	Truncate(size int64) error
	// Allocate reserves disk space for n bytes at off and extends the file to hold them.
	// Later writes there do not fail for lack of space.
	Allocate(off, n int64) error
	// PunchHole returns the disk space of n bytes at off to the file system. From then on
	// they read as zeros, and the caller must Allocate them before the next write. The size
	// stays.
	PunchHole(off, n int64) error
	// Datasync makes the data and the size durable, and returns when they are.
	Datasync() error
	// Size returns the size of the file in bytes.
	Size() (int64, error)
	// Fd returns the descriptor, for mapping; valid until Close.
	Fd() uintptr
	// Close closes the file; mappings of it stay.
	Close() error
}

// OSFile is the File of the operating system. Its errors name the file, and wrap ErrNoSpace,
// ErrIO or os.ErrClosed.
type OSFile struct {
	f *os.File
}

var _ File = (*OSFile)(nil)

// OpenFile opens or creates a file as os.OpenFile does, with the same errors.
func OpenFile(path string, flag int, perm os.FileMode) (File, error) {
	f, err := os.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err
	}
	return &OSFile{f: f}, nil
}

// FileOf returns the File of an open file, which it owns.
func FileOf(f *os.File) File { return &OSFile{f: f} }

// ReadAt implements File; at the end of the file the error is io.EOF.
func (f *OSFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.f.ReadAt(p, off)
	if _, isPath := err.(*os.PathError); isPath {
		err = classify(f.located(err))
	}
	return n, err
}

// WriteAt implements File. After an error some of the bytes may be written.
func (f *OSFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.f.WriteAt(p, off)
	if err != nil {
		err = classify(f.located(err))
	}
	return n, err
}

// Truncate implements File.
func (f *OSFile) Truncate(size int64) error {
	if err := f.f.Truncate(size); err != nil {
		return classify(f.located(err))
	}
	return nil
}

// Allocate implements File.
func (f *OSFile) Allocate(off, n int64) error {
	return f.do("allocate", func(fd uintptr) error { return allocate(fd, off, n) }, classify)
}

// PunchHole implements File.
func (f *OSFile) PunchHole(off, n int64) error {
	return f.do("punch a hole into", func(fd uintptr) error { return punchHole(fd, off, n) }, classify)
}

// Datasync implements File. An error is always an ErrIO (M6).
func (f *OSFile) Datasync() error {
	return f.do("sync", datasync, asIO)
}

// do runs a system call on the descriptor. A concurrent Close does not close the descriptor
// meanwhile.
func (f *OSFile) do(op string, call func(fd uintptr) error, as func(error) error) error {
	conn, err := f.f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if conn.Control(func(fd uintptr) { failed = call(fd) }) != nil {
		failed = os.ErrClosed // the only error that Control returns, by its public name
	}
	if failed != nil {
		return as(&os.PathError{Op: op, Path: f.path(), Err: failed})
	}
	return nil
}

// path returns the present path of the file, for messages.
func (f *OSFile) path() string {
	if now := currentPath(f.f); now != "" {
		return now
	}
	return f.f.Name()
}

// located puts the present path of the file into an error, since its directory may have been
// moved.
func (f *OSFile) located(err error) error {
	if e, ok := err.(*os.PathError); ok {
		return &os.PathError{Op: e.Op, Path: f.path(), Err: e.Err}
	}
	return err
}

// Size implements File.
func (f *OSFile) Size() (int64, error) {
	info, err := f.f.Stat()
	if err != nil {
		return 0, classify(f.located(err))
	}
	return info.Size(), nil
}

// Fd implements File.
func (f *OSFile) Fd() uintptr {
	return f.f.Fd()
}

// Close implements File.
func (f *OSFile) Close() error { return f.f.Close() }

// SyncDir makes the names in the directory durable. An error wraps ErrIO, or is that of
// opening the directory.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return syncDirectory(d)
}

func syncDirectory(f *os.File) error {
	if err := f.Sync(); err != nil {
		return fmt.Errorf("making the names in a directory durable: %w", asIO(err))
	}
	return nil
}
