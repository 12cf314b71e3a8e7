// Inspect shows what a server's storage on disk holds. It changes nothing; the server must not be running.
//
//	go run ./examples/once -dir /tmp/lunch burger pizza kimbap
//	go run ./examples/inspect -verify -instance lunch /tmp/lunch/1
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/progress"
	"github.com/singledecree/paxos/wal"
)

const usage = `usage: inspect [-verify] [-instance NAME] [-all] DIR

Shows whose storage the directory DIR is, how often that server has started, and what is not decided yet. It changes
nothing, and needs no more than to read: a snapshot or a read-only mount will do. The server must not be running.
If DIR has the storages of several servers below, it says which.

    -verify         read all of it, and check every checksum
    -instance NAME  show what the server remembers of this instance
    -all            list all that is not decided, and all decisions; else the first 20 of what is not decided

Example:
    go run ./examples/inspect -verify -instance lunch /tmp/lunch/1
`

func main() {
	if err := run(os.Stdout, progress.To(os.Stderr), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "inspect:", err)
		if _, bad := err.(usageError); bad {
			fmt.Fprint(os.Stderr, "\n", usage)
			os.Exit(2)
		}
		os.Exit(1)
	}
}

// A usageError says what is wrong with the arguments.
type usageError string

func (e usageError) Error() string { return string(e) }

// A request is what the arguments ask for.
type request struct {
	dir      string
	instance string
	verify   bool
	all      bool
}

// parse reads the arguments; flags may stand before DIR and after it.
func parse(args []string) (r request, err error) {
	flags := flag.NewFlagSet("inspect", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.BoolVar(&r.verify, "verify", false, "")
	flags.BoolVar(&r.all, "all", false, "")
	flags.StringVar(&r.instance, "instance", "", "")
	var dirs []string
	for {
		if err := flags.Parse(args); err != nil {
			return r, err
		}
		if flags.NArg() == 0 {
			break
		}
		dirs, args = append(dirs, flags.Arg(0)), flags.Args()[1:]
	}
	if len(dirs) != 1 {
		return r, usageError(fmt.Sprintf("got %d directories, want one", len(dirs)))
	}
	r.dir = dirs[0]
	return r, nil
}

// run prints what args ask for. A person may watch how far it is.
func run(w io.Writer, watch *progress.Line, args []string) error {
	r, err := parse(args)
	var bad usageError
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(w, usage)
		return nil
	case errors.As(err, &bad):
		return err
	case err != nil:
		return usageError(err.Error())
	}
	log, err := wal.Open(r.dir, wal.Options{ReadOnly: true, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if errors.Is(err, fs.ErrNotExist) {
		return r.choose(w, err)
	}
	if err != nil {
		return err
	}
	defer log.Close()
	if err := r.identity(w, log); err != nil {
		return err
	}
	if err := r.undecided(w, log); err != nil {
		return err
	}
	if r.all {
		if err := decisions(w, log); err != nil {
			return err
		}
	}
	if r.instance != "" {
		if err := instance(w, log, r.instance); err != nil {
			return err
		}
	}
	if r.verify {
		err := log.VerifyWith(func(done, all int64) { watch.Step("verify", done, all) })
		watch.End()
		if err != nil {
			return err
		}
		fmt.Fprintln(w, "\nverified: every checksum matches")
	}
	return nil
}

// identity says whose storage it is, and how large.
func (r request) identity(w io.Writer, log *wal.Log) error {
	s, err := log.Server()
	if err != nil {
		return err
	}
	size := log.Stats()
	fmt.Fprintf(w, "server     %d of cluster %q\n", uint64(s.ID), s.Cluster)
	fmt.Fprintf(w, "store      %016x\n", s.Store)
	fmt.Fprintf(w, "acceptors  %s\n", s.Members)
	if s.Configuration != "" {
		changes(w, s)
	}
	fmt.Fprintf(w, "boots      %d\n", s.Boot)
	fmt.Fprintf(w, "rounds     none above %d was used\n", s.Rounds)
	fmt.Fprintf(w, "decided    %d, the last with Index %d\n", size.Decided, s.Last)
	fmt.Fprintf(w, "undecided  %d\n", size.Undecided)
	fmt.Fprintf(w, "files      %d, %d bytes, of which records that count take %d\n", size.Segments, size.Bytes, size.Live)
	return nil
}

// changes says what the storage knows of changes of members.
func changes(w io.Writer, s paxos.ServerState) {
	for _, text := range []string{s.Configuration, s.Before} {
		for line := range strings.Lines(text) {
			fmt.Fprintf(w, "  %s", line)
		}
	}
	fmt.Fprintf(w, "import     %q\n", s.Import)
}

// undecided lists what is not decided.
func (r request) undecided(w io.Writer, log *wal.Log) error {
	n := 0
	for name, err := range log.Undecided() {
		if err != nil {
			return err
		}
		if n++; n > 20 && !r.all {
			continue
		}
		if n == 1 {
			fmt.Fprintln(w, "\nnot decided:")
		}
		rec, err := log.Load(name)
		if err != nil {
			return err
		}
		fmt.Fprintln(w, "  "+describe(rec))
	}
	if n > 20 && !r.all {
		fmt.Fprintf(w, "  and %d more: -all lists them\n", n-20)
	}
	return nil
}

// decisions lists all that is decided, in the order in which the server learned it.
func decisions(w io.Writer, log *wal.Log) error {
	fmt.Fprintln(w, "\ndecided:")
	for after := uint64(0); ; {
		page, err := log.Decided(after, 1000)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return nil
		}
		for _, n := range page {
			after = n.Index
			rec, err := log.Load(n.Instance)
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "  %d %s\n", n.Index, describe(rec))
		}
	}
}

// instance shows one.
func instance(w io.Writer, log *wal.Log, name string) error {
	rec, err := log.Load(name)
	if err != nil {
		return err
	}
	if rec.Instance == "" {
		fmt.Fprintf(w, "\n%q: this server remembers nothing of it\n", name)
		return nil
	}
	fmt.Fprintln(w, "\n"+describe(rec))
	return nil
}

// describe says in words what a server remembers of an instance.
func describe(r paxos.Record) string {
	a := r.Acceptor
	switch {
	case r.Chosen:
		return fmt.Sprintf("%q is decided: %s, in ballot %s", r.Instance, short(a.Value), a.Accepted)
	case a.Accepted.IsZero():
		return fmt.Sprintf("%q: promised %s, accepted nothing", r.Instance, a.Promised)
	default:
		return fmt.Sprintf("%q: promised %s, accepted %s in ballot %s", r.Instance, a.Promised, short(a.Value), a.Accepted)
	}
}

// short quotes a value, cut to what fits a line.
func short(v paxos.Value) string {
	const most = 64
	if len(v) <= most {
		return fmt.Sprintf("%q", string(v))
	}
	return fmt.Sprintf("%q… (%d bytes)", string(v[:most]), len(v))
}
