package replica

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/page"
)

// docs/design.md#3: the first Output is the Save that raises Boot and Rounds, and nothing else leaves before its Saved.
func TestReplicaNothingLeavesBeforeTheFirstSave(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.Unseen = true
	*p.state[1] = paxos.ServerState{Cluster: "pump", ID: 1, Store: 9, Members: p.members.Voters(), Boot: 4, Rounds: 70, Last: 3, Peers: "2/66"}
	p.records[1]["old"] = paxos.Record{Instance: "old", Acceptor: paxos.Acceptor{Promised: paxos.Ballot{Round: 3, Server: 2}}}
	p.hold = func(paxos.ServerID) bool { return true }
	p.start(1)
	r := p.replicas[1]
	r.Propose(p.now, 1, "lunch", "burger")
	r.Propose(p.now, 2, "", "no name")
	r.Wait(p.now, 3, "dinner")
	r.Ready(p.now, 4)
	r.Cancel(p.now, 3)
	r.Receive(p.now, p.packet(2, 1, msg(t, "prepare 9.2 @old"), msg(t, "query 10.2 @old")))
	r.Receive(p.now, paxos.Packet{From: 2, To: 1, Members: 7}) // is answered with Refuse
	var out Output
	require.True(t, r.Take(&out))
	want := *p.state[1]
	want.Boot, want.Rounds = 5, 70+roundBlock
	assert.Equal(t, Output{Save: &paxos.Batch{Server: &want, Records: out.Save.Records}, Send: out.Send, Load: out.Load, Done: out.Done,
		Faults: out.Faults, Events: out.Events, Index: 3}, out)
	assert.Empty(t, out.Save.Records)
	assert.Empty(t, out.Load)
	assert.Empty(t, out.Send)
	require.Len(t, out.Done, 2, "the call with a bad name and the cancelled one have ended, and wait for no disk")
	assert.ErrorIs(t, out.Done[0].Err, paxos.ErrName)
	assert.ErrorIs(t, out.Done[1].Err, context.Canceled)
	require.False(t, r.Take(&out), "while the Save runs")
	p.now += time.Hour
	r.Tick(p.now)
	require.False(t, r.Take(&out))
	p.held[1] = &paxos.Batch{Server: &want}
	p.endSave(1)
	p.hold = nil
	p.run()
	assert.Contains(t, p.sent, `1 -> 2: prepare 71.1 "burger" @lunch`)
	assert.Contains(t, p.sent, `1 -> 2: promise 9.2 @old`)
}

// "Different proposers choose their numbers from disjoint sets of numbers, so two different proposers never issue a proposal
// with the same number. Each proposer remembers (in stable storage) the highest-numbered proposal it has tried to issue, and
// begins phase 1 with a higher proposal number than any it has already used." (Paxos Made Simple, 2.5)
//
// P5: propose v in ballot b, one Accept leaves, crash, restart, propose w: another ballot, or b would have two values.
func TestPaper25ProposerNeverReusesANumber(t *testing.T) {
	p := newPumpOf(t, 3)
	p.lose = func(_ paxos.Packet, m paxos.Message) bool { return m.Kind == paxos.KindAccepted }
	p.propose(1, 1, "lunch", "burger")
	require.Contains(t, p.sent, `1 -> 2: accept 1.1 "burger" @lunch`)
	p.crash(1)
	for _, records := range p.records {
		clear(records)
	}
	// Even if nobody else remembered anything, the server itself does.
	p.start(1)
	p.run()
	n := len(p.sent)
	p.propose(1, 2, "lunch", "pizza")
	require.NotEmpty(t, p.sent[n:])
	for _, line := range p.sent[n:] {
		assert.NotContains(t, line, " 1.1")
	}
	assert.Contains(t, p.sent, fmt.Sprintf(`1 -> 2: prepare %d.1 "pizza" @lunch`, roundBlock+1))
}

