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

// change begins a Change at a server, and carries out nothing.
func (p *pump) change(id paxos.ServerID, call CallID, next paxos.Members) {
	c := p.next(id, next)
	p.Proposed(c.Name(), paxos.Value(c.String()))
	p.replicas[id].Change(p.now, call, c.Members)
}

// next returns the configuration after that of a server, with these members.
func (p *pump) next(id paxos.ServerID, m paxos.Members) paxos.Configuration {
	p.t.Helper()
	m.Cluster = p.members.Cluster
	c, err := p.replicas[id].view.Current().Next(m)
	require.NoError(p.t, err)
	return c
}

// learnsNext gives server 1 the decision of c, in a packet of server 2, and carries out its consequences.
func (p *pump) learnsNext(c paxos.Configuration) {
	packet := p.packet(2, 1, decidedAs(c, 2))
	packet.Configuration = c.Number
	p.replicas[1].Receive(p.now, packet)
	p.run()
}

// decidedAs says that c is decided, in a ballot of that server.
func decidedAs(c paxos.Configuration, by paxos.ServerID) paxos.Message {
	return paxos.Message{Kind: paxos.KindDecided, Instance: c.Name(), Ballot: paxos.Ballot{Round: 1, Server: by}, Value: paxos.Value(c.String())}
}

// stranger returns a packet of server 77, which nobody knows.
func stranger(configuration uint64, ms ...paxos.Message) paxos.Packet {
	return paxos.Packet{From: 77, To: 1, Store: 5, Boot: 1, Nonce: 7, Configuration: configuration, Messages: ms}
}

func of(acceptors, learners []paxos.ServerID) paxos.Members {
	return paxos.Members{Acceptors: acceptors, Learners: learners}
}

func ids(all ...paxos.ServerID) []paxos.ServerID { return all }

func ofImports(m *paxos.Message) bool { return m.Ballot.Round&paxos.MaxRound >= paxos.MaxRound-1 }

// unheard keeps server without from hearing of instances with names that begin so, and everybody from counting votes there.
func unheard(begin string, without paxos.ServerID) func(paxos.Packet, paxos.Message) bool {
	cut := deaf(without)
	return func(pk paxos.Packet, m paxos.Message) bool {
		return strings.HasPrefix(m.Instance, begin) && (cut(pk, m) || m.Kind == paxos.KindAccepted)
	}
}

// listAll reads the pages that wait and that are meant, and those that are asked for then.
func (p *pump) listAll(meant func(listed) bool) {
	for {
		i := slices.IndexFunc(p.pages, meant)
		if i < 0 {
			return
		}
		pg := p.pages[i]
		p.pages = slices.Delete(p.pages, i, i+1)
		p.list(pg)
		p.run()
	}
}

func isOpen(pg listed) bool   { return pg.ask.Open }
func isNoOpen(pg listed) bool { return !pg.ask.Open }

// A Read asks for the quorum of the time when it asks. An answer from before its server was complete is not that of a complete one.
func TestChangeReadBesideAnImport(t *testing.T) {
	m := membersOf(3)
	m.Learners = ids(4)
	p := newPump(t, m)
	p.timing.Pull = 50 * time.Millisecond
	p.startAll()
	// "v" is chosen in configuration 0 by servers 1 and 2, and nobody knows it.
	p.lose = unheard("X", 3)
	p.propose(1, 1, "X", "v")
	require.Equal(t, paxos.Value("v"), p.chosen()["X"])
	// The members change to 2, 3 and 4. The pages of imports, and the answers of server 3 about X, come late.
	pages := map[paxos.ServerID]paxos.Packet{} // the last of each source
	var late []paxos.Packet
	held := true
	p.lose = func(pk paxos.Packet, m paxos.Message) bool {
		switch {
		case held && m.Kind == paxos.KindOpen:
			pk.Messages = []paxos.Message{m}
			if pk.To == 4 {
				pages[pk.From] = pk
			}
			return true
		case m.Instance == "X" && m.Kind == paxos.KindState && !ofImports(&m):
			if pk.From == 3 {
				pk.Messages = []paxos.Message{m}
				late = append(late, pk)
			}
			return true
		case m.Kind == paxos.KindScan && pk.From != 4:
			return true
		case m.Instance == "X" && (m.Kind == paxos.KindPrepare || m.Kind == paxos.KindDecided):
			return true
		}
		return false
	}
	p.pass(60 * time.Millisecond)
	p.change(1, 2, of(ids(2, 3, 4), nil))
	p.run()
	for len(pages) < 3 || p.replicas[4].pulls.moved || !strings.Contains(p.state[4].Pulled, "2/") {
		p.pass(5 * time.Millisecond)
		require.Less(t, p.now, 700*time.Millisecond)
	}
	p.replicas[4].Read(p.now, 3, "X") // it begins long after "v" was chosen
	p.run()
	require.NotContains(t, p.done, CallID(3))
	require.NotEmpty(t, late)
	held = false
	for _, id := range ids(1, 2, 3) {
		p.deliver(pages[id])
	}
	p.run()
	p.pass(60 * time.Millisecond)
	require.True(t, p.replicas[4].complete)
	require.NotContains(t, p.done, CallID(3))
	for _, pk := range late {
		p.deliver(pk)
	}
	p.run()
	if d, ok := p.done[3]; ok && d.Err == nil {
		assert.Equal(t, paxos.Value("v"), d.Decision.Value, "it was chosen before the Read began")
	}
}

