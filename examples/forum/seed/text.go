package seed

import (
	"math/rand/v2"
	"strconv"
	"strings"
)

var (
	nouns      = strings.Fields("kernel compiler database cache network server browser editor keyboard disk memory pointer thread process scheduler filesystem parser garbage collector protocol packet router laptop phone battery licence patent library framework language type interface garden bicycle coffee telescope satellite rocket robot camera synthesizer cassette game novel spreadsheet archive backup password certificate benchmark latency throughput bug patch release mailing list forum moderator")
	adjectives = strings.Fields("fast slow old new open closed free expensive tiny huge elegant broken boring stable portable obscure famous simple complex lazy eager persistent volatile transparent safe unsafe quiet noisy cheap distributed embedded readable clever honest forgotten modern ancient")
	verbs      = strings.Fields("rewrote measured broke fixed shipped ported profiled deleted reviewed forked archived emulated benchmarked documented replaced simplified soldered reverse-engineered patched")
	places     = strings.Fields("Oslo Bonn Riga Kyoto Nairobi Lima Austin Turin Ghent Porto Tartu Perth Quito Leeds Graz")
	sentences  = []string{
		"I have run this {a} {n} for {d} years, and it has never let me down.",
		"The {n} is not the problem. The {n} behind it is.",
		"Has anybody {v} it with more than {d} users at once?",
		"We {v} our {n} last winter and the {n} became {a} overnight.",
		"Everything fits into memory now, so why do we still talk to a {n}?",
		"My first {n} was {a}, and I miss it every day.",
		"This is what happens if you let a {n} decide about a {n}.",
		"You can have it {a} or you can have it {a}, but not both before Friday.",
		"At work in {p} we {v} a {n} of {d} lines and kept the tests.",
		"I disagree: a {a} {n} is worth more than a {a} one that nobody understands.",
		"The numbers look right, but they forgot the {n} in the loop.",
		"Read the source. The {n} is {d} lines, and it's {a} in the best sense.",
		"In {p} they still use the {a} one.",
		"That was true in {y}. Since then somebody {v} the {n}.",
		"It took us {d} days to find that the {n} was {a} & the {n} was fine.",
		"Latency matters more than throughput, until your {n} is on fire.",
		"Why is there no {n} for this that is < {d} MB?",
		"Pull the plug while it writes, then tell me about your {a} {n}.",
		"A {n} you can hold in your head beats a {n} you cannot.",
		"I was at the talk in {p}; the demo survived being killed {d} times.",
		"Somebody should archive the {n} before the {n} vanishes.",
		"Not everything needs a {n}, sometimes a file is enough.",
		"The {a} part is the recovery, nobody ever tests the recovery.",
		"Thanks, I {v} mine this evening and it works.",
		"This thread is why I still come here.",
	}
	titles = []string{
		"Why our {n} is {a} and yours is not", "Somebody {v} a {n} in {d} lines", "Ask: which {a} {n} do you still use?", "The {n} that ran for {d} years in {p}",
		"A {a} {n} for people who miss {y}", "We {v} the {n}, and all we got was a {a} {n}", "How a {n} in {p} was {v} at night", "{n} considered {a}", "Show: a {n} made of a {n}",
		"What {d} users taught us about the {n}", "The {a} history of the {n}", "Goodbye {n}, welcome {n}",
	}
)

// fill puts words into the gaps of a sentence.
func fill(r *rand.Rand, b *strings.Builder, s string) {
	pick := func(list []string) string { return list[r.IntN(len(list))] }
	for {
		before, rest, ok := strings.Cut(s, "{")
		b.WriteString(before)
		if !ok {
			return
		}
		switch rest[0] {
		case 'n':
			if r.IntN(12) == 0 { // the name of something that few know
				b.WriteString(project(r))
			} else {
				b.WriteString(pick(nouns))
			}
		case 'a':
			b.WriteString(pick(adjectives))
		case 'v':
			b.WriteString(pick(verbs))
		case 'p':
			b.WriteString(pick(places))
		case 'd':
			b.WriteString(strconv.Itoa(2 + int(r.ExpFloat64()*60)))
		case 'y':
			b.WriteString(strconv.Itoa(1984 + r.IntN(40)))
		}
		s = rest[2:]
	}
}

// project returns the name of a program that nobody wrote.
func project(r *rand.Rand) string {
	const heads, tails = "mobakolitrexuzepnavogufisyd", "raxonetixulaqeroviskendyo"
	h, t := r.IntN(len(heads)/2)*2, r.IntN(len(tails)/2)*2
	return heads[h:h+2] + tails[t:t+2] + []string{"db", "fs", "ix", "kit", "vm", "d"}[r.IntN(6)]
}

func title(r *rand.Rand) string {
	var b strings.Builder
	fill(r, &b, titles[r.IntN(len(titles))])
	s := b.String()
	return strings.ToUpper(s[:1]) + s[1:]
}

// paragraphs returns so many sentences, now and then with a line between.
func paragraphs(r *rand.Rand, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			if i%4 == 0 {
				b.WriteString("\n\n")
			} else {
				b.WriteByte(' ')
			}
		}
		fill(r, &b, sentences[r.IntN(len(sentences))])
	}
	return b.String()
}
