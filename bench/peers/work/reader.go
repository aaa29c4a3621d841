package work

import (
	"fmt"
	"reflect"

	"github.com/everheap/everheap/bench/peers/engines"
	"github.com/everheap/everheap/bench/peers/measure"
	"github.com/everheap/everheap/bench/peers/model"
)

// reader updates single records, as many as b.Updates: while nobody reads, while a reader
// holds the version from before, and once more after it has ended. The values are what the
// files grow by.
func (b *Bench) reader(dir string) error {
	o, err := b.loaded(dir, b.N, engines.Options{Durability: engines.Async}, 2)
	if err != nil {
		return err
	}
	t := newWorkers(1, 31)[0]
	update := func(op string) error {
		before := measure.DiskMiB(dir)
		watch := measure.StartWatch(o.pids()...)
		for range b.Updates {
			i := t.rng.N(b.N)
			if err := o.sessions[1].Put(t.key.Key(i), t.pool.Take(i, int64(i))); err != nil {
				return err
			}
		}
		r := &result{ops: int64(b.Updates)}
		r.took, r.foreign = watch.Stop()
		rec := r.record(op, "async", measure.DiskMiB(dir)-before, "MiB")
		rec.Extra = map[string]float64{"before": before, "ns": float64(r.took) / float64(b.Updates)}
		b.Emit(rec)
		return nil
	}
	if err := update("grows-alone"); err != nil {
		return err
	}
	var first, second model.User
	err = o.sessions[0].(engines.Holder).Hold(model.UserKey(1), &first, &second, func() error { return update("grows-held") })
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(first, second) {
		return fmt.Errorf("the reader saw %+v, and then %+v", first, second)
	}
	if err := update("grows-after"); err != nil {
		return err
	}
	return o.close()
}
