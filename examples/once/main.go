// Once has several servers each propose a value for one name, all at the same time, and shows that every one of them ends
// up with the same.
//
//	go run ./examples/once burger pizza kimbap
//
// With -dir the servers keep what they know on disk, so a second run reports what the first has decided.
//
//	go run ./examples/once -dir /tmp/lunch burger pizza kimbap
//	go run ./examples/once -dir /tmp/lunch soup salad rice
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
)

const usage = `usage: once [-dir DIR] VALUE VALUE VALUE [VALUE ...]

One server is started for each value, 3 to 9 of them, all in this process. Each proposes its value for the name "lunch",
at the same time.

With -dir, each server keeps what it knows in a directory of its own below DIR, which is made if it is missing. Run again with
the same DIR, and as many values: it is decided already.

Examples:
    go run ./examples/once burger pizza kimbap
    go run ./examples/once -dir /tmp/lunch burger pizza kimbap
`

func main() {
	if err := run(os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "once:", err)
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

func run(w io.Writer, args []string) error {
	flags := flag.NewFlagSet("once", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	dir := flags.String("dir", "", "")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(w, usage)
		return nil
	case err != nil:
		return usageError(err.Error())
	case flags.NArg() < 3 || flags.NArg() > 9:
		return usageError(fmt.Sprintf("got %d values, want 3 to 9", flags.NArg()))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cluster := inMemory
	if *dir != "" {
		cluster = func(n int) ([]*node.Node, func(), error) { return onDisk(ctx, *dir, n) }
	}
	nodes, stop, err := cluster(flags.NArg())
	if err != nil {
		return err
	}
	defer stop()
	if err := decide(ctx, w, nodes, flags.Args()); err != nil || *dir == "" {
		return err
	}
	return whereabouts(w, *dir, len(nodes))
}

func inMemory(n int) ([]*node.Node, func(), error) { return memory.Cluster(memory.Config{Servers: n}) }

// decide has each server propose its value for "lunch", all at the same time.
func decide(ctx context.Context, w io.Writer, nodes []*node.Node, values []string) error {
	if d, ok, err := nodes[0].Read(ctx, "lunch"); err != nil {
		return err
	} else if ok {
		fmt.Fprintf(w, "an earlier run has decided: %q\n", string(d.Value))
	}
	decisions := make([]paxos.Decision, len(nodes))
	errs := make([]error, len(nodes))
	var proposers sync.WaitGroup
	for i, node := range nodes {
		fmt.Fprintf(w, "server %d proposes %q\n", i+1, values[i])
		proposers.Go(func() {
			decisions[i], errs[i] = node.Propose(ctx, "lunch", paxos.Value(values[i]))
		})
	}
	proposers.Wait()
	return report(w, decisions, errs)
}

// report prints what every server learned, and checks that it is the same.
func report(w io.Writer, decisions []paxos.Decision, errs []error) error {
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("server %d: %w", i+1, err)
		}
	}
	chosen := decisions[0]
	fmt.Fprintf(w, "\nchosen: %q\n\n", string(chosen.Value))
	for i, d := range decisions {
		fmt.Fprintf(w, "server %d learned %q in ballot %s (round %d of server %d)\n", i+1, string(d.Value), d.Ballot, d.Ballot.Round, d.Ballot.Server)
		if d.Value != chosen.Value {
			return fmt.Errorf("server %d learned %q, server 1 learned %q", i+1, string(d.Value), string(chosen.Value))
		}
	}
	fmt.Fprintf(w, "\nAll %d servers agree on %q, for ever.\n", len(decisions), string(chosen.Value))
	return nil
}
