package replica

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// docs/design.md#4.13: a server that disagrees on cluster, acceptors or quorum is refused, both sides' Status says so in words, and nobody
// stops.
func TestReplicaOtherMembersAreRefused(t *testing.T) {
	flexible, err := paxos.Flexible(3, 3, 1)
	require.NoError(t, err)
	for _, tt := range []struct {
		name   string
		change func(m *paxos.Members)
		says   string
	}{
		{"cluster", func(m *paxos.Members) { m.Cluster = "another" }, `cluster "another"`},
		{"acceptors", func(m *paxos.Members) { m.Acceptors = []paxos.ServerID{1, 2, 4} }, "acceptors 1,2,4"},
		{"quorum", func(m *paxos.Members) { m.Quorum = flexible }, "flexible(3,3,1)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := membersOf(3)
			p := newPump(t, m)
			m.Cluster = p.members.Cluster
			tt.change(&m)
			q := newPump(t, m)
			p.start(1)
			q.start(2)
			var toP, toQ []paxos.Packet
			p.lose, q.lose = intercept(&toQ, 2), intercept(&toP, 1)
			for i := range 3 {
				p.propose(1, CallID(i+1), fmt.Sprint("job/", i), "v")
				q.propose(2, CallID(i+1), fmt.Sprint("job/", i), "w")
				for len(toP)+len(toQ) > 0 { // they do not answer each other for ever
					nowP, nowQ := toP, toQ
					toP, toQ = nil, nil
					for _, packet := range nowP {
						p.replicas[1].Receive(p.now, packet)
					}
					for _, packet := range nowQ {
						q.replicas[2].Receive(q.now, packet)
					}
					p.run()
					q.run()
				}
				p.pass(time.Second)
				q.pass(time.Second)
			}
			atP, atQ := p.replicas[1].Status(p.now).Peers[0], q.replicas[2].Status(q.now).Peers[0]
			assert.Contains(t, atP.Refused+atQ.Refused, "it refuses this server: members: ")
			for _, words := range []string{atP.Refused, atQ.Refused} {
				assert.Contains(t, words, "differ")
				assert.True(t, strings.Contains(words, tt.says) || strings.Contains(words, p.members.String()), words)
			}
			assert.NotZero(t, atP.Dropped)
			assert.NotZero(t, atQ.Dropped)
			assert.Empty(t, p.stops)
			assert.Empty(t, q.stops)
			assert.Empty(t, p.replicas[1].counters.Received)
			assert.Empty(t, q.replicas[2].counters.Received)
			assert.LessOrEqual(t, p.replicas[1].counters.Sent[paxos.KindRefuse], uint64(1+3000/200), "one a phase at most")
		})
	}
	t.Run("learners may differ", func(t *testing.T) {
		m := membersOf(3)
		m.Learners = []paxos.ServerID{9}
		assert.Equal(t, membersOf(3).Fingerprint(), m.Fingerprint())
	})
}

// intercept returns a lose that loses everything, and keeps what was for server to.
func intercept(packets *[]paxos.Packet, to paxos.ServerID) func(paxos.Packet, paxos.Message) bool {
	return func(packet paxos.Packet, m paxos.Message) bool {
		if packet.To == to {
			packet.Messages = []paxos.Message{m}
			*packets = append(*packets, packet)
		}
		return true
	}
}

// A packet as a healthy server 2 sends it, changed.
func changed(p *pump, f func(*paxos.Packet)) paxos.Packet {
	packet := p.packet(2, 1, paxos.Message{Kind: paxos.KindPrepare, Instance: fmt.Sprint("job/", p.seqs), Ballot: paxos.Ballot{Round: 1, Server: 2}})
	packet.Boot = 5
	f(&packet)
	return packet
}

