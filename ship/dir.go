package ship

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/everheap/everheap"
)

// directory is what a directory has of a space.
type directory struct {
	path      string
	snapshots []file // by version
	segments  []file // by the version of the first frame
}

// file is a snapshot or a segment.
type file struct {
	name    string
	version everheap.Version // of the snapshot, or of the first frame
	chain   string           // of a snapshot's version, or of the version before the first frame
	time    time.Time        // at which it was written last
	size    int64
}

const (
	snapshotPrefix, snapshotSuffix = "snapshot-", ".backup"
	segmentPrefix, segmentSuffix   = "changes-", ".frames"
	newSuffix                      = ".new"
)

// chainText is how names of files say a chain.
func chainText(chain uint64) string { return fmt.Sprintf("%016x", chain)[:8] }

func snapshotName(p everheap.Position) string {
	return fmt.Sprintf("%s%020d-%s%s", snapshotPrefix, p.Version, chainText(p.Chain), snapshotSuffix)
}

// segmentName returns the name of a segment that begins with what follows a position.
func segmentName(before everheap.Position) string {
	return fmt.Sprintf("%s%020d-%s%s", segmentPrefix, before.Version+1, chainText(before.Chain), segmentSuffix)
}

// parseName returns what the name of a file says; ok is false if it is none of that kind.
func parseName(name, prefix, suffix string) (f file, ok bool) {
	rest, is := strings.CutPrefix(name, prefix)
	rest, has := strings.CutSuffix(rest, suffix)
	var v uint64
	var chain string
	if !is || !has || len(rest) != 20+1+8 {
		return f, false
	}
	if n, err := fmt.Sscanf(rest, "%d-%s", &v, &chain); err != nil || n != 2 {
		return f, false
	}
	return file{name: name, version: everheap.Version(v), chain: chain}, true
}

// IsDirectory reports whether a path is a directory that a space was shipped to.
func IsDirectory(path string) (bool, error) {
	d := &directory{path: path}
	err := d.read()
	return len(d.snapshots) > 0, err
}

// openDir reads what is in a directory, and makes it if it is not there.
func openDir(path string) (*directory, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	d := &directory{path: path}
	return d, d.read()
}

// read lists the files.
func (d *directory) read() error {
	list, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	d.snapshots, d.segments = nil, nil
	for _, e := range list {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if f, ok := parseName(e.Name(), snapshotPrefix, snapshotSuffix); ok {
			f.time, f.size = info.ModTime(), info.Size()
			d.snapshots = append(d.snapshots, f)
		}
		if f, ok := parseName(e.Name(), segmentPrefix, segmentSuffix); ok {
			f.time, f.size = info.ModTime(), info.Size()
			d.segments = append(d.segments, f)
		}
	}
	byVersion := func(a, b file) int {
		if a.version != b.version {
			return int(int64(a.version) - int64(b.version))
		}
		return a.time.Compare(b.time)
	}
	slices.SortFunc(d.snapshots, byVersion)
	slices.SortFunc(d.segments, byVersion)
	return nil
}

func (d *directory) join(name string) string { return filepath.Join(d.path, name) }

// Damage is a segment that cannot be read to its end, or is not there.
type Damage struct {
	File   string           // its path
	Offset int64            // of the first frame that is not whole
	Last   everheap.Version // of the last one before that
}

// Error implements error.
func (d *Damage) Error() string {
	return fmt.Sprintf("%s is damaged at offset %d: it can be read up to version %d", d.File, d.Offset, d.Last)
}

// scan calls fn with each frame of a segment and the offset behind it. A frame that is not whole ends
// it with the error *Damage; but at the end of the last segment that is what a kill has left.
func scan(path string, fn func(f everheap.Frame, end int64) error) (end int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	r := bufio.NewReaderSize(file, 1<<20)
	last := everheap.Version(0)
	for {
		f, err := everheap.ReadFrame(r)
		switch {
		case err == io.EOF:
			return end, nil
		case errors.Is(err, everheap.ErrCorrupt):
			return end, &Damage{path, end, last}
		case err != nil:
			return end, err
		}
		if err := fn(f, end+int64(len(f.Bytes()))); err != nil {
			return end, err
		}
		end, last = end+int64(len(f.Bytes())), f.Version()
	}
}

// syncNames makes names durable.
func (d *directory) syncNames() error {
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// prune removes what versions within the age do not need (SH5).
func (d *directory) prune(keep time.Duration) error {
	if keep == 0 {
		return nil
	}
	if err := d.read(); err != nil {
		return err
	}
	limit := time.Now().Add(-keep)
	first := -1
	for i, s := range d.snapshots {
		if s.time.Before(limit) {
			first = i
		}
	}
	if first <= 0 {
		return nil
	}
	from := d.snapshots[first]
	for _, s := range d.snapshots[:first] {
		if err := os.Remove(d.join(s.name)); err != nil {
			return err
		}
	}
	for i, s := range d.segments { // one whose successor begins at or before the snapshot has nothing that is needed
		if i+1 < len(d.segments) && d.segments[i+1].version <= from.version+1 && s.version <= from.version && s.time.Before(limit) {
			if err := os.Remove(d.join(s.name)); err != nil {
				return err
			}
		}
	}
	return d.read()
}
