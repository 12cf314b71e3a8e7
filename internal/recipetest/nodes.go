package recipetest

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/singledecree/paxos"
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
			bad := paxostest.NetworkConfig{Seed: seed<<8 | 1, Delay: time.Millisecond, Jitter: time.Duration(d.intN(20)) * time.Millisecond}
			if d.chance(0.5) {
				bad.Loss, bad.Repeat = 0.2, 0.2
			}
			c := paxostest.NewCluster(t, paxostest.ClusterConfig{Network: bad, SaveTime: time.Millisecond, Timing: paxos.Timing{Pull: time.Second}})
			server := func() paxos.ServerID { return paxos.ServerID(1 + d.intN(3)) }
			w := &World{Seed: seed, t: t, draws: d, server: func() Register { return c.Node(server()) }}
			over := make(chan struct{})
			var weather sync.WaitGroup
			weather.Go(func() { blow(c, d, server, over) })
			defer weather.Wait()
			defer close(over)
			defer w.running.Wait()
			scenario(t, w)
		})
	}
}

// blow lets servers crash, and links break, until it is over.
func blow(c *paxostest.Cluster, d *draws, server func() paxos.ServerID, over chan struct{}) {
	for {
		select {
		case <-over:
			c.Network.Heal()
			return
		case <-time.After(time.Duration(20+d.intN(300)) * time.Millisecond):
		}
		id, other := server(), server()
		switch d.intN(8) {
		case 0, 1:
			c.Crash(id)
			c.Start(id)
		case 2:
			c.Network.Cut(id, other)
		case 3:
			c.Network.CutOneWay(id, other)
		case 4:
			c.Network.Isolate(id)
		default:
			c.Network.Heal()
		}
	}
}
