// Package day plays a day of a large forum against a site, over HTTP: many log in, some
// write, and most read pages with all that is on them. Each of its readers has one
// connection, and sends the next request when it has the answer to the last one.
//
// What was acknowledged is remembered, and looked for at the end.
package day

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	mrand "math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/everheap/everheap/examples/forum/seed"
	"github.com/everheap/everheap/examples/forum/site"
)

// Options say what the day is like.
type Options struct {
	Address              string // host:port
	Logins, Posts, Reads int
	Connections          int
	Users                int           // of the seed
	Kill                 time.Duration // kill a server at random about this often; 0: none
	Progress             func(done, of int)
}

// Kinds of requests.
const (
	login = iota
	write
	story // with few comments
	middle
	large
	front
	user
	search
	kinds
)

// Stories of the middle have 250 comments or more, and large ones 1,000.
const middleComments, largeComments = 250, 1000

var kindNames = [kinds]string{"log in", "write", "story, to 249 comments", "story, 250 to 999 comments", "story, 1,000 comments and more", "front, all stories", "user, all posts", "search"}

// Report is the outcome of a day.
type Report struct {
	Took     time.Duration
	Kinds    []Kind
	Requests int
	Bytes    uint64 // of pages
	Again    int    // requests that were answered when they were sent again
	Killed   int    // servers
	Ops      site.Ops
	Checked  struct{ Logins, Posts int } // acknowledged, and there at the end
}

// Kind is the outcome for one kind of requests.
type Kind struct {
	Name                    string
	Count                   int
	P50, P99, P999, Slowest time.Duration
}

// ack is a post that was acknowledged, and a word that is in no other.
type ack struct {
	story, comment int
	word           string
}

// player does the requests of one connection.
type player struct {
	client
	day    *day
	rng    *mrand.Rand
	name   string // of who has logged in last
	took   [kinds][]time.Duration
	bytes  uint64
	acks   []ack
	logins [][2]string // cookie and name

	answered atomic.Int64 // requests; many when it has ended
}

type day struct {
	Options
	ops     []byte
	next    atomic.Int64
	stories int
	weights []int // comments up to each story
	failed  atomic.Bool
}

// Play plays the day.
func Play(o Options) (*Report, error) {
	d := &day{Options: o}
	if err := d.look(); err != nil {
		return nil, fmt.Errorf("there is no forum at %s: %w", o.Address, err)
	}
	d.draw()
	players := make([]*player, o.Connections)
	errs := make([]error, o.Connections)
	stop := make(chan struct{})
	var killed error
	var killing sync.WaitGroup
	began := time.Now()
	var all sync.WaitGroup
	for i := range players {
		players[i] = &player{client: client{address: o.Address}, day: d, rng: mrand.New(mrand.NewPCG(42, uint64(i)))}
		all.Go(func() {
			if errs[i] = players[i].play(); errs[i] != nil {
				d.failed.Store(true)
			}
			players[i].answered.Store(math.MaxInt64 / 2)
		})
	}
	killer := newKiller(o.Address, players, o.Kill)
	if o.Kill > 0 {
		killing.Go(func() { killed = killer.run(stop) })
	}
	all.Wait()
	r := &Report{Took: time.Since(began)}
	close(stop)
	killing.Wait()
	r.Killed = killer.killed
	r.collect(players)
	if err := errors.Join(append(errs, killed)...); err != nil {
		return r, err
	}
	return r, d.check(players, r)
}

var countOf = regexp.MustCompile(`<li id="s(\d+)">.*?<span class="n">(\d+)</span>`)

// look reads the front page: which stories there are, and how large.
func (d *day) look() error {
	c := client{address: d.Address}
	defer c.close()
	a, err := c.get("/")
	if err != nil {
		return err
	}
	sizes := map[int]int{}
	for _, m := range countOf.FindAllSubmatch(a.body, -1) {
		id, _ := strconv.Atoi(string(m[1]))
		sizes[id], _ = strconv.Atoi(string(m[2]))
		d.stories = max(d.stories, id)
	}
	if a.status != http.StatusOK || len(sizes) == 0 || len(sizes) != d.stories {
		return fmt.Errorf("its front page has %d stories, and status %d", len(sizes), a.status)
	}
	sum := 0
	for id := 1; id <= d.stories; id++ {
		sum += sizes[id] + 1
		d.weights = append(d.weights, sum)
	}
	return nil
}

