package changes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/subscription"
)

const (
	subscriptionPrefix = "subscription-"

	// DefaultLimit is how much is kept for a subscription whose owner says nothing else.
	DefaultLimit = 128 << 20
	// MostLimit is how much may be kept for one: the journal has room for what a recovery needs
	// besides.
	MostLimit = format.NumSegments * format.SegmentSize * 3 / 4
	// LeastLimit is the least that makes sense: two segments of the journal.
	LeastLimit = 2 * format.SegmentSize
)

// Info is what is known of a subscription.
type Info struct {
	Name    string
	Version format.Version // after which everything is kept
	Lost    bool           // it has fallen behind by more than its limit, and nothing is kept
	Limit   format.ByteCount
	Kept    format.ByteCount // that the journal keeps after the version, in whole segments, and asides
}

// checkName refuses what cannot be the name of a subscription: it is a part of a file's name.
func checkName(name string) error {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.'
	}
	if name == "" || len(name) > format.MaxSubscriptionName || strings.ContainsFunc(name, func(r rune) bool { return !ok(r) }) || strings.HasSuffix(name, newSuffix) {
		return fmt.Errorf("the name %q of a subscription must have 1 to %d letters, digits, dots, hyphens and underscores, and not end in %q", name, format.MaxSubscriptionName, newSuffix)
	}
	return nil
}

// Subscribe makes a subscription that begins with what comes after the newest version, or finds
// the one of the name. limit is what may be kept for a new one; 0: DefaultLimit. One that is lost
// stays so, and the error is failure.ErrNotKept: its owner is to know.
func (k *Keeper) Subscribe(name string, limit format.ByteCount) error {
	if limit == 0 {
		limit = DefaultLimit
	}
	if err := checkName(name); err != nil {
		return err
	}
	if limit < LeastLimit || limit > MostLimit {
		return fmt.Errorf("%w: a subscription may keep between %d and %d bytes, not %d", failure.ErrTooLarge, LeastLimit, MostLimit, limit)
	}
	if k.ReadOnly {
		return failure.ErrReadOnly
	}
	return k.Within(func() error {
		s, ok := k.find(name)
		if ok && k.unfiled(name) {
			subscription.End(k.Live, s.Slot)
			ok = false
		}
		if !ok {
			sure, err := k.make(name, limit)
			if err == nil && !sure {
				err = k.settle(name)
			}
			if err != nil {
				return err
			}
			if s, ok = k.find(name); !ok {
				return none(name) // dropped already
			}
		}
		return lostError(s)
	})
}

// unfiled reports whether a subscription has no file: who is about to drop it, or has died in that,
// has removed it.
func (k *Keeper) unfiled(name string) bool {
	_, err := k.Files.Stat(subscriptionPrefix + name)
	return errors.Is(err, os.ErrNotExist)
}

// make makes a subscription, unless there is one of the name. It has the turn meanwhile, so nobody
// is about to publish who has found no subscription (CH1); sure says that it had it to the end.
// The file comes first (CH5).
func (k *Keeper) make(name string, limit format.ByteCount) (sure bool, err error) {
	if err := k.Take(context.Background()); err != nil {
		return false, err
	}
	defer k.Give()
	if _, ok := k.find(name); ok { // made while this one has waited
		return true, nil
	}
	version, release, err := k.newestDurable()
	if err != nil {
		return false, err
	}
	defer release()
	k.files.Lock()
	defer k.files.Unlock()
	if err := k.put(name, version, limit); err != nil { // else the next recovery would find one
		return false, errors.Join(err, k.removed(subscriptionPrefix+name))
	}
	invariant.Point("subscribe.written")
	s, ok := subscription.Make(k.Live, name, version, limit)
	if !ok {
		return false, errors.Join(fmt.Errorf("%w: a space has at most %d subscriptions; drop one that nobody uses", failure.ErrTooLarge, format.NumSubscriptions),
			k.removed(subscriptionPrefix+name))
	}
	invariant.Point("subscribe.made")
	if err := k.only(name, s); err != nil {
		return false, err
	}
	return k.Live.OwnsWriter(), nil
}

// newestDurable returns the newest version, which is durable then, else a recovery could come to
// an older one, and what follows that would not be kept. It is held until release.
func (k *Keeper) newestDurable() (version format.Version, release func(), err error) {
	release = k.Live.Holding()
	if version, err = k.NewestVersion(); err == nil {
		err = k.durable.Await(version)
	}
	if err != nil {
		release()
	}
	return version, release, err
}

// Restart makes a subscription, also one that is lost, begin with what comes after the newest
// version.
func (k *Keeper) Restart(name string) error {
	if k.ReadOnly {
		return failure.ErrReadOnly
	}
	return k.Within(func() error { return k.restart(name) })
}

