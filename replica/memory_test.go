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
	"github.com/singledecree/paxos/internal/page"
)

// docs/design.md#5: decided instances cost no memory; a bounded cache serves late questions, Storage.Load the rest.
func TestReplicaDecidedInstancesLeaveMemory(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.limits = paxos.Limits{Cache: 10}
	p.startAll()
	const n = 300
	for i := range n {
		p.propose(1+paxos.ServerID(i%3), CallID(i+1), fmt.Sprint("job/", i), paxos.Value(fmt.Sprint("v", i)))
		if i%7 == 0 {
			p.pass(lazySave)
		}
		for _, id := range p.ids() {
			checkTables(t, p.replicas[id])
		}
	}
	p.pass(time.Second)
	for _, id := range p.ids() {
		r := p.replicas[id]
		assert.Empty(t, r.table.byName)
		assert.Equal(t, 10, r.table.decided.len)
		assert.LessOrEqual(t, len(r.table.free), 100)
		assert.Zero(t, r.Status(p.now).Open)
		assert.True(t, p.idle(id))
	}
	_, _, known := p.replicas[1].Peek("job/0")
	assert.False(t, known)
	p.loads = nil
	for i := range n {
		p.propose(2, CallID(1000+i), fmt.Sprint("job/", i), "late")
		assert.Equal(t, paxos.Value(fmt.Sprint("v", i)), p.value(CallID(1000+i)))
	}
	assert.GreaterOrEqual(t, len(p.loads), n, "each came back from the storage")
	p.pass(3 * time.Hour) // nobody has anything more to pull
	p.Unseen = true
	assert.Equal(t, []string{`3 -> 1: decided 1.1 "v0" @job/0`}, p.hear(3, 1, msg(t, "prepare 99999.1 @job/0")))
	p.run()
	p.loads = nil
	p.hear(3, 1, msg(t, "prepare 99999.1 @job/0"))
	assert.Empty(t, p.loads, "the cache serves what was asked lately")
	checkTables(t, p.replicas[3])
}

// docs/design.md#4.2: an instance with unsaved state does not leave memory, however little room there is.
func TestReplicaUnsavedInstanceIsNotEvicted(t *testing.T) {
	t.Run("undecided", func(t *testing.T) {
		p := newPump(t, membersOf(3))
		p.Unseen, p.limits = true, paxos.Limits{MaxOpen: 1, Cache: 1} // two may stay in memory
		p.start(1)
		p.run()
		p.hold = func(paxos.ServerID) bool { return true }
		p.hear(1, 2, msg(t, "prepare 5.2 @a"))    // its Save runs
		p.hear(1, 2, msg(t, `accept 5.2 "v" @b`)) // gathers
		p.hear(1, 2, msg(t, "prepare 5.2 @c"))
		assert.Equal(t, []string{"a", "b", "c"}, p.loads)
		assert.Len(t, p.replicas[1].table.byName, 3, "none can leave")
		assert.Equal(t, []string{"1 -> 2: promise 5.2 @a"}, p.ends(1))
		checkTables(t, p.replicas[1])
		assert.NotContains(t, p.replicas[1].table.byName, "a", "it has nothing to lose any more")
		assert.Contains(t, p.replicas[1].table.evicted, "a")
		p.hear(1, 2, msg(t, "prepare 5.2 @d")) // its Save is the next but one
		assert.Contains(t, p.replicas[1].table.byName, "b")
		assert.Contains(t, p.replicas[1].table.byName, "c")
		assert.Equal(t, []string{"1 -> 2: accepted 5.2 @b", "1 -> 2: promise 5.2 @c"}, p.ends(1))
		assert.Equal(t, []string{"1 -> 2: promise 5.2 @d"}, p.ends(1))
		p.hold = nil
		assert.Equal(t, []string{"1 -> 3: nack 4.3 above 5.2 @a"}, p.hear(1, 3, msg(t, "prepare 4.3 @a")), "it remembers its promise")
		assert.Equal(t, []string{`1 -> 3: promise 6.3 (5.2 "v") @b`}, p.hear(1, 3, msg(t, "prepare 6.3 @b")), "and its vote")
		checkTables(t, p.replicas[1])
	})
	t.Run("decided", func(t *testing.T) {
		p := newPump(t, membersOf(3))
		p.Unseen, p.limits = true, paxos.Limits{Cache: 1}
		p.start(1)
		p.run()
		for i := range 20 {
			p.hear(1, 2, msg(t, fmt.Sprintf(`decided 5.2 "v%d" @job/%d`, i, i)))
		}
		assert.Empty(t, p.records[1], "nothing is saved yet")
		p.loads = nil
		for i := range 20 {
			name := fmt.Sprint("job/", i)
			assert.Equal(t, []string{fmt.Sprintf(`1 -> 2: decided 5.2 "v%d" @%s`, i, name)}, p.hear(1, 2, msg(t, "prepare 9.2 @"+name)))
		}
		assert.Empty(t, p.loads)
		p.pass(lazySave)
		assert.Len(t, p.records[1], 20)
		assert.Empty(t, p.replicas[1].table.byName)
		assert.Equal(t, 1, p.replicas[1].table.decided.len)
		checkTables(t, p.replicas[1])
	})
}

