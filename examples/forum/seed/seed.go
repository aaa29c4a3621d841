// Package seed makes the data that a forum begins with: users, stories and comments, as many
// as asked for and always the same ones. A few stories have most of the comments, and a few
// users write most of them, as it is in forums. The first three stories have a tenth of a
// size that a measurement can ask for: see Sizes.
package seed

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/everheap/everheap/examples/forum/page"
)

// Plan is how much there is.
type Plan struct {
	Users, Stories, Comments int
}

// PlanOf returns the plan of a size: 1 is 10,000 users, 2,000 stories and 200,000 comments.
func PlanOf(size float64) Plan {
	n := func(most float64, least int) int { return max(least, int(most*size)) }
	return Plan{n(10_000, 20), n(2_000, 10), n(200_000, 100)}
}

// Sizes are how many comments the first stories have, if the plan has as many.
var Sizes = [...]int{5000, 500, 50}

// Password is that of all users of the seed.
const Password = "everforum"

// Start is the instant of the first story, and Step the seconds from one to the next.
const (
	start = 1_735_689_600 // 2025-01-01
	step  = 14_400
)

func (p Plan) random(of string, i int) *rand.Rand {
	var h uint64
	for _, c := range []byte(of) {
		h = h*31 + uint64(c)
	}
	return rand.New(rand.NewPCG(h, uint64(i)))
}

// Name returns the name of a user, from 0.
func Name(i int) string {
	first := given[i%len(given)]
	if i < len(given) {
		return first
	}
	return fmt.Sprintf("%s_%s%d", first, nouns[i/len(given)%len(nouns)][:3], i/len(given))
}

// Names of the first users, who write the most.
var given = strings.Fields("ada grace alan edsger barbara donald radia ken dennis margaret linus hedy niklaus john katherine tim frances brian adele vint bjarne anita guido karen rob sophie james evelyn larry mary")

// Story returns a story, from 0, without its comments.
func (p Plan) Story(i int) page.Story {
	r := p.random("story", i)
	s := page.Story{Author: Name(p.skewed(r, p.Users)), At: start + int64(i)*step + r.Int64N(step), Points: 1 + int(math.Abs(r.NormFloat64())*40)}
	s.Title = title(r)
	if r.IntN(4) > 0 {
		s.Link = fmt.Sprintf("https://%s-%s.example/%d/%s", adjectives[r.IntN(len(adjectives))], nouns[r.IntN(len(nouns))], 2020+r.IntN(6), nouns[r.IntN(len(nouns))])
	}
	s.Text = paragraphs(r, 2+r.IntN(4))
	return s
}

// skewed draws a number below n, the small ones often.
func (p Plan) skewed(r *rand.Rand, n int) int {
	return min(n-1, int(math.Pow(float64(n), r.Float64()))-1+r.IntN(1+n/50))
}

// Count returns how many comments a story has. The shares fall as 1/rank, in no order.
func (p Plan) Count(i int) int {
	rest := p.Comments
	for j, n := range Sizes {
		n = min(n, p.Comments/(4*(j+1)))
		if i == j {
			return n
		}
		rest -= n
	}
	n := p.Stories - len(Sizes)
	rank := 1 + i*(n*618/1000|1)%n // in steps of the golden section: far from each other
	weight := 0.0
	for k := 1; k <= n; k++ {
		weight += 1 / (float64(k) + 8)
	}
	return int(float64(rest) / (float64(rank) + 8) / weight)
}

// Thread returns the comments of a story, oldest first.
func (p Plan) Thread(i int) []page.NewComment {
	r := p.random("thread", i)
	list := make([]page.NewComment, p.Count(i))
	at := p.Story(i).At
	for n := range list {
		at += r.Int64N(1 + int64(3*86_400/(len(list)+10)))
		c := page.NewComment{At: at, Author: Name(p.skewed(r, p.Users)), Points: 1 + int(r.NormFloat64()*2), Text: paragraphs(r, 1+int(r.ExpFloat64()*2.2))}
		if n > 0 && r.IntN(10) > 2 {
			c.Parent = n - int(math.Pow(float64(n), r.Float64())) + 1 // mostly one of late
		}
		list[n] = c
	}
	return list
}