// docs/design.md#4.1: over attempts, instances and restarts.
func TestReplicaRoundsRise(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.Unseen, p.classic = true, true
	last, id := uint64(0), CallID(0)
	prepared := func(instance string) uint64 {
		id++
		sent := p.during(func() { p.propose(1, id, instance, "v") })
		require.NotEmpty(t, sent)
		var round uint64
		_, err := fmt.Sscanf(sent[0], "1 -> 2: prepare %d.1", &round)
		require.NoError(t, err, sent[0])
		require.Greater(t, round, last)
		last = round
		return round
	}
	for life := range 5 {
		p.start(1)
		p.run()
		for i := range 3 {
			prepared(fmt.Sprintf("a/%d/%d", life, i))
		}
		p.hear(1, 2, msg(t, fmt.Sprintf("prepare %d.2 @a", last+100))) // seen in this instance only
		seen := last + 100
		assert.Equal(t, seen+1, prepared("a"))
		assert.Equal(t, seen+2, prepared(fmt.Sprint("b", life)), "the next one in any instance")
		p.hold = func(paxos.ServerID) bool { return life == 1 } // the first Save of one life is lost with it
		p.crash(1)
		p.start(1)
		p.run()
		p.hold = nil
		p.crash(1)
	}
	assert.GreaterOrEqual(t, p.state[1].Rounds, last)
}

// docs/design.md#4.1: a round above the saved Rounds is not used before the Batch that raises it is saved.
func TestReplicaRoundIsNotUsedBeforeItIsReserved(t *testing.T) {
	t.Run("a block is used up", func(t *testing.T) {
		p := newPump(t, membersOf(3))
		p.Unseen, p.classic = true, true
		p.start(1)
		p.run()
		p.hold = func(paxos.ServerID) bool { return true }
		p.propose(1, 1, "first", "v") // a Save runs, that holds no reservation
		require.NotNil(t, p.held[1])
		require.Nil(t, p.held[1].Server)
		for id := CallID(2); id <= roundBlock+2; id++ {
			p.begin(1, id, fmt.Sprint("job/", id), "v")
		}
		p.run()
		assert.Contains(t, p.sent, fmt.Sprintf(`1 -> 2: prepare %d.1 "v" @job/%d`, roundBlock, roundBlock))
		assert.Len(t, p.sent, 2*roundBlock, "two calls wait")
		assert.Empty(t, p.during(func() { p.endSave(1); p.run() }), "that Save held no reservation")
		require.NotNil(t, p.held[1].Server)
		assert.Len(t, p.during(func() { p.endSave(1); p.run() }), 2*2)
		assert.Contains(t, p.sent, fmt.Sprintf(`1 -> 3: prepare %d.1 "v" @job/%d`, roundBlock+2, roundBlock+2))
	})
	t.Run("a jump", func(t *testing.T) {
		p := newSolo(t, 3)
		p.hear(1, 2, msg(t, "prepare 1000000.2 @lunch"))
		p.hold = func(paxos.ServerID) bool { return true }
		assert.Empty(t, p.during(func() { p.propose(1, 1, "lunch", "v") }))
		assert.Empty(t, p.during(func() { p.propose(1, 2, "lunch", "w"); p.pass(time.Hour) }))
		sent := p.during(func() { p.endSave(1); p.run() })
		assert.Equal(t, []string{`1 -> 2: prepare 1000001.1 "v" @lunch`, `1 -> 3: prepare 1000001.1 "v" @lunch`}, sent)
	})
	t.Run("the jump goes on while the Save runs", func(t *testing.T) {
		p := newSolo(t, 3)
		p.hear(1, 2, msg(t, "prepare 1000000.2 @lunch"))
		p.hold = func(paxos.ServerID) bool { return true }
		p.propose(1, 1, "lunch", "v")
		p.hear(1, 2, msg(t, "prepare 2000000.2 @lunch"))
		sent := p.during(func() { p.endSave(1); p.run() })
		assert.Empty(t, sent, "1000001 would be below what it has seen since")
		sent = p.during(func() { p.endSave(1); p.run() })
		assert.Contains(t, sent, `1 -> 2: prepare 2000001.1 "v" @lunch`)
	})
}

// docs/design.md#4.1, P5: Rounds as stored before this start were perhaps all used.
func TestReplicaStoredRoundsAreHonoured(t *testing.T) {
	for _, stored := range []uint64{0, 1, 70, 1 << 40} {
		p := newPump(t, membersOf(3))
		p.state[1].Rounds = stored
		p.start(1)
		p.run()
		p.propose(1, 1, "lunch", "v")
		assert.Equal(t, []string{fmt.Sprintf(`1 -> 2: prepare %d.1 "v" @lunch`, stored+1),
			fmt.Sprintf(`1 -> 3: prepare %d.1 "v" @lunch`, stored+1)}, p.sent)
	}
}

