// Package recipetest runs recipes under faults, in a testing/synctest bubble, and a seed draws the faults.
//
// A [World] has servers. A [Process] of the world makes calls there. [Run] makes worlds of registers in memory, for thousands of seeds a
// second. [RunNodes] makes worlds of three real Nodes on a bad network, for a few dozen seeds.
//
// These faults are drawn:
//
//   - A call takes long.
//   - Its outcome is unknown. It has its effect at once, never, long after its return, or when the next call finds it.
//   - It is refused.
//   - A process crashes in the middle of a call.
//
// Half of the processes hedge: they make each call at two servers, and take the first answer.
package recipetest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/singledecree/paxos"
)

var (
	seeds = flag.Uint64("recipe.seeds", 0, "how many seeds each test of a recipe runs; 0: as many as take 2 seconds")
	from  = flag.Uint64("recipe.from", 0, "the first seed")
)

// A World has servers, and processes that make calls there.
type World struct {
	Seed uint64

	t         *testing.T
	draws     *draws
	registers *registers // nil: there are real Nodes
	server    func() Register
	running   sync.WaitGroup
}

// Run plays scenario in one bubble for each seed, with registers in memory. There are usual seeds, if no flag says otherwise. It ends at
// the first seed that fails, and names it. all is false if it ran fewer than usual, so that not every fault must have been seen.
func Run(t *testing.T, usual uint64, scenario func(t *testing.T, w *World)) (all bool) {
	t.Helper()
	count := usual
	if *seeds > 0 {
		count = *seeds
	}
	for seed := *from; seed < *from+count && !t.Failed(); seed++ {
		synctest.Test(t, func(t *testing.T) {
			defer failed(t, seed)
			d := newDraws(seed)
			r := &registers{draws: d, instances: map[string]*instance{}}
			w := &World{Seed: seed, t: t, draws: d, registers: r, server: func() Register { return r }}
			defer w.running.Wait()
			scenario(t, w)
		})
	}
	return count >= usual && !t.Failed()
}

func failed(t *testing.T, seed uint64) {
	if t.Failed() {
		t.Errorf("seed %d: it fails; -recipe.from %d -recipe.seeds 1 runs it alone", seed, seed)
	}
}

// Chance is true with probability p.
func (w *World) Chance(p float64) bool { return w.draws.chance(p) }

// IntN draws a number from 0 to n-1.
func (w *World) IntN(n int) int { return w.draws.intN(n) }

// Decided are all decisions of the registers in memory, by name. It is nil in a world of Nodes.
func (w *World) Decided() map[string]paxos.Value {
	if w.registers == nil {
		return nil
	}
	return w.registers.decisions()
}

// String lists all decisions of the registers in memory, a line each.
func (w *World) String() string {
	if w.registers == nil {
		return ""
	}
	return fmt.Sprintf("seed %d:\n%v", w.Seed, w.registers)
}

// Sleep waits for a drawn time up to most.
func (w *World) Sleep(most time.Duration) { w.draws.pause(context.Background(), w.draws.within(most)) }

// Wait waits for all that [World.Go] began.
func (w *World) Wait() { w.running.Wait() }

// Go runs f as a new process, from a drawn moment on. If the process crashes, f does not return: its goroutine ends in the middle of a
// call. Then the next process begins, which remembers nothing of the one before, and runs f too. There are at most lives of them, one
// after the other.
func (w *World) Go(lives int, f func(p *Process)) {
	begins := w.draws.within(20 * w.draws.slow)
	w.running.Go(func() {
		for range lives {
			w.draws.pause(context.Background(), begins)
			begins = w.draws.within(20 * w.draws.slow)
			p := w.process()
			var life sync.WaitGroup
			life.Go(func() { f(p) })
			life.Wait()
			if p.Alive() {
				p.end() // its goroutines learn that it has ended
				return
			}
		}
	})
}

// A Process makes calls at servers of its world. It is a [Register]. When it crashes, each goroutine that is in a call of it ends, or
// ends as soon as it makes one.
type Process struct {
	w       *World
	ctx     context.Context
	end     context.CancelFunc
	hedging bool

	mu      sync.Mutex
	crashed chan struct{}
}

