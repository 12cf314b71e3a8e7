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

// tightPump returns a pump of three acceptors with room for so many, of which those named run.
func tightPump(t *testing.T, limits paxos.Limits, ids ...paxos.ServerID) *pump {
	p := newPump(t, membersOf(3))
	p.Unseen, p.limits = true, limits
	for _, id := range ids {
		p.start(id)
	}
	p.run()
	return p
}

// An instance that left memory for want of room is finished all the same, when its silence ends: with what was voted for,
// and with what the last proposer wanted, which is stored nowhere.
func TestReplicaEvictedIsTakenOver(t *testing.T) {
	const names = 100
	for _, begun := range []string{`accept 1.1 "v"`, `prepare 1.1 "v"`} {
		p := tightPump(t, paxos.Limits{MaxOpen: 1}, 2, 3)
		for i := range names {
			p.hear(2, 1, msg(t, fmt.Sprintf("%s @job/%d", begun, i)))
			checkTables(t, p.replicas[2])
		}
		r := p.replicas[2]
		require.Len(t, r.table.byName, 2, "no more than there may be")
		require.Len(t, r.table.evicted, names-2)
		s := r.Status(p.now)
		assert.Equal(t, names, s.Open)
		require.Len(t, s.Instances, names)
		assert.Equal(t, paxos.Ballot{Round: 1, Server: 1}, s.Instances[0].Ballot)
		p.pass(30 * time.Second)
		for i := range names {
			for _, id := range []paxos.ServerID{2, 3} {
				assert.Equal(t, paxos.Value("v"), p.records[id][fmt.Sprint("job/", i)].Acceptor.Value, "%s, job/%d", begun, i)
				assert.True(t, p.records[id][fmt.Sprint("job/", i)].Chosen, "%s, job/%d", begun, i)
			}
		}
		assert.Empty(t, r.table.evicted)
		assert.Empty(t, r.table.byName)
		assert.Zero(t, r.hints.bytes)
		checkTables(t, r)
	}
}

// The silence of what is not in memory goes on: a message that is no new ballot does not begin it anew, a new ballot does, and how
// often it has doubled is not forgotten.
func TestReplicaEvictedSilenceGoesOn(t *testing.T) {
	p := tightPump(t, paxos.Limits{MaxOpen: 1}, 1)
	r := p.replicas[1]
	evict := func() *evicted {
		for i := range 3 {
			p.hear(1, 2, msg(t, fmt.Sprintf("prepare %d.2 @other/%d", 1+p.seqs, i)))
		}
		require.Contains(t, r.table.evicted, "job")
		checkTables(t, r)
		return r.table.evicted["job"]
	}
	p.hear(1, 2, msg(t, `prepare 1.2 "v" @job`))
	p.hear(1, 2, msg(t, `prepare 2.2 "v" @job`))
	at := r.table.byName["job"].alarms[alarmWatch]
	require.GreaterOrEqual(t, at, 2*time.Second, "the second silence")
	assert.Equal(t, at, evict().at)
	p.now += 10 * time.Millisecond
	assert.Equal(t, []string{"1 -> 3: nack 1.3 above 2.2 @job"}, p.hear(1, 3, msg(t, "prepare 1.3 @job")))
	inst := r.table.byName["job"]
	assert.Equal(t, at, inst.alarms[alarmWatch])
	assert.Equal(t, paxos.Value("v"), inst.hint.value)
	assert.Zero(t, inst.age.since)
	evict()
	p.now += 10 * time.Millisecond
	p.hear(1, 2, msg(t, "prepare 9.2 @job"))
	assert.GreaterOrEqual(t, r.table.byName["job"].alarms[alarmWatch], p.now+4*time.Second, "the third silence")
	evict()
	p.hear(1, 2, msg(t, `decided 9.2 "v" @job`))
	assert.NotContains(t, r.table.evicted, "job")
	checkTables(t, r)
}

