package model

import "math"

// Zipf draws ranks from 0 to n-1 with a zipfian distribution, rank 0 most often: the
// generator of Gray et al. (Quickly Generating Billion-Record Synthetic Databases, SIGMOD
// 1994), as YCSB uses it.
type Zipf struct {
	n                       int
	theta, alpha, zeta, eta float64
}

// NewZipf returns a generator for n ranks; theta is between 0 (uniform) and 1, and 0.99 in
// YCSB.
func NewZipf(n int, theta float64) *Zipf {
	z := &Zipf{n: n, theta: theta, alpha: 1 / (1 - theta), zeta: zeta(n, theta)}
	z.eta = (1 - math.Pow(2/float64(n), 1-theta)) / (1 - zeta(2, theta)/z.zeta)
	return z
}

// zeta is the sum of 1/i^theta for i from 1 to n.
func zeta(n int, theta float64) (sum float64) {
	for i := 1; i <= n; i++ {
		sum += 1 / math.Pow(float64(i), theta)
	}
	return sum
}

// Rank draws a rank.
func (z *Zipf) Rank(r *RNG) int {
	u := float64(r.Next()>>11) / (1 << 53)
	uz := u * z.zeta
	switch {
	case uz < 1:
		return 0
	case uz < 1+math.Pow(0.5, z.theta):
		return 1
	}
	return min(z.n-1, int(float64(z.n)*math.Pow(z.eta*u-z.eta+1, z.alpha)))
}

// Scrambled draws a rank and returns the item that has it: the popular items are spread
// over all, by a hash, so that they are not neighbours.
func (z *Zipf) Scrambled(r *RNG) int { return Scramble(z.Rank(r), z.n) }

// Scramble returns the item of n that has a rank: FNV-1a of the rank, as in YCSB, where
// two ranks may share an item.
func Scramble(rank, n int) int {
	h := uint64(14695981039346656037)
	for i := range 8 {
		h = (h ^ uint64(rank)>>(8*i)&0xff) * 1099511628211
	}
	return int(h % uint64(n))
}
