package paxos_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
)

// Each server has as many instances open as Limits.MaxOpen allows, and no two the same: they have room for those of the others all
// the same, else every server would wait for ever for others that have none.
func TestServersFullOfCallsDecide(t *testing.T) {
	for _, room := range []int{1, 2, 16} {
		w := newWorld(t, paxostest.SimConfig{Limits: paxos.Limits{MaxOpen: room}, Timing: paxos.Timing{Pull: defaultPull}})
		var calls []*paxostest.Call
		for id := paxos.ServerID(1); id <= 3; id++ {
			for i := range room {
				calls = append(calls, w.Propose(id, fmt.Sprintf("job %d of %d", i, id), "v"))
			}
		}
		w.RunFor(5 * time.Minute)
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
