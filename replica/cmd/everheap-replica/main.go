// Command everheap-replica keeps copies of a space on other machines; see package replica.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"
	"github.com/everheap/everheap/replica"
	"github.com/nats-io/nats.go"
)

// cli is the command line.
type cli struct {
	Nats  string `help:"Servers, separated by commas." env:"NATS_URL" default:"nats://127.0.0.1:4222" placeholder:"URL"`
	Creds string `help:"File with the credentials for the servers." env:"NATS_CREDS" type:"existingfile" placeholder:"FILE"`
	CA    string `help:"File with the certificates of those who may vouch for the servers." name:"tls-ca" type:"existingfile" placeholder:"FILE"`
	Cert  string `help:"File with this client's certificate." name:"tls-cert" type:"existingfile" placeholder:"FILE"`
	Key   string `help:"File with the key of that." name:"tls-key" type:"existingfile" placeholder:"FILE"`

	Lead    leadCmd    `cmd:"" help:"Lead with a space that programs of this machine use. If another copy has taken over since, the copy follows that."`
	Follow  followCmd  `cmd:"" help:"Follow: keep a copy on this machine, which programs read. If it was promoted, it leads."`
	Status  statusCmd  `cmd:"" help:"Show who leads, and how far the copies are."`
	Promote promoteCmd `cmd:"" help:"Let a copy that follows take over. The exit code is 0 if it leads."`
}

// copyFlags are the flags of a copy.
type copyFlags struct {
	Space        string        `arg:"" help:"Registered name of the space, or its directory."`
	Stream       string        `help:"Name of the space for all copies. Otherwise the last part of SPACE."`
	Copy         string        `help:"Name of this copy. Otherwise the name of the machine."`
	Lead         string        `help:"What those are told who want to write to another copy: where this one is." name:"tell" placeholder:"TEXT"`
	State        string        `help:"Directory for what the copy must remember, and for tails. Otherwise the directory of the space with .replica behind its name." type:"path" placeholder:"DIR"`
	Servers      int           `help:"How many servers keep the log, when it is created." default:"1"`
	Keep         int64         `help:"MiB of changes that the space keeps for the log; 4 to 384." default:"128" placeholder:"MIB"`
	Snapshot     int64         `help:"MiB of changes after which a snapshot is made." default:"64" placeholder:"MIB"`
	Snapshots    int           `help:"How many snapshots are kept." default:"2"`
	Lease        time.Duration `help:"How long a leader may be silent before another copy may take over." default:"10s"`
	PromoteAfter time.Duration `help:"Take over without being asked when the leader was silent for so long. 0: never." default:"0s"`
	ConfirmAfter time.Duration `help:"How long changes are kept that JetStream has acknowledged: longer than its sync_interval." default:"5m"`
}

func (c *copyFlags) options() replica.Options {
	if c.Stream == "" {
		parts := strings.Split(strings.TrimRight(c.Space, "/"), "/")
		c.Stream = parts[len(parts)-1]
	}
	return replica.Options{Stream: c.Stream, Copy: c.Copy, Lead: c.Lead, StateDir: c.State, Replicas: c.Servers, Keep: c.Keep << 20,
		SnapshotBytes: c.Snapshot << 20, Snapshots: c.Snapshots, Lease: c.Lease, PromoteAfter: c.PromoteAfter, ConfirmAfter: c.ConfirmAfter}
}

type leadCmd struct {
	copyFlags
	Force bool `help:"Lead although it is unknown whether the log is part of this space's history. Copies begin again with a snapshot of it; versions that only they have are put aside."`
}

// Run implements the verb.
func (c *leadCmd) Run(ctx context.Context, nc *nats.Conn) error {
	o := c.options()
	o.Force = c.Force
	return replica.Run(ctx, nc, c.Space, replica.AsLeader, o)
}

type followCmd struct{ copyFlags }