// The disk never has a configuration without its decision, also if a Save does not hold all that has gathered. Nobody could be told of it.
func TestChangeSealHasItsDecision(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.limits = paxos.Limits{MaxBatch: 4 << 10, MaxPacket: 64 << 10, MaxValue: 16 << 10}
	p.startAll()
	p.hold = func(id paxos.ServerID) bool { return id == 1 }
	p.propose(1, 1, "a", "v")
	require.NotNil(t, p.held[1])
	p.propose(1, 2, "b", paxos.Value(strings.Repeat("b", 8<<10)))
	p.value(2) // decided by 2 and 3
	p.change(1, 3, of(ids(1, 2, 3), ids(4)))
	p.lose = func(pk paxos.Packet, m paxos.Message) bool { return pk.Configuration == 1 }
	p.run()
	p.value(3)
	for sealed := false; !sealed; { // Save after Save, up to the one with the configuration
		b := p.held[1]
		require.NotNil(t, b)
		sealed = b.Server != nil && b.Server.Configuration != ""
		p.endSave(1)
		if !sealed {
			p.run()
		}
	}
	p.crash(1)
	assert.True(t, p.records[1]["$config/1"].Chosen)
	// Server 3 is gone for good, servers 1 and 2 are up and hear each other.
	p.crash(3)
	p.hold, p.lose = nil, nil
	p.start(1)
	p.run()
	p.pass(2 * time.Minute)
	p.propose(1, 4, "c", "v")
	p.propose(2, 5, "d", "v")
	p.pass(2 * time.Minute)
	assert.Contains(t, p.done, CallID(4), "a majority is up")
	assert.Contains(t, p.done, CallID(5))
}

// A page that an earlier process of the importer has asked for answers no question of this one.
func TestChangePageOfAnEarlierLife(t *testing.T) {
	m := membersOf(3)
	m.Learners = ids(4)
	p := newPump(t, m)
	p.startAll()
	// 300 instances are chosen by servers 1 and 2, and nobody knows it.
	p.lose = unheard("n/", 3)
	name := func(i int) string { return fmt.Sprintf("n/%03d", i) }
	for i := range 300 {
		p.begin(1, CallID(1000+i), name(i), "v")
	}
	p.run()
	require.Equal(t, paxos.Value("v"), p.chosen()[name(0)])
	// Nobody but server 4 imports, and only from 1 for now.
	to3 := false
	p.lose = func(pk paxos.Packet, m paxos.Message) bool {
		switch {
		case m.Kind == paxos.KindScan:
			return pk.From != 4 || pk.To == 2 || pk.To == 3 && !to3
		case strings.HasPrefix(m.Instance, "n/") && (m.Kind == paxos.KindPrepare || m.Kind == paxos.KindAccept || m.Kind == paxos.KindAccepted) && pk.From <= 2:
			return true // servers 1 and 2 are slow
		}
		return false
	}
	p.late = 1
	p.change(1, 2, of(ids(2, 3, 4), nil))
	p.run()
	next := func() listed {
		t.Helper()
		p.listAll(isNoOpen)
		i := slices.IndexFunc(p.pages, isOpen)
		require.NotEqual(t, -1, i, "a page is asked for")
		pg := p.pages[i]
		p.pages = nil
		return pg
	}
	p.listAll(isNoOpen)
	p.pass(10 * time.Millisecond) // the seals are durable
	first := next()
	require.Empty(t, first.ask.Name)
	p.hold = func(id paxos.ServerID) bool { return id == 4 } // from here on its disk is slow
	p.list(first)
	p.run()
	second := next()
	require.Equal(t, name(255), second.ask.Name)
	p.crash(4) // before its Save is done
	require.Empty(t, p.records[4][name(0)].Acceptor)
	p.hold = nil
	p.start(4)
	p.run()
	p.pass(220 * time.Millisecond) // it asks again
	pages := []listed{next()}
	p.list(second) // the disk of server 1 answers at last
	p.run()
	for _, pg := range pages {
		p.list(pg)
	}
	p.late = 0
	to3 = true
	p.run()
	p.pass(10 * time.Second)
	require.True(t, p.replicas[4].complete)
	// Servers 1 and 2 are away for a moment.
	two := deaf(1, 2)
	p.lose = func(pk paxos.Packet, m paxos.Message) bool { return two(pk, m) && strings.HasPrefix(m.Instance, "n/") }
	p.propose(4, 3, name(0), "other")
	p.pass(time.Second)
	assert.Equal(t, paxos.Value("v"), p.value(3))
}