// draw puts the requests of the day into an order.
func (d *day) draw() {
	r := mrand.New(mrand.NewPCG(1, 2))
	for range d.Logins {
		d.ops = append(d.ops, login)
	}
	for range d.Posts {
		d.ops = append(d.ops, write)
	}
	for range d.Reads {
		switch n := r.IntN(100); {
		case n < 75:
			d.ops = append(d.ops, story)
		case n < 80:
			d.ops = append(d.ops, front)
		case n < 90:
			d.ops = append(d.ops, user)
		default:
			d.ops = append(d.ops, search)
		}
	}
	r.Shuffle(len(d.ops), func(i, j int) { d.ops[i], d.ops[j] = d.ops[j], d.ops[i] })
}

// play does requests until none is left. Who is to write must have logged in: that comes
// first.
func (p *player) play() error {
	defer p.close()
	if err := p.timed(login); err != nil {
		return err
	}
	for !p.day.failed.Load() {
		i := int(p.day.next.Add(1)) - 1
		if i >= len(p.day.ops) {
			return nil
		}
		if i%1000 == 0 && p.day.Progress != nil {
			p.day.Progress(i, len(p.day.ops))
		}
		if err := p.timed(int(p.day.ops[i])); err != nil {
			return err
		}
	}
	return nil
}

func (p *player) timed(kind int) error {
	began := time.Now()
	var err error
	switch kind {
	case login:
		err = p.login()
	case write:
		err = p.write()
	default:
		kind, err = p.read(kind)
	}
	p.took[kind] = append(p.took[kind], time.Since(began))
	p.answered.Add(1)
	return err
}

func (p *player) login() error {
	name := seed.Name(p.rng.IntN(p.day.Users))
	p.cookie = ""
	a, err := p.post("/login", url.Values{"name": {name}, "password": {seed.Password}, "to": {"/"}})
	if err != nil {
		return err
	}
	if a.status != http.StatusSeeOther || a.cookie == "" {
		return fmt.Errorf("logging in as %s: status %d", name, a.status)
	}
	p.name, p.cookie = name, a.cookie
	p.logins = append(p.logins, [2]string{a.cookie, name})
	return nil
}

// write posts a comment, or now and then a story. The key makes it count once.
func (p *player) write() error {
	word := "w" + strings.ToLower(rand.Text())
	text := word
	for n := 20 + int(p.rng.ExpFloat64()*100); n > 0; n-- {
		text += " " + vocabulary[p.rng.IntN(len(vocabulary))]
	}
	form := url.Values{"key": {rand.Text()}, "text": {text}}
	if p.rng.IntN(10) == 0 {
		form.Set("title", "A day's story about "+vocabulary[p.rng.IntN(len(vocabulary))])
		a, err := p.post("/submit", form)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(strings.TrimPrefix(a.location, "/s/"))
		if err != nil || a.status != http.StatusSeeOther {
			return fmt.Errorf("a new story: status %d, location %q", a.status, a.location)
		}
		p.acks = append(p.acks, ack{n, 0, word})
		return nil
	}
	s := p.story()
	a, err := p.post(fmt.Sprintf("/s/%d/reply/0", s), form)
	if err != nil {
		return err
	}
	_, c, ok := strings.Cut(a.location, "#c")
	n, err := strconv.Atoi(c)
	if err != nil || !ok || a.status != http.StatusSeeOther {
		return fmt.Errorf("a new comment: status %d, location %q", a.status, a.location)
	}
	p.acks = append(p.acks, ack{s, n, word})
	return nil
}

// story draws one: mostly each as often as another, else as often as it has comments.
func (p *player) story() int {
	if p.rng.IntN(8) > 0 {
		return 1 + p.rng.IntN(p.day.stories)
	}
	i, _ := slices.BinarySearch(p.day.weights, 1+p.rng.IntN(p.day.weights[len(p.day.weights)-1]))
	return 1 + i
}

