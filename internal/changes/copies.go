package changes

import (
	"context"
	"fmt"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/subscription"
)

// Acknowledge notes that a copy durably has a version of this space's history.
func (k *Keeper) Acknowledge(name string, version format.Version) error {
	if name == "" || len(name) > format.MaxSubscriptionName {
		return fmt.Errorf("%w: the name of a copy has 1 to %d bytes", failure.ErrTooLarge, format.MaxSubscriptionName)
	}
	if k.ReadOnly {
		return failure.ErrReadOnly
	}
	return k.Within(func() error {
		newest, err := k.NewestVersion()
		switch {
		case err != nil:
			return err
		case version > newest:
			return fmt.Errorf("the copy %q acknowledges version %d, but the newest version is %d", name, version, newest)
		case !subscription.Acknowledge(k.Live, name, version):
			return fmt.Errorf("%w: a space takes acknowledgements of at most %d copies", failure.ErrTooLarge, format.NumCopies)
		}
		return nil
	})
}

// AwaitCopies returns when n copies have acknowledged a version.
func (k *Keeper) AwaitCopies(ctx context.Context, version format.Version, n int) error {
	for {
		have := 0
		err := k.Within(func() error {
			have = subscription.AwaitCopies(k.Live, version, n, waitAtMost)
			return nil
		})
		if err == nil && have >= n {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("%w: version %d is committed and durable here, and %d of %d copies have acknowledged it: %w", failure.ErrNotReplicated, version, have, n, err)
		}
	}
}
