package proof_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/register"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/paxostest"
)

var linearSeeds = flag.Uint64("linear.seeds", 100, "how many seeds TestNodesAreLinearizable runs")

// makeCall makes a call on a Node, and records it.
func (s *storm) makeCall(ctx context.Context, r *register.Recorder, client int, n *node.Node, in register.Call) error {
	return r.Record(client, in, func() (_ string, ok, unknown bool, err error) {
		var d paxos.Decision
		switch in.Op {
		case "propose":
			d, err = n.Propose(ctx, in.Instance, paxos.Value(in.Value))
			ok = err == nil
		case "wait":
			d, err = n.Wait(ctx, in.Instance)
			ok = err == nil
		default:
			d, ok, err = n.Read(ctx, in.Instance)
		}
		if ok && d.Ballot.Round == 0 {
			s.zero.Add(1)
		}
		return string(d.Value), ok, paxos.Unknown(err), err
	})
}

// TestNodesAreLinearizable: real Nodes on a bad network, with storages that crash, under callers who propose, read and wait. In every other
// seed members change meanwhile, and in every third one names are forgotten.
func TestNodesAreLinearizable(t *testing.T) {
	// Proposals whose outcome is unknown, reads of nothing, decisions returned, decisions of round 0, calls that found an instance forgotten.
	var seen [5]int
	changes := 0
	for seed := range *linearSeeds {
		r := &register.Recorder{}
		synctest.Test(t, func(t *testing.T) {
			s := newStorm(t, seed)
			s.run(r)
			seen[3] += int(s.zero.Load())
			changes += s.changes
		})
		if t.Failed() {
			return
		}
		calls := r.Take()
		require.True(t, register.Check(calls), "seed %d: %s", seed, register.Text(calls))
		for _, o := range calls {
			switch out := o.Output.(register.Result); {
			case out.Forgotten:
				seen[4]++
			case o.Input.(register.Call).Op == "forgets", o.Input.(register.Call).Op == "forget":
			case out.Unknown:
				seen[0]++
			case !out.OK:
				seen[1]++
			default:
				seen[2]++
			}
		}
	}
	t.Logf("%d seeds: %d outcomes unknown, %d reads of nothing, %d decisions returned, %d of them of round 0, %d times forgotten, %d changes", *linearSeeds,
		seen[0], seen[1], seen[2], seen[3], seen[4], changes)
	for what, n := range seen {
		assert.Greater(t, n, int(*linearSeeds), "%d", what)
	}
	assert.Greater(t, changes, int(*linearSeeds)/2)
}

// A storm is a cluster, its callers and its faults.
type storm struct {
	*rand.Rand
	t       *testing.T
	network *paxostest.Network
	members paxos.Members
	seed    uint64
	zero    atomic.Int64 // decisions of round 0
	changes int          // of members

	mu     sync.Mutex
	nodes  map[paxos.ServerID]*node.Node
	stores map[paxos.ServerID]*paxostest.CrashStorage
}

func newStorm(t *testing.T, seed uint64) *storm {
	s := &storm{Rand: rand.New(rand.NewPCG(seed, 27)), t: t, seed: seed, members: paxos.Members{Cluster: "storm"},
		nodes: map[paxos.ServerID]*node.Node{}, stores: map[paxos.ServerID]*paxostest.CrashStorage{}}
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
	n, err := node.Start(context.Background(), node.Config{ID: id, Members: s.members, Storage: s.stores[id], Transport: s.network.Join(id),
		Seed: s.seed<<8 | uint64(id), Timing: paxos.Timing{Pull: time.Second}})
	require.NoError(s.t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes[id] = n
}

// node returns a random server that is up, at the moment.
func (s *storm) node(x int) *node.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nodes[s.all()[x%len(s.all())]]
}

