package proof_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
)

// Each server has as many instances open as Limits.MaxOpen allows, and no two the same: they have room for those of the others all
// the same, else every server would wait for ever for others that have none. The calls come within a moment, in random order, so that no
// two servers hear of them in the same order.
func TestServersFullOfCallsDecide(t *testing.T) {
	for _, tt := range []struct{ servers, room int }{
		{3, 1}, {3, 2}, {3, 16}, {5, 1}, {5, 4}, {9, 1}, {9, 4}, {9, 16}, {15, 16}, {15, 64}, {64, 1}, {64, 4},
	} {
		w := newWorld(t, paxostest.SimConfig{Servers: tt.servers, Limits: paxos.Limits{MaxOpen: tt.room}, Timing: paxos.Timing{Pull: defaultPull}})
		random := rand.New(rand.NewPCG(uint64(tt.servers), uint64(tt.room)))
		var calls []*paxostest.Call
		for id := paxos.ServerID(1); id <= paxos.ServerID(tt.servers); id++ {
			for i := range tt.room {
				w.At(time.Duration(random.IntN(50))*time.Millisecond, func() {
					calls = append(calls, w.Propose(id, fmt.Sprintf("job %d of %d", i, id), "v"))
				})
			}
		}
		w.RunFor(time.Second) // attempts that meet no other take 22 ms
		require.Len(t, calls, tt.servers*tt.room)
		for _, c := range calls {
			requireSame(t, c, "v")
		}
	}
}

// The same of what they find undecided in their storages when they start.
func TestServersFullOfTheUndecidedFinish(t *testing.T) {
	const room = 8
	w := newWorld(t, paxostest.SimConfig{Limits: paxos.Limits{MaxOpen: room}, Timing: paxos.Timing{Pull: defaultPull}})
	for id := paxos.ServerID(1); id <= 3; id++ {
		for i := range room { // a vote on the own disk, and none elsewhere
			w.Inject(id%3+1, id, paxos.Message{Kind: paxos.KindAccept, Instance: fmt.Sprintf("job %d of %d", i, id),
				Ballot: paxos.Ballot{Round: 1, Server: id%3 + 1}, Value: "v"})
		}
	}
	w.RunFor(100 * time.Millisecond)
	for id := paxos.ServerID(1); id <= 3; id++ {
		require.False(t, w.Stored(id, fmt.Sprintf("job 0 of %d", id)).Acceptor.Accepted.IsZero())
		w.Crash(id)
		w.Restart(id)
	}
	w.RunFor(5 * time.Minute)
	for id := paxos.ServerID(1); id <= 3; id++ {
		for i := range room {
			require.True(t, w.Stored(id, fmt.Sprintf("job %d of %d", i, id)).Chosen, "job %d of %d", i, id)
		}
	}
}
