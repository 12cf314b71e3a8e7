package replica

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// A patient Replica keeps what tells only what was chosen until something else leaves for the same peer, or it is much.
func TestReplicaPatience(t *testing.T) {
	p := newPumpOf(t, 3)
	r := p.replicas[1]
	chosen := func(i int) paxos.Message {
		return paxos.Message{Kind: paxos.KindChosen, Instance: fmt.Sprint("job/", i), Ballot: paxos.Ballot{Round: 1, Server: 1}}
	}
	take := func() (sent map[paxos.ServerID][]paxos.Kind) {
		sent = map[paxos.ServerID][]paxos.Kind{}
		var out Output
		for r.Take(&out) {
			for _, packet := range out.Send {
				for _, m := range packet.Messages {
					sent[packet.To] = append(sent[packet.To], m.Kind)
				}
			}
		}
		return sent
	}
	p.run()
	require.False(t, r.HasNotices())

	r.DelayNotices(true)
	for i := range r.peers {
		r.send(&r.peers[i], chosen(1))
	}
	assert.Empty(t, take())
	assert.True(t, r.HasNotices())

	r.send(&r.peers[0], paxos.Message{Kind: paxos.KindPrepare, Instance: "job/2", Ballot: paxos.Ballot{Round: 1, Server: 1}})
	assert.Equal(t, map[paxos.ServerID][]paxos.Kind{2: {paxos.KindChosen, paxos.KindPrepare}}, take(), "together, in their order")
	assert.True(t, r.HasNotices(), "server 3 has not heard it yet")
	r.DelayNotices(false)
	assert.Equal(t, map[paxos.ServerID][]paxos.Kind{3: {paxos.KindChosen}}, take())
	assert.False(t, r.HasNotices())

	r.DelayNotices(true)
	r.send(&r.peers[0], chosen(3))
	var out Output
	r.Flush(&out)
	require.Len(t, out.Send, 1)
	assert.Equal(t, []paxos.Message{chosen(3)}, out.Send[0].Messages)
	assert.False(t, r.HasNotices())

	r.DelayNotices(true)
	n := 0
	for ; len(take()) == 0; n++ {
		r.send(&r.peers[0], chosen(n))
	}
	size := chosen(n)
	assert.InDelta(t, r.limits.MaxPacket/2/sizeOf(&size), n, float64(n)/10, "half of a packet at most waits")
}
