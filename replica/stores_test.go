package replica

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// strangers returns servers 1 to n that have never met, of which only server 1 runs.
func strangers(t *testing.T, n int) *pump {
	p := newPump(t, membersOf(n))
	p.Unseen = true
	for _, s := range p.state {
		s.Peers = ""
	}
	p.start(1)
	p.run()
	return p
}

// from returns a packet of server 2 on that storage.
func (p *pump) on(store uint64, ms ...paxos.Message) paxos.Packet {
	packet := p.packet(2, 1, ms...)
	packet.Store = store
	return packet
}

// Nothing comes of what a server says before its Store is durable here: no vote, no answer, no decision, nothing that is shown. Then all of
// it is taken, in order, without another message of that server and without a wait.
func TestReplicaStoresAServerBeforeItActs(t *testing.T) {
	p := strangers(t, 3)
	p.propose(1, 1, "own", "v")
	p.hold = func(paxos.ServerID) bool { return true }
	before := p.now
	sent := p.during(func() {
		p.replicas[1].Receive(p.now, p.on(77, msg(t, "promise 1.1 @own"), msg(t, "prepare 5.2 @a")))
		p.replicas[1].Receive(p.now, p.on(77, msg(t, `decided 9.2 "v" @b`), msg(t, "query 6.2 @a"), pullMessage(0, 0, 1)))
		p.run()
	})
	assert.Empty(t, sent)
	require.NotNil(t, p.held[1], "it is being stored")
	assert.Equal(t, "2/4d", p.held[1].Server.Peers)
	assert.Empty(t, p.held[1].Records)
	s := p.replicas[1].Status(p.now)
	assert.Empty(t, s.Counters.Received)
	assert.Equal(t, time.Duration(-1), s.Peers[0].Heard)
	assert.Empty(t, p.replicas[1].table.byName["a"])
	sent = p.during(func() { p.endSave(1); p.run() })
	assert.Contains(t, sent, `1 -> 2: accept 1.1 "v" @own`)
	assert.Contains(t, sent, `1 -> 3: accept 1.1 "v" @own`)
	for p.held[1] != nil {
		sent = append(sent, p.during(func() { p.endSave(1); p.run() })...)
	}
	assert.Contains(t, sent, "1 -> 2: promise 5.2 @a")
	d, ok, _ := p.replicas[1].Peek("b")
	assert.True(t, ok && d.Value == "v")
	assert.Equal(t, before, p.now)
	assert.Zero(t, p.replicas[1].strange)
	assert.Zero(t, p.replicas[1].counters.DroppedPackets)
	p.hold = nil
	p.run()
	assert.Equal(t, []string{"1 -> 2: promise 7.2 @a"}, p.during(func() { p.replicas[1].Receive(p.now, p.on(77, msg(t, "prepare 7.2 @a"))); p.run() }))
}

// A Save that runs when a server is met does not hold its Store: the next one does.
func TestReplicaStoreIsNotInASaveThatRuns(t *testing.T) {
	p := strangers(t, 3)
	p.hold = func(paxos.ServerID) bool { return true }
	p.propose(1, 1, "own", "v")
	require.NotNil(t, p.held[1])
	p.replicas[1].Receive(p.now, p.on(77, msg(t, "promise 1.1 @own")))
	assert.NotContains(t, p.during(func() { p.endSave(1); p.run() }), `1 -> 2: accept 1.1 "v" @own`)
	assert.Empty(t, p.state[1].Peers)
	assert.Contains(t, p.during(func() { p.endSave(1); p.run() }), `1 -> 2: accept 1.1 "v" @own`)
	assert.Equal(t, "2/4d", p.state[1].Peers)
}

// A crash before that Save leaves a server that knows nobody, and has promised nothing to anybody: it takes whoever comes first.
func TestReplicaCrashesBeforeAServerIsStored(t *testing.T) {
	p := strangers(t, 3)
	p.hold = func(paxos.ServerID) bool { return true }
	p.replicas[1].Receive(p.now, p.on(77, msg(t, "prepare 5.2 @a")))
	p.run()
	p.crash(1)
	assert.Empty(t, p.records[1])
	assert.Empty(t, p.state[1].Peers)
	p.hold = nil
	p.start(1)
	p.run()
	assert.Equal(t, []string{"1 -> 2: promise 5.2 @a"}, p.during(func() { p.replicas[1].Receive(p.now, p.on(78, msg(t, "prepare 5.2 @a"))); p.run() }))
	assert.Equal(t, "2/4e", p.state[1].Peers)
}