func (s *storm) run(r *register.Recorder) {
	var callers, weather sync.WaitGroup
	for client := range 8 {
		callers.Go(func() { s.call(r, client) })
	}
	over := make(chan struct{})
	weather.Go(func() { s.blow(over) })
	if s.seed%2 == 1 {
		weather.Go(func() { s.reform(over) })
	}
	if s.seed%3 == 0 {
		weather.Go(func() { s.forget(r, over) })
	}
	callers.Wait()
	close(over)
	weather.Wait()
	s.network.Heal()
	s.network.Change(paxostest.NetworkConfig{Delay: time.Millisecond})
	time.Sleep(time.Minute) // the others finish instances that ended calls left
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for i := range instances {
		for x := range s.all() {
			err := s.makeCall(ctx, r, 100+x, s.node(x), register.Call{Op: "read", Instance: instanceName(i)})
			if !errors.Is(err, paxos.ErrForgotten) {
				require.NoError(s.t, err, "server %d, seed %d", x, s.seed)
			}
		}
	}
	for id, n := range s.nodes {
		require.NoError(s.t, n.Settled(ctx), "server %d, seed %d", id, s.seed)
	}
	for _, n := range s.nodes {
		require.NoError(s.t, n.Close())
	}
}

const instances = 12

// instanceName is the name of an instance that nobody owns, that one of servers 1 to 3 does, or that one of them minted, or will,
// in one of its first starts.
func instanceName(i int) string {
	name, owner := fmt.Sprint("job ", i), instanceOwner(i)
	switch i % 4 {
	case 1:
		return paxos.Owned(owner, name)
	case 3:
		return fmt.Sprintf("$%d.%d.%d/%s", owner, 1+i/4%2, i, name)
	}
	return name
}

func instanceOwner(i int) paxos.ServerID { return paxos.ServerID(1 + i%3) }

// call makes calls, one after the other. The instances come up one by one, so that some are read before they are written.
func (s *storm) call(r *register.Recorder, client int) {
	x := rand.New(rand.NewPCG(s.seed, 1000+uint64(client)))
	for i := range 30 {
		which, node := min(i/3+x.IntN(3), instances-1), x.IntN(100)
		in := register.Call{Op: "read", Instance: instanceName(which)}
		if x.IntN(3) == 0 {
			in.Op, in.Value = "propose", fmt.Sprintf("%d by %d", i, client)
			if node < 50 {
				node = int(instanceOwner(which)) - 1
			}
		} else if x.IntN(5) == 0 {
			in.Op = "wait"
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+x.IntN(1500))*time.Millisecond)
		_ = s.makeCall(ctx, r, client, s.node(node), in)
		cancel()
		time.Sleep(time.Duration(x.IntN(60)) * time.Millisecond)
	}
}

// reform changes the members until it is over: any three of the servers vote, or five, and the others do not.
func (s *storm) reform(over chan struct{}) {
	x := rand.New(rand.NewPCG(s.seed, 28))
	for s.rests(over, time.Duration(x.IntN(400))*time.Millisecond) {
		all := s.all()
		x.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		votes := 3
		if len(all) > 5 && x.IntN(2) == 0 {
			votes = 5
		}
		next := paxos.Members{Cluster: s.members.Cluster, Acceptors: all[:votes], Learners: all[votes:]}
		slices.Sort(next.Acceptors)
		slices.Sort(next.Learners)
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+x.IntN(3000))*time.Millisecond)
		if _, err := s.node(x.IntN(100)).Change(ctx, next); err == nil {
			s.changes++
		}
		cancel()
	}
}

// forget has names forgotten until it is over: one, or now and then all that begin so.
func (s *storm) forget(r *register.Recorder, over chan struct{}) {
	x := rand.New(rand.NewPCG(s.seed, 29))
	for s.rests(over, time.Duration(100+x.IntN(500))*time.Millisecond) {
		names := paxos.OneName(instanceName(x.IntN(instances)))
		if x.IntN(8) == 0 {
			names = paxos.Prefix("job ")
		}
		var all []string
		for i := range instances {
			if name := instanceName(i); names.Has(name) {
				all = append(all, name)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+x.IntN(1500))*time.Millisecond)
		_ = r.Forget(50, all, func() error { return s.node(x.IntN(100)).Forget(ctx, names) })
		cancel()
	}
}

// rests rests for d, and reports whether it is not over.
func (s *storm) rests(over chan struct{}, d time.Duration) bool {
	select {
	case <-over:
		return false
	case <-time.After(d):
		return true
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
