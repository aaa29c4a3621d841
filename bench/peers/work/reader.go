package work

import (
	"fmt"
	"reflect"
	"time"

	"github.com/everheap/everheap/bench/peers/engines"
	"github.com/everheap/everheap/bench/peers/measure"
	"github.com/everheap/everheap/bench/peers/model"
)

// readerTime is how many seconds of updates are enough: with a reader, some engines take
// longer for each the more there were.
const readerTime = 3

// reader updates single records, up to b.Updates: without a reader, while a reader holds the version
// from before, and once more after it has ended. The values are the growth of the files per update.
func (b *Bench) reader(dir string) error {
	o, err := b.loaded(dir, b.N, engines.Options{Durability: engines.Async}, 2)
	if err != nil {
		return err
	}
	t := newWorkers(1, 31)[0]
	update := func(op string) error {
		before := measure.DiskMiB(dir)
		watch := measure.StartWatch(o.pids()...)
		r, start := &result{}, time.Now()
		for ; r.ops < int64(b.Updates) && time.Since(start).Seconds() < readerTime; r.ops++ {
			i := t.rng.N(b.N)
			if err := o.sessions[1].Put(t.key.Key(i), t.pool.Take(i, int64(i))); err != nil {
				return err
			}
		}
		r.took, r.foreign = watch.Stop()
		rec := r.record(op, "async", (measure.DiskMiB(dir)-before)*1024/float64(r.ops), "KiB")
		rec.Extra = map[string]float64{"before": before, "ns": float64(r.took) / float64(r.ops)}
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
