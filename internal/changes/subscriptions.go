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

	// DefaultLimit is how many bytes are kept for a subscription by default.
	DefaultLimit = 128 << 20
	// MostLimit is how many bytes may be kept for one subscription: the journal has room beside it
	// for what a recovery needs.
	MostLimit = format.NumSegments * format.SegmentSize * 3 / 4
	// LeastLimit is the smallest useful limit: two segments of the journal.
	LeastLimit = 2 * format.SegmentSize
)

// Info describes a subscription.
type Info struct {
	Name    string
	Version format.Version // all later versions are kept
	Lost    bool           // it fell behind by more than its limit, and keeps nothing
	Limit   format.ByteCount
	Kept    format.ByteCount // bytes kept after the version: whole segments of the journal, and asides
}

// checkName returns an error for an invalid name of a subscription, which is a part of a file name.
func checkName(name string) error {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.'
	}
	if name == "" || len(name) > format.MaxSubscriptionName || strings.ContainsFunc(name, func(r rune) bool { return !ok(r) }) || strings.HasSuffix(name, newSuffix) {
		return fmt.Errorf("the name %q of a subscription must have 1 to %d letters, digits, dots, hyphens and underscores, and not end in %q", name, format.MaxSubscriptionName, newSuffix)
	}
	return nil
}

// Subscribe makes a subscription that begins after the newest version, or finds the one with the
// name. limit is how many bytes may be kept for a new one; 0 means DefaultLimit. A lost
// subscription stays lost, and the error is failure.ErrNotKept, so that its owner learns of it.
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
				err = k.restartUnlessKept(name)
			}
			if err != nil {
				return err
			}
			if s, ok = k.find(name); !ok {
				return none(name) // it was dropped already
			}
		}
		return lostError(s)
	})
}

// unfiled reports whether a subscription has no file: a Drop in progress has removed it, or one
// that died.
func (k *Keeper) unfiled(name string) bool {
	_, err := k.Files.Stat(subscriptionPrefix + name)
	return errors.Is(err, os.ErrNotExist)
}

// make makes a subscription, unless one has the name. It has the turn meanwhile, so no writer that
// has found no subscription is about to publish (CH1); sure reports whether it had the turn to the
// end. The file comes first (CH5).
func (k *Keeper) make(name string, limit format.ByteCount) (sure bool, err error) {
	if err := k.Take(context.Background()); err != nil {
		return false, err
	}
	defer k.Give()
	if _, ok := k.find(name); ok { // another process made it while this one waited
		return true, nil
	}
	version, release, err := k.newestDurable()
	if err != nil {
		return false, err
	}
	defer release()
	k.files.Lock()
	defer k.files.Unlock()
	if err := k.put(name, version, limit); err != nil { // otherwise the next recovery would find the subscription
		return false, errors.Join(err, k.removed(subscriptionPrefix+name))
	}
	invariant.Point("subscribe.written")
	s, ok := subscription.Make(k.Live, name, version, limit)
	if !ok {
		return false, errors.Join(fmt.Errorf("%w: a space has at most %d subscriptions; drop an unused one", failure.ErrTooLarge, format.NumSubscriptions),
			k.removed(subscriptionPrefix+name))
	}
	invariant.Point("subscribe.made")
	if err := k.only(name, s); err != nil {
		return false, err
	}
	return k.Live.OwnsWriter(), nil
}

// newestDurable returns the newest version once it is durable: a recovery could end at an older
// version otherwise, whose successors would not be kept. It holds the version until release.
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

// Restart makes a subscription begin after the newest version, even if it is lost.
func (k *Keeper) Restart(name string) error {
	if k.ReadOnly {
		return failure.ErrReadOnly
	}
	return k.Within(func() error { return k.restart(name) })
}

// restartUnlessKept completes a Subscribe that was suspended while it had the turn. Another process
// has taken that turn over, and it or a later writer may have published a version without an aside,
// since it found no subscription. From this turn on every writer finds the subscription. So the
// subscription begins again if frames after its version are missing; if none is missing it stays,
// since other processes may use it already.
func (k *Keeper) restartUnlessKept(name string) error {
	if err := k.Take(context.Background()); err != nil {
		return err
	}
	whole, err := k.hasFrames(name)
	k.Give()
	if err == nil && !whole {
		err = k.restart(name)
	}
	return err
}