// docs/design.md#4.11: a peer remembers the storage, start and process of another, and notices each change.
func TestReplicaIdentity(t *testing.T) {
	for _, tt := range []struct {
		name    string
		packets []func(*paxos.Packet)
		last    string // the result of the last one: "taken", "dropped" or the words of a refusal
	}{
		{"the same process", []func(*paxos.Packet){func(*paxos.Packet) {}, func(*paxos.Packet) {}}, "taken"},
		{"a later start", []func(*paxos.Packet){func(*paxos.Packet) {}, func(p *paxos.Packet) { p.Boot, p.Nonce, p.Seq = 6, 77, 1 }}, "taken"},
		{"a late packet of an earlier start", []func(*paxos.Packet){func(*paxos.Packet) {}, func(p *paxos.Packet) { p.Boot, p.Nonce = 4, 76 }}, "dropped"},
		{"an earlier start, heard first", []func(*paxos.Packet){func(p *paxos.Packet) { p.Boot, p.Nonce = 4, 76 }, func(*paxos.Packet) {}}, "taken"},
		{"after a late packet", []func(*paxos.Packet){func(*paxos.Packet) {}, func(p *paxos.Packet) { p.Boot, p.Nonce = 4, 76 }, func(*paxos.Packet) {}}, "taken"},
		{"a second process", []func(*paxos.Packet){func(*paxos.Packet) {}, func(p *paxos.Packet) { p.Nonce = 77 }}, "two processes run as server 2"},
		{"the first process is still welcome", []func(*paxos.Packet){func(*paxos.Packet) {}, func(p *paxos.Packet) { p.Nonce = 77 }, func(*paxos.Packet) {}}, "taken"},
		{"another storage", []func(*paxos.Packet){func(*paxos.Packet) {}, func(p *paxos.Packet) { p.Store = 77 }}, "another storage"},
		{"another storage, of a later start", []func(*paxos.Packet){func(*paxos.Packet) {}, func(p *paxos.Packet) { p.Store, p.Boot = 77, 9 }}, "another storage"},
		{"the Index rises", []func(*paxos.Packet){func(p *paxos.Packet) { p.Index = 7 }, func(p *paxos.Packet) { p.Index = 8 }}, "taken"},
		{"the Index goes back", []func(*paxos.Packet){func(p *paxos.Packet) { p.Index = 7 }, func(p *paxos.Packet) { p.Index = 6 }}, "went back in time, from decision 7 to 6"},
		{"the Index goes back in a later start", []func(*paxos.Packet){func(p *paxos.Packet) { p.Index = 7 }, func(p *paxos.Packet) { p.Boot, p.Nonce, p.Seq, p.Index = 6, 77, 1, 6 }}, "went back in time"},
		{"a late packet has an older Index", []func(*paxos.Packet){func(p *paxos.Packet) { p.Index, p.Seq = 7, 100 }, func(p *paxos.Packet) { p.Index, p.Seq = 6, 99 }}, "taken"},
		{"a duplicate", []func(*paxos.Packet){func(p *paxos.Packet) { p.Index, p.Seq = 7, 100 }, func(p *paxos.Packet) { p.Index, p.Seq = 7, 100 }}, "taken"},
		{"a late packet is no news", []func(*paxos.Packet){func(p *paxos.Packet) { p.Index, p.Seq = 7, 100 }, func(p *paxos.Packet) { p.Index, p.Seq = 9, 99 }, func(p *paxos.Packet) { p.Index, p.Seq = 7, 101 }}, "taken"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newSolo(t, 3)
			var sent []string
			var before paxos.PeerStatus
			for _, f := range tt.packets {
				before = p.replicas[1].Status(p.now).Peers[0]
				packet := changed(p, f)
				sent = p.during(func() { p.replicas[1].Receive(p.now, packet); p.run() })
				p.now += time.Second
			}
			after := p.replicas[1].Status(p.now).Peers[0]
			taken := func() (n int) {
				for _, line := range sent {
					if strings.HasPrefix(line, "1 -> 2: promise 1.2") {
						n++
					}
				}
				return n
			}()
			switch tt.last {
			case "taken":
				assert.Equal(t, 1, taken, "%v", sent)
				assert.Empty(t, after.Refused)
				assert.Equal(t, time.Second, after.Heard)
			case "dropped":
				assert.Empty(t, sent)
				assert.Equal(t, before.Dropped+1, after.Dropped)
				assert.Empty(t, after.Refused, "it may merely be late")
				assert.Equal(t, 2*time.Second, after.Heard)
			default:
				require.Len(t, sent, 1)
				assert.Contains(t, sent[0], "1 -> 2: refuse - ")
				assert.Contains(t, sent[0], tt.last)
				assert.Contains(t, after.Refused, tt.last)
				assert.Equal(t, before.Dropped+1, after.Dropped)
			}
			assert.Empty(t, p.stops, "who refuses does not stop")
		})
	}
}