// Run implements the verb.
func (c *followCmd) Run(ctx context.Context, nc *nats.Conn) error {
	return replica.Run(ctx, nc, c.Space, replica.AsFollower, c.options())
}

type statusCmd struct {
	Stream string `arg:"" help:"Name of the space for all copies."`
}

// Run implements the verb.
func (c *statusCmd) Run(ctx context.Context, nc *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	l, err := replica.Overview(ctx, nc, c.Stream)
	if err != nil {
		return err
	}
	if l.Leader == "" {
		fmt.Println("no copy leads: the log is empty")
	} else {
		fmt.Printf("%s leads, in term %d; it was heard %s ago\n", l.Leader, l.Term, ago(l.Renewed))
	}
	fmt.Printf("log: version %d, published %s ago; %d messages, %d bytes; newest snapshot: version %d, %d bytes\n\n",
		l.Version, ago(l.Time), l.Messages, l.Bytes, l.Snapshot, l.SnapshotBytes)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "COPY\tROLE\tVERSION\tDURABLE\tLAG\tLAG TIME\tHEARD\tPROBLEM")
	for _, s := range l.Copies {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\n", s.Copy, s.Role, s.Version, s.Durable, s.LagVersions, s.Lag.Round(time.Millisecond), ago(s.Time), s.Problem)
	}
	return w.Flush()
}

// ago formats the time since t.
func ago(t time.Time) string { return time.Since(t).Round(100 * time.Millisecond).String() }

type promoteCmd struct {
	Stream string `arg:"" help:"Name of the space for all copies."`
	Copy   string `arg:"" help:"Name of the copy that is to lead."`
	Force  bool   `help:"Do not ask whether the leader is alive, nor whether other copies have more."`
}

// Run implements the verb.
func (c *promoteCmd) Run(ctx context.Context, nc *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	if err := replica.AskPromote(ctx, nc, c.Stream, c.Copy, c.Force); err != nil {
		return err
	}
	fmt.Printf("%s leads\n", c.Copy)
	return nil
}

// connect connects to the servers, which may be away when a copy starts.
func (c *cli) connect(wait bool) (*nats.Conn, error) {
	opts := []nats.Option{nats.Name("everheap-replica"), nats.MaxReconnects(-1), nats.ReconnectWait(500 * time.Millisecond), nats.RetryOnFailedConnect(wait)}
	if c.Creds != "" {
		opts = append(opts, nats.UserCredentials(c.Creds))
	}
	if c.CA != "" {
		opts = append(opts, nats.RootCAs(c.CA))
	}
	if c.Cert != "" || c.Key != "" {
		if c.Cert == "" || c.Key == "" {
			return nil, errors.New("--tls-cert and --tls-key belong together")
		}
		opts = append(opts, nats.ClientCert(c.Cert, c.Key))
	}
	nc, err := nats.Connect(c.Nats, opts...)
	if err != nil {
		return nil, fmt.Errorf("no server of %s can be reached: %w", c.Nats, err)
	}
	return nc, nil
}

const description = `Everheap-replica keeps copies of a space on other machines, through NATS JetStream.

On each machine one process leads or follows with the machine's copy: a service
(see the README for a unit). Programs use the space as ever; those who write to a
copy that follows are told who leads.`

func main() {
	var c cli
	parsed := kong.Parse(&c, kong.Name("everheap-replica"), kong.Description(description), kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 80}))
	os.Exit(run(&c, parsed))
}

// run runs a verb and returns the exit code.
func run(c *cli, parsed *kong.Context) int {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	verb := parsed.Command()
	nc, err := c.connect(strings.HasPrefix(verb, "lead") || strings.HasPrefix(verb, "follow"))
	if err == nil {
		defer nc.Close()
		parsed.BindTo(ctx, (*context.Context)(nil))
		err = parsed.Run(nc)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "everheap-replica: %s\n", strings.TrimPrefix(err.Error(), "replica: "))
		return 1
	}
	return 0
}
