package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/singledecree/paxos/internal/progress"
)

func main() {
	if isChild() {
		os.Exit(child(os.Stdin, os.Stdout, os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := bench(ctx, os.Args[1:], os.Stdout, progress.To(os.Stderr)); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	rounds                   int
	warm, window             time.Duration
	only                     *regexp.Regexp
	servers, callers, values []int
	list, full, sweep        bool
	huge, gap, change        bool
	decided, beside          int
	out, dir, draw           string
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	var seconds float64
	var only, servers, callers, values string
	flags.IntVar(&o.rounds, "rounds", 0, "how `many` rounds: each goes through all contestants once; 0: 3, and 1 with -sweep")
	flags.Float64Var(&seconds, "seconds", 0, "how many `seconds` of each run are measured; 0: 1, and 15 with -gap and -change")
	flags.BoolVar(&o.list, "list", false, "measure nothing: list what would be")
	flags.StringVar(&only, "only", "", "do what `regexp` matches only, such as '^disk/3 servers/16 .*paxos'; -list shows what there is")
	flags.StringVar(&servers, "servers", "3,5", "how many servers: the first is the base, the `others` vary it")
	flags.StringVar(&callers, "callers", "1,16,256", "how many callers: the base is measured with `each`")
	flags.StringVar(&values, "values", "64,16,1024,1048576", "bytes of a value: the first is the base, the `others` vary it")
	flags.BoolVar(&o.full, "full", false, "every combination of servers, callers and values, in memory and on disk, contended and not: an hour")
	flags.BoolVar(&o.sweep, "sweep", false, "instead, how the cost of this library grows")
	flags.BoolVar(&o.huge, "huge", false, "with -sweep, up to ten million decided instances: several GB of disk and memory")
	flags.BoolVar(&o.gap, "gap", false, "instead, the longest pause when a server is stopped after a third of the time")
	flags.BoolVar(&o.change, "change", false, "instead, what callers notice when a server is replaced, and when names are forgotten")
	flags.IntVar(&o.decided, "decided", 1_000_000, "with -change, how `many` instances are decided before; ours only")
	flags.IntVar(&o.beside, "beside", 100_000, "with -change, how `many` instances are decided before where peers are beside")
	flags.StringVar(&o.out, "out", "", "write tables and drawings into performance.md and performance/ of `dir`; empty: print only")
	flags.StringVar(&o.dir, "dir", os.TempDir(), "`dir` on the disk to be measured")
	flags.StringVar(&o.draw, "draw", "", "measure nothing: print and draw what `file`, performance/*.json of an earlier run, holds")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q is not a flag", flags.Arg(0))
	}
	if o.sweep && o.gap || o.sweep && o.change || o.gap && o.change {
		return o, errors.New("-sweep, -gap and -change: one at a time")
	}
	if min(o.decided, o.beside) < 1 || max(o.decided, o.beside) > mostDecided {
		return o, fmt.Errorf("-decided and -beside: want 1 to %d", mostDecided)
	}
	o.setDefaults(seconds)
	if only != "" {
		if o.only, err = regexp.Compile(only); err != nil {
			return o, fmt.Errorf("-only: %w", err)
		}
	}
	for _, list := range []struct {
		flag, text string
		most       int
		numbers    *[]int
	}{{"servers", servers, 9, &o.servers}, {"callers", callers, 4096, &o.callers}, {"values", values, 1 << 20, &o.values}} {
		if *list.numbers, err = numbers(list.text, list.most); err != nil {
			return o, fmt.Errorf("-%s: %w", list.flag, err)
		}
	}
	return o, nil
}

// mostDecided is what a run fills within its time.
const mostDecided = 10_000_000

func (o *options) setDefaults(seconds float64) {
	if o.rounds <= 0 {
		if o.rounds = 3; o.sweep {
			o.rounds = 1
		}
	}
	if seconds <= 0 {
		if seconds = 1; o.gap || o.change {
			seconds = 15
		}
	}
	o.window = time.Duration(seconds * float64(time.Second))
	o.warm = min(o.window/4, time.Second)
}

func numbers(text string, most int) (all []int, err error) {
	for _, field := range strings.Split(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n < 1 || n > most {
			return nil, fmt.Errorf("%q: want numbers from 1 to %d with commas between them", text, most)
		}
		all = append(all, n)
	}
	return distinct(all), nil
}

func (o options) plan() (name string, p plan) {
	switch {
	case o.sweep:
		return "sweep", sweep(o.huge)
	case o.gap:
		return "gap", pauseWorks()
	case o.change:
		return "change", changeWorks(o.decided, o.beside)
	default:
		return "compare", comparison(o.servers, o.callers, o.values, o.full)
	}
}

// bench does what args say, and prints to out. A person may watch each run and its result.
func bench(ctx context.Context, args []string, out io.Writer, watch *progress.Line) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	var rep report
	if o.draw != "" {
		rep, err = readReport(o.draw)
	} else {
		rep, err = measure(ctx, o, out, watch)
	}
	if err != nil || o.list {
		return err
	}
	fmt.Fprint(out, "\n", rep.text())
	if o.out == "" {
		return nil
	}
	return rep.write(o.out)
}

// measure does all jobs of the plan, round by round.
func measure(ctx context.Context, o options, out io.Writer, watch *progress.Line) (report, error) {
	name, p := o.plan()
	all := jobs(p, o.only, o.warm, o.window)
	if len(all) == 0 {
		return report{}, fmt.Errorf("-only: nothing of the plan matches %s", o.only)
	}
	if o.list {
		for _, j := range all {
			fmt.Fprintln(out, j.id())
		}
		return report{}, nil
	}
	rep := report{Name: name, Machine: machine(o.dir), Rounds: o.rounds, Seconds: o.window.Seconds()}
	defer watch.End()
	for round := range o.rounds {
		for i, j := range all {
			watch.Show(fmt.Sprintf("%d of %d, %s", round*len(all)+i+1, o.rounds*len(all), j.id()), int64(round*len(all)+i), int64(o.rounds*len(all)))
			r, err := inChild(ctx, j, o.dir)
			if ctx.Err() != nil {
				return rep, ctx.Err()
			}
			if err != nil {
				watch.Print(j.id() + ": failed: " + err.Error())
				rep.Failed = append(rep.Failed, fmt.Sprintf("%s: %v", j.id(), err))
				continue
			}
			watch.Print(j.id() + ": " + r.line(j.Work))
			rep.Runs = append(rep.Runs, run{round, j, r})
		}
	}
	return rep, nil
}