// leaveAlone has server 1 find that it has nothing to finish an instance with, and forget the question that it asks then.
func leaveAlone(p *pump, name string) {
	r := p.replicas[1]
	inst := r.table.byName[name]
	r.timers.stop(inst, alarmWatch)
	r.takeOver(inst)
	require.True(p.t, inst.orphaned)
	r.endAsking(inst)
	r.settle(inst)
	p.run()
}

// Limits.MaxOpen: undecided instances that nobody works on make room for others, the oldest first; those that somebody works
// on do not. In all there are twice as many.
func TestReplicaMaxOpen(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.Unseen, p.limits = true, paxos.Limits{MaxOpen: 4}
	p.start(1)
	p.run()
	p.propose(1, 1, "busy", "v")
	p.wait(1, 2, "waits")
	for i := range 100 {
		name := fmt.Sprint("job/", i)
		assert.Equal(t, []string{"1 -> 2: promise 5.2 @" + name}, p.hear(1, 2, msg(t, "prepare 5.2 @"+name)))
		leaveAlone(p, name)
		checkTables(t, p.replicas[1])
	}
	table := p.replicas[1].table.byName
	assert.Len(t, table, 2*4)
	for _, name := range []string{"busy", "waits", "job/94", "job/95", "job/96", "job/97", "job/98", "job/99"} {
		assert.Contains(t, table, name)
	}
	assert.Equal(t, []string{"1 -> 3: nack 4.3 above 5.2 @job/0"}, p.hear(1, 3, msg(t, "prepare 4.3 @job/0")), "its promise is in the storage")
	p.hear(1, 2, msg(t, "promise 1.1 @busy"))
	p.hear(1, 2, msg(t, "accepted 1.1 @busy"))
	assert.Equal(t, paxos.Value("v"), p.value(1))
	p.pass(lazySave)
	checkTables(t, p.replicas[1])
}

// An instance of another name gets nothing of the one whose memory it is given.
func TestReplicaMemoryIsUsedAgainClean(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.Unseen, p.limits = true, paxos.Limits{MaxOpen: 1, Cache: 1}
	p.start(1)
	p.run()
	p.slow = true
	p.hear(1, 2, msg(t, `prepare 50.2 "hint" @a`), msg(t, `accept 50.2 "v" @a`), msg(t, "chosen 60.2 @a"))
	p.begin(1, 1, "a", "mine")
	p.load(1, "a")
	p.run()
	p.replicas[1].Cancel(p.now, 1)
	p.slow = false
	p.run()
	a := p.replicas[1].table.byName["a"]
	p.replicas[1].abandon(a)
	p.replicas[1].rest(a)
	p.replicas[1].table.orphan(a, true)
	p.replicas[1].settle(a)
	old := p.replicas[1].table.byName["a"]
	assert.Equal(t, []string{"1 -> 3: state 1.3 @b"}, p.hear(1, 3, msg(t, "query 1.3 @b")))
	p.hear(1, 3, msg(t, "prepare 1.3 @b"))
	require.Same(t, old, p.replicas[1].table.byName["a"], "there is room for two")
	assert.Equal(t, []string{"1 -> 3: promise 1.3 @c"}, p.hear(1, 3, msg(t, "prepare 1.3 @c")))
	inst := p.replicas[1].table.byName["c"]
	require.Same(t, old, inst)
	assert.Equal(t, paxos.Acceptor{Promised: paxos.Ballot{Round: 1, Server: 3}}, inst.acceptor.Acceptor)
	want := instance{name: "c", acceptor: inst.acceptor, seen: 1, ballots: 1, arrivals: inst.arrivals, calls: inst.calls}
	want.alarms[alarmWatch], want.timer = inst.timer.at, inst.timer
	want.age = inst.age
	want.list, want.prev = &p.replicas[1].table.watched, p.replicas[1].table.byName["b"]
	assert.Equal(t, want, *inst)
	checkTables(t, p.replicas[1])
}