// docs/design.md#4.1: past MaxRound: ErrRounds. The server votes and tells decisions all the same.
func TestReplicaErrRounds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(p *pump)
	}{
		{"stored", func(p *pump) { p.state[1].Rounds = paxos.MaxRound; p.start(1); p.run() }},
		{"seen in a prepare", func(p *pump) {
			p.start(1)
			p.run()
			p.hear(1, 2, paxos.Message{Kind: paxos.KindPrepare, Instance: "lunch", Ballot: paxos.Ballot{Round: paxos.MaxRound, Server: 2}})
		}},
		{"used", func(p *pump) {
			p.state[1].Rounds = paxos.MaxRound - 1
			p.start(1)
			p.run()
			p.propose(1, 9, "lunch", "v")
			p.hear(1, 3, paxos.Message{Kind: paxos.KindNack, Instance: "lunch", Ballot: paxos.Ballot{Round: paxos.MaxRound, Server: 1}, Promised: paxos.Ballot{Round: paxos.MaxRound, Server: 3}})
			p.hear(1, 2, paxos.Message{Kind: paxos.KindNack, Instance: "lunch", Ballot: paxos.Ballot{Round: paxos.MaxRound, Server: 1}, Promised: paxos.Ballot{Round: paxos.MaxRound, Server: 2}})
			p.pass(time.Minute)
			assert.ErrorIs(p.t, p.failed(9), paxos.ErrRounds)
			assert.True(p.t, p.failed(9).Unknown())
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPump(t, membersOf(3))
			p.Unseen = true
			tt.before(p)
			n := len(p.sent)
			p.propose(1, 1, "lunch", "w")
			p.replicas[1].Wait(p.now, 2, "lunch")
			p.pass(time.Hour)
			assert.ErrorIs(t, p.failed(1), paxos.ErrRounds)
			assert.False(t, p.failed(1).Unknown())
			assert.ErrorIs(t, p.failed(2), paxos.ErrRounds)
			assert.Empty(t, p.sent[n:])
			assert.Equal(t, []string{"1 -> 2: promise 1.2 @dinner"}, p.hear(1, 2, msg(t, "prepare 1.2 @dinner")))
			p.hear(1, 2, msg(t, `decided 1.2 "v" @dinner`))
			assert.Equal(t, []string{`1 -> 3: decided 1.2 "v" @dinner`}, p.hear(1, 3, msg(t, "prepare 1.3 @dinner")))
			assert.LessOrEqual(t, p.state[1].Rounds, uint64(paxos.MaxRound))
		})
	}
}

// P6: a ballot never goes backwards at run time, whatever a refusal names, and whenever it comes.
func TestReplicaLateNackNeverLowersTheNextRound(t *testing.T) {
	p := newSolo(t, 3)
	p.propose(1, 1, "lunch", "v")
	refuse := func(ballot, above string) {
		p.hear(1, 2, msg(t, "nack "+ballot+" above "+above+" @lunch"))
		p.hear(1, 3, msg(t, "nack "+ballot+" above "+above+" @lunch"))
	}
	refuse("1.1", "50.2")
	refuse("1.1", "2.3") // late, before the next attempt
	p.pass(time.Minute)
	require.Contains(t, p.sent, `1 -> 2: prepare 51.1 "v" @lunch`)
	refuse("1.1", "2.3")  // late
	refuse("51.1", "3.2") // forged, or confused: below what it refuses
	p.pass(time.Minute)
	require.Contains(t, p.sent, `1 -> 2: prepare 52.1 "v" @lunch`)
	refuse("52.1", "1.3")
	p.pass(time.Minute)
	require.Contains(t, p.sent, `1 -> 2: prepare 53.1 "v" @lunch`)
	// Nobody is reachable for long: the ballot stays, and is sent again.
	p.pass(time.Hour)
	for _, line := range p.sent {
		assert.NotContains(t, line, "prepare 54.1")
	}
}

// docs/design.md#4.1: servers that do not vote reserve, too.
func TestReplicaLearnerReservesRounds(t *testing.T) {
	m := membersOf(3)
	m.Learners = []paxos.ServerID{7}
	p := newPump(t, m)
	p.startAll()
	p.propose(7, 1, "lunch", "v")
	assert.Equal(t, paxos.Value("v"), p.value(1))
	assert.Equal(t, uint64(roundBlock), p.state[7].Rounds)
	p.crash(7)
	p.start(7)
	p.run()
	sent := p.during(func() { p.propose(7, 2, "dinner", "w") })
	assert.Equal(t, fmt.Sprintf(`7 -> 1: prepare %d.7 "w" @dinner`, roundBlock+1), sent[0])
}

