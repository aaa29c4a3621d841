//go:build linux

package command

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/everheap/everheap/examples/forum/day"
	"github.com/everheap/everheap/examples/forum/seed"
)

// runDay plays a day against a site that runs.
func runDay(args []string, out, errOut io.Writer) error {
	flags := flag.NewFlagSet("forum day", flag.ContinueOnError)
	flags.SetOutput(errOut)
	o := day.Options{}
	site := flags.String("site", "http://127.0.0.1:8080", "`address` of the site")
	flags.IntVar(&o.Logins, "logins", 100_000, "how many `requests` log in")
	flags.IntVar(&o.Posts, "posts", 10_000, "how many write")
	flags.IntVar(&o.Reads, "reads", 1_000_000, "how many read a page with all that is on it")
	// A reader asks again at once: so with more of them than processors each waits for others.
	flags.IntVar(&o.Connections, "connections", runtime.NumCPU(), "how many `connections` ask at once")
	kill := flags.Bool("kill", false, "kill servers at random meanwhile")
	flags.DurationVar(&o.Kill, "kill-every", time.Second, "about how `often`")
	size := flags.Float64("size", 1, "the -size of the site")
	short := flags.Bool("short", false, "a hundredth of it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *short {
		o.Logins, o.Posts, o.Reads = o.Logins/100, o.Posts/100, o.Reads/100
	}
	if !*kill {
		o.Kill = 0
	}
	var err error
	if o.Address, err = hostOf(*site); err != nil {
		return err
	}
	o.Users = seed.PlanOf(*size).Users
	bar := newBar(out, "the day")
	o.Progress = func(done, of int) { bar.show(done, of, "requests") }
	r, err := day.Play(o)
	bar.end()
	if err != nil {
		return err
	}
	r.Print(out)
	return nil
}

func hostOf(site string) (string, error) {
	u, err := url.Parse(site)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return "", fmt.Errorf("%q is no address of a site, such as http://127.0.0.1:8080", site)
	}
	return u.Host, nil
}

// runPages measures single pages of sites that run, in turns: what disturbs the machine
// disturbs all of them.
func runPages(args []string, out, errOut io.Writer) error {
	flags := flag.NewFlagSet("forum pages", flag.ContinueOnError)
	flags.SetOutput(errOut)
	sites := flags.String("sites", "everheap=http://127.0.0.1:8080", "`names and addresses` of sites, with commas between")
	paths := flags.String("paths", "/s/3,/s/2,/s/1", "`pages`; the stories 3, 2 and 1 have 50, 500 and 5,000 comments")
	length := flags.Duration("for", 3*time.Second, "how `long` each page is read in a round")
	rounds := flags.Int("rounds", 5, "how many `rounds`")
	connections := flags.Int("connections", 4, "how many `connections` ask at once")
	if err := flags.Parse(args); err != nil {
		return err
	}
	names := []string{}
	addresses := map[string]string{}
	for s := range strings.SplitSeq(*sites, ",") {
		name, address, ok := strings.Cut(s, "=")
		host, err := hostOf(address)
		if err != nil || !ok {
			return errors.Join(errors.New("-sites is name=http://host:port,…"), err)
		}
		names, addresses[name] = append(names, name), host
	}
	list := strings.Split(*paths, ",")
	measured := map[[2]string][]day.Pages{}
	for range *rounds {
		for _, path := range list {
			for _, name := range names {
				m, err := day.Measure(addresses[name], path, *connections, *length)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				measured[[2]string{name, path}] = append(measured[[2]string{name, path}], m)
			}
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "page\tsite\tKiB\tpages/s\tfrom\tto\tp50\tp99\tservers\tclient\tfaster\tcheaper\t")
	for _, path := range list {
		var base day.Pages
		for i := len(names) - 1; i >= 0; i-- {
			rates := measured[[2]string{names[i], path}]
			slices.SortFunc(rates, func(a, b day.Pages) int { return int(a.Rate - b.Rate) })
			m := rates[len(rates)/2]
			if i == len(names)-1 {
				base = m
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%.0f\t%.0f\t%.0f\t%.2f ms\t%.2f ms\t%d µs\t%d µs\t%.1fx\t%.1fx\t\n", path, names[i], m.Size>>10, m.Rate, rates[0].Rate, rates[len(rates)-1].Rate,
				float64(m.P50)/1e6, float64(m.P99)/1e6, m.Server.Microseconds(), m.Client.Microseconds(), m.Rate/base.Rate,
				float64(base.Server)/float64(max(1, m.Server)))
		}
	}
	return w.Flush()
}
