// Command resume counts primes, and how far apart they are. That takes long, and it can
// be killed at any moment:
//
//	resume 2000000000
//	^C
//	resume 2000000000        goes on from where it was
//
// What it has found so far is in a map of a space: from a gap to how often it occurs. How
// far it is lies there as well, and both change in one commit: no gap is counted twice,
// and none is left out, although the numbers in the map only ever grow by one and keep no
// trace of where they come from. Start reading at count.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/everheap/everheap"
)

// Progress is how far the program is: all that it would have to remember.
type Progress struct {
	Next   int // the first number that was not looked at
	Primes int // below that
	Last   int // the largest of them; 0: none
}

// segment is how many numbers are looked at at a time.
const segment = 1 << 18

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "resume:", err)
		}
		os.Exit(1)
	}
}

// run does what the command line says.
func run(args []string, out, errOut io.Writer) error {
	flags := flag.NewFlagSet("resume", flag.ContinueOnError)
	flags.SetOutput(errOut)
	flags.Usage = func() {
		fmt.Fprintf(errOut, "Usage: resume [-space NAME] [-segment N] LIMIT\n\nCounts the primes below LIMIT, and the gaps between them.\n\nFlags:\n")
		flags.PrintDefaults()
	}
	name := flags.String("space", "primes", "`name` of the space, or a directory with a / in it")
	size := flags.Int("segment", segment, "how many `numbers` are looked at between two checkpoints")
	if err := flags.Parse(args); err != nil {
		return err
	}
	limit := 0
	if n, err := fmt.Sscan(flags.Arg(0), &limit); n != 1 || err != nil || flags.NArg() != 1 || limit < 2 || limit > math.MaxInt/2 || *size < 1 {
		flags.Usage()
		return errors.New("LIMIT is a number from 2 on, and a segment has one number at least")
	}
	space, err := everheap.Open(*name)
	if err != nil {
		return err
	}
	defer space.Close()
	gaps, err := everheap.OpenMap[int, int](space, "gaps")
	if err != nil {
		return err
	}
	total, err := count(space, gaps, limit, *size, out)
	if err != nil {
		return err
	}
	return report(space, gaps, total, out)
}

// count counts the primes below the limit, from where it was when it was killed.
func count(space *everheap.Space, gaps everheap.Map[int, int], limit, size int, out io.Writer) (total Progress, err error) {
	said := time.Now()
	err = everheap.Resume(context.Background(), space, "progress", Progress{Next: 2}, func(p *Progress, checkpoint func() error) error {
		fmt.Fprintf(out, "%d primes below %d\n", p.Primes, p.Next)
		sieve := newSieve(limit)
		for p.Next < limit {
			found := map[int]int{}
			end := min(p.Next+size, limit)
			for _, prime := range sieve.primes(p.Next, end) {
				if p.Last != 0 {
					found[prime-p.Last]++
				}
				p.Primes, p.Last = p.Primes+1, prime
			}
			p.Next = end
			for gap, n := range found {
				if err := gaps.Upsert(space, gap, func(v *int, _ bool) error { *v += n; return nil }); err != nil {
					return err
				}
			}
			if err := checkpoint(); err != nil { // the map and p: both, or neither
				return err
			}
			if time.Since(said) > time.Second {
				said = time.Now()
				fmt.Fprintf(out, "%d primes below %d\n", p.Primes, p.Next)
			}
		}
		total = *p
		return nil
	})
	return total, err
}

// report prints what was found.
func report(space *everheap.Space, gaps everheap.Map[int, int], total Progress, out io.Writer) error {
	fmt.Fprintf(out, "there are %d primes below %d\n", total.Primes, total.Next)
	return space.View(func(tx *everheap.Tx) error {
		gap, often := 0, 0
		for g, n := range gaps.All(tx) {
			if *n > often || *n == often && g < gap {
				gap, often = g, *n
			}
		}
		if often > 0 {
			fmt.Fprintf(out, "most of them are %d apart: %d\n", gap, often)
		}
		return nil
	})
}

// sieve finds primes in any range below a limit.
type sieve struct {
	small []int // the primes up to the root of the limit
}

func newSieve(limit int) *sieve {
	s := &sieve{}
	root := int(math.Sqrt(float64(limit))) + 1
	composite := make([]bool, root+1)
	for n := 2; n <= root; n++ {
		if composite[n] {
			continue
		}
		s.small = append(s.small, n)
		for m := n * n; m <= root; m += n {
			composite[m] = true
		}
	}
	return s
}

// primes returns those from lo, which is 2 at least, up to hi, which is not included.
func (s *sieve) primes(lo, hi int) (list []int) {
	composite := make([]bool, hi-lo)
	for _, p := range s.small {
		if p*p >= hi {
			break
		}
		for m := max(p*p, (lo+p-1)/p*p); m < hi; m += p {
			composite[m-lo] = true
		}
	}
	for i, c := range composite {
		if !c {
			list = append(list, lo+i)
		}
	}
	return list
}
