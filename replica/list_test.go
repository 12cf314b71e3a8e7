package replica

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// A page that was read before a decision answers its own question only. Server 3 asks from the same Index after that decision, which
// nobody else tells it: if it got that page and its own, later top, it would never ask for the decision again, over restarts too.
func TestReplicaLatePageLosesNothing(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.limits.Cache = 1 // so that the storage is asked
	p.startAll()
	p.lose = deaf(3)
	p.propose(1, 1, "a", "v")
	p.propose(1, 2, "b", "v")
	p.pass(time.Second)

	p.late = 1
	p.crash(2)
	p.start(2)
	p.run()
	require.Len(t, p.pages, 1, "server 2 pulls from the first decision on")
	p.propose(1, 3, "c", "v")
	p.pass(time.Second)
	p.crash(2) // for ever: nobody but server 1 knows c from now on
	p.lose = nil
	p.crash(3)
	p.start(3)
	p.pass(time.Second)
	require.Len(t, p.pages, 2, "and so does server 3")
	require.Equal(t, p.pages[0].ask.After, p.pages[1].ask.After)
	require.Len(t, p.pages[0].names, 2)
	require.Len(t, p.pages[1].names, 3)

	p.late = 0
	p.list(p.pages[0])
	p.run()
	p.list(p.pages[1])
	for range 3 {
		p.pass(3 * time.Hour)
		p.crash(3)
		p.start(3)
	}
	p.pass(3 * time.Hour)
	assert.True(t, p.records[3]["c"].Chosen, "server 3 stored %q, and does not know c", p.state[3].Pulled)
}

// A page claims no more than the Index that was durable when it was asked for, whatever became durable until it is handed in: if it was
// read at once, the later decision is not on it; if it was read late, it is, and is left for the next page.
func TestReplicaPageClaimsWhatItWasReadAt(t *testing.T) {
	for name, late := range map[string]bool{"read at once": false, "read late": true} {
		t.Run(name, func(t *testing.T) {
			p := listing(t)
			assert.Empty(t, p.tells(2, 0, pullMessage(0, 0, 1)))
			require.Equal(t, []page{{1, ListAsk{ID: 1, After: 0, Max: pullNames}, []paxos.Named{{Instance: "a", Index: 1}, {Instance: "b", Index: 2}, {Instance: "c", Index: 3}}}}, p.pages)
			p.tells(3, 0, msg(t, `decided 9.3 "v" @d`))
			p.pass(time.Second)
			require.Equal(t, uint64(4), p.state[1].Last)
			if late {
				p.pages[0].names = p.decidedNames(1, 0, pullNames)
			}
			assert.Equal(t, []string{`1 -> 2: names - "65 0 1 3\na\nb\nc"`}, p.during(func() { p.list(p.pages[0]); p.run() }))
		})
	}
}

// Pages are answered in any order, each to the peer that it was asked for, and once. A question that was not asked has no answer.
func TestReplicaPagesInAnyOrder(t *testing.T) {
	p := listing(t)
	p.tells(2, 0, pullMessage(0, 0, 1))
	p.tells(3, 0, pullMessage(101, 1, 1))
	p.tells(2, 0, pullMessage(101, 1, 1)) // a page for it is being listed
	require.Len(t, p.pages, 2)
	assert.Equal(t, []string{`1 -> 3: names - "65 1 1 3\nb"`}, p.during(func() { p.list(p.pages[1]); p.run() }), "it told of c itself, lately")
	assert.Equal(t, []string{`1 -> 2: names - "65 0 1 3\na\nb\nc"`}, p.during(func() { p.list(p.pages[0]); p.run() }))
	for _, id := range []uint64{0, 1, 2, 3} {
		p.replicas[1].Listed(p.now, id, []paxos.Named{{Instance: "d", Index: 4}})
		p.run()
	}
	assert.Len(t, p.sent, 2)
	p.tells(3, 0, pullMessage(101, 0, 1))
	require.Len(t, p.pages, 3)
	assert.Equal(t, uint64(3), p.pages[2].ask.ID, "the next question has another ID")
}

// listing returns a solo server 1 of 3 that knows the decisions a, b and c of server 3, of which its memory holds the last only: its
// storage is asked for pages, and the test hands them in.
func listing(t *testing.T) *pump {
	p := pulling(t, "")
	p.limits = paxos.Limits{Cache: 1}
	p.late = 1
	p.start(1)
	p.run()
	for _, name := range []string{"a", "b", "c"} {
		p.tells(3, 0, msg(t, `decided 9.3 "v" @`+name))
	}
	p.pass(time.Second)
	require.Equal(t, uint64(3), p.state[1].Last)
	p.sent = nil
	return p
}

// What a server told, and has forgotten since, is on the page for its next start: also if the message waited, while its instance was
// loaded, until that start was heard of.
func TestReplicaListsWhatAnEarlierLifeTold(t *testing.T) {
	p := pulling(t, "")
	p.slow = true
	assert.Empty(t, p.tells(3, 0, msg(t, `decided 9.2 "v" @a`)))
	require.Equal(t, []string{"a"}, p.loads)
	again := p.packet(3, 1)
	again.Boot, again.Nonce = 2, 33
	p.replicas[1].Receive(p.now, again)
	p.load(1, "a")
	p.slow = false
	p.pass(time.Second)
	p.replicas[1].Receive(p.now, paxos.Packet{From: 2, To: 1, Store: 102, Boot: 1, Nonce: 2, Members: again.Members, Seq: 50,
		Messages: []paxos.Message{msg(t, `decided 9.2 "v" @a`)}})
	p.pass(time.Second)
	again.Seq++
	again.Messages = []paxos.Message{pullMessage(0, 0, 2)}
	assert.Equal(t, []string{`1 -> 3: names - "65 0 2 1\na"`}, p.during(func() { p.replicas[1].Receive(p.now, again); p.run() }))
}