// docs/design.md#4.11: a directory copied while the server runs: the process that comes second is told and stops, and only it.
func TestReplicaSecondProcessStops(t *testing.T) {
	p := newPumpOf(t, 3)
	p.propose(3, 1, "first", "v") // everybody has heard of server 3
	p.pass(lazySave)
	// A copy of its directory as of before its start is started elsewhere: the same Boot, another process.
	state := *p.state[3]
	state.Boot--
	second, err := New(p.now, Config{ID: state.ID, State: state, Nonce: 999, Members: p.members})
	require.NoError(t, err)
	var out Output
	require.True(t, second.Take(&out))
	second.Saved(p.now)
	second.Propose(p.now, 1, "lunch", "w")
	second.Propose(p.now, 2, "dinner", "w")
	second.Take(&out)
	for _, name := range out.Load {
		second.Loaded(p.now, name, paxos.Record{})
	}
	require.True(t, second.Take(&out))
	var told []paxos.Message
	p.lose = func(packet paxos.Packet, m paxos.Message) bool {
		if packet.To == 3 {
			told = append(told, m)
		}
		return false // server 3 hears what was meant for the other process, too
	}
	for _, packet := range out.Send {
		p.replicas[packet.To].Receive(p.now, packet)
	}
	p.run()
	require.Len(t, told, 2)
	assert.Empty(t, p.stops, "the first process goes on")
	assert.NotContains(t, p.records[1], "lunch", "nothing of the second was taken")
	p.Unseen = true
	second.Receive(p.now, p.packet(1, 3, told[0]))
	require.True(t, second.Take(&out))
	assert.ErrorContains(t, out.Stop, "server 3 is refused by server 1: two processes run as server 3")
	require.Len(t, out.Done, 2, "its calls end")
	assert.ErrorIs(t, out.Done[0].Err, out.Stop)
	assert.ErrorIs(t, second.Status(p.now).Err, out.Stop)
	p.Unseen = false
	p.propose(3, 2, "lunch", "v")
	assert.Equal(t, paxos.Value("v"), p.value(2))
}

// Only a server whose own Boot and Nonce a Refuse names stops: a late one may be about an earlier life. It is hostile input
// otherwise.
func TestReplicaRefuseNamesWhoHasToStop(t *testing.T) {
	for _, tt := range []struct {
		words string
		stops bool
	}{
		{"identity: 1 1 because", true},
		{"identity: 1 1 ", true},
		{"identity: 1 1", false},
		{"identity: 2 1 because", false},
		{"identity: 1 2 because", false},
		{"identity: 01 1 because", false},
		{"members: 1 1 because", false},
		{"", false},
		{"identity: ", false},
		{strings.Repeat("\xff\n", 1<<20), false},
	} {
		p := newSolo(t, 3)
		p.hear(1, 2, paxos.Message{Kind: paxos.KindRefuse, Value: paxos.Value(tt.words)})
		assert.Equal(t, tt.stops, p.stops[1] != nil, "%.30q", tt.words)
		refused := p.replicas[1].Status(p.now).Peers[0].Refused
		assert.Contains(t, refused, "it refuses this server: ")
		assert.Less(t, len(refused), 2000)
		assert.NotContains(t, refused, "\n")
		p.hear(1, 2, msg(t, "prepare 1.2 @x"))
		if !tt.stops {
			assert.Empty(t, p.replicas[1].Status(p.now).Peers[0].Refused, "it has taken back its refusal")
		} else {
			assert.Empty(t, p.sent, "it takes nothing more")
		}
	}
}

