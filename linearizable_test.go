package paxos_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
)

var linearSeeds = flag.Uint64("linear.seeds", 100, "how many seeds TestNodesAreLinearizable runs")

// To its callers an instance is a register that is written once: Propose writes it, or returns what it holds; Read and Wait
// return what it holds, and Read may say that it holds nothing. What they return must fit one order of all calls, in which
// each takes place between its call and its return.

// A registerCall is what a caller asked for.
type registerCall struct {
	op       string // "propose", "read", "wait"
	instance string
	value    paxos.Value // proposed
}

// A registerResult is what it was told.
type registerResult struct {
	unknown bool // Propose failed, and its value may be written at any time
	ok      bool // there was a decision
	value   paxos.Value
}

type register struct {
	written bool
	value   paxos.Value
}

var registerModel = porcupine.Model{
	Init: func() any { return register{} },
	Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
		at := map[string]int{}
		for _, o := range history {
			name := o.Input.(registerCall).instance
			i, ok := at[name]
			if !ok {
				i = len(parts)
				at[name], parts = i, append(parts, nil)
			}
			parts[i] = append(parts[i], o)
		}
		return parts
	},
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(register), input.(registerCall), output.(registerResult)
		if in.op == "propose" && !s.written {
			s = register{true, in.value}
		}
		if out.unknown {
			return true, s
		}
		return out.ok == s.written && out.value == s.value, s
	},
}

// A recorder keeps the history of calls, whose order is the order of its counter.
type recorder struct {
	clock atomic.Int64
	mu    sync.Mutex
	calls []porcupine.Operation
}

// record runs a call, and keeps what came of it unless that says nothing.
func (r *recorder) record(client int, in registerCall, f func() (paxos.Decision, bool, error)) error {
	o := porcupine.Operation{ClientId: client, Input: in, Call: r.clock.Add(1)}
	d, ok, err := f()
	o.Return, o.Output = r.clock.Add(1), registerResult{ok: ok, value: d.Value}
	switch {
	case err != nil && (in.op != "propose" || !paxos.Unknown(err)):
		return err
	case err != nil:
		o.Return, o.Output = 1<<62, registerResult{unknown: true}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, o)
	return err
}

// call makes a call on a Node.
func (r *recorder) call(ctx context.Context, client int, n *paxos.Node, in registerCall) error {
	return r.record(client, in, func() (d paxos.Decision, ok bool, err error) {
		switch in.op {
		case "propose":
			d, err = n.Propose(ctx, in.instance, in.value)
			return d, err == nil, err
		case "wait":
			d, err = n.Wait(ctx, in.instance)
			return d, err == nil, err
		}
		return n.Read(ctx, in.instance)
	})
}

// TestNodesAreLinearizable: real Nodes on a bad network, with storages that crash, under callers who propose, read and wait.
func TestNodesAreLinearizable(t *testing.T) {
	var seen [3]int // proposals whose outcome is unknown, reads of nothing, decisions returned
	for seed := range *linearSeeds {
		r := &recorder{}
		synctest.Test(t, func(t *testing.T) { newStorm(t, seed).run(r) })
		if t.Failed() {
			return
		}
		require.True(t, porcupine.CheckOperations(registerModel, r.calls), "seed %d: %s", seed, historyText(r.calls))
		for _, o := range r.calls {
			switch out := o.Output.(registerResult); {
			case out.unknown:
				seen[0]++
			case !out.ok:
				seen[1]++
			default:
				seen[2]++
			}
		}
	}
	t.Logf("%d seeds: %d outcomes unknown, %d reads of nothing, %d decisions returned", *linearSeeds, seen[0], seen[1], seen[2])
	for what, n := range seen {
		assert.Greater(t, n, int(*linearSeeds), "%d", what)
	}
}

func historyText(calls []porcupine.Operation) (text string) {
	for _, o := range calls {
		text += fmt.Sprintf("\n%6d-%d  client %d  %+v  %+v", o.Call, o.Return, o.ClientId, o.Input, o.Output)
	}
	return text
}