// The memory of instances that left memory is bounded, too. Instances without a place in it are counted.
func TestReplicaEvictedIsBounded(t *testing.T) {
	p := tightPump(t, paxos.Limits{MaxOpen: 1}, 1)
	r := p.replicas[1]
	most := mostLater(r.limits)
	for i := range most + 2 + 5 {
		p.hear(1, 2, msg(t, fmt.Sprintf(`prepare 1.2 "v" @job/%d`, i)))
	}
	assert.Len(t, r.table.evicted, most)
	assert.Equal(t, uint64(5), r.Status(p.now).Counters.Unwatched)
	checkTables(t, r)
}

// Without a quorum nothing that is taken over ends. There are only so many, and the instances of calls have their room.
func TestReplicaTakeoversLeaveRoom(t *testing.T) {
	p := tightPump(t, paxos.Limits{MaxOpen: 1}, 1)
	r := p.replicas[1]
	for i := range 200 {
		p.hear(1, 2, msg(t, fmt.Sprintf(`accept 1.2 "v" @job/%d`, i)))
	}
	for range 60 {
		p.pass(time.Second)
		checkTables(t, r)
		require.LessOrEqual(t, len(r.table.byName), 2+minTakeovers)
	}
	assert.Equal(t, minTakeovers, r.takeovers)
	p.propose(1, 1, "lunch", "v")
	require.NotContains(t, p.done, CallID(1))
	p.hear(1, 2, msg(t, `decided 9.2 "v" @lunch`))
	assert.Equal(t, paxos.Value("v"), p.value(1))
}

// A server that starts with more undecided instances than it has room for finishes them, and takes calls meanwhile, at once.
func TestReplicaBacklogLeavesRoom(t *testing.T) {
	for _, room := range []int{1, 4, 64} {
		p := newPump(t, membersOf(3))
		p.Unseen, p.limits = true, paxos.Limits{MaxOpen: room}
		for i := range 2000 {
			name := fmt.Sprintf("old/%04d", i)
			rec := paxos.Record{Instance: name, Acceptor: paxos.Acceptor{Promised: paxos.Ballot{Round: 5, Server: 2}}}
			if i%2 == 0 {
				rec.Acceptor = paxos.Acceptor{Promised: paxos.Ballot{Round: 5, Server: 2}, Accepted: paxos.Ballot{Round: 5, Server: 2}, Value: "v"}
			}
			p.records[1][name] = rec
		}
		p.startAll()
		p.ready(1, 1)
		assert.NoError(t, p.done[1].Err)
		id := CallID(1)
		for range 20 {
			first := id + 1
			for range room {
				id++
				p.begin(1, id, fmt.Sprint("new/", id), "v")
			}
			p.run()
			for c := first; c <= id; c++ {
				require.Equal(t, paxos.Value("v"), p.value(c))
			}
			p.pass(100 * time.Millisecond)
			checkTables(t, p.replicas[1])
		}
		p.pass(3 * time.Minute)
		for i := 0; i < 2000; i += 2 {
			require.True(t, p.records[3][fmt.Sprintf("old/%04d", i)].Chosen, "old/%04d", i)
		}
	}
}

// While the disk is slow, what others ask about fills its room and no other's; and instances that calls brought to the disk
// have a limit of their own.
func TestReplicaWorkIsBounded(t *testing.T) {
	p := tightPump(t, paxos.Limits{MaxOpen: 2}, 1, 2, 3)
	p.hold = func(id paxos.ServerID) bool { return id == 1 }
	r := p.replicas[1]
	for i := range minWork + 10 {
		p.hear(1, 2, msg(t, fmt.Sprintf("prepare 5.2 @job/%d", i)))
	}
	assert.Equal(t, uint64(10), r.counters.Dropped)
	assert.Equal(t, minWork, r.table.rooms[roomWork])
	for i := range minOwn {
		id := CallID(i + 1)
		p.propose(1, id, fmt.Sprint("mine/", i), "v")
		require.Equal(t, paxos.Value("v"), p.value(id), "the others are enough")
	}
	p.propose(1, 1000, "mine", "v")
	assert.ErrorIs(t, p.failed(1000), paxos.ErrBusy)
	assert.ErrorContains(t, p.failed(1000), "64 instances are open, or not saved yet")
	p.propose(1, 1001, "mine/0", "w")
	assert.Equal(t, paxos.Value("v"), p.value(1001), "what is decided needs no room")
	checkTables(t, r)
	p.hold = nil
	p.endSave(1)
	p.run()
	assert.Zero(t, r.table.rooms[roomWork])
	p.propose(1, 1002, "mine", "v")
	assert.Equal(t, paxos.Value("v"), p.value(1002))
	assert.Equal(t, []string{"1 -> 2: promise 5.2 @job/1030"}, p.hear(1, 2, msg(t, "prepare 5.2 @job/1030")))
}