// A packet from nobody of Members, for another server, or as if from this one.
func TestReplicaStrangers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*paxos.Packet)
	}{
		{"from a stranger", func(p *paxos.Packet) { p.From = 9 }},
		{"from nobody", func(p *paxos.Packet) { p.From = 0 }},
		{"from itself", func(p *paxos.Packet) { p.From = 1 }},
		{"for another server", func(p *paxos.Packet) { p.To = 3 }},
		{"a decision of a stranger", func(p *paxos.Packet) {
			p.From = 9
			p.Messages = []paxos.Message{{Kind: paxos.KindDecided, Instance: "lunch", Ballot: paxos.Ballot{Round: 1, Server: 2}, Value: "forged"}}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newSolo(t, 3)
			packet := changed(p, tt.change)
			p.replicas[1].Receive(p.now, packet)
			p.run()
			assert.Empty(t, p.sent)
			s := p.replicas[1].Status(p.now)
			assert.Equal(t, uint64(1), s.Counters.Strangers)
			assert.Equal(t, uint64(1), s.Counters.DroppedPackets)
			assert.Empty(t, s.Counters.Received)
			assert.Empty(t, p.replicas[1].table.byName)
			assert.Equal(t, time.Duration(-1), s.Peers[0].Heard)
		})
	}
}

// Packets beyond MaxPacket are split; a message that is larger travels alone. Nothing is lost or repeated.
func TestReplicaPacketsAreSplit(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.limits = paxos.Limits{MaxPacket: 8 << 10}
	p.startAll()
	r := p.replicas[1]
	sizes := []int{3000, 3000, 3000, 10, 10, 30000, 10, 7000, 2000}
	for i, size := range sizes {
		r.Propose(p.now, CallID(i+1), fmt.Sprint("job/", i), paxos.Value(strings.Repeat("x", size)))
	}
	var out Output
	r.Take(&out)
	for _, name := range out.Load {
		p.load(1, name)
	}
	require.True(t, r.Take(&out))
	seqs, names := map[paxos.ServerID]uint64{}, map[paxos.ServerID][]string{}
	before := uint64(2) // a Pull, and the Limits
	for _, packet := range out.Send {
		size := 0
		for _, m := range packet.Messages {
			size += sizeOf(&m)
			names[packet.To] = append(names[packet.To], m.Instance)
		}
		assert.True(t, size <= 8<<10 || len(packet.Messages) == 1, "%d bytes in %d messages", size, len(packet.Messages))
		seqs[packet.To]++
		assert.Equal(t, seqs[packet.To]+before, packet.Seq)
	}
	assert.Equal(t, map[paxos.ServerID]uint64{2: 5, 3: 5}, seqs)
	assert.Len(t, names[2], len(sizes))
	assert.Equal(t, names[2], names[3])
	assert.IsIncreasing(t, names[2], "in order")
}

// A long message travels alone, and after the short ones: a Transport can let those overtake it.
func TestReplicaLongMessagesTravelAlone(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.limits = paxos.Limits{MaxHint: 1 << 20}
	p.startAll()
	r := p.replicas[1]
	for i, size := range []int{10, 500 << 10, longMessage - 100, 20, 1 << 20, longMessage, 30} {
		r.Propose(p.now, CallID(i), fmt.Sprint("job/", i), paxos.Value(strings.Repeat("x", size)))
	}
	var out Output
	r.Take(&out)
	for _, name := range out.Load {
		p.load(1, name)
	}
	require.True(t, r.Take(&out))
	var packets []string
	for _, packet := range out.Send {
		var names []string
		for _, m := range packet.Messages {
			names = append(names, strings.TrimPrefix(m.Instance, "job/"))
		}
		packets = append(packets, fmt.Sprint(packet.To, ": ", strings.Join(names, " ")))
	}
	assert.Equal(t, []string{"2: 0 2 3 6", "2: 1", "2: 4", "2: 5", "3: 0 2 3 6", "3: 1", "3: 4", "3: 5"}, packets)
	assert.Zero(t, r.peers[0].outbox.long)
}

// The messages that wait for the first Save are bounded.
func TestReplicaMessagesBeforeTheFirstSaveAreBounded(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.Unseen = true
	p.hold = func(paxos.ServerID) bool { return true }
	p.start(1)
	p.run()
	for range maxWaiting + 100 {
		packet := p.packet(2, 1)
		packet.Members = 7
		p.replicas[1].Receive(p.now, packet)
		p.now += time.Second // another Refuse
	}
	assert.Len(t, p.replicas[1].peers[0].outbox.out, maxWaiting)
	assert.Len(t, p.ends(1), maxWaiting-1, "and a Pull")
}