// settle is for one who has made a subscription, and has stood still: another process has taken the
// turn over, and it, or one that came after it, may have published a version without an aside, as
// it has found no subscription. Who publishes from this turn on has seen one. So the subscription
// begins anew if what follows it cannot be had; else others may use it already.
func (k *Keeper) settle(name string) error {
	if err := k.Take(context.Background()); err != nil {
		return err
	}
	told, err := k.told(name)
	k.Give()
	if err == nil && !told {
		err = k.restart(name)
	}
	return err
}

// told reports whether there are the frames of all versions that a subscription needs.
func (k *Keeper) told(name string) (bool, error) {
	newest, release, err := k.newestDurable()
	if err != nil {
		return false, err
	}
	defer release()
	s, ok := k.find(name)
	if !ok || s.Version == live.LostVersion || s.Version >= newest {
		return true, nil
	}
	tail, err := k.tailFrom(s.Version)
	for at := s.Version; err == nil && at < newest; at, _ = tail.At() {
		_, err = k.next(tail)
	}
	if errors.Is(err, failure.ErrNotKept) {
		return false, nil
	}
	return err == nil, err
}

// restart is Restart for who has entered. Where its turn is taken over, it is done again: a version
// may have been published without an aside by who has found no subscription that is not lost.
func (k *Keeper) restart(name string) error {
	for {
		if err := k.Take(context.Background()); err != nil {
			return err
		}
		sure, err := k.restartInTurn(name)
		k.Give()
		if err != nil || sure {
			return err
		}
	}
}

// restartInTurn is restart for who has the turn; sure says that it had it to the end.
func (k *Keeper) restartInTurn(name string) (sure bool, err error) {
	version, release, err := k.newestDurable()
	if err != nil {
		return false, err
	}
	defer release()
	k.files.Lock()
	defer k.files.Unlock()
	s, ok := k.find(name)
	if !ok {
		return false, none(name)
	}
	if err := k.put(name, version, s.Limit); err != nil { // CH5
		return false, err
	}
	if !subscription.Restart(k.Live, s.Slot, version) { // dropped just now
		return false, errors.Join(none(name), k.removed(subscriptionPrefix+name))
	}
	k.removeNeedless()
	return k.Live.OwnsWriter(), nil
}

// only sees to it that there is one subscription of the name, whose slot is the first one: another
// process may have taken the turn over from this one, and made one while this one stood still.
func (k *Keeper) only(name string, mine subscription.Slot) error {
	first, ok := k.find(name)
	for _, s := range subscription.List(k.Live) {
		if s.Name == name && s.Slot != first.Slot {
			subscription.End(k.Live, s.Slot)
		}
	}
	if !ok || first.Slot == mine || first.Version == live.LostVersion { // else this one has replaced its file
		return nil
	}
	return k.put(name, first.Version, first.Limit)
}

// find returns the subscription of a name.
func (k *Keeper) find(name string) (subscription.Info, bool) {
	list := subscription.List(k.Live)
	k.Live.Assure() // L16
	for _, s := range list {
		if s.Name == name {
			return s, true
		}
	}
	return subscription.Info{}, false
}

// none says that there is no subscription of the name.
func none(name string) error {
	return fmt.Errorf("%w: there is no subscription %q; it was dropped, or never made", failure.ErrNotFound, name)
}

// lostError is the error of who uses a subscription that is lost.
func lostError(s subscription.Info) error {
	if s.Version != live.LostVersion {
		return nil
	}
	return fmt.Errorf("%w: the subscription %q has fallen behind by more than the %d MiB that are kept for it; restart it, or drop it and subscribe again, and begin with a backup", failure.ErrNotKept, s.Name, s.Limit>>20)
}

// Position returns the version after which a subscription needs everything.
func (k *Keeper) Position(name string) (version format.Version, err error) {
	err = k.Within(func() error {
		s, ok := k.find(name)
		if !ok {
			return none(name)
		}
		version = s.Version
		return lostError(s)
	})
	return version, err
}

// Confirm says that a subscription needs nothing any more up to a version. It is on disk when
// it returns.
func (k *Keeper) Confirm(name string, version format.Version) error {
	if k.ReadOnly {
		return failure.ErrReadOnly
	}
	return k.Within(func() error {
		newest, err := k.NewestVersion()
		if err == nil && version > newest {
			err = fmt.Errorf("version %d cannot be confirmed: the newest one is %d", version, newest)
		}
		if err == nil && version > format.Version(k.Live.Words().Durable.Load()) { // as in subscribe
			err = k.durable.Await(version)
		}
		if err != nil {
			return err
		}
		return k.confirm(name, version)
	})
}

