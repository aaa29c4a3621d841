package changes

import (
	"errors"
	"slices"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
)

// InParts returns a function that replays the records of a recovery in parts, by calls of replay. A
// version with an aside is a part of its own, since it may add a checkpoint of the version before
// (CH4); all versions between two such form one part. If the recovery dies, live still says that it
// is to be recovered, and the next one begins again.
func (k *Keeper) InParts(replay func(*journal.History) error) func(*journal.History) error {
	part := func(records *journal.History) error {
		if records.Empty() {
			return nil
		}
		err := replay(records)
		if err == nil { // the journal has these records: a step that makes room need not write them
			k.Live.RaiseWritten(records.Last)
		}
		return err
	}
	return func(records *journal.History) error {
		for _, aside := range k.AsideVersions() {
			for _, last := range []format.Version{aside - 1, aside} {
				before, after := records.Split(last)
				if err := part(before); err != nil {
					return err
				}
				records = after
			}
		}
		return part(records)
	}
}

// AsideVersions returns the versions that may have an aside, in order.
func (k *Keeper) AsideVersions() (list []format.Version) {
	for _, e := range k.asides() {
		v, _ := asideVersion(e.Name())
		list = append(list, v)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// VerifyAside returns an error if a recovery could not replay the version of a record that names an
// aside.
func (k *Keeper) VerifyAside(r format.RecordHead, name uint64) error {
	_, err := k.Recovered(r, name)
	return err
}

// Weight returns how many bytes of asides a recovery from a version on would replay, as far as this
// process knows: it knows the asides up to the last one that it has written.
func (k *Keeper) Weight(after format.Version) format.ByteCount {
	if k.aside.version.Load() <= uint64(after) {
		return 0
	}
	return format.ByteCount(k.aside.bytes.Load())
}

// Recovered returns the frame of a version whose record names an aside: the record has nothing
// else. Without the aside the versions after it cannot be recovered either.
func (k *Keeper) Recovered(r format.RecordHead, name uint64) (Frame, error) {
	f, err := k.readAside(format.Version(r.Version), name, r.Chain)
	if errors.Is(err, failure.ErrNotKept) {
		err = &format.DamageError{File: asideName(format.Version(r.Version), name),
			What: "the file with the changes of a durable version is missing; put it back, or " + k.Files.WayOut()}
	}
	return f, err
}
