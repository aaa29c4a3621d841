package measure

import "math/bits"

// Histogram counts latencies in buckets of about 3 %.
type Histogram struct {
	count   [64 * 32]int64
	n       int64
	longest int64
}

// Add counts one, in nanoseconds.
func (h *Histogram) Add(ns int64) {
	h.n++
	h.longest = max(h.longest, ns)
	h.count[bucket(uint64(max(ns, 0)))]++
}

// bucket is linear up to 32, and has 32 buckets for each doubling above.
func bucket(v uint64) int {
	if v < 32 {
		return int(v)
	}
	e := bits.Len64(v) - 6 // v>>e is in [32, 64)
	return (e+1)*32 + int(v>>uint(e)) - 32
}

// low is the least value of a bucket.
func low(b int) float64 {
	if b < 32 {
		return float64(b)
	}
	return float64(uint64(b%32+32) << uint(b/32-1))
}

// Merge adds the counts of another one.
func (h *Histogram) Merge(o *Histogram) {
	for i := range h.count {
		h.count[i] += o.count[i]
	}
	h.n += o.n
	h.longest = max(h.longest, o.longest)
}

// Quantile returns the latency that the share p of all is below, in nanoseconds.
func (h *Histogram) Quantile(p float64) float64 {
	seen := int64(0)
	for i, c := range h.count {
		if seen += c; seen > int64(p*float64(h.n)) {
			return low(i)
		}
	}
	return float64(h.longest)
}

// Extra enters quantiles, in microseconds, among the extras of a record.
func (h *Histogram) Extra(m map[string]float64, prefix string) {
	m[prefix+"p50_us"] = h.Quantile(0.50) / 1e3
	m[prefix+"p99_us"] = h.Quantile(0.99) / 1e3
	m[prefix+"max_us"] = float64(h.longest) / 1e3
}
