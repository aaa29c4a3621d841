package changes

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/everheap/everheap/internal/checksum"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/subscription"
)

const (
	asidePrefix = "changes-"
	newSuffix   = ".new"
)

// asideName returns the name of the aside of a version.
func asideName(version format.Version, name uint64) string {
	return fmt.Sprintf("%s%d-%016x", asidePrefix, version, name)
}

// asideVersion returns the version of the aside with a file name; ok is false if the file is not an
// aside.
func asideVersion(file string) (version format.Version, ok bool) {
	var v, name uint64
	n, err := fmt.Sscanf(strings.TrimSuffix(file, newSuffix), asidePrefix+"%d-%x", &v, &name)
	return format.Version(v), err == nil && n == 2
}

// Compare emits the changes that make a version, which is about to be published, out of its base.
type Compare func(base, state *format.State, put func(h format.OpHead, payload []byte) error) error

// Aside writes the changes of a version that is about to be published, and does not list them,
// where subscriptions find them. It returns the number in the name of the file (CH4). before is the
// chain of the base. If it fails it returns 0, and the commit continues: subscriptions miss that
// version, their readers get an error, and no state names the file, if there is one.
func (k *Keeper) Aside(base, state *format.State, before uint64) (name uint64) {
	h := format.ChangeHead{Tag: k.Head.Tag, Kind: format.ChangeCompared, Version: state.Version,
		Before: before, Chain: state.Chain, UnixNano: state.UnixNano}
	err := k.Guarded(func() (err error) {
		name, err = k.putAside(h, func(put func(h format.OpHead, payload []byte) error) error { return k.Compare(base, state, put) })
		return err
	})
	if err != nil {
		k.Note(err)
		return 0
	}
	return name
}

// putAside is Aside under a guard; emit calls put with the changes. The head has everything but the
// size.
func (k *Keeper) putAside(h format.ChangeHead, emit func(put func(h format.OpHead, payload []byte) error) error) (name uint64, err error) {
	k.removeNeedless()
	limit := k.largestLimit()
	if limit == 0 {
		return 0, nil
	}
	for name == 0 { // 0 means no aside
		var b [8]byte
		if _, err := rand.Read(b[:]); err != nil {
			return 0, err
		}
		name = binary.LittleEndian.Uint64(b[:])
	}
	file := asideName(format.Version(h.Version), name)
	f, err := k.Files.OpenFile(file+newSuffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, k.Files.Perm())
	if err != nil {
		return 0, err
	}
	err = writeAside(f, h, limit, emit)
	err = errors.Join(err, f.Close())
	if err == nil {
		invariant.Point("aside.written")
		if err = k.Files.Rename(file+newSuffix, file); err == nil {
			err = k.Files.SyncNames()
		}
	}
	if err != nil {
		return 0, errors.Join(err, k.Files.Remove(file+newSuffix))
	}
	subscription.LoseBehind(k.Live, k.asideBytes)
	k.aside.bytes.Store(uint64(k.asideBytes(k.Live.JournalFloor())))
	k.aside.version.Store(h.Version)
	invariant.Point("aside.named")
	return name, nil
}

// writeAside writes a frame and syncs it. It writes the changes as emit makes them; the head, with
// the size and the checksum, comes last.
func writeAside(f mapping.File, h format.ChangeHead, limit format.ByteCount, emit func(put func(h format.OpHead, payload []byte) error) error) error {
	w := bufio.NewWriterSize(io.NewOffsetWriter(f, int64(format.ChangeHeadSize)), 256<<10)
	most := uint64(min(limit, format.MaxChangeFrame-format.ByteCount(format.ChangeHeadSize)))
	var op []byte
	h.Size = 0
	err := emit(func(c format.OpHead, payload []byte) error {
		op = format.AppendOp(op[:0], c, payload)
		if h.Size += uint64(len(op)); h.Size > most {
			return fmt.Errorf("%w: the changes of version %d have more bytes than any subscription keeps", failure.ErrTooLarge, h.Version)
		}
		_, err := w.Write(op)
		return err
	})
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		return err
	}
	head := format.AppendChangeHead(nil, h)
	sum := checksum.Update(0, head[8:])
	buf := make([]byte, 256<<10)
	for off := int64(0); off < int64(h.Size); off += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), int64(h.Size)-off)]
		if _, err := f.ReadAt(b, int64(format.ChangeHeadSize)+off); err != nil {
			return err
		}
		sum = checksum.Update(sum, b)
	}
	binary.LittleEndian.PutUint32(head[4:], sum)
	if _, err := f.WriteAt(head, 0); err != nil {
		return err
	}
	return f.Datasync()
}

// readAside returns the frame in the aside of a version.
func (k *Keeper) readAside(version format.Version, name, chain uint64) (Frame, error) {
	file := asideName(version, name)
	f, err := k.Files.OpenFile(file, os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return Frame{}, NotKept(version - 1)
	}
	if err != nil {
		return Frame{}, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return Frame{}, err
	}
	damaged := &format.DamageError{File: file, What: "it is not a whole frame of the version: bytes are missing or have changed"}
	if size < int64(format.ChangeHeadSize) || size > format.MaxChangeFrame {
		return Frame{}, damaged
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil {
		return Frame{}, err
	}
	frame, err := Parse(b)
	if err != nil || frame.Version != uint64(version) || frame.Chain != chain || frame.Tag != k.Head.Tag {
		return Frame{}, damaged
	}
	return frame, nil
}

// asides returns the names of all asides.
func (k *Keeper) asides() []os.DirEntry {
	list, err := os.ReadDir(k.Files.Path())
	if err != nil {
		return nil
	}
	n := 0
	for _, e := range list {
		if _, ok := asideVersion(e.Name()); ok {
			list[n] = e
			n++
		}
	}
	return list[:n]
}

// asideBytes returns how many bytes the asides of later versions than the given one have.
func (k *Keeper) asideBytes(after format.Version) (n format.ByteCount) {
	for _, e := range k.asides() {
		if v, _ := asideVersion(e.Name()); v <= after {
			continue
		}
		if info, err := e.Info(); err == nil {
			n += format.ByteCount(info.Size())
		}
	}
	return n
}

// Tidy removes the asides that have become unnecessary since its last call in this process, for
// example because an anchor was written after the last subscription was dropped.
func (k *Keeper) Tidy() error {
	if floor := k.Live.KeptFloor(); floor != k.tidied {
		k.removeNeedless()
		k.tidied = floor
	}
	return nil
}

// removeNeedless removes the asides that neither a subscription (CH1) nor a recovery (CH4) needs,
// and unfinished files of dead writers. It lists the files before it looks what is needed: a
// subscription that is made after that begins at a version at least as new as those of all listed
// asides.
func (k *Keeper) removeNeedless() {
	list := k.asides()
	invariant.Point("aside.listed")
	floor := k.Live.KeptFloor()
	k.Live.Assure() // L16
	for _, e := range list {
		if v, _ := asideVersion(e.Name()); v <= floor {
			_ = k.Files.Remove(e.Name()) // the next call tries again
		}
	}
}
