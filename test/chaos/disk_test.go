package chaos

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A disk is a small file system that only this round uses. The round fills it now and then, and later
// removes the filling: writers get ErrNoSpace meanwhile, and continue afterwards.
type disk struct {
	dir   string
	until time.Time // when the filling is removed; zero: the disk is not filled
}

const (
	diskSize   = 96 << 20
	tightSpace = 64 << 20 // the window of a space that gets full by itself
)

// mountDisk makes a file system in memory, or returns nil if that is not allowed.
func mountDisk(dir string) (*disk, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	err := unix.Mount("chaos", dir, "tmpfs", 0, fmt.Sprint("size=", diskSize))
	if errors.Is(err, unix.EPERM) {
		return nil, nil // root of a container
	}
	return &disk{dir: dir}, err
}

// fill fills the disk for a while.
func (d *disk) fill(length time.Duration) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(d.dir, &fs); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(d.dir, "ballast"))
	if err != nil {
		return err
	}
	defer f.Close()
	d.until = time.Now().Add(length)
	left := int64(fs.Bavail) * fs.Bsize
	for ; left >= 4096; left /= 2 { // others use space meanwhile
		if unix.Fallocate(int(f.Fd()), 0, 0, left) == nil {
			break
		}
	}
	return nil
}

// full reports whether the disk is filled, and removes the filling when it is time.
func (d *disk) full(now bool) (bool, error) {
	if d == nil || d.until.IsZero() {
		return false, nil
	}
	if !now && time.Now().Before(d.until) {
		return true, nil
	}
	d.until = time.Time{}
	return false, os.Remove(filepath.Join(d.dir, "ballast"))
}

// unmount unmounts the disk. First it copies its files to keep, if that is not "".
func (d *disk) unmount(keep string) error {
	if d == nil {
		return nil
	}
	var err error
	if keep != "" {
		if out, e := exec.Command("cp", "-a", "--sparse=always", d.dir, keep).CombinedOutput(); e != nil {
			err = fmt.Errorf("%w: %s", e, out)
		}
	}
	return errors.Join(err, unix.Unmount(d.dir, unix.MNT_DETACH), os.Remove(d.dir))
}
