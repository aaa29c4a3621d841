package site

import (
	"crypto/rand"
	"net/url"
	"strings"

	"github.com/everheap/everheap/examples/forum/page"
)

// The frame of a page and the head of a story are made by hand: by templates they took sixty
// microseconds, five times as long as fifty comments.

// frameParts are what is between the texts of a frame.
var frameParts = strings.Split(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>|· Everforum</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<link rel="stylesheet" href="`+assets["style.css"].path+`"><link rel="icon" href="`+assets["icon.svg"].path+`"><script src="`+assets["live.js"].path+`" defer></script></head>
<body|><a class="skip" href="#main">To the contents</a>
<header><div><a class="logo" href="/"><span aria-hidden="true">∞</span> Everforum</a>
<nav aria-label="Main"><a href="/">New</a><a href="/?sort=active">Active</a><a href="/?sort=top">Top</a><a href="/submit">Submit</a></nav>
<form class="find" role="search" action="/search"><input type="search" name="q" value="|" placeholder="Search everything" aria-label="Search everything" maxlength="200"></form>
<div class="who">|</div></div></header>
<main id="main">`, "|")

// frame appends the beginning of a page; live is where its changes come from. The end is close.
func (q *request) frame(title, live string) {
	b := q.out
	b.raw(frameParts[0])
	b.text(title)
	b.raw(" ")
	b.raw(frameParts[1])
	if live != "" {
		b.raw(` data-live="`)
		b.escape(live)
		b.raw(`"`)
	}
	b.raw(frameParts[2])
	if q.URL.Path == "/search" {
		b.escape(cut(q.FormValue("q"), 200))
	}
	b.raw(frameParts[3])
	if q.name != "" {
		b.raw(`<a href="/u/`)
		b.path(q.name)
		b.raw(`">`)
		b.text(q.name)
		b.raw(`</a><span class="left" title="moderation points left today">`)
		b.int(q.points)
		b.raw(`&thinsp;▲</span><form method="post" action="/logout"><button class="link">Log out</button></form>`)
	} else {
		b.raw(`<a href="/login?to=`)
		b.escape(url.PathEscape(q.URL.Path))
		b.raw(`">Log in</a>`)
	}
	b.raw(frameParts[4])
}

// close appends the end of a page.
func (q *request) close() {
	q.out.raw(`</main><div id="said" role="status" aria-live="polite"></div>
<footer>Times are UTC. Kept in `)
	q.out.text(q.site.opt.Store)
	q.out.raw(`. <a href="/ops">The servers</a></footer></body></html>
`)
}

// article appends the story of a page, and the form to answer it.
func (q *request) article(s *page.Story, comments int, can abilities) {
	b := q.out
	b.raw(`<article class="story"><h1>`)
	if isLink(s.Link) {
		b.raw(`<a href="`)
		b.escape(s.Link)
		b.raw(`" rel="nofollow noopener">`)
		b.text(s.Title)
		b.raw(`</a> <span class="site">`)
		b.text(hostOf(s.Link))
		b.raw(`</span>`)
	} else {
		b.text(s.Title)
	}
	b.tags(s.Tags)
	b.raw(`</h1><p class="by"><a href="/u/`)
	b.path(s.Author)
	b.raw(`">`)
	b.text(s.Author)
	b.raw(`</a> `)
	b.time(s.At)
	b.raw(` <b><span id="points">`)
	b.int(s.Points)
	b.raw(`</span> points</b>`)
	if can.moderate && s.Author != q.name {
		b.b = appendButtons(b.b, 0)
	}
	b.raw(`</p>`)
	if s.Text != "" {
		b.raw(`<p class="text">`)
		b.text(s.Text)
		b.raw(`</p>`)
	}
	b.raw(`</article>`)
	if can.reply {
		b.raw(`<form id="moderate" method="post" action="/s/`)
		b.int(int(s.ID))
		b.raw(`/moderate"></form><form class="write" method="post" action="/s/`)
		b.int(int(s.ID))
		b.raw(`/reply/0"><input type="hidden" name="key" value="`)
		b.raw(rand.Text())
		b.raw(`"><label for="text">What do you think?</label><textarea id="text" name="text" rows="3" required maxlength="20000"></textarea><button>Post the comment</button></form>`)
	} else {
		b.raw(`<p class="quiet"><a href="/login?to=/s/`)
		b.int(int(s.ID))
		b.raw(`">Log in</a> to answer and to moderate.</p>`)
	}
	b.raw(`<h2><span class="n">`)
	b.int(comments)
	b.raw(`</span> comments</h2>`)
}

// isLink reports whether a link may be followed: one with javascript: could do anything.
func isLink(s string) bool {
	return strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://")
}
