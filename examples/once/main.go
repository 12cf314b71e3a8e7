// Once has several servers each propose a value for one name, all at the same time, and shows that every one of them ends
// up with the same.
//
//	go run ./examples/once burger pizza kimbap
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/singledecree/paxos"
)

const usage = `usage: once VALUE VALUE VALUE [VALUE ...]

One server is started for each value, 3 to 9 of them, all in this process. Each proposes its value for the name "lunch",
at the same time.

Example:
    go run ./examples/once burger pizza kimbap
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

func run(w io.Writer, values []string) error {
	switch {
	case len(values) == 1 && (values[0] == "-h" || values[0] == "-help" || values[0] == "--help"):
		fmt.Fprint(w, usage)
		return nil
	case len(values) < 3 || len(values) > 9:
		return usageError(fmt.Sprintf("got %d values, want 3 to 9", len(values)))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	nodes, stop, err := paxos.MemoryCluster(len(values))
	if err != nil {
		return err
	}
	defer stop()

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