// Undecided instances of the storage are opened at the start, as far as there is room: half of MaxOpen at a time, or 256.
func TestReplicaOpenAtStart(t *testing.T) {
	const names = 400
	for _, room := range []int{3, 600, 1000} {
		p := newPump(t, membersOf(3))
		p.Unseen, p.limits = true, paxos.Limits{MaxOpen: room}
		for i := range names {
			name := fmt.Sprint("job/", i)
			p.records[1][name] = paxos.Record{Instance: name, Acceptor: paxos.Acceptor{Promised: paxos.Ballot{Round: 5, Server: 2}}}
		}
		p.state[1].Last = 1
		p.put(1, paxos.Batch{Records: []paxos.Record{{Instance: "done", Chosen: true, Index: 1,
			Acceptor: paxos.Acceptor{Promised: paxos.Ballot{Round: 5, Server: 2}, Accepted: paxos.Ballot{Round: 5, Server: 2}, Value: "v"}}}})
		p.start(1)
		p.run()
		require.Equal(t, "$config/1", p.loads[0], "a server that has decided anything may have to learn of a change")
		assert.Len(t, p.loads, min(max(room/2, 256), 1+names))
		p.pass(time.Minute) // nobody knows a value, so they are left alone, and make room for the rest
		assert.Subset(t, p.loads, []string{"job/0", fmt.Sprint("job/", names-1)})
		assert.Empty(t, p.replicas[1].backlog)
		for i := range names {
			name := fmt.Sprint("job/", i)
			assert.Equal(t, []string{"1 -> 3: nack 4.3 above 5.2 @" + name}, p.hear(1, 3, msg(t, "prepare 4.3 @"+name)))
			p.pass(10 * time.Second)
		}
		checkTables(t, p.replicas[1])
	}
}

// Decisions are kept for late questions, but no more of large ones than what they may take.
func TestReplicaCacheIsBoundedInBytes(t *testing.T) {
	p := newPumpOf(t, 3)
	v := paxos.Value(strings.Repeat("x", 1<<20))
	for i := range 100 {
		p.propose(1, CallID(i+1), fmt.Sprint("job/", i), v)
	}
	p.pass(time.Second)
	for id, r := range p.replicas {
		assert.Equal(t, maxCacheBytes, r.table.decided.bytes, "server %d", id)
		assert.Equal(t, 64, r.table.decided.len)
		assert.Empty(t, r.table.byName)
		checkTables(t, r)
	}
	p.propose(2, 1000, "job/0", "another")
	assert.Equal(t, v, p.value(1000), "what has left memory is in the storage")
}

// A Replica does not keep alive the values that it hands out. Those of a burst, in slices that are used again, would stay until the next
// burst that is as long.
func TestReplicaKeepsNoValuesForTheHost(t *testing.T) {
	p := newPump(t, membersOf(1))
	p.hold = func(paxos.ServerID) bool { return true }
	p.trace = true
	p.start(1)
	p.run()
	p.endSave(1)
	r := p.replicas[1]
	var out Output
	takeAll := func() (most int) {
		for r.Take(&out) {
			most = max(most, len(out.Done))
			for _, name := range out.Load {
				r.Loaded(p.now, name, paxos.Record{})
			}
		}
		return most
	}
	for i := range 20 {
		r.Propose(p.now, CallID(i+1), fmt.Sprint("job/", i), "v")
	}
	takeAll()
	batch := &r.saves.batch
	for len(batch.Records) > 0 {
		r.Saved(p.now)
		require.Empty(t, batch.Records, "the Batch was valid until Saved")
		for _, rec := range batch.Records[:cap(batch.Records)] {
			require.Empty(t, rec)
		}
		if most := takeAll(); most > 0 {
			require.Equal(t, 20, most, "all at once")
		}
	}
	for _, d := range out.Done[:cap(out.Done)] {
		assert.Empty(t, d)
	}
	for _, e := range slices.Concat(out.Events[:cap(out.Events)], r.events[:cap(r.events)]) {
		assert.Empty(t, e)
	}
}