// The members were changed between two starts: docs/design.md#4.11.
func TestReplicaStateOfAnotherServerIsRefused(t *testing.T) {
	good := func() Config {
		m := membersOf(3)
		m.Cluster = "c"
		return Config{ID: 1, Members: m, State: paxos.ServerState{Cluster: "c", ID: 1, Store: 9, Members: m.Voters()}}
	}
	_, err := New(0, good())
	require.NoError(t, err)
	five := membersOf(5)
	five.Cluster = "c"
	for _, tt := range []struct {
		name   string
		change func(c *Config)
		says   string
	}{
		{"not formatted", func(c *Config) { c.State = paxos.ServerState{} }, "storage is not formatted"},
		{"another cluster", func(c *Config) { c.Members.Cluster = "d" }, `storage belongs to cluster "c", Members.Cluster is "d"`},
		{"3 acceptors edited into 5", func(c *Config) { c.Members = five }, "storage votes under acceptors 1,2,3 majority(3), Members says 1,2,3,4,5 majority(5)"},
		{"another quorum", func(c *Config) { c.Members.Quorum, _ = paxos.Flexible(3, 3, 1) }, "storage votes under"},
		{"no member", func(c *Config) { c.ID, c.State.ID = 4, 4 }, "server 4, which is not in Members"},
		{"no acceptors", func(c *Config) { c.Members.Acceptors = nil }, "Members.Acceptors"},
		{"a limit", func(c *Config) { c.Limits.Cache = -1 }, "Limits.Cache: -1"},
		{"a time", func(c *Config) { c.Timing.Phase = 1 }, "Timing.Phase: 1ns"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := good()
			tt.change(&c)
			r, err := New(0, c)
			assert.Nil(t, r)
			assert.ErrorContains(t, err, tt.says)
			assert.ErrorContains(t, err, "paxos: ")
		})
	}
}

// Nothing is held of a peer that is no member any more.
func TestChangeFreesWhatIsHeld(t *testing.T) {
	m := membersOf(3)
	m.Learners = ids(4)
	p := newPump(t, m)
	p.Unseen = true
	p.state[1].Peers = "2/66,3/67"
	p.start(1)
	p.run()
	p.hold = func(paxos.ServerID) bool { return true }
	p.replicas[1].Receive(p.now, p.packet(4, 1, msg(t, `decided 3.2 "v" @q`)))
	require.True(t, p.replicas[1].strange.any())
	p.learnsNext(p.next(1, of(ids(1, 2, 3), nil)))
	for p.held[1] != nil {
		p.endSave(1)
		p.run()
	}
	p.pass(time.Second)
	for p.held[1] != nil {
		p.endSave(1)
		p.run()
	}
	require.Equal(t, uint64(1), p.replicas[1].view.Number())
	assert.Zero(t, p.replicas[1].strange)
}

// "$settled" holds calls, and no message from the network gets there.
func TestChangeSettledIsNoInstance(t *testing.T) {
	p := newSolo(t, 3)
	p.hear(1, 2, msg(t, `accept 1.2 "v" @"$settled"`))
	p.slow = false
	p.hear(1, 2, msg(t, `prepare 2.2 @"$settled"`))
	p.replicas[1].Settled(p.now, 1)
	p.run()
	p.hear(1, 2, msg(t, `prepare 3.2 @"$settled"`))
	p.hear(1, 2, msg(t, `decided 3.2 "v" @"$settled"`))
	p.replicas[1].Settled(p.now, 2)
	p.run()
	assert.Empty(t, p.records[1])
}

// A page that was asked for by an earlier life of its asker leaves out what that life told, so the next life gets a page of its own.
func TestReplicaListsAnewForTheNextLife(t *testing.T) {
	p := lister(t)
	p.tells(3, 0, pullMessage(101, 0, 1))
	require.Len(t, p.pages, 1)
	require.EqualValues(t, 1, p.pages[0].ask.After, "it told of the first")
	next := func(m ...paxos.Message) []string {
		pk := p.packet(3, 1, m...)
		pk.Boot, pk.Nonce = 2, 33
		return p.during(func() { p.replicas[1].Receive(p.now, pk); p.run() })
	}
	next()
	assert.Empty(t, p.during(func() { p.list(p.pages[0]); p.run() }))
	next(pullMessage(101, 0, 2))
	require.Len(t, p.pages, 2)
	assert.Equal(t, []string{`1 -> 3: names - "65 0 2 3\na\nb\nc"`}, p.during(func() { p.list(p.pages[1]); p.run() }))
}