// Once stored, a server is its Store for ever: any other is refused in words, over restarts, heard first or later, and the process that
// came with it stops.
func TestReplicaRefusesAnotherStoreForEver(t *testing.T) {
	p := strangers(t, 3)
	p.replicas[1].Receive(p.now, p.on(77))
	p.run()
	require.Equal(t, "2/4d", p.state[1].Peers)
	for restart := range 3 {
		p.crash(1)
		p.start(1)
		p.run()
		r := p.replicas[1]
		assert.Equal(t, uint64(77), r.Status(p.now).Peers[0].Store)
		sent := p.during(func() {
			p.replicas[1].Receive(p.now, p.on(78, msg(t, "prepare 5.2 @a"), msg(t, `decided 9.2 "v" @b`)))
			p.run()
		})
		require.Equal(t, []string{`1 -> 2: refuse - "identity: 1 2 server 2 was met with another storage, Store 4d; this is Store 4e: ` +
			`its disk was lost, or made anew, and its ServerID is finished"`}, sent, "after %d restarts", restart+1)
		peer := r.Status(p.now).Peers[0]
		assert.Contains(t, peer.Refused, "its ServerID is finished")
		assert.Equal(t, time.Duration(-1), peer.Heard)
		assert.Empty(t, p.records[1])
		assert.Equal(t, "2/4d", p.state[1].Peers)
		assert.Equal(t, []string{fmt.Sprintf("1 -> 2: promise %d.2 @x", restart+1)}, p.during(func() {
			r.Receive(p.now, p.on(77, msg(t, fmt.Sprintf("prepare %d.2 @x", restart+1))))
			p.run()
		}), "the first storage is welcome")
		delete(p.records[1], "x")
	}
	// The server that was made anew hears it, and stops, whether it has met the others yet or not.
	p.pass(time.Second) // it was told just now
	p.state[2].Store, p.state[2].Peers = 78, ""
	p.start(2)
	p.run()
	assert.ErrorContains(t, p.stops[2], "server 2 is refused by server 1: server 2 was met with another storage")
}

// The exact sequence: server 2 loses its disk, servers 1 and 3 restart, and server 2 comes back with an empty one. Nothing else is decided.
func TestReplicaWipedServerIsNotTakenIn(t *testing.T) {
	p := newPump(t, membersOf(3))
	for _, s := range p.state {
		s.Peers = ""
	}
	p.startAll()
	p.propose(1, 1, "before", "v") // all have met
	p.pass(time.Second)
	p.lose = deaf(3)
	p.propose(1, 2, "X", "one") // servers 1 and 2 decide it
	p.pass(time.Second)
	require.Equal(t, paxos.Value("one"), p.value(2))
	for _, id := range p.ids() {
		p.crash(id)
	}
	p.format(2, 555)
	p.lose = nil
	p.start(2)
	p.start(3)
	p.run()
	p.propose(3, 3, "X", "two")
	p.propose(2, 4, "X", "three")
	p.pass(time.Minute)
	assert.NotContains(t, p.done, CallID(3), "server 1 is down, and server 2 is nobody")
	assert.ErrorContains(t, p.stops[2], "its ServerID is finished")
	p.start(1)
	p.pass(time.Minute)
	assert.Equal(t, paxos.Value("one"), p.value(3))
}

// wiped returns server 2 on Store 102, made anew where Store 77 was lost, in its first start as the lost one was.
func wiped(t *testing.T) (p *pump, late func(store uint64, from paxos.ServerID, text string) []string) {
	p = newPump(t, membersOf(3))
	p.Unseen = true
	p.start(2)
	p.run()
	return p, func(store uint64, from paxos.ServerID, text string) []string {
		packet := p.packet(from, 2, msg(t, text))
		packet.ToStore = store
		return p.during(func() { p.replicas[2].Receive(p.now, packet); p.run() })
	}
}