// A Forget in a new configuration waits for the acceptors of the one before, as long as these may vote in it.
func TestChangeForgetBesideTheOldConfiguration(t *testing.T) {
	m := membersOf(3)
	m.Learners = ids(4, 5, 6)
	p := newPump(t, m)
	p.startAll()
	old := deaf(1, 2, 3)
	p.lose = func(pk paxos.Packet, m paxos.Message) bool {
		return pk.Configuration == 1 && (old(pk, m)) // the old ones hear nothing of configuration 1
	}
	for _, from := range ids(5, 6) { // they were met: a decision reaches server 4 from none of them, so they say hello
		p.replicas[from].send(p.replicas[from].byID[4], &paxos.Message{Kind: paxos.KindLimits, Value: "1048576 4194304"})
	}
	p.run()
	p.change(4, 1, of(ids(4, 5, 6), ids(1, 2, 3)))
	p.run()
	p.pass(time.Second)
	p.value(1)
	require.Equal(t, uint64(1), p.replicas[4].view.Number())
	require.Equal(t, uint64(1), p.replicas[5].view.Number())
	require.Equal(t, uint64(0), p.replicas[1].view.Number())
	p.ToForget(paxos.OneName("X"))
	p.replicas[4].Forget(p.now, 2, paxos.OneName("X"))
	p.run()
	require.NotContains(t, p.done, CallID(2))
	p.lose = nil
	p.pass(time.Minute)
	require.Contains(t, p.done, CallID(2))
	require.NoError(t, p.done[2].Err)
	require.NoError(t, p.Forgot(p.servers[4], paxos.OneName("X")))
	p.propose(1, 3, "X", "v")
	assert.ErrorIs(t, p.failed(3), paxos.ErrForgotten)
}

// An import ends, also if each list of a storage takes longer than a Timing.Phase.
func TestChangeWithASlowList(t *testing.T) {
	m := membersOf(3)
	m.Learners = ids(4)
	p := newPump(t, m)
	p.startAll()
	type late struct {
		at  time.Duration
		end func()
	}
	var waits []late
	p.disk = func(id paxos.ServerID, write bool, end func()) {
		if write || p.now == 0 {
			end()
			return
		}
		waits = append(waits, late{p.now + 250*time.Millisecond, end})
	}
	step := func(d time.Duration) {
		for end := p.now + d; p.now < end; {
			p.pass(10 * time.Millisecond)
			ready := waits
			waits = nil
			for _, w := range ready {
				if w.at <= p.now {
					w.end()
				} else {
					waits = append(waits, w)
				}
			}
		}
	}
	step(time.Second)
	p.change(1, 1, of(ids(2, 3, 4), nil))
	step(2 * time.Minute)
	for _, id := range p.ids() {
		_, settled := p.replicas[id].Configuration()
		assert.True(t, settled, "server %d", id)
	}
}

// A server that leaves is told when it is not needed any more. Else it would ask the others for ever.
func TestChangeTellsWhoLeaves(t *testing.T) {
	p := newPumpOf(t, 3)
	p.change(1, 1, of(ids(1, 2), nil))
	p.lose = func(pk paxos.Packet, m paxos.Message) bool { return pk.From == 3 && pk.Configuration == 1 }
	p.run()
	p.pass(2 * time.Second)
	_, settled := p.replicas[1].Configuration()
	require.True(t, settled)
	_, settled = p.replicas[3].Configuration()
	assert.True(t, settled)
}