var vocabulary = strings.Fields("memory kernel compiler archive garden honest bicycle protocol latency cassette telescope rewrote measured forgotten elegant thread packet scheduler interface winter")

// read gets a page and sees that all is on it. It returns the kind of page that it was.
func (p *player) read(kind int) (int, error) {
	var path, item string
	switch kind {
	case story:
		path, item = fmt.Sprintf("/s/%d", p.story()), `<li id="c`
	case front:
		path, item = "/?sort="+[]string{"new", "active", "top"}[p.rng.IntN(3)], `<li id="s`
	case user:
		path, item = "/u/"+seed.Name(p.rng.IntN(p.day.Users)), `<li><a href="/s/`
	case search:
		path = "/search?q=" + vocabulary[p.rng.IntN(len(vocabulary))] + "+" + vocabulary[p.rng.IntN(len(vocabulary))] + "+" + vocabulary[p.rng.IntN(len(vocabulary))]
	}
	a, err := p.get(path)
	if err != nil {
		return kind, err
	}
	p.bytes += uint64(len(a.body))
	if a.status != http.StatusOK || !bytes.HasSuffix(a.body, []byte("</html>\n")) {
		return kind, fmt.Errorf("GET %s: status %d, %d bytes", path, a.status, len(a.body))
	}
	if item == "" {
		return kind, nil
	}
	says, has := said(a.body, kind), bytes.Count(a.body, []byte(item))
	if says != has {
		return kind, fmt.Errorf("GET %s: the page says that there are %d, and has %d", path, says, has)
	}
	if kind == story && has >= largeComments {
		kind = large
	} else if kind == story && has >= middleComments {
		kind = middle
	}
	return kind, nil
}

// said returns how many items a page says that it has.
func said(body []byte, kind int) int {
	mark := [kinds]string{story: `<h2><span class="n">`, front: `<span id="count">`, user: `<dt>Posts</dt><dd>`}[kind]
	_, rest, _ := bytes.Cut(body, []byte(mark))
	digits, _, _ := bytes.Cut(rest, []byte("<"))
	n, err := strconv.Atoi(string(digits))
	if err != nil {
		return -1
	}
	return n
}

// check looks for everything that was acknowledged.
func (d *day) check(players []*player, r *Report) error {
	c := &client{address: d.Address}
	defer c.close()
	stories := map[int][]ack{}
	for _, p := range players {
		for _, a := range p.acks {
			stories[a.story] = append(stories[a.story], a)
		}
	}
	for id, acks := range stories {
		page, err := c.get(fmt.Sprintf("/s/%d", id))
		if err != nil {
			return err
		}
		for _, a := range acks {
			if err := a.in(page.body); err != nil {
				return err
			}
			r.Checked.Posts++
		}
	}
	for _, p := range players {
		for _, l := range p.logins {
			c.cookie = l[0]
			me, err := c.get("/me")
			if err != nil {
				return err
			}
			if me.status != http.StatusOK || string(me.body) != l[1] {
				return fmt.Errorf("the log-in of %s is lost: status %d", l[1], me.status)
			}
			r.Checked.Logins++
		}
	}
	c.cookie = ""
	ops, err := c.get("/ops.json")
	if err != nil {
		return err
	}
	return json.Unmarshal(ops.body, &r.Ops)
}

// in reports an error unless a page of a story has the post, where it was said to be and once.
func (a ack) in(page []byte) error {
	if n := bytes.Count(page, []byte(a.word)); n != 1 {
		return fmt.Errorf("the comment %d of story %d is there %d times", a.comment, a.story, n)
	}
	if a.comment == 0 {
		return nil
	}
	_, rest, ok := bytes.Cut(page, fmt.Appendf(nil, `<li id="c%d"`, a.comment))
	own, _, _ := bytes.Cut(rest, []byte(`<li id="c`))
	if !ok || !bytes.Contains(own, []byte(a.word)) {
		return fmt.Errorf("the comment %d of story %d has another text", a.comment, a.story)
	}
	return nil
}