// A promise about a value that is on disk already adds nothing to what is bounded: a takeover of many at once would else have their
// Accepts dropped.
func TestReplicaPromisesAreNotUnsaved(t *testing.T) {
	p := newHeld(t, 3)
	r := p.replicas[1]
	v := paxos.Value(strings.Repeat("x", 1<<20))
	p.hear(1, 2, paxos.Message{Kind: paxos.KindAccept, Instance: "a", Ballot: paxos.Ballot{Round: 1, Server: 2}, Value: v})
	assert.Equal(t, 1<<20, r.saves.unsaved)
	for p.held[1] != nil {
		p.ends(1)
	}
	assert.Zero(t, r.saves.unsaved)
	p.hear(1, 2, msg(t, "prepare 2.2 @a"))
	assert.Zero(t, r.saves.unsaved)
	p.hear(1, 2, paxos.Message{Kind: paxos.KindAccept, Instance: "a", Ballot: paxos.Ballot{Round: 2, Server: 2}, Value: v})
	assert.Zero(t, r.saves.unsaved, "the same value")
	p.hear(1, 2, paxos.Message{Kind: paxos.KindAccept, Instance: "a", Ballot: paxos.Ballot{Round: 3, Server: 2}, Value: v + "y"})
	checkTables(t, r)
}

// While a disk hangs, messages of others gather in bounded memory, votes and decisions alike. All of them are taken later.
func TestReplicaUnsavedIsBounded(t *testing.T) {
	p := newHeld(t, 3)
	r := p.replicas[1]
	v := paxos.Value(strings.Repeat("x", 1<<20))
	const n = maxUnsaved>>20 + 40
	ask := func(i int) {
		m := paxos.Message{Kind: paxos.KindAccept, Instance: fmt.Sprint("job/", i), Ballot: paxos.Ballot{Round: 1, Server: 2}, Value: v}
		if i%2 == 0 {
			m.Kind = paxos.KindDecided
		}
		p.hear(1, 2, m)
	}
	for i := range n {
		ask(i)
		checkTables(t, r)
	}
	assert.Equal(t, maxUnsaved, r.saves.unsaved)
	assert.Equal(t, uint64(40), r.counters.Dropped)
	assert.Len(t, r.table.byName, maxUnsaved>>20)
	ends := func() {
		for p.held[1] != nil {
			p.ends(1)
			p.now += lazySave
			r.Tick(p.now)
			p.run()
			checkTables(t, r)
		}
	}
	assert.Equal(t, uint64(40), r.counters.Dropped)
	for i := range 10 {
		ask(i) // a message that was taken adds nothing
	}
	assert.Equal(t, uint64(40), r.counters.Dropped)
	ends()
	assert.Zero(t, r.saves.unsaved)
	for i := range n {
		ask(i)
	}
	ends()
	for i := range n {
		assert.Equal(t, v, p.records[1][fmt.Sprint("job/", i)].Acceptor.Value)
	}
}

// The same, where values are so large that few decisions are in memory.
func TestReplicaPullsBeforeMemoryForgetsLargeValues(t *testing.T) {
	p := newPumpOf(t, 3)
	v := paxos.Value(strings.Repeat("x", 1<<19))
	for i := range 400 {
		p.propose(1, CallID(i+1), fmt.Sprint("name ", i), v)
		p.pass(5 * time.Millisecond)
		for _, pair := range [][2]paxos.ServerID{{1, 2}, {2, 3}, {3, 2}} {
			from := p.replicas[pair[0]]
			require.LessOrEqual(t, p.replicas[pair[1]].index, from.byID[pair[1]].pull.cursor+uint64(max(from.table.decided.len, 64)),
				"server %d has of %d, after %d decisions", pair[0], pair[1], i)
		}
	}
}

