package plan

import (
	"slices"
	"strings"
)

// Operation is one operation of the benchmark.
type Operation struct {
	Name, What string
	Writes     bool
	Run        func(Database, *Plan) (int, error)
	Expect     func(*Plan) int // what it counts, if only Insert and Delete came before, in pairs
}

// Operations returns all of them, in the order of the table. Insert comes before
// Delete; T3 leaves the build dates as they were if it runs twice.
func Operations() []Operation {
	visits := func(p *Plan) int { return p.uses() * p.AtomicPerComp }
	added := func(p *Plan) int { return len(p.New) * p.AtomicPerComp }
	return []Operation{
		{"T1", "traversal of all parts", false, func(d Database, _ *Plan) (int, error) { return d.T1() }, visits},
		{"T6", "traversal of the roots", false, func(d Database, _ *Plan) (int, error) { return d.T6() }, (*Plan).uses},
		{"T7", "from a part up to the root", false, func(d Database, p *Plan) (int, error) { return d.T7(p.Part) }, (*Plan).above},
		{"T8", "scan of the manual", false, func(d Database, _ *Plan) (int, error) { return d.T8() },
			func(p *Plan) int { return strings.Count(p.Module.Text, "I") }},
		{"T9", "ends of the manual", false, func(d Database, _ *Plan) (int, error) { return d.T9() }, (*Plan).ends},
		{"Q1", "parts by id", false, func(d Database, p *Plan) (int, error) { return d.Q1(p.Parts) },
			func(p *Plan) int { return len(p.Parts) }},
		{"Q2", "1% of parts by date", false, builtFrom(MaxDate - 9), func(p *Plan) int { return p.builtFrom(MaxDate - 9) }},
		{"Q3", "10% of parts by date", false, builtFrom(MaxDate - 99), func(p *Plan) int { return p.builtFrom(MaxDate - 99) }},
		{"Q4", "users of documents", false, func(d Database, p *Plan) (int, error) { return d.Q4(p.Titles) }, (*Plan).titleUses},
		{"Q5", "bases older than a part", false, func(d Database, _ *Plan) (int, error) { return d.Q5() }, (*Plan).older},
		{"Q7", "scan of all parts", false, func(d Database, _ *Plan) (int, error) { return d.Q7() }, (*Plan).atoms},
		{"Q8", "parts and documents", false, func(d Database, _ *Plan) (int, error) { return d.Q8() }, (*Plan).atoms},
		{"T2a", "change x, y of roots", true, func(d Database, _ *Plan) (int, error) { return d.T2(UpdateRoots) }, (*Plan).uses},
		{"T2b", "change x, y of all", true, func(d Database, _ *Plan) (int, error) { return d.T2(UpdateAll) }, visits},
		{"T2c", "change x, y four times", true, func(d Database, _ *Plan) (int, error) { return d.T2(UpdateFour) },
			func(p *Plan) int { return 4 * visits(p) }},
		{"T3a", "change date of roots", true, func(d Database, _ *Plan) (int, error) { return d.T3(UpdateRoots) }, (*Plan).uses},
		{"T3b", "change date of all", true, func(d Database, _ *Plan) (int, error) { return d.T3(UpdateAll) }, visits},
		{"T3c", "change date four times", true, func(d Database, _ *Plan) (int, error) { return d.T3(UpdateFour) },
			func(p *Plan) int { return 4 * visits(p) }},
		{"insert", "5 composite parts", true, func(d Database, p *Plan) (int, error) { return d.Insert(p.New, p.Uses) }, added},
		{"delete", "5 composite parts", true, func(d Database, p *Plan) (int, error) { return d.Delete(p.newIDs()) }, added},
	}
}

func builtFrom(from int64) func(Database, *Plan) (int, error) {
	return func(d Database, _ *Plan) (int, error) { return d.BuiltFrom(from, MaxDate) }
}

// uses returns how often a composite part is used by a base assembly.
func (p *Plan) uses() int { return len(p.Bases) * p.CompPerAssm }

// atoms returns the number of atomic parts.
func (p *Plan) atoms() int { return p.CompPerModule * p.AtomicPerComp }

// PartIDs returns the highest ID of an atomic part, new ones included.
func (p *Plan) PartIDs() int { return p.atoms() + len(p.New)*p.AtomicPerComp }

// builtFrom counts the atomic parts with a build date from a date to MaxDate.
func (p *Plan) builtFrom(from int64) (n int) {
	for _, c := range p.Composites {
		for _, part := range c.Parts {
			if part.BuildDate >= from {
				n++
			}
		}
	}
	return n
}

// above counts the assemblies above the part where T7 begins.
func (p *Plan) above() int {
	composite := (p.Part-1)/int64(p.AtomicPerComp) + 1
	seen := map[int64]bool{}
	for _, base := range p.Bases {
		if !slices.Contains(base.Components, composite) {
			continue
		}
		seen[base.ID] = true
		for i := base.Super; i >= 0; i = p.Complex[i].Super {
			seen[p.Complex[i].ID] = true
		}
	}
	return len(seen)
}

// ends is what T9 finds.
func (p *Plan) ends() int {
	if text := p.Module.Text; text[0] == text[len(text)-1] {
		return 1
	}
	return 0
}

// titleUses counts the uses of the composite parts whose documents Q4 looks for.
func (p *Plan) titleUses() (n int) {
	uses := map[string]int{}
	for _, base := range p.Bases {
		for _, id := range base.Components {
			uses[title(id)]++
		}
	}
	for _, t := range p.Titles {
		n += uses[t]
	}
	return n
}

// older counts the base assemblies with a component that was built later.
func (p *Plan) older() (n int) {
	for _, base := range p.Bases {
		if slices.ContainsFunc(base.Components, func(id int64) bool { return p.Composites[id-1].BuildDate > base.BuildDate }) {
			n++
		}
	}
	return n
}

func (p *Plan) newIDs() (ids []int64) {
	for _, c := range p.New {
		ids = append(ids, c.ID)
	}
	return ids
}
