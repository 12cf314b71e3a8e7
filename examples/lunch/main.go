// Lunch plays, in a small simulated world, what an article on Paxos tells: servers that agree on a lunch while messages get
// lost and servers crash. Four scenarios more play a change of members, a forgetting, and a server that stands. Each scenario is
// drawn as a space-time diagram, and its outcome is checked.
//
//	go run ./examples/lunch
//	go run ./examples/lunch -list
//	go run ./examples/lunch -run S15
//	go run ./examples/lunch -run replaced
//	go run ./examples/lunch -http localhost:8080
//
// The servers are real Replicas; time, network and disks are scripted, so that every run is the same.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/singledecree/paxos/paxostest"
)

const usage = `usage: lunch [-list] [-run NAME] [-http ADDR]

Plays scenarios of servers that agree on a lunch, draws each as a space-time diagram, and checks how it ends.

  -list       only list the scenarios
  -run NAME   play only this one: its name, or its number such as S15 for all of that number
  -http ADDR  show them on a page, to step through, until interrupted: localhost:8080
`

func main() {
	err := run(os.Stdout, os.Args[1:])
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "lunch:", err)
	var bad usageError
	if errors.As(err, &bad) {
		fmt.Fprint(os.Stderr, "\n", usage)
		os.Exit(2)
	}
	os.Exit(1)
}

// A usageError says what is wrong with the arguments.
type usageError string

func (e usageError) Error() string { return string(e) }

func run(w io.Writer, args []string) error {
	flags := flag.NewFlagSet("lunch", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	list := flags.Bool("list", false, "")
	name := flags.String("run", "", "")
	addr := flags.String("http", "", "")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		_, err := io.WriteString(w, usage)
		return err
	case err != nil:
		return usageError(err.Error())
	case flags.NArg() > 0:
		return usageError(fmt.Sprintf("unexpected argument %q", flags.Arg(0)))
	}
	all := scenarios()
	chosen := all
	if isSet(flags, "run") {
		if chosen = named(all, *name); len(chosen) == 0 {
			return usageError(fmt.Sprintf("no scenario %q; there are\n\n%s", *name, listing(all)))
		}
	}
	if *list {
		_, err := io.WriteString(w, listing(chosen))
		return err
	}
	if isSet(flags, "http") {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		return serve(ctx, w, *addr, chosen)
	}
	return play(w, chosen)
}

func isSet(flags *flag.FlagSet, name string) (set bool) {
	flags.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

// named returns the scenarios of that name or number.
func named(all []scenario, name string) (found []scenario) {
	for _, s := range all {
		if strings.EqualFold(s.name, name) || strings.EqualFold(s.row, name) {
			found = append(found, s)
		}
	}
	return found
}

func listing(all []scenario) string {
	var b strings.Builder
	for _, s := range all {
		fmt.Fprintf(&b, "%-4s %-20s %s\n", s.row, s.name, s.title)
	}
	return b.String()
}

// play plays the scenarios, and returns an error if one did not end as it should.
func play(w io.Writer, all []scenario) error {
	var failed []string
	fmt.Fprintf(w, "How to read the diagrams: time goes down, each server has a column.\n\n%s\n", indent(paxostest.Legend))
	for _, s := range all {
		st := stage{Writer: w}
		st.play(s)
		if st.failed {
			failed = append(failed, s.row+" "+s.name)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("these did not end as they should: %s", strings.Join(failed, ", "))
	}
	if len(all) > 1 {
		_, err := fmt.Fprintf(w, "All %d scenarios ended as they should.\n", len(all))
		return err
	}
	return nil
}