// A server that was made anew uses the ballots of the lost one again: answers to that are not answers to it, in any round, to a proposal or
// to a question. The same from servers that have met no other, or do not say, are.
func TestReplicaTakesNoAnswersToTheLostOne(t *testing.T) {
	for _, tt := range []struct {
		name string
		call func(p *pump) // of the server that was made anew
		late []string
		ends bool // the call does, if the answers are its
	}{
		{"round 1", func(p *pump) { p.propose(2, 1, "job", "mine") }, []string{"promise 1.2 @job", "accepted 1.2 @job"}, true},
		{"round 1, with a vote", func(p *pump) { p.propose(2, 1, "job", "mine") }, []string{`promise 1.2 (1.1 "other") @job`, "accepted 1.2 @job"}, true},
		{"round 0", func(p *pump) { p.propose(2, 1, "$2/job", "mine") }, []string{`accepted 0.2 @"$2/job"`}, true},
		{"round 0, minted", func(p *pump) { p.propose(2, 1, "$2.1.1/job", "mine") }, []string{`accepted 0.2 @"$2.1.1/job"`}, true},
		{"round 0 is said to be chosen", func(p *pump) { p.propose(2, 1, "$2/job", "mine") }, []string{`chosen 0.2 @"$2/job"`}, true},
		{"a read", func(p *pump) { p.replicas[2].Read(p.now, 1, "job"); p.run() }, []string{"state 1.2 @job"}, true},
		{"a refusal", func(p *pump) { p.propose(2, 1, "job", "mine") }, []string{"nack 1.2 above 9.3 @job"}, false},
	} {
		for _, store := range []uint64{77, 102, 0} {
			t.Run(fmt.Sprint(tt.name, ", for Store ", store), func(t *testing.T) {
				p, late := wiped(t)
				tt.call(p)
				sent := 0
				for _, from := range []paxos.ServerID{1, 3} {
					for _, text := range tt.late {
						sent += len(late(store, from, text))
					}
				}
				s := p.replicas[2].Status(p.now)
				if store != 77 {
					assert.Equal(t, tt.ends, len(p.done) == 1)
					assert.Zero(t, s.Counters.DroppedPackets)
					return
				}
				assert.Empty(t, p.done)
				assert.Zero(t, sent)
				assert.Equal(t, uint64(2*len(tt.late)), s.Counters.DroppedPackets)
				assert.Empty(t, s.Counters.Received)
				assert.NoError(t, p.stops[2], "it may be the others that have met an impostor")
				for _, peer := range s.Peers {
					assert.Equal(t, fmt.Sprintf("server %d has met this server with another storage, Store 4d; this is Store 66", peer.ID), peer.Refused)
					assert.Equal(t, uint64(len(tt.late)), peer.Dropped)
					assert.Equal(t, time.Duration(-1), peer.Heard)
				}
			})
		}
	}
}

// Not even the sender is met by a packet for another storage, and nothing in it is taken, be it a question, a decision or a list.
func TestReplicaTakesNothingMeantForAnotherStorage(t *testing.T) {
	p := strangers(t, 3)
	p.trace = true
	p.start(1)
	p.run()
	p.events = nil
	packet := p.on(77, msg(t, "prepare 5.2 @a"), msg(t, `accept 5.2 "v" @b`), msg(t, `decided 9.2 "v" @c`), msg(t, "query 6.2 @a"), pullMessage(0, 0, 1),
		msg(t, `refuse - "members: others"`), msg(t, `refuse - "identity: 2 1 of an earlier life"`))
	packet.ToStore, packet.Index = 102, 50
	assert.Empty(t, p.during(func() { p.replicas[1].Receive(p.now, packet); p.run() }))
	assert.Empty(t, p.state[1].Peers)
	assert.Empty(t, p.records[1])
	assert.Zero(t, p.replicas[1].strange)
	assert.Empty(t, p.replicas[1].counters.Received)
	assert.NoError(t, p.stops[1])
	require.Len(t, p.events, len(packet.Messages))
	for _, e := range p.events {
		assert.Equal(t, paxos.EventDrop, e.Kind)
		assert.EqualError(t, e.Err, "server 2 has met this server with another storage, Store 66; this is Store 65")
	}
}

