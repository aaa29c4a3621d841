package ship

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/everheap/everheap"
)

// directory is the list of the snapshots and segments in a directory.
type directory struct {
	path      string
	snapshots []file // by version
	segments  []file // by the version of the first frame
	straight  bool   // read a segment to its end, even if a newer segment begins inside it
}

// file is a snapshot or a segment.
type file struct {
	name    string
	version everheap.Version // of the snapshot, or of the first frame
	chain   string           // of a snapshot's version, or of the version before the first frame
	ordinal int              // of segments that begin with the same version of different histories; 0: the first
	time    time.Time        // time of the last write to the file
	size    int64
}

const (
	snapshotPrefix, snapshotSuffix = "snapshot-", ".backup"
	segmentPrefix, segmentSuffix   = "changes-", ".frames"
	newSuffix                      = ".new"
	damagedSuffix                  = ".damaged"
)

// chainText formats a chain for the names of files.
func chainText(chain uint64) string { return fmt.Sprintf("%016x", chain)[:8] }

func snapshotName(p everheap.Position) string {
	return fmt.Sprintf("%s%020d-%s%s", snapshotPrefix, p.Version, chainText(p.Chain), snapshotSuffix)
}

// segmentName returns the name of a segment whose first frame follows a position.
func segmentName(before everheap.Position, ordinal int) string {
	more := ""
	if ordinal > 0 {
		more = fmt.Sprintf("-%d", ordinal+1)
	}
	return fmt.Sprintf("%s%020d-%s%s%s", segmentPrefix, before.Version+1, chainText(before.Chain), more, segmentSuffix)
}

// names matches the name of a file without prefix and suffix.
var names = regexp.MustCompile(`^(\d{20})-([0-9a-f]{8})(?:-([1-9]\d{0,5}))?$`)

// parseName parses the name of a file; ok is false if the name does not have the prefix, the suffix
// and the parts.
func parseName(name, prefix, suffix string) (f file, ok bool) {
	rest, is := strings.CutPrefix(name, prefix)
	rest, has := strings.CutSuffix(rest, suffix)
	parts := names.FindStringSubmatch(rest)
	if !is || !has || parts == nil {
		return f, false
	}
	v, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil {
		return f, false
	}
	f = file{name: name, version: everheap.Version(v), chain: parts[2]}
	if parts[3] != "" {
		n, _ := strconv.Atoi(parts[3]) // up to six digits
		f.ordinal = n - 1
	}
	return f, true
}

// IsDirectory reports whether a path is a directory into which a space was shipped.
func IsDirectory(path string) (bool, error) {
	d := &directory{path: path}
	err := d.read()
	return len(d.snapshots) > 0, err
}

// openDir lists the files of a directory, and creates the directory if it is missing.
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
		return cmp.Or(cmp.Compare(a.version, b.version), cmp.Compare(a.ordinal, b.ordinal), a.time.Compare(b.time))
	}
	slices.SortFunc(d.snapshots, byVersion)
	slices.SortFunc(d.segments, byVersion)
	return nil
}

func (d *directory) join(name string) string { return filepath.Join(d.path, name) }

// syncNames makes names durable.
func (d *directory) syncNames() error {
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// headOf returns the position of a snapshot, and the time of that version's commit.
func (d *directory) headOf(f file) (everheap.Position, time.Time, error) {
	r, err := os.Open(d.join(f.name))
	if err != nil {
		return everheap.Position{}, time.Time{}, err
	}
	defer r.Close()
	return everheap.BackupPosition(r)
}

// snapshotAt returns the number of the snapshot of a position, or -1.
func (d *directory) snapshotAt(p everheap.Position) int {
	name := snapshotName(p)
	return slices.IndexFunc(d.snapshots, func(f file) bool { return f.name == name })
}

// freeName returns a name for a new segment, which no segment with a frame has (SH2).
func (d *directory) freeName(p everheap.Position) string {
	for n := 0; ; n++ {
		name := segmentName(p, n)
		if _, _, err := firstOf(d.join(name)); err == io.EOF || errors.Is(err, fs.ErrNotExist) {
			return name
		}
	}
}

// prune removes the files that versions within the age do not need (SH5). active is the segment to
// which Run appends.
func (d *directory) prune(keep time.Duration, active string) error {
	if keep == 0 {
		return nil
	}
	if err := d.read(); err != nil {
		return err
	}
	limit := time.Now().Add(-keep)
	base, at := "", time.Time{}
	version := everheap.Version(0)
	heads := map[string]time.Time{}
	for _, f := range d.snapshots {
		p, committed, err := d.headOf(f)
		if err != nil { // the snapshot is damaged, or another tool has removed it: leave it
			continue
		}
		heads[f.name] = committed
		if f.time.Before(limit) && committed.Before(limit) && !committed.Before(at) {
			base, at, version = f.name, committed, p.Version
		}
	}
	if base == "" {
		return nil
	}
	for _, f := range d.snapshots {
		if committed, ok := heads[f.name]; ok && f.name != base && f.version <= version && !committed.After(at) {
			if err := os.Remove(d.join(f.name)); err != nil {
				return err
			}
		}
	}
	for _, f := range d.segments {
		if f.name == active || !f.time.Before(limit) || f.version > version {
			continue
		}
		needed := false
		_, err := scan(d.join(f.name), f.version, func(f everheap.Frame, _ int64) error {
			if f.Version() > version || f.Time().After(at) {
				needed = true
				return errEnough
			}
			return nil
		})
		if damage := (*Damage)(nil); err != nil && !errors.As(err, &damage) && !errors.Is(err, errEnough) {
			return err
		}
		if !needed {
			if err := os.Remove(d.join(f.name)); err != nil {
				return err
			}
		}
	}
	return d.syncNames()
}