// An instance that an ended call has left unfinished is no reason to refuse the next call.
func TestReplicaCancelledCallsLeaveRoom(t *testing.T) {
	p := tightPump(t, paxos.Limits{MaxOpen: 1}, 1)
	for id := CallID(1); id <= 100; id++ {
		switch name := fmt.Sprint("job/", id); id % 3 {
		case 0:
			p.propose(1, id, name, "v")
		case 1:
			p.wait(1, id, name)
		default:
			p.read(1, id, name)
		}
		require.NotContains(t, p.done, id)
		p.propose(1, 1000+id, "another", "v")
		require.ErrorIs(t, p.failed(1000+id), paxos.ErrBusy)
		p.replicas[1].Cancel(p.now, id)
		p.run()
		require.LessOrEqual(t, len(p.replicas[1].table.byName), 2)
		checkTables(t, p.replicas[1])
	}
	assert.Equal(t, 33, p.replicas[1].unfinished(), "what was promised to those that proposed is seen to")
}

// Calls that take all of Limits.MaxOpen do not keep a server from catching up, nor does a Ready.
func TestReplicaCallsDoNotStopCatchingUp(t *testing.T) {
	for _, room := range []int{1, 3} {
		p := pulling(t, "")
		p.limits = paxos.Limits{MaxOpen: room}
		p.start(1)
		p.run()
		for i := range room {
			p.wait(1, CallID(i+1), fmt.Sprint("nobody proposes/", i))
		}
		p.ready(1, 100)
		require.NotContains(t, p.done, CallID(100))
		p.tells(2, 3)
		p.tells(2, 3, namesMessage(102, 0, 2, 3, "a", "b", "c"))
		for _, name := range []string{"a", "b", "c"} {
			require.True(t, slices.ContainsFunc(p.sent, func(m string) bool {
				return strings.HasPrefix(m, "1 -> 2: query ") && strings.HasSuffix(m, "@"+name)
			}), "%s is asked for, when its turn comes", name)
			p.tells(2, 3, msg(t, fmt.Sprintf(`decided 9.2 "v" @%s`, name)))
			p.pass(lazySave)
			checkTables(t, p.replicas[1])
		}
		for _, name := range []string{"a", "b", "c"} {
			assert.True(t, p.records[1][name].Chosen, "%s", name)
		}
	}
}

// Values that wait for the storage to look up their instances are bounded in bytes.
func TestReplicaArrivalsAreBounded(t *testing.T) {
	p := newSolo(t, 3)
	p.slow = true
	r := p.replicas[1]
	const mebi = 1 << 20
	accept := func(i int) {
		p.hear(1, 2, paxos.Message{Kind: paxos.KindAccept, Instance: fmt.Sprint("job/", i), Ballot: paxos.Ballot{Round: 5, Server: 2}, Value: longValue(i)})
	}
	for i := range maxUnsaved/mebi + 5 {
		accept(i)
	}
	assert.LessOrEqual(t, r.saves.arrived, maxUnsaved)
	assert.Greater(t, r.saves.arrived, maxUnsaved-2*mebi)
	assert.NotZero(t, r.counters.Dropped)
	p.slow = false
	for _, name := range p.loads {
		p.load(1, name)
	}
	p.run()
	assert.Zero(t, r.saves.arrived)
	assert.Zero(t, r.saves.unsaved)
	dropped := r.counters.Dropped
	accept(1000)
	assert.Equal(t, dropped, r.counters.Dropped)
}