// A Refuse that names this very process reaches it, though it comes from a server that knows it on another storage, and alone: of what comes
// with it nothing is taken.
func TestReplicaHearsThatItIsRefused(t *testing.T) {
	for _, met := range []string{"1/65,3/67", ""} {
		p := newPump(t, membersOf(3))
		p.Unseen = true
		p.state[2].Peers = met
		p.start(2)
		p.run()
		p.propose(2, 1, "$2/job", "mine")
		packet := p.packet(1, 2, msg(t, `accepted 0.2 @"$2/job"`), msg(t, `refuse - "identity: 1 1 it is finished"`), msg(t, `decided 9.1 "v" @b`))
		packet.ToStore = 77
		kept := slices.Clone(packet.Messages)
		p.replicas[2].Receive(p.now, packet)
		p.run()
		require.ErrorContains(t, p.stops[2], "server 2 is refused by server 1: it is finished")
		assert.Equal(t, kept, packet.Messages, "they are the caller's")
		assert.ErrorContains(t, p.failed(1), "it is finished")
		_, ok, _ := p.replicas[2].Peek("b")
		assert.False(t, ok)
		s := p.replicas[2].Status(p.now)
		assert.Equal(t, uint64(1), s.Counters.DroppedPackets)
		assert.Equal(t, uint64(1), s.Counters.Received[paxos.KindRefuse])
	}
	// One that is itself on a storage that is not its own is not listened to.
	p, _ := wiped(t)
	packet := p.packet(1, 2, msg(t, `refuse - "identity: 1 1 it is finished"`))
	packet.Store, packet.ToStore = 99, 77
	p.replicas[2].Receive(p.now, packet)
	p.run()
	assert.NoError(t, p.stops[2])
	assert.Contains(t, p.replicas[2].Status(p.now).Peers[0].Refused, "server 1 was met with another storage, Store 65; this is Store 63")
}

// Every packet names the storage of its receiver, from when that is met, over restarts.
func TestReplicaNamesWhomItMeans(t *testing.T) {
	p := strangers(t, 3)
	var named [4]uint64 // by receiver
	p.lose = func(packet paxos.Packet, _ paxos.Message) bool { named[packet.To] = packet.ToStore; return false }
	p.propose(1, 1, "own", "v")
	assert.Equal(t, [4]uint64{}, named)
	p.replicas[1].Receive(p.now, p.on(77, msg(t, "prepare 5.2 @a")))
	p.run()
	assert.Equal(t, uint64(77), named[2])
	p.pass(time.Second)
	assert.Equal(t, [4]uint64{2: 77}, named)
	p.crash(1)
	p.start(1)
	p.run()
	named = [4]uint64{}
	p.propose(1, 2, "own", "v")
	assert.Equal(t, [4]uint64{2: 77}, named)
}

// Packets of servers that are not stored yet are bounded, in number and in bytes.
func TestReplicaHoldsLittleOfStrangers(t *testing.T) {
	p := strangers(t, 3)
	p.limits = paxos.Limits{MaxPacket: 64 << 10}
	p.start(1)
	p.run()
	p.hold = func(paxos.ServerID) bool { return true }
	for range maxStrange + 10 {
		p.replicas[1].Receive(p.now, p.on(77))
	}
	s := p.replicas[1].Status(p.now)
	held := len(p.replicas[1].peers[0].identity.held)
	assert.LessOrEqual(t, held, maxStrange)
	assert.Equal(t, maxStrange+10, held+int(s.Peers[0].Dropped))
	large := p.packet(3, 1, paxos.Message{Kind: paxos.KindDecided, Instance: "large", Ballot: paxos.Ballot{Round: 9, Server: 3}, Value: paxos.Value(strings.Repeat("x", 1<<20))})
	for range 5 {
		p.replicas[1].Receive(p.now, large)
	}
	assert.LessOrEqual(t, p.replicas[1].strange.bytes, p.limits.MaxPacket+2<<20)
	p.hold = nil
	p.run()
	for p.held[1] != nil {
		p.endSave(1)
		p.run()
	}
	assert.Zero(t, p.replicas[1].strange)
	assert.Equal(t, "2/4d,3/67", p.state[1].Peers)
}

// A packet that names no storage is of nobody.
func TestReplicaPacketWithoutAStore(t *testing.T) {
	p := strangers(t, 3)
	p.replicas[1].Receive(p.now, p.on(0, msg(t, "prepare 5.2 @a")))
	p.run()
	assert.Empty(t, p.state[1].Peers)
	assert.Empty(t, p.records[1])
	assert.Equal(t, uint64(1), p.replicas[1].counters.DroppedPackets)
}

// A storage of a version that stored no Peers says in Pulled whom it pulled from: those are met, and stored with the first Save; the rest is
// met at first contact.
func TestReplicaMeetsWhomItPulledFrom(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.Unseen = true
	p.state[1].Peers, p.state[1].Pulled = "", "3/1c2/60"
	p.start(1)
	p.run()
	assert.Equal(t, "3/1c2", p.state[1].Peers)
	p.replicas[1].Receive(p.now, p.on(77))
	p.run()
	assert.Equal(t, "2/4d,3/1c2", p.state[1].Peers)
	assert.Contains(t, p.hear(1, 3, msg(t, "prepare 5.3 @a"))[0], "3 was met with another storage, Store 1c2; this is Store 67")
}