// confirm is Confirm for who has entered.
func (k *Keeper) confirm(name string, version format.Version) error {
	k.files.Lock()
	defer k.files.Unlock()
	for written := format.Version(0); ; {
		s, ok := k.find(name)
		switch {
		case !ok:
			return none(name)
		case s.Version == live.LostVersion:
			return lostError(s)
		case s.Version >= version && (written == 0 || written == s.Version):
			k.removeNeedless()
			return nil
		}
		version = max(version, s.Version)                     // of a process that was faster, whose file this one has replaced
		if err := k.put(name, version, s.Limit); err != nil { // CH5
			return err
		}
		written = version
		invariant.Point("confirm.written")
		subscription.Confirm(k.Live, s.Slot, version) // or it was lost or dropped just now
	}
}

// Drop ends a subscription.
func (k *Keeper) Drop(name string) error {
	if k.ReadOnly {
		return failure.ErrReadOnly
	}
	return k.Within(func() error {
		s, ok := k.find(name)
		if !ok {
			return none(name)
		}
		return k.drop(s)
	})
}

// drop is Drop for who has entered. The file goes first: who dies then leaves a subscription
// without one, which Subscribe ends.
func (k *Keeper) drop(s subscription.Info) error {
	k.files.Lock()
	defer k.files.Unlock()
	if err := k.removed(subscriptionPrefix + s.Name); err != nil {
		return err
	}
	err := k.Files.SyncNames()
	subscription.End(k.Live, s.Slot)
	if other, ok := k.find(s.Name); ok && other.Version != live.LostVersion { // made while this one stood still, and without its file now
		err = errors.Join(err, k.put(s.Name, other.Version, other.Limit))
	}
	k.removeNeedless()
	return err
}

// List lists the subscriptions.
func (k *Keeper) List() (list []Info, err error) {
	err = k.Within(func() error {
		for _, s := range subscription.List(k.Live) {
			i := Info{Name: s.Name, Version: s.Version, Lost: s.Version == live.LostVersion, Limit: s.Limit}
			if !i.Lost {
				i.Kept = k.Live.JournalBytes(s.Version) + k.asideBytes(s.Version)
			}
			list = append(list, i)
		}
		k.Live.Assure() // L16
		return nil
	})
	return list, err
}

// largestLimit returns the largest limit of a subscription that is not lost; 0: there is none.
func (k *Keeper) largestLimit() (most format.ByteCount) {
	for _, s := range subscription.List(k.Live) {
		if s.Version != live.LostVersion {
			most = max(most, s.Limit)
		}
	}
	return most
}

// put writes the file of a subscription.
func (k *Keeper) put(name string, version format.Version, limit format.ByteCount) error {
	s := format.Subscription{SpaceID: k.Head.SpaceID, Version: uint64(version), Limit: uint64(limit)}
	copy(s.Name[:], name)
	file := subscriptionPrefix + name
	return k.write(fmt.Sprintf("%s-%d%s", file, k.Live.Incarnation(), newSuffix), file, s.Encode())
}

// removed removes a file of the directory, if it is there.
func (k *Keeper) removed(file string) error {
	if err := k.Files.Remove(file); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// write puts bytes into a file of the directory, durably, whole or not at all.
func (k *Keeper) write(temporary, file string, b []byte) error {
	f, err := k.Files.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_TRUNC, k.Files.Perm())
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(b, 0); err == nil {
		err = f.Datasync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		if err = k.Files.Rename(temporary, file); err == nil {
			return k.Files.SyncNames()
		}
	}
	return errors.Join(err, k.removed(temporary))
}

// Restore makes the subscriptions of a live file that was made anew, from their files, and says
// there whether the space is a replica. The caller has the space for itself, and writes no journal before (CH5).
//
// One who only reads does so as well: he may be the first one since the power was lost, and others
// who write join him.
func (k *Keeper) Restore() error {
	k.restoreReplica()
	if len(subscription.List(k.Live)) > 0 { // a recovery that was cut short was here
		return nil
	}
	list, err := os.ReadDir(k.Files.Path())
	if err != nil {
		return err
	}
	for _, e := range list {
		name, ok := strings.CutPrefix(e.Name(), subscriptionPrefix)
		if !ok {
			continue
		}
		if strings.HasSuffix(name, newSuffix) {
			if !k.ReadOnly {
				_ = k.Files.Remove(e.Name())
			}
			continue
		}
		if err := k.restore(name); err != nil {
			return err
		}
	}
	return nil
}

// restore makes the subscription of a file. One whose file is damaged is lost.
func (k *Keeper) restore(name string) error {
	f, err := k.Files.OpenFile(subscriptionPrefix+name, os.O_RDONLY, 0)
	if err != nil && k.Guest { // who keeps nothing
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, format.SubscriptionSize+1)
	n, _ := f.ReadAt(b, 0)
	s, ok := format.DecodeSubscription(b[:n])
	if !ok || s.SpaceID != k.Head.SpaceID || checkName(name) != nil {
		if checkName(name) == nil {
			subscription.Make(k.Live, name, live.LostVersion, DefaultLimit)
		}
		return nil
	}
	subscription.Make(k.Live, name, format.Version(s.Version), format.ByteCount(s.Limit))
	return nil
}
