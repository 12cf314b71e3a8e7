package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// The changes of a work. All but the first two are for this library alone.
const (
	changeServer = "replace a server" // not the leader, where there is one
	changeLeader = "replace the leader"
	changeImport = "import" // the first of them, and nobody calls
	forgetIdle   = "forget"
	forgetBusy   = "forget beside callers"

	changeStanding = "another server stands"
)

// A changing cluster has members that change.
type changing interface {
	cluster
	// prepare gets ready what must be there before the change, such as the new server, if it can be started before it is a member.
	prepare(ctx context.Context) error
	// replace replaces a server by the new one: the leader, or another one. It returns when the new server has all that had been
	// decided, and the old one is stopped. settled is when the old one was not needed any more, if that is known earlier.
	replace(ctx context.Context, leader bool) (settled time.Time, err error)
}

// A changed has the figures of a work with a change. Those that it does not measure are 0.
type changed struct {
	// Phases are of the callers. A change of members lasts until the new server has all, one of the server that stands until the next one can
	// use its ballot, and a forgetting for a third of the window after the call.
	Phases  [phaseCount]phase
	Settled float64 // seconds until the old server was not needed any more
	Import  float64 // decisions a second, until the new server had them all
	Wire    float64 // bytes that all servers sent meanwhile, for each byte of names and values
	Call    float64 // milliseconds: a call of Forget
	Freed   float64 // seconds from the call until nine tenths of the memory were free; 0: not measured
	// Memory and Disk are of all servers, in bytes: before, after the call, and when the logs had nothing more to do. Memory is the
	// heap of the process.
	Memory, Disk [phaseCount]float64
}

// figures are pointers to all figures of c, in the same order for every c.
func (c *changed) figures() (all []*float64) {
	for i := range c.Phases {
		p := &c.Phases[i]
		all = append(all, &p.Seconds, &p.PerSecond, &p.Worst, &p.Middle, &c.Memory[i], &c.Disk[i])
	}
	return append(all, &c.Settled, &c.Import, &c.Wire, &c.Call, &c.Freed)
}

// medianChanged takes the median of each figure by itself; nil: runs have none.
func medianChanged(runs []run) *changed {
	if runs[0].Result.Changed == nil {
		return nil
	}
	m := &changed{}
	for i, figure := range m.figures() {
		*figure = *medianOf(runs, func(r result) *float64 { return r.Changed.figures()[i] })
	}
	return m
}

// changeLimit bounds a change, so that one that hangs is told.
const changeLimit = 4 * time.Minute

// change does the work of j, which changes something.
func change(c cluster, j job) (result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), changeLimit)
	defer cancel()
	if !j.Ours {
		if err := load(ctx, c, j.Work.Decided, j.Work.Value); err != nil {
			return result{}, err
		}
	}
	switch j.Work.Change {
	case changeImport:
		return c.(*paxosCluster).timeImport(ctx, j.Work)
	case forgetIdle:
		return c.(*paxosCluster).timeForget(ctx, j.Work)
	case changeStanding:
		return beside(c, j, func(*changed) error { return c.(*paxosCluster).nextStands(ctx) })
	case forgetBusy:
		return beside(c, j, func(out *changed) error { return c.(*paxosCluster).forgetBeside(ctx, out, j.Window/3) })
	}
	them := c.(changing)
	if err := them.prepare(ctx); err != nil {
		return result{}, err
	}
	return beside(c, j, func(out *changed) error {
		began := time.Now()
		settled, err := them.replace(ctx, j.Work.Change == changeLeader)
		if !settled.IsZero() {
			out.Settled = settled.Sub(began).Seconds()
		}
		return err
	})
}

