package replica

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/everheap/everheap"
	"github.com/nats-io/nats.go/jetstream"
)

// A snapshot is a backup in the object store.
type snapshot struct {
	object  string
	version uint64
	chain   uint64
	size    int64
}

// Offsets in the head of a backup; see BackupHead in FORMAT.md.
const (
	backupHeadSize = 108
	backupChain    = 24
	backupVersion  = 80
	backupChained  = 98
)

// makeSnapshot puts a backup of the space into the object store. Its version is durable when
// makeSnapshot returns (JS4).
func (s *store) makeSnapshot(ctx context.Context, space *everheap.Space, dir, token string) (snapshot, error) {
	f, err := os.CreateTemp(dir, "snapshot-*.tmp")
	if err != nil {
		return snapshot{}, err
	}
	defer f.Close()
	defer os.Remove(f.Name())
	if err := space.Backup(f); err != nil {
		return snapshot{}, err
	}
	if err := space.Sync(ctx); err != nil {
		return snapshot{}, err
	}
	var head [backupHeadSize]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return snapshot{}, err
	}
	if head[backupChained] != 1 {
		return snapshot{}, errors.New("replica: the newest version of the space has no chain: it was written by an older Everheap; change something in it first")
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return snapshot{}, err
	}
	snap := snapshot{version: binary.LittleEndian.Uint64(head[backupVersion:]), chain: binary.LittleEndian.Uint64(head[backupChain:]), size: size}
	snap.object = fmt.Sprintf("%d-%s", snap.version, token)
	err = s.put(ctx, snap.object, "backup of version "+fmt.Sprint(snap.version), f)
	return snap, err
}

// errDamaged says that a snapshot in the object store has changed, or is missing.
var errDamaged = errors.New("the snapshot is damaged")

// damaged returns the error for a damaged snapshot.
func damaged(mark *message, why error) error {
	return fmt.Errorf("%w: that of version %d, %s: %w", errDamaged, mark.note.Of, mark.note.Object, why)
}

// download returns the backup of a snapshot, in a file without a name. It verifies the digest.
func (s *store) download(ctx context.Context, mark *message, dir string) (*os.File, error) {
	info, err := s.objects.GetInfo(ctx, mark.note.Object)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil, damaged(mark, err)
	}
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, "snapshot-*.tmp")
	if err != nil {
		return nil, err
	}
	digest := sha256.New()
	err = s.get(ctx, info, io.MultiWriter(f, digest))
	if err = errors.Join(err, os.Remove(f.Name())); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if got := jetstream.GetObjectDigestValue(digest); err == nil && got != info.Digest {
		err = damaged(mark, fmt.Errorf("its digest is %s, and should be %s", got, info.Digest))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// newestMark returns the mark of the newest snapshot or base.
func (s *store) newestMark(ctx context.Context) (*message, error) {
	last, _, err := s.last(ctx)
	if err != nil || last == nil || last.newest() == 0 {
		return nil, err
	}
	m, err := s.at(ctx, last.newest())
	if err != nil || m == nil || m.seq != last.newest() || !m.isMark() {
		return nil, err
	}
	return m, nil
}

// prune deletes old snapshots except the newest keep, and the messages that only the deleted ones
// needed (JS5).
func (s *store) prune(ctx context.Context, keep int) error {
	kept := map[string]bool{}
	from := uint64(0)
	m, err := s.newestMark(ctx)
	for ; err == nil && m != nil && len(kept) < keep; m, err = s.markBefore(ctx, m) {
		kept[m.note.Object] = true
		from = m.note.From
	}
	if err != nil || len(kept) == 0 {
		return err
	}
	// The client library's list may wait without limit when a server has changed (JS11).
	short, cancel := context.WithTimeout(ctx, quietAtMost)
	defer cancel()
	list, err := s.objects.List(short)
	if err != nil {
		return err
	}
	if from > 1 {
		if err := s.stream.Purge(ctx, jetstream.WithPurgeSequence(from)); err != nil {
			return err
		}
	}
	for _, o := range list {
		if !kept[o.Name] {
			if err := s.objects.Delete(ctx, o.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// markBefore returns the snapshot or base before m, if it still exists and the log continues from it
// to m.
func (s *store) markBefore(ctx context.Context, m *message) (*message, error) {
	if m.note.Kind == kindBase || m.note.Mark == 0 {
		return nil, nil
	}
	before, err := s.at(ctx, m.note.Mark)
	if err != nil || before == nil || before.seq != m.note.Mark || !before.isMark() {
		return nil, err
	}
	return before, nil
}

// leadText cuts the name of the leader to the length that a replica can store.
func leadText(s string) string { return s[:min(len(s), 128)] }

// setAside renames a directory to the name of the space's directory with a number.
func setAside(what, dir string) (string, error) {
	for i := 1; ; i++ {
		aside := fmt.Sprintf("%s.aside-%d", filepath.Clean(dir), i)
		if _, err := os.Lstat(aside); errors.Is(err, os.ErrNotExist) {
			return aside, os.Rename(what, aside)
		} else if err != nil {
			return "", err
		}
	}
}
