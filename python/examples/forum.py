"""A forum whose pages show all that there is, without a database server: any number of these
processes, and Go processes, serve the same forum. Run it with a directory and a port."""

import datetime
import html
import sys
import urllib.parse
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import everheap


@dataclass
class Post:
    author: str
    text: str
    written: datetime.datetime
    votes: int


space = everheap.open(sys.argv[1] if len(sys.argv) > 1 else "forum")
posts = space.sorted("posts", int, Post)
by_author = space.map("posts by author", str, int)


class Forum(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        with space.view():  # one version, however many others write
            rows = "".join(
                f"<li>{html.escape(p.text)} <i>{html.escape(p.author)} ({by_author.get(p.author, 0)} posts), {p.written:%H:%M}</i>, {p.votes} votes"
                f"<form method=post action=/vote><button name=post value={n}>+1</button></form>"
                for n, p in posts[:].items(reverse=True))
            total = len(posts)
        self.answer(200, f"<h1>{total} posts</h1><form method=post action=/post>Name <input name=author> <input name=text size=60><button>Post</button></form><ul>{rows}</ul>")

    def do_POST(self) -> None:
        form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        with space.update():  # all or nothing
            if self.path == "/post":
                number = posts.peekitem()[0] + 1 if posts else 1
                posts[number] = Post(form["author"], form["text"], datetime.datetime.now(datetime.timezone.utc), 0)
                by_author[form["author"]] = by_author.get(form["author"], 0) + 1
            elif int(form["post"]) in posts:
                post = posts[int(form["post"])]
                post.votes += 1
                posts[int(form["post"])] = post
        self.send_response(303)
        self.send_header("Location", "/")
        self.end_headers()

    def answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(body.encode())


if __name__ == "__main__":
    server = ThreadingHTTPServer(("localhost", int(sys.argv[2]) if len(sys.argv) > 2 else 8000), Forum)
    print(f"http://localhost:{server.server_port}/", flush=True)
    server.serve_forever()
