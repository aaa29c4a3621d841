package layout

import "unicode/utf8"

// maxColumn is where at most what is done with a difference begins.
const maxColumn = 48

// Diff returns how the stored type differs from that of the program, like a diff:
// "- Gone string", "+ New []uint8", "~ Age int32 -> int64", each with what Evolve does
// with it, or why not; "!" marks what it refuses. It is empty if, and only if, Same
// holds.
func Diff(stored, program *Type) []string {
	return NewConversion(stored, program, nil).Lines()
}

// Lines returns the differences, one each.
func (c *Conversion) Lines() (lines []string) {
	width := 0
	for _, n := range c.notes {
		if w := utf8.RuneCountInString(n.text()); w <= maxColumn {
			width = max(width, w)
		}
	}
	for _, n := range c.notes {
		sign := n.sign
		if n.verdict == refused {
			sign = '!'
		}
		line := append([]byte{sign, ' '}, n.text()...)
		for w := utf8.RuneCountInString(n.text()); w < width; w++ {
			line = append(line, ' ')
		}
		lines = append(lines, string(line)+"  "+n.why)
	}
	return lines
}