// A server that is no member, or not any more, stays in Peers. Learners are stored as acceptors are.
func TestReplicaStoresLearners(t *testing.T) {
	m := membersOf(3)
	m.Learners = []paxos.ServerID{9}
	p := newPump(t, m)
	p.Unseen = true
	p.state[1].Peers = "2/66,8/abc"
	p.start(1)
	p.run()
	p.hear(1, 9, msg(t, "query 5.9 @a"))
	assert.Equal(t, "2/66,8/abc,9/6d", p.state[1].Peers)
}

// TestLateStateOfAWholeSource: a State that a source sent before it was complete comes late, when it is asked anew as a whole source.
func TestLateStateOfAWholeSource(t *testing.T) {
	p := newPumpOf(t, 3)
	p.lose = func(paxos.Packet, paxos.Message) bool { return true }
	p.propose(1, 1, "lunch", "soup") // its instance is loaded, and stays open
	r := p.replicas[1]
	ask := func() {
		t.Helper()
		seq, _, ok := r.imports.WantsPage(2, 1, 0)
		require.True(t, ok)
		require.True(t, r.imports.Page(2, seq, []string{"lunch"}, 1, true))
		require.Equal(t, []string{"lunch"}, r.imports.Ask(2, 9, 1, 0))
	}
	r.imports.Begin([]paxos.ServerID{2}, "")
	ask()
	early := paxos.Message{Kind: paxos.KindState, Instance: "lunch", Ballot: r.importBallot(false)}
	r.imports.Whole(2)
	ask()
	r.importFrom(r.byID[2], &early, r.table.byName["lunch"])
	require.True(t, r.imports.Waits(2, "lunch"), "the record of a source that was not complete")
}

// TestScanWaitsForTheSeal: a server names its undecided instances when its own configuration is durable, and with it all earlier votes.
func TestScanWaitsForTheSeal(t *testing.T) {
	p := newPumpOf(t, 3)
	holds := false
	p.hold = func(id paxos.ServerID) bool { return id == 2 && holds }
	p.propose(3, 1, "lunch", "soup")
	holds = true
	next, _ := paxos.Configuration{Members: p.members}.Next(paxos.Members{Cluster: p.members.Cluster, Acceptors: []paxos.ServerID{1, 2}})
	p.Proposed(next.Name(), paxos.Value(next.String()))
	p.lose = func(pk paxos.Packet, m paxos.Message) bool { return m.Kind == paxos.KindScan && pk.To == 3 }
	p.replicas[1].Change(p.now, 2, next.Members)
	for range 10 {
		if b := p.held[2]; b != nil && b.Server != nil && b.Server.Configuration != "" {
			break
		} else if b != nil {
			p.endSave(2) // with its votes in configuration 0
		}
		p.pass(time.Second)
	}
	require.NotEmpty(t, p.held[2].Server.Configuration)
	p.pass(2 * time.Second)
	left := func(prefix string) bool {
		return slices.ContainsFunc(p.sent, func(s string) bool { return strings.HasPrefix(s, prefix) })
	}
	require.True(t, left("1 -> 2: scan"))
	require.False(t, left("2 -> 1: open"))
	holds = false
	p.endSave(2)
	p.pass(2 * time.Second)
	require.True(t, left("2 -> 1: open"))
}

// TestNextConfigurationFollows: no configuration is entered that does not name the one before it. A fault tells of it.
func TestNextConfigurationFollows(t *testing.T) {
	for _, spoil := range []func(c *paxos.Configuration){
		func(*paxos.Configuration) {},
		func(c *paxos.Configuration) { c.Before++ },
		func(c *paxos.Configuration) { c.Number = 2 },
	} {
		p := newSolo(t, 3)
		c, err := paxos.Configuration{Members: p.members}.Next(paxos.Members{Cluster: p.members.Cluster, Acceptors: []paxos.ServerID{1, 2}})
		require.NoError(t, err)
		name, whole := c.Name(), c.String()
		spoil(&c)
		p.hear(1, 2, paxos.Message{Kind: paxos.KindDecided, Instance: name, Ballot: paxos.Ballot{Round: 9, Server: 2}, Value: paxos.Value(c.String())})
		now, _ := p.replicas[1].Configuration()
		if c.String() == whole {
			assert.Equal(t, uint64(1), now.Number)
			assert.Empty(t, p.faults)
		} else if assert.Zero(t, now.Number) && assert.Len(t, p.faults, 1) {
			assert.ErrorContains(t, p.faults[0], "is not the next configuration")
		}
	}
}