func (w *World) process() *Process {
	p := &Process{w: w, hedging: w.Chance(0.5), crashed: make(chan struct{})}
	p.ctx, p.end = context.WithCancel(context.Background())
	return p
}

// Context ends when the process ends or crashes, and for one in five callers earlier, at a drawn moment.
func (p *Process) Context() (context.Context, context.CancelFunc) {
	if p.w.Chance(0.2) {
		return context.WithDeadline(p.ctx, p.w.draws.within(4*p.w.draws.slow))
	}
	return context.WithCancel(p.ctx)
}

// Life is the context that ends when the process ends or crashes.
func (p *Process) Life() context.Context { return p.ctx }

// Alive reports whether the process has not crashed. After a crash, its beliefs are of no account.
func (p *Process) Alive() bool {
	select {
	case <-p.crashed:
		return false
	default:
		return true
	}
}

// Crash has the process crash. Its own goroutine ends with its next call.
func (p *Process) Crash() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.Alive() {
		close(p.crashed)
		p.end()
	}
}

// made is a call, with its answer.
type made struct {
	d   paxos.Decision
	ok  bool
	err error
}

// call makes a call, at two servers if the process hedges. It does not return if the process crashes.
func (p *Process) call(ctx context.Context, f func(ctx context.Context, r Register) made) made {
	if !p.Alive() {
		runtime.Goexit()
	}
	if p.w.Chance(p.w.draws.crashing) {
		dies := p.w.draws.within(3 * p.w.draws.slow)
		p.w.running.Go(func() {
			p.w.draws.pause(p.ctx, dies)
			if p.ctx.Err() == nil {
				p.Crash()
			}
		})
	}
	begins := []time.Time{time.Now()}
	if p.hedging {
		begins = append(begins, p.w.draws.within(p.w.draws.slow))
	}
	n := len(begins)
	answers := make(chan made, n)
	for _, at := range begins { // all is drawn before the first goroutine draws
		p.w.running.Go(func() {
			p.w.draws.pause(ctx, at)
			answers <- f(ctx, p.w.server())
		})
	}
	var errs []error
	for range n {
		select {
		case <-p.crashed:
			runtime.Goexit()
		case a := <-answers:
			if a.err == nil {
				return a
			}
			errs = append(errs, a.err)
		}
	}
	for _, err := range errs {
		if paxos.Unknown(err) {
			return made{err: err}
		}
	}
	return made{err: errs[0]}
}

// Propose proposes at a server.
func (p *Process) Propose(ctx context.Context, instance string, v paxos.Value) (paxos.Decision, error) {
	a := p.call(ctx, func(ctx context.Context, r Register) (a made) {
		a.d, a.err = r.Propose(ctx, instance, v)
		return a
	})
	return a.d, a.err
}

// Read reads at a server.
func (p *Process) Read(ctx context.Context, instance string) (d paxos.Decision, ok bool, err error) {
	a := p.call(ctx, func(ctx context.Context, r Register) (a made) {
		a.d, a.ok, a.err = r.Read(ctx, instance)
		return a
	})
	return a.d, a.ok, a.err
}

// Wait waits at a server.
func (p *Process) Wait(ctx context.Context, instance string) (paxos.Decision, error) {
	ctx, cancel := context.WithCancel(ctx) // for the slower of two
	defer cancel()
	a := p.call(ctx, func(ctx context.Context, r Register) (a made) {
		a.d, a.err = r.Wait(ctx, instance)
		return a
	})
	return a.d, a.err
}

// Forget forgets at a server.
func (p *Process) Forget(ctx context.Context, names paxos.NameRange) error {
	return p.call(ctx, func(ctx context.Context, r Register) made { return made{err: r.Forget(ctx, names)} }).err
}

// Tried calls f until it returns nil, an error that final says is final, or the process's context ends. A caller retries in this way.
func (p *Process) Tried(f func(ctx context.Context) error, final ...error) (err error) {
	for p.ctx.Err() == nil {
		ctx, cancel := p.Context()
		err = f(ctx)
		cancel()
		if err == nil {
			return nil
		}
		for _, target := range final {
			if errors.Is(err, target) {
				return err
			}
		}
		p.w.draws.pause(p.ctx, p.w.draws.within(p.w.draws.slow))
	}
	return err
}