// A page that a source has listed for an import into one configuration is no page for the import into the next.
func TestChangePageOfTheConfigurationBefore(t *testing.T) {
	m := membersOf(3)
	m.Learners = ids(4, 5)
	p := newPump(t, m)
	p.timing.Pull = 50 * time.Millisecond
	p.startAll()
	p.pass(200 * time.Millisecond)
	slow := true
	scans := func(pk paxos.Packet, m paxos.Message) bool {
		return slow && m.Kind == paxos.KindScan && pk.From == 4 && pk.To != 1
	}
	p.lose = scans
	p.late = 1
	// Configuration 1: 1, 2, 4. Server 1 lists slowly for server 4; 1 and 2 are complete.
	p.change(1, 1, of(ids(1, 2, 4), ids(3, 5)))
	p.run()
	for range 100 {
		p.pass(10 * time.Millisecond)
		p.listAll(func(pg listed) bool { return !pg.ask.Open || p.replicas[1].byID[4].scan.ask != pg.ask.ID })
	}
	require.True(t, p.replicas[1].byID[4].scan.ask != 0)
	// "v" is chosen in configuration 1 by servers 1 and 2, and nobody knows it.
	chosen := unheard("Y", 4)
	p.lose = func(pk paxos.Packet, m paxos.Message) bool { return scans(pk, m) || chosen(pk, m) }
	p.propose(1, 2, "Y", "v")
	require.Equal(t, paxos.Value("v"), p.chosen()["Y"])
	// Configuration 2: 1, 4, 5.
	p.lose = func(pk paxos.Packet, m paxos.Message) bool {
		return scans(pk, m) || m.Kind == paxos.KindScan && pk.From == 5 || m.Instance == "Y" && pk.From <= 2
	}
	p.change(1, 3, of(ids(1, 4, 5), ids(2, 3)))
	p.run()
	for range 15 {
		p.pass(10 * time.Millisecond)
		p.listAll(isNoOpen)
	}
	p.late = 0
	p.listAll(isOpen) // the disk of server 1 answers at last
	p.lose = func(pk paxos.Packet, m paxos.Message) bool {
		return m.Instance == "Y" && pk.From <= 2 && !ofImports(&m)
	}
	p.pass(2 * time.Second)
	require.True(t, p.replicas[4].complete)
	two := deaf(1, 2, 3)
	p.lose = func(pk paxos.Packet, m paxos.Message) bool { return two(pk, m) && m.Instance == "Y" }
	p.propose(4, 4, "Y", "other")
	p.pass(time.Second)
	assert.Equal(t, paxos.Value("v"), p.value(4))
}

// A packet of the next configuration is taken as soon as its receiver has entered that. Its sender need not ask again.
func TestChangeTakesEarlyPackets(t *testing.T) {
	for _, many := range []int{1, maxEarly + 10} {
		p := newSolo(t, 3)
		c := p.next(1, of(ids(1, 2, 4), nil))
		for i := range many {
			early := p.packet(2, 1, paxos.Message{Kind: paxos.KindPrepare, Instance: fmt.Sprint("X", i), Ballot: paxos.Ballot{Round: paxos.Base(1).Round + 1, Server: 2}})
			early.Configuration, early.Members = 1, c.Fingerprint()
			p.replicas[1].Receive(p.now, early)
		}
		require.Len(t, p.replicas[1].early.packets, min(many, maxEarly))
		promised := map[string]bool{}
		p.lose = func(pk paxos.Packet, m paxos.Message) bool {
			if pk.From == 1 && pk.To == 2 && m.Kind == paxos.KindPromise {
				promised[m.Instance] = true
			}
			return false
		}
		p.learnsNext(c)
		require.Len(t, promised, min(many, maxEarly))
		require.Empty(t, p.replicas[1].early, "nothing is kept any more")
	}
}

// A learner waits for no new acceptor, as none reads what a learner has.
func TestChangeLearnerReadsAtOnce(t *testing.T) {
	m := of(ids(2, 3, 4), ids(1, 5))
	p := newPump(t, m)
	p.Unseen, p.pulls = true, true
	p.start(1)
	p.run()
	c := p.next(1, of(ids(2, 3, 5), ids(1)))
	p.learnsNext(c)
	hears := func(index uint64) []string {
		pk := p.packet(5, 1)
		pk.Configuration, pk.Members, pk.Index = 1, p.replicas[1].view.Fingerprint(), index
		return p.during(func() { p.replicas[1].Receive(p.now, pk); p.run() })
	}
	p.pass(time.Second)
	hears(0)
	p.pass(time.Second)
	assert.Equal(t, []string{`1 -> 5: pull - "0 0 1"`}, hears(3000))
}