// hasFrames reports whether the frames of all versions that a subscription needs can be read.
func (k *Keeper) hasFrames(name string) (bool, error) {
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

// restart is Restart for a caller that has entered. If its turn is taken over, it tries again: a
// writer that found only lost subscriptions may have published a version without an aside.
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

// restartInTurn is restart for a caller with the turn; sure reports whether it had the turn to the
// end.
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
	if !subscription.Restart(k.Live, s.Slot, version) { // it was dropped just now
		return false, errors.Join(none(name), k.removed(subscriptionPrefix+name))
	}
	k.removeNeedless()
	return k.Live.OwnsWriter(), nil
}

// only makes sure that just one subscription has the name, the one in the first slot: if this
// process was suspended, another one may have taken its turn over and made one.
func (k *Keeper) only(name string, mine subscription.Slot) error {
	first, ok := k.find(name)
	for _, s := range subscription.List(k.Live) {
		if s.Name == name && s.Slot != first.Slot {
			subscription.End(k.Live, s.Slot)
		}
	}
	if !ok || first.Slot == mine || first.Version == live.LostVersion { // otherwise this process has replaced the other's file
		return nil
	}
	return k.put(name, first.Version, first.Limit)
}

// find returns the subscription with a name.
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

// none is the error for a missing subscription.
func none(name string) error {
	return fmt.Errorf("%w: there is no subscription %q; it was dropped, or never made", failure.ErrNotFound, name)
}

// lostError is the error for the use of a lost subscription; nil if it is not lost.
func lostError(s subscription.Info) error {
	if s.Version != live.LostVersion {
		return nil
	}
	return fmt.Errorf("%w: the subscription %q fell behind by more than the %d MiB that are kept for it; restart it, or drop it and subscribe again, and begin with a backup", failure.ErrNotKept, s.Name, s.Limit>>20)
}

// Position returns the version of a subscription: it needs all later ones.
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

// Confirm says that a subscription needs no version up to the given one any more. When it returns,
// that is on disk.
func (k *Keeper) Confirm(name string, version format.Version) error {
	if k.ReadOnly {
		return failure.ErrReadOnly
	}
	return k.Within(func() error {
		newest, err := k.NewestVersion()
		if err == nil && version > newest {
			err = fmt.Errorf("version %d cannot be confirmed: the newest version is %d", version, newest)
		}
		if err == nil && version > format.Version(k.Live.Words().Durable.Load()) { // as for a new subscription
			err = k.durable.Await(version)
		}
		if err != nil {
			return err
		}
		return k.confirm(name, version)
	})
}

// confirm is Confirm for a caller that has entered.
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
		version = max(version, s.Version)                     // another process may be ahead, and this one may have replaced its file
		if err := k.put(name, version, s.Limit); err != nil { // CH5
			return err
		}
		written = version
		invariant.Point("confirm.written")
		subscription.Confirm(k.Live, s.Slot, version) // does nothing if it was lost or dropped just now
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

// drop is Drop for a caller that has entered. It removes the file first: if it dies after that, it
// leaves a subscription without a file, which Subscribe ends.
func (k *Keeper) drop(s subscription.Info) error {
	k.files.Lock()
	defer k.files.Unlock()
	if err := k.removed(subscriptionPrefix + s.Name); err != nil {
		return err
	}
	err := k.Files.SyncNames()
	subscription.End(k.Live, s.Slot)
	if other, ok := k.find(s.Name); ok && other.Version != live.LostVersion { // it was made while this process was suspended, and has lost its file
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

// largestLimit returns the largest limit of all subscriptions that are not lost; 0 if there is
// none.
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

// removed removes a file of the directory, if it exists.
func (k *Keeper) removed(file string) error {
	if err := k.Files.Remove(file); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// write writes bytes to a file of the directory, durably, all or none.
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

// Restore makes the subscriptions in a rebuilt live file from their files, and sets the word there
// if the space is a replica. The caller has the space for itself, and writes no journal before
// (CH5).
//
// A process that only reads does so as well: it may be the first since the power was lost, and
// writers may join it.
func (k *Keeper) Restore() error {
	k.restoreReplica()
	if len(subscription.List(k.Live)) > 0 { // an earlier recovery has done so and died
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

// restore makes the subscription of a file. If the file is damaged, the subscription is lost.
func (k *Keeper) restore(name string) error {
	f, err := k.Files.OpenFile(subscriptionPrefix+name, os.O_RDONLY, 0)
	if err != nil && k.Guest { // a guest keeps nothing
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
