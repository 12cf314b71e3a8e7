package recipetest

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/paxostest"
)

// RunNodes plays scenario in one bubble for each seed, with three Nodes. Their network loses, repeats and delays packets. Links break, and
// servers crash and start again. Before scenario returns, it waits for its processes.
func RunNodes(t *testing.T, count uint64, scenario func(t *testing.T, w *World)) {
	t.Helper()
	for seed := *from; seed < *from+count && !t.Failed(); seed++ {
		synctest.Test(t, func(t *testing.T) {
			defer failed(t, seed)
			d := newDraws(seed)
			n := startNodes(t, seed, d)
			w := &World{Seed: seed, t: t, draws: d, server: n.any}
			over := make(chan struct{})
			var weather sync.WaitGroup
			weather.Go(func() { n.blow(over) })
			defer n.stop()
			defer weather.Wait()
			defer close(over)
			defer w.running.Wait()
			scenario(t, w)
		})
	}
}

// nodes are three servers, and their weather.
type nodes struct {
	*draws
	t       *testing.T
	seed    uint64
	network *paxostest.Network
	members paxos.Members

	mu     sync.Mutex
	up     map[paxos.ServerID]*node.Node
	stores map[paxos.ServerID]*paxostest.CrashStorage
}

func startNodes(t *testing.T, seed uint64, d *draws) *nodes {
	n := &nodes{draws: d, t: t, seed: seed, members: paxos.Members{Cluster: "recipes", Acceptors: []paxos.ServerID{1, 2, 3}},
		up: map[paxos.ServerID]*node.Node{}, stores: map[paxos.ServerID]*paxostest.CrashStorage{}}
	bad := paxostest.NetworkConfig{Seed: seed, Delay: time.Millisecond, Jitter: time.Duration(n.intN(20)) * time.Millisecond}
	if n.chance(0.5) {
		bad.Loss, bad.Repeat = 0.2, 0.2
	}
	n.network = paxostest.NewNetwork(bad)
	for _, id := range n.members.Acceptors {
		n.stores[id] = paxostest.NewCrashStorage()
		if err := paxos.Format(n.stores[id], id, n.members); err != nil {
			t.Fatal(err)
		}
		n.start(id)
	}
	return n
}

func (n *nodes) start(id paxos.ServerID) {
	n.stores[id].Delay(paxostest.OpSave, time.Millisecond)
	started, err := node.Start(context.Background(), node.Config{ID: id, Members: n.members, Storage: n.stores[id], Transport: n.network.Join(id),
		Seed: n.seed<<8 | uint64(id), Timing: paxos.Timing{Pull: time.Second}})
	if err != nil {
		n.t.Error(err)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.up[id] = started
}

// any returns a server, at random.
func (n *nodes) any() Register {
	id := n.members.Acceptors[n.intN(3)]
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.up[id]
}

// blow lets servers crash, and links break, until it is over.
func (n *nodes) blow(over chan struct{}) {
	for {
		select {
		case <-over:
			n.network.Heal()
			return
		case <-time.After(time.Duration(20+n.intN(300)) * time.Millisecond):
		}
		all := n.members.Acceptors
		id, other := all[n.intN(3)], all[n.intN(3)]
		switch n.intN(8) {
		case 0, 1:
			n.stores[id] = n.stores[id].Crash()
			n.mu.Lock()
			down := n.up[id]
			n.mu.Unlock()
			down.Close()
			n.start(id)
		case 2:
			n.network.Cut(id, other)
		case 3:
			n.network.CutOneWay(id, other)
		case 4:
			n.network.Isolate(id)
		default:
			n.network.Heal()
		}
	}
}

func (n *nodes) stop() {
	for _, id := range n.members.Acceptors {
		n.up[id].Close()
	}
}
