package replica

import (
	"testing"

	"github.com/singledecree/paxos"
	"github.com/stretchr/testify/assert"
)

// Where nothing comes, a Save begins at once; and one that is out keeps no other waiting for more.
func TestReplicaGathers(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.forged = true
	p.start(1)
	p.run()
	r := p.replicas[1]
	assert.False(t, r.WantsSave())
	r.HoldSaves(true)
	p.hear(1, 2, msg(t, "prepare 5.2 @a"))
	assert.True(t, r.WantsSave())
	assert.Empty(t, p.records[1]["a"])
	r.HoldSaves(false)
	p.run()
	assert.Equal(t, paxos.Ballot{Round: 5, Server: 2}, p.records[1]["a"].Acceptor.Promised)
	assert.False(t, r.WantsSave())
}