// A minted name is fresh: over names, starts and servers; and it is no name that Owned makes.
func TestMint(t *testing.T) {
	p := newPumpOf(t, 3)
	seen := map[string]bool{paxos.Owned(1, "job"): true}
	mint := func(id paxos.ServerID, name string) string {
		minted, err := p.replicas[id].Mint(name)
		require.NoError(t, err)
		require.False(t, seen[minted], minted)
		seen[minted] = true
		return minted
	}
	assert.Equal(t, "$1.1.1/job", mint(1, "job"))
	assert.Equal(t, "$1.1.2/job", mint(1, "job"))
	assert.Equal(t, "$1.1.3/", mint(1, ""))
	assert.Equal(t, "$2.1.1/job", mint(2, "job"))
	p.crash(1)
	p.start(1)
	p.run()
	assert.Equal(t, "$1.2.1/job", mint(1, "job"))
	long := strings.Repeat("x", paxos.MaxName-len("$1.2.2/"))
	mint(1, long)
	for name, want := range map[string]string{
		"a\nb":     `paxos: mint "a\nb": minted name "$1.2.3/a\nb" has a control character`,
		"\xff":     "is not valid UTF-8",
		"x" + long: "minted name has 256 bytes, at most 255 are allowed: too large",
	} {
		_, err := p.replicas[1].Mint(name)
		require.ErrorAs(t, err, new(*paxos.OpError))
		assert.ErrorContains(t, err, want)
		assert.False(t, paxos.Unknown(err))
	}
	assert.Equal(t, "$1.2.3/job", mint(1, "job"))
}

// Until the Save that counts this start is durable, the next start may have the same number.
func TestMintWaitsForTheFirstSave(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.hold = func(paxos.ServerID) bool { return true }
	p.start(1)
	_, err := p.replicas[1].Mint("job")
	require.ErrorIs(t, err, errNotBooted)
	p.run()
	_, err = p.replicas[1].Mint("job")
	require.ErrorIs(t, err, errNotBooted)
	p.endSave(1)
	minted, err := p.replicas[1].Mint("job")
	require.NoError(t, err)
	assert.Equal(t, "$1.1.1/job", minted)
}

// minted is Minted, of what can't fail.
func minted(server paxos.ServerID, boot, count uint64, name string) string {
	s, err := paxos.Minted(server, boot, count, name)
	if err != nil {
		panic(err)
	}
	return s
}

// An acceptor of the configuration before is asked to forget names. It answers when it is sealed, and forgets nothing: nobody pulls from
// it, so perhaps nobody else would ever learn of it.
func TestChangeWhoLeavesForgetsLater(t *testing.T) {
	for _, names := range []paxos.NameRange{paxos.OneName("X"), paxos.Prefix("X")} {
		m := membersOf(3)
		m.Learners = ids(4)
		p := newPump(t, m)
		p.startAll()
		answers := 0
		p.lose = func(pk paxos.Packet, m paxos.Message) bool {
			if pk.From == 3 && m.Kind == paxos.KindForgotten {
				answers++
			}
			return m.Kind == paxos.KindScan // nobody is complete
		}
		p.change(1, 1, of(ids(1, 2, 4), nil))
		p.run()
		p.pass(time.Second)
		require.True(t, p.replicas[1].view.IsJoint())
		p.ToForget(names)
		p.replicas[1].Forget(p.now, 2, names)
		p.run()
		p.pass(time.Second)
		require.NoError(t, p.done[2].Err)
		require.NoError(t, p.Forgot(p.servers[1], names))
		require.Positive(t, answers)
		require.Empty(t, p.records[3]["X"])
		require.Zero(t, p.state[3].Forgotten)
	}
}