// Acceptors that have no reason to talk to each other pull while what the page names is still in memory, and not all that came between
// two times of Timing.Pull at once: then each name would cost a look at the storage. So it is from the first decisions on, of which nobody
// had any when all began and asked.
func TestReplicaPullsBeforeMemoryForgets(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.limits.Cache = 256
	p.startAll()
	for i := range 2000 {
		p.propose(1, CallID(i+1), fmt.Sprint("name ", i), "v")
		p.pass(50 * time.Microsecond) // all of it takes half of Timing.Phase
		for _, pair := range [][2]paxos.ServerID{{1, 2}, {2, 3}, {3, 2}} {
			cursor := p.replicas[pair[0]].byID[pair[1]].pull.cursor
			require.LessOrEqual(t, p.replicas[pair[1]].index, cursor+uint64(p.limits.Cache), "server %d has of %d, after %d decisions", pair[0], pair[1], i)
		}
	}
	assert.Less(t, p.count(paxos.KindPull)+p.count(paxos.KindNames), 2*6*2000/100, "not at each decision")
}

// A server that a peer has told of many decisions lists none of them for that peer, and reads no storage.
func TestReplicaListsNoRuns(t *testing.T) {
	p := pulling(t, "")
	p.limits = paxos.Limits{Cache: 1}
	p.start(1)
	p.run()
	for i := range 18 {
		p.tells(3, 0, msg(t, fmt.Sprintf(`decided 9.3 "v" @job/%03d`, i)))
		if i == 5 {
			p.tells(2, 0, msg(t, `decided 9.2 "v" @his`))
			p.pass(time.Second)
		}
	}
	p.pass(time.Second)
	p.pages, p.late = nil, 1
	list := func(after uint64) []string {
		return p.tells(3, 0, pullMessage(101, after, 1))
	}
	assert.Equal(t, []string{`1 -> 3: names - "65 7 1 19"`}, list(7))
	assert.Equal(t, []string{`1 -> 3: names - "65 9 1 19"`}, list(9))
	assert.Empty(t, p.pages)
	assert.Equal(t, []string{`1 -> 3: names - "65 12 1 19"`}, list(12))
	assert.Empty(t, p.tells(2, 0, pullMessage(101, 9, 1)), "to another one they are listed")
	assert.Len(t, p.pages, 1)
}

// A server that lists a decision is not told of it, also if another one told of it before. The page comes before the decision, or while
// it waits for its Save, or later.
func TestReplicaTellsNoneOfWhatTheyListed(t *testing.T) {
	p := pulling(t, "")
	p.tells(3, 0, msg(t, `decided 9.3 "v" @a`), msg(t, `decided 9.3 "v" @b`))
	p.pass(time.Second)
	p.tells(3, 0, msg(t, `decided 9.3 "v" @c`))
	p.tells(2, 9)
	p.tells(2, 9, msg(t, `names - "66 0 1 9\na\nc\nd"`))
	p.tells(3, 0, msg(t, `decided 9.3 "v" @d`), msg(t, `decided 9.3 "v" @e`))
	p.pass(time.Second)
	require.EqualValues(t, 5, p.replicas[1].index)
	names := func(who paxos.ServerID, index uint64) string {
		sent := p.tells(who, index, pullMessage(101, 0, 1))
		require.Len(t, sent, 1)
		_, line, _ := strings.Cut(sent[0], "1 5")
		return line
	}
	assert.Equal(t, `\nb\ne"`, names(2, 9))
	assert.Equal(t, `"`, names(3, 0))
	assert.Equal(t, `\nb\ne"`, names(2, 9))
}

// A decision of a page is too large here, and its instance is in memory, as a call waits for it. The instance leaves memory once.
func TestReplicaTooLargeDecisionOfAPage(t *testing.T) {
	p := pulling(t, "")
	p.limits = paxos.Limits{MaxValue: 4}
	p.start(1)
	p.run()
	p.replicas[1].Wait(p.now, 1, "large")
	p.run()
	var lines page.Decisions
	lines.Add(&page.Line{Name: "large", Ballot: paxos.Ballot{Round: 9, Server: 2}, Value: "large"})
	p.tells(2, 3)
	p.tells(2, 3, paxos.Message{Kind: paxos.KindDecisions, Value: lines.Text(page.Head{Store: 102, Boot: 2, To: 3})})
	require.ErrorIs(t, p.failed(1), paxos.ErrTooLarge)
	r := p.replicas[1]
	seen := map[*instance]bool{}
	for _, inst := range r.table.free {
		assert.False(t, seen[inst], "an instance is free twice")
		seen[inst] = true
	}
	r.Wait(p.now, 2, "x")
	r.Wait(p.now, 3, "y")
	assert.NotSame(t, r.table.byName["x"], r.table.byName["y"], "two names, one instance")
	checkTables(t, r)
}
