package work

import (
	"fmt"
	"time"

	"github.com/everheap/everheap/bench/peers/engines"
	"github.com/everheap/everheap/bench/peers/measure"
	"github.com/everheap/everheap/bench/peers/model"
)

// graphWalks is how often the graph is traversed; the first walk is not counted.
const graphWalks = 4

// graph loads parts that refer to three others each, and walks depth first over all.
func (b *Bench) graph(dir string) error {
	o, err := b.open(engines.Options{Dir: dir, Durability: engines.None}, 1)
	if err != nil {
		return err
	}
	g, ok := o.sessions[0].(engines.Graph)
	if !ok {
		return fmt.Errorf("%T has no graph", o.sessions[0])
	}
	parts := model.DrawGraph(b.Parts)
	want := int64(0)
	for _, p := range parts {
		want += p.X + p.Y
	}
	start := time.Now()
	if err := g.LoadGraph(parts); err != nil {
		return err
	}
	b.Emit(measure.Record{Op: "load", Mode: "none", Value: float64(time.Since(start)) / float64(b.Parts), Unit: "ns", N: b.Parts})
	var total time.Duration
	b.quiet(o)
	watch := measure.StartWatch(o.pids()...)
	for i := range graphWalks {
		start := time.Now()
		visited, sum, err := g.Traverse(b.Parts)
		if err == nil && (visited != b.Parts || sum != want) {
			err = fmt.Errorf("visited %d of %d parts; the sum is %d, should be %d", visited, b.Parts, sum, want)
		}
		if err != nil {
			return err
		}
		if i > 0 {
			total += time.Since(start)
		}
	}
	_, foreign := watch.Stop()
	b.Emit(measure.Record{Op: "traverse", Value: float64(total) / float64(graphWalks-1) / float64(b.Parts), Unit: "ns", N: b.Parts, Foreign: foreign})
	return o.close()
}