// A server whose disk is behind asks for no decisions, which it would drop. It does when the disk has gone on.
func TestReplicaFullServerFetchesLater(t *testing.T) {
	p := pulling(t, "")
	p.hold = func(paxos.ServerID) bool { return true }
	for i := range maxUnsaved>>21 + 2 {
		p.hear(1, 3, paxos.Message{Kind: paxos.KindAccept, Instance: fmt.Sprint("long/", i), Ballot: paxos.Ballot{Round: 5, Server: 3}, Value: longValue(i)})
	}
	require.Greater(t, p.replicas[1].saves.unsaved, maxUnsaved/2)
	p.tells(2, 2)
	assert.Empty(t, p.tells(2, 2, namesMessage(102, 0, 1, 2, "a", "b")))
	p.hold = nil
	n := len(p.sent)
	p.endSave(1)
	p.run()
	asked := 0
	for _, m := range p.sent[n:] {
		if strings.HasPrefix(m, "1 -> 2: query ") {
			asked++
		}
	}
	assert.Equal(t, 2, asked)
	checkTables(t, p.replicas[1])
}

// Servers that have nothing to finish an instance with, and no room to remember that, do not ask each other for ever.
func TestReplicaOrphanedAsksLittleWithoutRoom(t *testing.T) {
	p := tightPump(t, paxos.Limits{MaxOpen: 1}, 2, 3)
	for i := range 20 {
		for _, id := range []paxos.ServerID{2, 3} {
			p.hear(id, 1, msg(t, fmt.Sprintf("prepare 1.1 @job/%d", i)))
		}
	}
	p.pass(30 * time.Second)
	n := p.count(paxos.KindQuery)
	assert.NotZero(t, n, "each has asked once")
	p.pass(time.Minute)
	assert.Equal(t, n, p.count(paxos.KindQuery))
	for _, id := range []paxos.ServerID{2, 3} {
		assert.Zero(t, p.replicas[id].unfinished())
		checkTables(t, p.replicas[id])
	}
}

// An instance that comes back because two values were decided makes room for itself like any other.
func TestReplicaStoppedMakesRoom(t *testing.T) {
	p := tightPump(t, paxos.Limits{MaxOpen: 1}, 1)
	p.hear(1, 2, msg(t, `decided 1.2 "v" @job`))
	p.now += lazySave
	p.replicas[1].Tick(p.now)
	p.run()
	for i := range 2 {
		p.hear(1, 2, msg(t, fmt.Sprintf(`accept 1.2 "v" @other/%d`, i)))
	}
	checkTables(t, p.replicas[1])
	p.hear(1, 3, msg(t, `decided 2.3 "w" @job`))
	require.Len(t, p.faults, 1)
	checkTables(t, p.replicas[1])
}

// A server that left and came back takes no packet for a late one: their numbers go on.
func TestChangeBackAgain(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.timing.Pull, p.classic = 500*time.Millisecond, true
	p.startAll()
	for i := range 200 {
		p.propose(1, CallID(100+i), fmt.Sprint("x/", i), "v")
	}
	p.pass(time.Second)
	p.change(1, 1, of(ids(1, 2), nil))
	p.pass(time.Second)
	p.change(1, 2, of(ids(1, 2), ids(3)))
	p.pass(time.Second)
	p.pass(10 * time.Second)
	for _, id := range p.ids() {
		require.Equal(t, uint64(2), p.replicas[id].view.Number(), "server %d", id)
	}
	cut := deaf(3)
	p.lose = cut
	for i := range 100 {
		p.propose(1, CallID(1000+i), fmt.Sprint("y/", i), "v")
	}
	p.lose = nil
	p.pass(time.Second)
	p.propose(2, 5000, "z", "v")
	p.pass(time.Minute)
	q := p.replicas[3].byID[1]
	assert.Equal(t, p.replicas[1].index, q.identity.index())
}

