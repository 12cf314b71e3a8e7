package replica

import (
	"testing"

	"github.com/singledecree/paxos"
	"github.com/stretchr/testify/assert"
)

func TestReplicaUncontendedDecisionCosts(t *testing.T) {
	p := newPumpOf(t, 3)
	p.replicas[1].Propose(p.now, 1, "lunch", "burger")
	p.run()
	assert.Equal(t, paxos.Value("burger"), p.value(1))
	for _, k := range []paxos.Kind{paxos.KindPrepare, paxos.KindPromise, paxos.KindAccept, paxos.KindAccepted, paxos.KindChosen} {
		assert.Equal(t, 2, p.count(k), "messages of kind %v", k)
	}
	assert.Len(t, p.sent, 10, "and nothing else")
	assert.Equal(t, map[paxos.ServerID]int{1: 2, 2: 2, 3: 2}, p.saves, "2 saves in series")
	p.pass(lazySave)
	assert.Equal(t, map[paxos.ServerID]int{1: 3, 2: 3, 3: 3}, p.saves, "the record of the decision needs none, but is saved soon")
	for id := paxos.ServerID(1); id <= 3; id++ {
		assert.True(t, p.records[id]["lunch"].Chosen)
		assert.Equal(t, uint64(1), p.records[id]["lunch"].Index)
	}
	assert.Len(t, p.sent, 10)
}