// beside has callers propose, and after a third of the window does what changes. After that it watches them for as long again.
func beside(c cluster, j job, do func(*changed) error) (result, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var (
		began  = time.Now()
		next   atomic.Uint64
		failed atomic.Int64
		out    changed
		at     cuts
		all    sync.WaitGroup
		ends   = make([][]time.Duration, j.Work.Callers)
	)
	for i, value := range valuesFor(j.Work.Callers, j.Work.Value) {
		all.Go(func() { ends[i] = callOn(ctx, c, i, value, began, &next, &failed) })
	}
	time.Sleep(j.Warm)
	cpu := readCPU()
	at[phaseBefore] = time.Since(began)
	time.Sleep(j.Window / 3)
	at[phaseDuring] = time.Since(began)
	if err := do(&out); err != nil {
		return result{}, err
	}
	at[phaseAfter] = time.Since(began)
	time.Sleep(j.Window / 3)
	at[phaseCount] = time.Since(began)
	after := readCPU()
	cancel()
	all.Wait()
	out.Phases = phasesOf(ends, at)
	r := result{Seconds: (at[phaseCount] - at[phaseBefore]).Seconds(), PerSecond: out.Phases[phaseBefore].PerSecond,
		Errors: int(failed.Load()), Changed: &out}
	for _, p := range out.Phases {
		r.Decisions += uint64(p.PerSecond*p.Seconds + 0.5)
	}
	r.Calls = r.Decisions
	r.OtherCPU = max(0, after.busy-cpu.busy-(after.own-cpu.own)) / r.Seconds
	return r, nil
}

// callOn is one caller. It returns the moments at which its calls ended well. When a call fails, it tries again after a millisecond
// with another name, as in gap.
func callOn(ctx context.Context, c cluster, caller int, value string, began time.Time, next *atomic.Uint64, failed *atomic.Int64) []time.Duration {
	ends := make([]time.Duration, 0, 1<<18) // grown later, it would cost a pause
	for ctx.Err() == nil {
		one, cancel := context.WithTimeout(ctx, time.Second)
		err := c.propose(one, caller, nameOf(next.Add(1)), value)
		cancel()
		switch {
		case err == nil:
			ends = append(ends, time.Since(began))
		case ctx.Err() == nil:
			failed.Add(1)
			time.Sleep(time.Millisecond)
		}
	}
	return ends
}

// loaders is how many callers fill a cluster.
const loaders = 256

// load decides n instances, under the names that preload gives them. It takes no other way than callers do.
func load(ctx context.Context, c cluster, n, size int) error {
	value := valuesFor(1, size)[0]
	var next atomic.Int64
	var all sync.WaitGroup
	for i := range loaders {
		all.Go(func() {
			for k := next.Add(1); k <= int64(n) && ctx.Err() == nil; k = next.Add(1) {
				for c.propose(ctx, i, preloadName(int(k)), value) != nil && ctx.Err() == nil {
					time.Sleep(time.Millisecond + rand.N(time.Millisecond))
				}
			}
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("to decide %d before the change: %w", n, ctx.Err())
	}
	return nil
}

// growing is a list of servers that callers read while one is added.
type growing[T any] struct{ all atomic.Pointer[[]T] }

func (g *growing[T]) get() []T {
	if all := g.all.Load(); all != nil {
		return *all
	}
	return nil
}

// add is called by one goroutine at a time.
func (g *growing[T]) add(v T) {
	old := g.get()
	all := append(old[:len(old):len(old)], v)
	g.all.Store(&all)
}

// writeNames writes what the state machine of a peer holds, for a snapshot.
func writeNames(w io.Writer, names map[string][]byte) error {
	b := bufio.NewWriterSize(w, 1<<20)
	for name, value := range names {
		fmt.Fprintf(b, "%s%08x%s", name, len(value), value)
	}
	return b.Flush() // it has the first error
}

// readNames reads what writeNames wrote.
func readNames(r io.Reader) (map[string][]byte, error) {
	names, head := map[string][]byte{}, make([]byte, nameBytes+8)
	for {
		if _, err := io.ReadFull(r, head); err == io.EOF {
			return names, nil
		} else if err != nil {
			return nil, err
		}
		size, err := strconv.ParseUint(string(head[nameBytes:]), 16, 32)
		if err != nil {
			return nil, err
		}
		value := make([]byte, size)
		if _, err := io.ReadFull(r, value); err != nil {
			return nil, err
		}
		names[string(head[:nameBytes])] = value
	}
}