// A server without a vote asks others to forget, and becomes an acceptor meanwhile. The record that held its call leaves memory once.
func TestChangeGivesAVoteToWhoForgets(t *testing.T) {
	m := membersOf(3)
	m.Learners = ids(4)
	p := newPump(t, m)
	p.startAll()
	p.lose = func(pk paxos.Packet, m paxos.Message) bool { return m.Kind == paxos.KindForget }
	p.ToForget(paxos.OneName("X"))
	p.replicas[4].Forget(p.now, 1, paxos.OneName("X"))
	p.run()
	p.replicas[4].Wait(p.now, 3, "X") // so that X is in memory
	p.run()
	p.change(1, 2, of(ids(1, 2, 4), ids(3)))
	p.run()
	p.pass(time.Second)
	require.Equal(t, uint64(1), p.replicas[4].view.Number())
	checkTables(t, p.replicas[4])
	p.lose = nil
	p.pass(time.Minute)
	require.Contains(t, p.done, CallID(1))
	require.NoError(t, p.done[1].Err)
	require.NoError(t, p.Forgot(p.servers[4], paxos.OneName("X")))
	for i := range 8 {
		p.propose(4, CallID(10+i), fmt.Sprint("y/", i), "v")
		p.value(CallID(10 + i))
	}
	checkTables(t, p.replicas[4])
}

// A message that waits for the disk when a change is settled is answered all the same. Its sender need not ask again.
func TestChangeSettledKeepsWhatWaits(t *testing.T) {
	p := newSolo(t, 3)
	c := p.next(1, of(ids(1, 2, 4, 5, 6), nil))
	p.learnsNext(c)
	p.slow = true
	hear := func(from paxos.ServerID, complete bool, ms ...paxos.Message) {
		packet := p.packet(from, 1, ms...)
		packet.Configuration, packet.Members, packet.Complete = 1, c.Fingerprint(), complete
		p.replicas[1].Receive(p.now, packet)
		p.run()
	}
	for _, id := range ids(2, 4, 5, 6) {
		hear(id, false)
	}
	hear(4, true)
	hear(2, true, paxos.Message{Kind: paxos.KindPrepare, Instance: "X", Ballot: paxos.Ballot{Round: paxos.Base(1).Round + 1, Server: 2}})
	require.Contains(t, p.loads, "X")
	require.True(t, p.replicas[1].view.IsJoint())
	complete := func() (all []paxos.ServerID) {
		for _, peer := range p.replicas[1].Status(p.now).Peers {
			if peer.Complete {
				all = append(all, peer.ID)
			}
		}
		return all
	}
	require.Equal(t, ids(2, 4), complete())
	hear(5, true)
	require.False(t, p.replicas[1].view.IsJoint(), "the change is settled")
	require.Equal(t, ids(2, 4, 5), complete(), "server 6 still imports")
	require.Contains(t, p.during(func() { p.load(1, "X"); p.run() }), "1 -> 2: promise c1:1.2 @X")
}

// A server that lists a name as decided is told that it is forgotten: the memory here may be in any state when the page comes.
func TestReplicaTellsOfForgottenWhoListedIt(t *testing.T) {
	for _, cache := range []int{0, 1} {
		p := pulling(t, "")
		p.limits = paxos.Limits{Cache: cache}
		p.start(1)
		p.run()
		for _, name := range []string{"a", "b"} {
			p.ToForget(paxos.OneName(name))
			p.tells(3, 0, msg(t, `decided 9.3 "v" @`+name), msg(t, `forget - @`+name))
			p.pass(time.Second)
		}
		p.tells(2, 9)
		p.tells(2, 9, msg(t, `names - "66 0 2 9\na\nb"`))
		sent := p.tells(2, 9, pullMessage(101, 0, 1))
		assert.Contains(t, fmt.Sprint(sent), "a", "cache %d", cache)
		assert.Contains(t, fmt.Sprint(sent), "b", "cache %d", cache)
	}
}
