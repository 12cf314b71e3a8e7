package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// probes are the paths of the API that a supervisor asks.
var probes = []string{"livez", "readyz", "healthz"}

// maxProbe bounds how much of the answer to a probe is shown.
const maxProbe = 4096

// runProbe is the subcommand probe: one question to the API of the server on this machine, for a supervisor that can start a program and
// can't reach a loopback address. An answer other than 200 is an error.
func runProbe(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("probe", flag.ContinueOnError)
	addr, timeout := flags.String("api", "127.0.0.1:8000", ""), flags.Duration("timeout", 2*time.Second, "")
	if help, err := parseFlags(flags, out, args); help || err != nil {
		return err
	}
	switch {
	case flags.NArg() != 1 || !slices.Contains(probes, flags.Arg(0)):
		return usageError("probe: want one of " + strings.Join(probes, ", "))
	case *timeout <= 0:
		return usageError(fmt.Sprintf("probe: -timeout: %v: want more than 0", *timeout))
	}
	if err := checkAddr(*addr); err != nil {
		return usageError("probe: -api: " + err.Error())
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+*addr+"/"+flags.Arg(0), nil)
	if err != nil {
		return usageError("probe: -api: " + err.Error())
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answered, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("%s: %w", flags.Arg(0), err)
	}
	defer answered.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answered.Body, maxProbe))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", flags.Arg(0), err)
	case answered.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s: %s", flags.Arg(0), answered.Status, strings.TrimSpace(string(text)))
	}
	fmt.Fprintln(out, flags.Arg(0)+": ok")
	return nil
}