// A storm is a cluster, its callers, and what happens to it.
type storm struct {
	*rand.Rand
	t       *testing.T
	network *paxostest.Network
	members paxos.Members
	seed    uint64

	mu     sync.Mutex
	nodes  map[paxos.ServerID]*paxos.Node
	stores map[paxos.ServerID]*paxostest.CrashStorage
}

func newStorm(t *testing.T, seed uint64) *storm {
	s := &storm{Rand: rand.New(rand.NewPCG(seed, 27)), t: t, seed: seed, members: paxos.Members{Cluster: "storm"},
		nodes: map[paxos.ServerID]*paxos.Node{}, stores: map[paxos.ServerID]*paxostest.CrashStorage{}}
	bad := paxostest.NetworkConfig{Seed: seed, Delay: time.Millisecond, Jitter: time.Duration(s.IntN(20)) * time.Millisecond}
	if s.IntN(2) == 0 {
		bad.Loss, bad.Repeat = 0.3*s.Float64(), 0.5*s.Float64()
	}
	s.network = paxostest.NewNetwork(bad)
	for id := range paxos.ServerID(3 + 2*s.IntN(2)) {
		s.members.Acceptors = append(s.members.Acceptors, id+1)
	}
	s.members.Learners = []paxos.ServerID{9}
	for _, id := range s.all() {
		s.stores[id] = paxostest.NewCrashStorage()
		require.NoError(t, paxos.Format(s.stores[id], id, s.members))
		s.start(id)
	}
	return s
}

func (s *storm) all() []paxos.ServerID { return slices.Concat(s.members.Acceptors, s.members.Learners) }

func (s *storm) start(id paxos.ServerID) {
	s.stores[id].Delay(paxostest.OpSave, time.Millisecond)
	n, err := paxos.Start(context.Background(), paxos.Config{ID: id, Members: s.members, Storage: s.stores[id], Transport: s.network.Join(id),
		Seed: s.seed<<8 | uint64(id), Timing: paxos.Timing{Pull: time.Second}})
	require.NoError(s.t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes[id] = n
}

// node returns a random server that is up, at the moment.
func (s *storm) node(x int) *paxos.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nodes[s.all()[x%len(s.all())]]
}

func (s *storm) run(r *recorder) {
	var callers, weather sync.WaitGroup
	for client := range 8 {
		callers.Go(func() { s.call(r, client) })
	}
	over := make(chan struct{})
	weather.Go(func() { s.blow(over) })
	callers.Wait()
	close(over)
	weather.Wait()
	s.network.Heal()
	s.network.Change(paxostest.NetworkConfig{Delay: time.Millisecond})
	time.Sleep(time.Minute) // what a call left behind is finished by the others
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for i := range instances {
		for x := range s.all() {
			require.NoError(s.t, r.call(ctx, 100+x, s.node(x), registerCall{op: "read", instance: instanceName(i)}), "server %d, seed %d", x, s.seed)
		}
	}
	for _, n := range s.nodes {
		require.NoError(s.t, n.Close())
	}
}

const instances = 12

func instanceName(i int) string { return fmt.Sprint("job ", i) }

// call makes calls, one after the other. The instances come up one by one, so that some are read before they are written.
func (s *storm) call(r *recorder, client int) {
	x := rand.New(rand.NewPCG(s.seed, 1000+uint64(client)))
	for i := range 30 {
		in := registerCall{op: "read", instance: instanceName(min(i/3+x.IntN(3), instances-1))}
		if x.IntN(3) == 0 {
			in.op, in.value = "propose", paxos.Value(fmt.Sprintf("%d by %d", i, client))
		} else if x.IntN(5) == 0 {
			in.op = "wait"
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+x.IntN(1500))*time.Millisecond)
		_ = r.call(ctx, client, s.node(x.IntN(100)), in)
		cancel()
		time.Sleep(time.Duration(x.IntN(60)) * time.Millisecond)
	}
}

