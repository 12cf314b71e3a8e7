package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos/internal/register"
)

// A load has the calls of clients to a cluster, and their answers.
type load struct {
	*apart
	seed      uint64
	every     int64 // answers for each instance, about
	sabotaged bool  // violations are expected, and end it

	epoch  int
	record register.Recorder
	got    atomic.Int64 // answers in this epoch: a decision, or that there is none
	broken atomic.Int64 // calls that a server ended with the proof that the protocol was broken

	known map[string]string   // decided, as clients were told
	open  map[string][]string // values proposed for instances whose decision no client was told

	decisions, nothings, unsure int // answers, and proposes of unknown outcome
	answered                    int // answers
	instances, violations       int // instances with a history, and with a wrong one
}

const (
	clients  = 16
	maxEpoch = 20000 // answers in a history when it is checked
)

func newLoad(a *apart, seed uint64, ops int) *load {
	return &load{apart: a, seed: seed, every: int64(max(1, ops/max(1250, ops/50))), known: map[string]string{}, open: map[string][]string{}}
}

// run has clients make calls, until so many were answered, and the nemesis has done enough. It checks
// the history in parts, each of instances of its own, while the nemesis goes on.
func (l *load) run(ops int, faults []string) *nemesis {
	limit := 2*time.Minute + time.Duration(min(ops, 100e6))*20*time.Millisecond
	if l.sabotaged {
		limit = 2 * time.Minute
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	storm, calm := context.WithCancel(ctx)
	defer calm()
	n := newNemesis(l.apart, l.seed, faults)
	var weather sync.WaitGroup
	weather.Go(func() { n.run(storm) })
	for ctx.Err() == nil && l.violations == 0 && (l.answered < ops || !n.enough.Load()) {
		size := maxEpoch
		if l.sabotaged || l.answered >= ops {
			size = 500
		}
		l.oneEpoch(ctx, min(size, max(ops-l.answered, 500)))
		l.check(l.record.Take())
		l.violations += int(l.broken.Load())
	}
	late := ctx.Err()
	calm()
	weather.Wait()
	if !l.sabotaged {
		require.NoError(l.t, late, "%d of %d operations were answered within %v: %s", l.answered, ops, limit, n)
	}
	return n
}

// oneEpoch has the clients make calls about fresh instances until so many are answered.
func (l *load) oneEpoch(ctx context.Context, ops int) {
	l.epoch++
	l.got.Store(0)
	var callers sync.WaitGroup
	for client := range clients {
		callers.Go(func() {
			x := rand.New(rand.NewPCG(l.seed, uint64(l.epoch)<<8|uint64(client)))
			for l.got.Load() < int64(ops) && l.broken.Load() == 0 && ctx.Err() == nil {
				l.oneCall(ctx, x, client)
			}
		})
	}
	callers.Wait()
	l.answered += int(l.got.Load())
}

// oneCall makes a call. The instances come up one by one, each for several clients at a time, so that some are read before
// they are written, and most are proposed by many.
func (l *load) oneCall(ctx context.Context, x *rand.Rand, client int) {
	in := register.Call{Op: "read", Instance: fmt.Sprintf("%d/%d", l.epoch, l.got.Load()/l.every+int64(x.IntN(4)))}
	switch x.IntN(10) {
	case 0, 1, 2, 3:
		in.Op, in.Value = "propose", fmt.Sprintf("%d by %d", x.Uint32(), client)
	case 4:
		in.Op = "wait"
	}
	// Most have their own server; some go to another.
	server := client % len(l.children)
	if x.IntN(4) == 0 {
		server = x.IntN(len(l.children))
	}
	err := l.call(ctx, &l.record, client, server, in, time.Duration(30+x.IntN(570))*time.Millisecond)
	if err == nil {
		l.got.Add(1)
		return
	}
	if strings.Contains(err.Error(), "protocol broken") {
		l.broken.Add(1)
		if !l.sabotaged {
			assert.Fail(l.t, "a server has stopped an instance", "%v", err)
		}
	}
	pause := time.NewTimer(time.Duration(1+x.IntN(20)) * time.Millisecond) // a server that is down should not be asked all the time
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
	}
}

// check checks the history of an epoch, and keeps what is decided.
func (l *load) check(history []porcupine.Operation) {
	for _, part := range register.Model.Partition(history) {
		l.instances++
		name := part[0].Input.(register.Call).Instance
		if !register.Check(part) {
			l.violations++
			if !l.sabotaged {
				assert.Fail(l.t, "the history of an instance is wrong", "%s: %s", name, register.Text(part))
			}
		}
		var proposed []string
		for _, o := range part {
			switch in, out := o.Input.(register.Call), o.Output.(register.Result); {
			case out.Unknown:
				l.unsure++
				proposed = append(proposed, in.Value)
			case out.OK:
				l.decisions++
				l.known[name] = out.Value
			default:
				l.nothings++
			}
		}
		if _, ok := l.known[name]; !ok {
			l.open[name] = proposed
		}
	}
}
