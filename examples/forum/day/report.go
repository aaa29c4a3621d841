package day

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// collect adds up what the players have measured.
func (r *Report) collect(players []*player) {
	for kind := range kinds {
		var took []time.Duration
		for _, p := range players {
			took = append(took, p.took[kind]...)
		}
		if len(took) > 0 {
			k := summary(took)
			k.Name = kindNames[kind]
			r.Kinds = append(r.Kinds, k)
			r.Requests += len(took)
		}
	}
	for _, p := range players {
		r.Again += p.again
		r.Bytes += p.bytes
	}
}

// summary sorts what was measured.
func summary(took []time.Duration) Kind {
	slices.Sort(took)
	at := func(of float64) time.Duration { return took[min(len(took)-1, int(of*float64(len(took))))] }
	return Kind{Count: len(took), P50: at(0.5), P99: at(0.99), P999: at(0.999), Slowest: took[len(took)-1]}
}

// Print prints the report.
func (r *Report) Print(out io.Writer) {
	fmt.Fprintf(out, "\n%d requests in %.1f s: %.0f requests/s, %.0f MiB/s of pages\n\n", r.Requests, r.Took.Seconds(),
		float64(r.Requests)/r.Took.Seconds(), float64(r.Bytes)/(1<<20)/r.Took.Seconds())
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "kind\tcount\tp50\tp99\tp99.9\tslowest\t")
	for _, k := range r.Kinds {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t\n", k.Name, k.Count, ms(k.P50), ms(k.P99), ms(k.P999), ms(k.Slowest))
	}
	w.Flush()
	var memory uint64
	for _, s := range r.Ops.Servers {
		memory += s.Memory
	}
	fmt.Fprintf(out, "\nmemory  %.0f MiB of data that all processes share, %.0f MiB of %d processes for themselves\ndisk    %.0f MiB\n",
		float64(r.Ops.Size.Data)/(1<<20), float64(memory)/(1<<20), len(r.Ops.Servers), float64(r.Ops.Size.Disk)/(1<<20))
	fmt.Fprintf(out, "killed  %d servers; %d requests were sent again, and none a third time\nchecked %d log-ins and %d posts were acknowledged, and all are there, once\n",
		r.Killed, r.Again, r.Checked.Logins, r.Checked.Posts)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/1e6) }
