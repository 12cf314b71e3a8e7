// Cluster runs servers that are really apart: processes of their own, which keep what they know on disk and talk over TCP
// with mutual TLS.
//
// Without arguments it starts three of them on this machine, and takes commands:
//
//	go run ./examples/cluster
//	go run ./examples/cluster -c "propose lunch burger; kill 1; @2 propose lunch pizza; status"
//	go run ./examples/cluster -c "propose lunch burger; kill 2; replace 2 4; members; @4 read lunch"
//
// With a subcommand it is one of the tools for a cluster on several machines, which the README shows in use:
//
//	go run ./examples/cluster certs -cluster lunch -dir certs 1 2 3
//	go run ./examples/cluster create -config one.json
//	go run ./examples/cluster serve -config one.json
//	go run ./examples/cluster call -api 127.0.0.1:8000 "propose lunch burger"
//	go run ./examples/cluster probe -api 127.0.0.1:8000 readyz
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const usage = `usage: cluster [-n SERVERS] [-dir DIR] [-timeout TIME] [-c COMMANDS]
       cluster certs -cluster NAME [-dir DIR] [-days N] [-renew] [-timeout TIME] ID[=ADDRESS]...
       cluster create -config FILE
       cluster serve -config FILE [-v]
       cluster call [-api ADDRESS] [-timeout TIME] COMMANDS
       cluster probe [-api ADDRESS] [-timeout TIME] livez|readyz|healthz

Without a subcommand, it starts servers on this machine, each a process of its own with storage on disk and mutual TLS, and
takes commands: from the terminal, from a pipe, or from -c, separated by semicolons. When commands don't come from a
terminal, the first that fails ends it, with status 1.

    -n SERVERS     how many, 1 to 9 (3)
    -dir DIR       keep everything in DIR, and go on with what is there; else it is in a temporary directory, and goes
    -timeout TIME  how long a command may wait for the servers (5s)
    -c COMMANDS    carry these out instead of asking for any

certs   makes an authority, unless DIR has it, and signs a certificate for each ID; with -renew it replaces those that
        exist, and waits, for TIME (10m) at most, until the server at each ADDRESS uses its own
create  makes the storage of one server, once in its life
serve   runs one server, until it is interrupted
call    has a server of any machine, whose API is reached at ADDRESS, carry out commands
probe   asks the API of a server as a supervisor does, and fails unless it answers 200

`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := run(ctx, os.Stdin, os.Stdout, os.Args[1:])
	var bad usageError
	switch {
	case err == nil:
		return
	case errors.Is(err, errInterrupted):
		os.Exit(130)
	case errors.As(err, &bad):
		fmt.Fprintf(os.Stderr, "cluster: %v\n\n%s%s", err, usage, commandHelp)
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, "cluster:", err)
	os.Exit(1)
}

// A usageError says what is wrong with the arguments.
type usageError string

func (e usageError) Error() string { return string(e) }

// errInterrupted is the end of what ran until somebody had enough of it.
var errInterrupted = errors.New("interrupted")

func run(ctx context.Context, in io.Reader, out io.Writer, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "certs":
			return endsWithin(ctx, stopGrace, "certs", func() error { return runCerts(ctx, out, args[1:]) })
		case "create":
			return endsWithin(ctx, stopGrace, "create", func() error { return runCreate(out, args[1:]) })
		case "serve":
			return runServe(ctx, in, out, args[1:])
		case "call":
			return runCall(ctx, out, args[1:])
		case "probe":
			return runProbe(ctx, out, args[1:])
		}
	}
	return endsWithin(ctx, childTimeout+stopGrace, "the cluster", func() error { return runLocal(ctx, in, out, args) })
}

// stopGrace is how long what was told to end may take. It is less than the 5 s after which the least patient of supervisors kill.
const stopGrace = 4 * time.Second

// endsWithin runs f, and stops waiting for it some time after ctx has ended. A call of a file system can't be cancelled, and on a disk that
// hangs it does not end. The process must end then. Everything that a storage has acknowledged survives that.
func endsWithin(ctx context.Context, grace time.Duration, what string, f func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- f() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case err := <-ended:
		return err
	case <-late.C:
		return fmt.Errorf("the disk does not answer: %s has not ended within %v; what was acknowledged is kept", what, grace)
	}
}

// parseFlags parses args. -h prints the usage, and help is true then.
func parseFlags(flags *flag.FlagSet, out io.Writer, args []string) (help bool, err error) {
	flags.SetOutput(io.Discard)
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, usage, commandHelp)
		return true, nil
	case err != nil:
		return false, usageError(err.Error())
	}
	return false, nil
}
