package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/singledecree/paxos"
)

// runCall is the subcommand call: commands for one server, through its API.
func runCall(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("call", flag.ContinueOnError)
	addr, timeout := flags.String("api", "127.0.0.1:8000", ""), flags.Duration("timeout", 5*time.Second, "")
	if help, err := parseFlags(flags, out, args); help || err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return usageError(`call: want the commands as one argument, like "propose lunch burger"`)
	}
	if *timeout <= 0 {
		return usageError(fmt.Sprintf("call: -timeout: %v: want more than 0", *timeout))
	}
	reach, err := newClient(*addr)
	if err != nil {
		return usageError("call: -api: " + err.Error())
	}
	defer reach.close()
	first, err := reach.status(ctx, *timeout)
	if err != nil {
		return err
	}
	p := &printer{w: out}
	s := &session{out: p, timeout: *timeout, lines: time.Second, quiet: !isTerminal(out)}
	s.pick = func(id int) (paxos.ServerID, *client, error) {
		if id != 0 && paxos.ServerID(id) != first.ID {
			return 0, nil, fmt.Errorf("the API at %s is that of server %d", *addr, first.ID)
		}
		return first.ID, reach, nil
	}
	s.other = func(ctx context.Context, c command) error {
		if c.words[0] != "status" {
			return errors.New(c.words[0] + ": it is only for servers that this program has started")
		}
		st, err := reach.status(ctx, *timeout)
		if err == nil {
			p.printf("server %d  %s\n", st.ID, describeStatus(st))
		}
		return err
	}
	return s.script(ctx, strings.NewReader(flags.Arg(0)))
}