// blow has servers crash, and links break, until it is over.
func (s *storm) blow(over chan struct{}) {
	for {
		select {
		case <-over:
			return
		case <-time.After(time.Duration(20+s.IntN(300)) * time.Millisecond):
		}
		all := s.all()
		id, other := all[s.IntN(len(all))], all[s.IntN(len(all))]
		switch s.IntN(8) {
		case 0, 1:
			s.crash(id)
		case 2:
			s.network.Cut(id, other)
		case 3:
			s.network.CutOneWay(id, other)
		case 4:
			s.network.Isolate(id)
		case 5:
			s.network.Deafen(id)
		default:
			s.network.Heal()
		}
	}
}

// crash has a server lose its power, and start again. Its callers are told that it was closed.
func (s *storm) crash(id paxos.ServerID) {
	if s.IntN(2) == 0 {
		s.stores[id] = s.stores[id].Crash()
	} else {
		s.stores[id] = s.stores[id].CrashKept()
	}
	s.nodes[id].Close()
	s.start(id)
}

// TestRegisterModel: the model takes what is right, and refuses what must never happen.
func TestRegisterModel(t *testing.T) {
	type call struct {
		from, to int64
		in       registerCall
		out      registerResult
	}
	propose := func(v paxos.Value) registerCall { return registerCall{op: "propose", value: v} }
	read, wait := registerCall{op: "read"}, registerCall{op: "wait"}
	got := func(v paxos.Value) registerResult { return registerResult{ok: true, value: v} }
	nothing, unknown, never := registerResult{}, registerResult{unknown: true}, int64(1<<62)
	for name, test := range map[string]struct {
		calls []call
		right bool
	}{
		"the loser is told":                       {[]call{{1, 2, propose("a"), got("a")}, {3, 4, propose("b"), got("a")}, {5, 6, read, got("a")}, {7, 8, wait, got("a")}}, true},
		"read beside propose":                     {[]call{{1, 4, propose("a"), got("a")}, {2, 3, read, nothing}}, true},
		"a value that was given up appears later": {[]call{{1, never, propose("a"), unknown}, {3, 4, read, nothing}, {5, 6, read, got("a")}}, true},
		"a value that was given up never appears": {[]call{{1, never, propose("a"), unknown}, {3, 4, propose("b"), got("b")}}, true},
		"the empty value is a value":              {[]call{{1, 2, propose(""), got("")}, {3, 4, read, got("")}}, true},

		"two values":                     {[]call{{1, 2, propose("a"), got("a")}, {3, 4, propose("b"), got("b")}}, false},
		"two values at a time":           {[]call{{1, 3, propose("a"), got("a")}, {2, 4, propose("b"), got("b")}}, false},
		"nobody proposed it":             {[]call{{1, 2, propose("a"), got("c")}}, false},
		"read of nothing after the fact": {[]call{{1, 2, propose("a"), got("a")}, {3, 4, read, nothing}}, false},
		"read of nothing after a read":   {[]call{{1, 9, propose("a"), got("a")}, {2, 3, read, got("a")}, {4, 5, read, nothing}}, false},
		"a read before any proposal":     {[]call{{1, 2, read, got("a")}, {3, 4, propose("a"), got("a")}}, false},
		"the empty value is not nothing": {[]call{{1, 2, propose(""), got("")}, {3, 4, read, nothing}}, false},
		"wait tells another":             {[]call{{1, 2, propose("a"), got("a")}, {3, never, propose("b"), unknown}, {4, 5, wait, got("b")}}, false},
	} {
		var history []porcupine.Operation
		for i, c := range test.calls {
			history = append(history, porcupine.Operation{ClientId: i, Input: c.in, Call: c.from, Output: c.out, Return: c.to})
		}
		assert.Equal(t, test.right, porcupine.CheckOperations(registerModel, history), "%s", name)
	}
}
