//go:build linux

package inspect

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/everheap/everheap"
	"github.com/everheap/everheap/test/browser/chrome"
)

var (
	costRounds = flag.Int("cost.rounds", 12, "how often BenchmarkWriter_PageOpen measures each")
	costOf     = flag.String("cost.of", "nothing,client,now,collections,heap", "what it measures the cost of")
)

// BenchmarkWriter_PageOpen measures what an open page costs who writes at full speed, in turns with
// none, as ratios: commits per second, and commits per second of processor time of the thread that
// writes, which other programs of the machine disturb less. "client" asks what the page asks, and
// draws nothing. Run it once: -bench Writer -benchtime 1x.
func BenchmarkWriter_PageOpen(b *testing.B) {
	const span = time.Second
	rounds := *costRounds
	browser := chrome.Start(b)
	dir, s := forum(b, 100_000)
	words, err := everheap.OpenMap[string, int](s, "words")
	must(b, err)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	write := func() (speed [2]float64) {
		n, began, cpu := 0, time.Now(), threadTime()
		for ; n%64 != 0 || time.Since(began) < span; n++ {
			must(b, words.Set(s, fmt.Sprintf("word-%07d", n*7919%100_000), n))
		}
		return [2]float64{float64(n) / time.Since(began).Seconds(), float64(n) / (threadTime() - cpu).Seconds()}
	}
	id := idOf(b, s, "words")
	for b.Loop() {
		for _, name := range strings.Split(*costOf, ",") {
			var ratios, withs, withouts [2][]float64
			used = [2]time.Duration{}
			var server running
			if name == "client" { // else what a command does when it starts would be measured
				server.address, server.pid, server.end = start(b, dir)
			}
			for i := range rounds {
				var with, without [2]float64
				if i%2 == 0 {
					without = write()
				}
				switch name {
				case "nothing":
					with = write() // how far two equal spans are apart
				case "client":
					with = besideClient(b, &server, dir, id, write)
				case "collections":
					with = beside(b, browser, dir, "view=collections&id="+id, write)
				default:
					with = beside(b, browser, dir, "view="+name, write)
				}
				if i%2 == 1 {
					without = write()
				}
				for k := range ratios {
					ratios[k] = append(ratios[k], with[k]/without[k])
					withs[k], withouts[k] = append(withs[k], with[k]), append(withouts[k], without[k])
				}
			}
			if server.end != nil {
				server.end()
			}
			for k, of := range []string{"by the clock", "by processor time"} {
				r := ratios[k]
				slices.Sort(r)
				slices.Sort(withs[k])
				slices.Sort(withouts[k])
				undisturbed := rounds * 9 / 10 // of ten spans the one in which other programs disturbed least but one
				b.Logf("%-12s %-18s median %.3f, from %.3f to %.3f, quartiles %.3f and %.3f; of the spans at nine tenths %.3f", name, of,
					r[rounds/2], r[0], r[rounds-1], r[rounds/4], r[rounds*3/4], withs[k][undisturbed]/withouts[k][undisturbed])
				b.ReportMetric(r[rounds/2], name+"-"+strings.ReplaceAll(of, " ", "-"))
			}
			b.Logf("%-12s of a processor the command used %.1f %% and the browser %.1f %%", name,
				100*used[0].Seconds()/(time.Duration(rounds)*span).Seconds(), 100*used[1].Seconds()/(time.Duration(rounds)*span).Seconds())
		}
	}
}

// threadTime is the processor time of this thread.
func threadTime() time.Duration {
	var u syscall.Rusage
	const thread = 1 // RUSAGE_THREAD
	if err := syscall.Getrusage(thread, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// beside runs fn while a page is open.
func beside(b *testing.B, browser *chrome.Browser, dir, place string, fn func() [2]float64) (result [2]float64) {
	b.Helper()
	address, pid, end := start(b, dir)
	defer end()
	w := browser.Window(b, chrome.Light)
	w.Run(chromedp.Navigate(address))
	w.Until("the page is there", `document.querySelector("#nav a")`)
	visit(w, place)
	w.Until("it hears of changes", `document.querySelector(".state").innerText.startsWith("version")`)
	time.Sleep(time.Second) // what a page does at first is over
	before := [2]time.Duration{spent(b, pid, false), spent(b, browser.PID(), true)}
	result = fn()
	used[0] += spent(b, pid, false) - before[0]
	used[1] += spent(b, browser.PID(), true) - before[1]
	w.Run(chromedp.Navigate("about:blank"))
	return result
}

// running is a command that serves a page.
type running struct {
	address string
	pid     int
	end     func()
}

// besideClient runs fn while a client hears what happens, and asks for rows as often as the page does.
func besideClient(b *testing.B, server *running, dir, id string, fn func() [2]float64) (result [2]float64) {
	b.Helper()
	at, err := url.Parse(server.address)
	must(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	ask := func(path string) {
		r, err := http.NewRequestWithContext(ctx, "GET", "http://"+at.Host+path, nil)
		must(b, err)
		r.Header.Set("Authorization", "Bearer "+at.Query().Get("token"))
		if answer, err := http.DefaultClient.Do(r); err == nil {
			_, _ = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
		}
	}
	space := url.QueryEscape(dir)
	clients.Go(func() { ask("/api/live?space=" + space) })
	clients.Go(func() {
		for ctx.Err() == nil {
			ask("/api/rows?space=" + space + "&id=" + id)
			select {
			case <-time.After(700 * time.Millisecond): // as the page does
			case <-ctx.Done():
			}
		}
	})
	time.Sleep(time.Second)
	before := spent(b, server.pid, false)
	result = fn()
	used[0] += spent(b, server.pid, false) - before
	cancel()
	clients.Wait()
	return result
}

// used is the processor time of the command and of the browser, while they were measured.
var used [2]time.Duration

// spent returns the processor time of a process, or of all of its group.
func spent(b *testing.B, pid int, group bool) (d time.Duration) {
	b.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	must(b, err)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		words := strings.Fields(rest) // state, parent, group, …; 11 and 12 are the times, in hundredths of a second
		if len(words) < 13 || group && words[2] != fmt.Sprint(pid) || !group && filepath.Dir(f) != fmt.Sprintf("/proc/%d", pid) {
			continue
		}
		for _, w := range words[11:13] {
			n, err := strconv.Atoi(w)
			must(b, err)
			d += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return d
}
