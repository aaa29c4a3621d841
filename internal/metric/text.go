package metric

import (
	"bufio"
	"io"
	"math"
	"strconv"
	"strings"
)

// ContentType is the content type of Write's output.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Write writes metrics of one or more spaces in Prometheus' text format; families with one name are
// written together.
func Write(w io.Writer, spaces ...[]Family) error {
	b := bufio.NewWriter(w)
	var names []string
	byName := map[string][]Family{}
	for _, families := range spaces {
		for _, f := range families {
			if byName[f.Name] == nil {
				names = append(names, f.Name)
			}
			byName[f.Name] = append(byName[f.Name], f)
		}
	}
	for _, name := range names {
		first := byName[name][0]
		kind := "gauge"
		if first.Kind == Counter {
			kind = "counter"
		}
		b.WriteString("# HELP " + name + " " + escapeHelp.Replace(first.Help) + "\n# TYPE " + name + " " + kind + "\n")
		for _, f := range byName[name] {
			for _, s := range f.Samples {
				b.WriteString(name)
				for i, label := range f.Labels {
					b.WriteString([]string{"{", ","}[min(i, 1)] + label + `="` + escapeLabel.Replace(s.Labels[i]) + `"`)
				}
				b.WriteString("} " + number(s.Value) + "\n")
			}
		}
	}
	return b.Flush()
}

var (
	escapeHelp  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	escapeLabel = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// number formats a value; a whole number without a decimal point.
func number(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