// The acceptor that gives the values leaves the members: the pages of the others wait no longer.
func TestReplicaGiverLeaves(t *testing.T) {
	p := pulling(t, "")
	p.tells(2, 9, decisionsMessage(102, 0, 1, 4, "a", "b", "c", "d"))
	r := p.replicas[1]
	require.Equal(t, &r.byID[2].pull, r.pulls.giver)
	p.learnsNext(p.next(1, of(ids(1, 3, 4), nil)))
	hears := func(from paxos.ServerID, index uint64, ms ...paxos.Message) []string {
		packet := p.packet(from, 1, ms...)
		packet.Index, packet.Configuration, packet.Members, packet.Complete = index, 1, r.view.Fingerprint(), true
		return p.during(func() { r.Receive(p.now, packet); p.run() })
	}
	for range 2 {
		hears(3, 9)
		hears(4, 0)
		p.pass(10 * time.Millisecond)
	}
	require.False(t, r.view.IsJoint())
	sent := hears(3, 9, namesMessage(103, 0, 1, 7, "a", "e", "f"))
	assert.Equal(t, 2, strings.Count(strings.Join(sent, "\n"), "1 -> 3: query"), "%v", sent)
	assert.Nil(t, r.pulls.giver)
}

// A page of values fits into the least packets that a Transport may take, though its names share nothing and its ballots are large.
func TestReplicaPageOfValuesFits(t *testing.T) {
	p := newPump(t, membersOf(3))
	var err error
	p.limits, err = LimitsFor(paxos.Limits{MaxValue: 32 << 10, MaxHint: 32 << 10}, page.MaxBytes+packetExtra)
	require.NoError(t, err)
	p.lose = func(pk paxos.Packet, m paxos.Message) bool {
		pk.Messages = []paxos.Message{m}
		b, err := pk.AppendBinary(nil)
		require.NoError(t, err)
		require.LessOrEqual(t, len(b), page.MaxBytes+packetExtra, "%v", m.Kind)
		return false
	}
	p.start(1)
	p.start(2)
	p.run()
	for i := range uint32(1200) {
		p.propose(paxos.ServerID(1+i%2), CallID(i+1), fmt.Sprintf("%08x-4a6f-11ee-be56-0242ac120002", (i+1)*2654435761), paxos.Value(strings.Repeat("v", 28)))
	}
	p.pass(time.Minute)
	p.start(3)
	p.pass(time.Minute)
	assert.Equal(t, uint64(1200), p.state[3].Last)
	assert.NotZero(t, p.count(paxos.KindDecisions))
}

// Of each page one name is not known here. That name does not hold its page in memory.
func TestReplicaNamesDoNotHoldTheirPage(t *testing.T) {
	p := pulling(t, "")
	var known []string
	for i := range 200 {
		known = append(known, fmt.Sprint(strings.Repeat("n", 245), i))
		p.tells(2, 0, msg(t, `decided 9.2 "v" @`+known[i]))
	}
	p.pass(time.Second)
	heap := func() int {
		p.sent, p.loads, p.batches, p.asked = nil, nil, nil, nil
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := heap()
	for i := range uint64(300) {
		name := fmt.Sprint("one/", i)
		page := namesMessage(102, 2*i, 1, 2*i+1, append(known, name)...)
		p.tells(2, 1e6, page)
		p.tells(2, 1e6, msg(t, `decided 9.2 "v" @`+name))
		p.tells(2, 1e6, decisionsMessage(102, 2*i+1, 1, 2*i+2, append(known, name+"/")...))
	}
	p.pass(time.Second)
	require.Equal(t, 800, p.replicas[1].table.decided.len)
	assert.Less(t, heap()-before, 2<<20, "600 pages of 50 KB")
	runtime.KeepAlive(p)
}

// A page has a range of forgotten names that there is no room for: the page goes on, but the next start asks for the range again.
func TestReplicaRangeWithoutRoom(t *testing.T) {
	p := pulling(t, "")
	f := &p.replicas[1].forgets
	p.tells(2, 2)
	for i := range maxRanges {
		f.byFrom[fmt.Sprint(i)] = 0
	}
	p.tells(2, 2, msg(t, `names - "66 0 1 1\n$forgotten \"x/\" \"x0\""`))
	clear(f.byFrom)
	require.EqualValues(t, 1, p.replicas[1].byID[2].pull.cursor)
	p.pass(time.Second)
	assert.Empty(t, p.state[1].Pulled)
	p.ToForget(paxos.NameRange{From: "y/", To: "y0"})
	p.tells(2, 2, msg(t, `names - "66 1 1 2\n$forgotten \"y/\" \"y0\""`))
	p.pass(time.Second)
	assert.Empty(t, p.state[1].Pulled)
	assert.EqualValues(t, 1, p.state[1].Last, "there is room for the other one")
}
