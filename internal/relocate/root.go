package relocate

import (
	"errors"
	"fmt"
	"os"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/spacefile"
	"github.com/everheap/everheap/internal/vector"
)

// root is the version that an opener of the space would find, before it replays the journal.
type root struct {
	state    format.Addr
	version  format.Version
	sequence uint64         // of the newest anchor
	limit    uint64         // maximum size of the space, in bytes
	next     uint64         // lowest index that a new object may get; 0: the state's NextIndex
	trusted  bool           // the version is from the live file
	clean    bool           // the version is from an anchor that a clean close wrote
	last     bool           // the journal has no records of later versions
	reaches  format.Version // the version at which a recovery ends
}

// findRoot finds the root: in the live file if it can be trusted, otherwise in the anchors.
func (rw *rewriting) findRoot() error {
	dir := rw.dir
	anchors, doubts, anchorErr := dir.Anchors()
	trusted, err := rw.liveRoot(anchors)
	if err != nil || trusted {
		return err
	}
	if anchorErr != nil {
		return anchorErr
	}
	rw.doubts = doubts
	a := spacefile.NewestAnchor(anchors)
	if rw.src, err = NewSource(rw.data.Bytes(), dir.Header, a.Carved); err != nil {
		return err
	}
	rw.root = root{state: format.Addr(a.State), version: format.Version(a.Version), limit: a.Limit, sequence: newestSequence(anchors), clean: a.Clean == 1}
	rw.root.reaches = rw.root.version
	if err := dir.Remove(live.FileName); err != nil && !errors.Is(err, os.ErrNotExist) { // W3
		return err
	}
	return nil
}

// newestSequence returns the greatest sequence number of the anchors.
func newestSequence(anchors []*format.Anchor) (n uint64) {
	for _, a := range anchors {
		if a != nil {
			n = max(n, a.Sequence)
		}
	}
	return n
}

// liveRoot takes the root from the live file, and reports whether it trusts it, by the rules
// of the engine's openLive.
func (rw *rewriting) liveRoot(anchors []*format.Anchor) (trusted bool, err error) {
	dir := rw.dir
	lv, err := live.Open(dir.Dir, dir.Header.SpaceID, rw.info)
	if errors.Is(err, live.ErrUntrusted) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer lv.Leave(false)
	w := lv.Words()
	defer func() {
		if err == nil && !trusted && (w.Failed.Load() != 0 || lv.InDoubt()) {
			err = fmt.Errorf("%w: an earlier write to the disk failed; open the space for writing once and close it, to repair it", spacefile.ErrIO)
		}
	}()
	carved, end := w.Carved.Load(), w.End.Load()
	if w.Recovering.Load() != 0 || carved > end || end > uint64(rw.info.Size()) || w.Limit.Load() > dir.Header.Window || w.NextIndex.Load() > vector.MaxIndex {
		return false, nil
	}
	if newest := spacefile.NewestAnchor(anchors); newest != nil && newest.Carved > carved {
		return false, nil
	}
	src, err := NewSource(rw.data.Bytes(), dir.Header, carved)
	if err != nil {
		return false, nil
	}
	r := root{state: lv.Current(), limit: w.Limit.Load(), sequence: max(newestSequence(anchors), w.AnchorSequence.Load()), next: w.NextIndex.Load(), trusted: true, last: true}
	err = rw.guard(func() error {
		state, err := src.State(r.state)
		if err == nil {
			r.version = format.Version(state.Version)
			r.reaches = r.version
		}
		return err
	})
	if err != nil {
		return false, nil
	}
	rw.src, rw.root = src, r
	return true, nil
}

// prepareJournal creates the journal if it is missing, and finds out whether it has records
// of later versions than the root. The next opener of the space replays those.
func (rw *rewriting) prepareJournal() error {
	dir := rw.dir
	file, err := dir.OpenFile(journal.FileName, os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		if !rw.root.trusted && !rw.root.clean {
			return spacefile.ErrNoJournal
		}
		rw.root.last = true
		return dir.CreateJournal()
	}
	if err != nil || rw.root.last {
		if err == nil {
			file.Close()
		}
		return err
	}
	defer file.Close()
	log, err := journal.Load(file, dir.Header.SpaceID, rw.root.version)
	if err != nil {
		return err
	}
	var chain uint64
	if err := rw.guard(func() error {
		state, err := rw.src.State(rw.root.state)
		if err == nil {
			chain = state.Chain
		}
		return err
	}); err != nil {
		return err
	}
	records, err := log.Follow(rw.root.version, chain)
	if err == nil {
		rw.root.last, rw.root.reaches = records.Empty(), records.Last
	}
	return err
}
