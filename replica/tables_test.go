package replica

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/page"
)

// A ring finds the last so many memos, and no other. It grows, forgets and has gaps, and its numbers begin anew.
func TestMemos(t *testing.T) {
	for _, most := range []int{1, 2, 15, 16, 17, 100, 1000} {
		d := memos{next: memoNumbers - 200}
		d.init()
		var names []string
		for i := range 700 {
			inst := &instance{name: fmt.Sprint("job/", i), index: uint64(i + 1)}
			inst.acceptor.Value = paxos.Value(fmt.Sprint("v", i))
			d.push(inst, most)
			names = append(names, inst.name)
			if i%5 == 3 { // one from the middle, if it is there yet
				if m := d.find(fmt.Sprint("job/", i-i%10)); m != nil {
					number, _ := d.names.Find(m.hash, func(n uint32) bool { return d.at(n) == m })
					names[i-i%10] = ""
					d.forget(number)
				}
			}
			checkDecided(t, &d, most)
		}
		kept := 0
		for i := len(names) - 1; i >= 0; i-- {
			if names[i] == "" {
				continue
			}
			m := d.find(names[i])
			require.Equal(t, kept < d.len, m != nil, "of %d, %s, after %d later ones", most, names[i], kept)
			if m != nil {
				kept++
				assert.Equal(t, paxos.Value(fmt.Sprint("v", i)), m.decision().Value)
				assert.Equal(t, uint64(i+1), m.index)
			}
		}
		assert.LessOrEqual(t, len(d.ring), max(16, 2*most), "most %d", most)
	}
}

// A value above the bound is kept alone.
func TestMemosOfLargeValues(t *testing.T) {
	var d memos
	d.init()
	large := paxos.Value(strings.Repeat("x", maxCacheBytes+1))
	for i, v := range []paxos.Value{"a", large, "b", large} {
		inst := &instance{name: fmt.Sprint(i)}
		inst.acceptor.Value = v
		d.push(inst, 10)
		checkDecided(t, &d, 10)
	}
	assert.Equal(t, 1, d.len)
	assert.NotNil(t, d.find("3"))
}

// Also when nothing but the decision is left in memory, whoever promises to a ballot that was overtaken is told, and another value is
// a fault.
func TestReplicaLateAnswers(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.Unseen = true
	p.start(1)
	p.run()
	p.propose(1, 1, "lunch", "mine")
	p.hear(1, 2, msg(t, `decided 7.2 "theirs" @lunch`))
	p.pass(lazySave)
	require.Empty(t, p.replicas[1].table.byName)
	assert.Equal(t, paxos.Value("theirs"), p.value(1))
	assert.Empty(t, p.hear(1, 3, msg(t, "promise 9.1 @lunch")), "a ballot that there was not")
	assert.Equal(t, []string{"1 -> 3: chosen 7.2 @lunch"}, p.hear(1, 3, msg(t, "promise 1.1 @lunch")))
	assert.Equal(t, []string{`1 -> 3: decided 7.2 "theirs" @lunch`}, p.hear(1, 3, msg(t, "query 4.3 @lunch")))
	assert.Empty(t, p.hear(1, 3, msg(t, "chosen 8.3 @lunch"), msg(t, `decided 8.3 "theirs" @lunch`)))
	checkTables(t, p.replicas[1])
	p.hear(1, 3, msg(t, `decided 8.3 "another" @lunch`))
	require.Len(t, p.replicas[1].table.byName, 1)
	assert.Contains(t, p.replicas[1].table.byName["lunch"].stopped.Error(), "two values were decided")
	checkTables(t, p.replicas[1])
	assert.Empty(t, p.hear(1, 3, msg(t, "query 5.3 @lunch")), "nothing more is said")
	_, ok, known := p.replicas[1].Peek("lunch")
	assert.True(t, known && !ok)
}

// A server that has promised to a ballot is told at once when another's decision comes first: it waits for a proposer that does nothing
// more.
func TestReplicaDecidedTellsWhoHasPromised(t *testing.T) {
	p := newSolo(t, 5)
	p.propose(1, 1, "lunch", "mine")
	p.hear(1, 2, msg(t, "promise 1.1 @lunch"))
	assert.Equal(t, []string{"1 -> 2: chosen 7.3 @lunch"}, p.hear(1, 3, msg(t, `decided 7.3 "theirs" @lunch`)))
}

// The last so many decisions of this life have an entry, of which nothing is known when it is made; others have none.
func TestRecents(t *testing.T) {
	recents := recents{room: 8}
	assert.Nil(t, recents.at(0))
	for i := uint32(100); i < 150; i++ {
		recents.add(uint64(i))
		require.Zero(t, *recents.at(uint64(i)))
		*recents.at(uint64(i)) = i
		for j := uint32(0); j < 200; j++ {
			at := recents.at(uint64(j))
			if j >= 100 && j <= i && i-j < 8 {
				require.Equal(t, j, *at, "after %d", i)
			} else {
				require.Nil(t, at, "%d after %d", j, i)
			}
		}
	}
}

// A page holds the same from memory as from the storage, wherever it begins; and where memory has forgotten, or does not know yet,
// it says so.
func TestRecentNames(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	p := newPump(t, membersOf(3))
	p.limits = paxos.Limits{Cache: 16}
	p.startAll()
	fromMemory, forgotten := 0, 0
	for i := range 200 {
		for range 1 + draw.IntN(3) {
			id := paxos.ServerID(1 + draw.IntN(3))
			p.propose(id, CallID(1000*i+len(p.done)), fmt.Sprint("job/", draw.IntN(150)), "v")
		}
		if draw.IntN(4) == 0 {
			p.pass(lazySave)
		}
		if i == 100 {
			p.crash(2)
			p.start(2)
			p.run()
		}
		for id, r := range p.replicas {
			for after := range r.index {
				for _, values := range []bool{false, true} {
					recent, ok := r.table.recentPage(after, r.index, values)
					if !ok {
						forgotten++
						continue
					}
					fromMemory++
					want := p.listed(id, ListAsk{After: after, Max: int(r.index - after), Values: values})
					require.Equal(t, want.Names, recent.Names, "server %d after %d", id, after)
					require.Len(t, recent.Decisions, len(want.Decisions))
					for i, d := range want.Decisions {
						require.Equal(t, d.Value, recent.Decisions[i].Value, "server %d after %d", id, after)
					}
				}
			}
		}
	}
	require.Greater(t, fromMemory, 1000)
	require.Greater(t, forgotten, 1000)
}

// An instance that has stopped is in no page, and the memos of its neighbours do not hide that.
func TestRecentNamesOfStopped(t *testing.T) {
	p := pulling(t, "")
	for i, name := range []string{"a", "b", "c"} {
		p.tells(2, uint64(i+1), msg(t, fmt.Sprintf(`decided 7.2 "v" @%s`, name)))
		p.pass(lazySave)
	}
	recent := func(after uint64) (int, bool) {
		page, ok := p.replicas[1].table.recentPage(after, p.replicas[1].index, false)
		return len(page.Names), ok
	}
	n, ok := recent(0)
	require.True(t, ok)
	require.Equal(t, 3, n)
	p.tells(2, 3, msg(t, `decided 8.3 "another" @b`))
	_, ok = recent(0)
	require.False(t, ok)
	n, ok = recent(2)
	require.True(t, ok)
	require.Equal(t, 1, n)
	assert.Equal(t, []string{`1 -> 3: names - "65 0 1 3 18446744073709551615 0\na\nc"`}, p.tells(3, 0, pullMessage(0, 0, 1)))
}

// answers returns the page with which server 1 answers m, of server 2.
func (p *pump) answers(m paxos.Message) (page.Head, []page.Line) {
	sent := p.tells(2, 0, m)
	require.Len(p.t, sent, 1)
	answer := msg(p.t, strings.TrimPrefix(sent[0], "1 -> 2: "))
	h, lines, ok := new(pulls).parse(&answer)
	require.True(p.t, ok)
	return h, lines
}

// Whoever is asked for values gives them, but for large ones, as far as a page goes.
func TestReplicaIsPulledFromWithValues(t *testing.T) {
	p := pulling(t, "")
	for i := range 40 {
		p.tells(3, 0, msg(t, fmt.Sprintf(`decided 9.3 "%s" @job/%02d`, strings.Repeat("v", page.MaxValue), i)))
	}
	p.tells(3, 0, msg(t, fmt.Sprintf(`decided 9.3 "%s" @large`, strings.Repeat("v", page.MaxValue+1))), msg(t, `decided 8.2 "" @last`))
	p.pass(time.Second)
	for _, disk := range []bool{false, true} {
		if disk {
			p.start(1) // with nothing in memory
			p.run()
		}
		for after, want := range map[uint64]int{0: 15, 15: 15, 30: 12} {
			pull := page.Pull{Store: 101, Index: after, Boot: 1, Values: true}
			h, got := p.answers(paxos.Message{Kind: paxos.KindPull, Value: pull.Text()})
			require.Equal(t, page.Head{Store: 101, From: after, Boot: 1, To: after + uint64(want)}, h)
			require.Len(t, got, want)
			for _, l := range got {
				require.Equal(t, l.HasDecision(), l.Name != "large", l.Name)
				if a := p.records[1][l.Name].Acceptor; l.HasDecision() {
					require.Equal(t, page.Line{Name: l.Name, Ballot: a.Accepted, Value: a.Value}, l)
				}
			}
		}
	}
}

// checkTables checks what the parts of a Replica say of each other.
func checkTables(t require.TestingT, r *Replica) {
	t = unhelped{t}
	checkInstances(t, r)
	checkEvicted(t, r)
	checkDecided(t, &r.table.decided, r.limits.Cache)
	checkFree(t, r)
	checkTimers(t, r)
	checkCalls(t, r)
	checkSaves(t, r)
}

// An unhelped T has no Helper. Each require would call that, and it takes longer than the checks. The trace of a failure has all callers.
type unhelped struct{ require.TestingT }

// checkInstances checks that each instance in memory is in one list or is busy, under its own name, and that the counts agree.
func checkInstances(t require.TestingT, r *Replica) {
	open, orphans, listed, counted := 0, 0, 0, [rooms]int{}
	seen := map[*instance]bool{}
	for name, inst := range r.table.byName {
		require.Equal(t, name, inst.name)
		require.False(t, seen[inst], "%q shares an instance", name)
		seen[inst] = true
		if !inst.chosen {
			open++
		}
		require.Equal(t, !inst.chosen, inst.age.inst == inst, "%q", name)
		if inst.orphaned {
			orphans++
		}
		if inst.list != nil && !inst.wantsRoom {
			listed++
			require.False(t, inst.busy(), "%q is listed and busy", name)
			if inst.timer.place == 0 {
				require.Same(t, &r.table.evictable, inst.list, "%q", name)
			} else {
				require.Same(t, &r.table.watched, inst.list, "%q", name)
			}
			require.False(t, inst.chosen, "%q is decided, and no memo", name)
		} else if r.stop == nil {
			require.True(t, inst.busy(), "%q is in memory for ever", name)
		}
		if inst.timer.place != 0 {
			require.Same(t, &inst.timer, r.timers.heap[inst.timer.place-1])
			require.Same(t, inst, inst.timer.inst)
		}
		require.NotContains(t, r.table.evicted, name, "it is in memory")
		require.Equal(t, inst.roomNow(), inst.room, "%q", name)
		counted[inst.room]++
		waits := !inst.chosen && inst.stopped == nil && len(inst.calls.all) > 0 && r.stop == nil
		comes := inst.timer.place != 0 || inst.loading || inst.wantsRound || inst.wantsRoom
		require.False(t, waits && !comes, "calls wait in %q, and nothing will happen", name)
	}
	require.Equal(t, orphans, r.table.orphans)
	checkAges(t, r, open+len(r.table.evicted))
	require.Equal(t, listed, r.table.evictable.len+r.table.watched.len)
	require.True(t, listed == 0 || len(r.table.byName) <= 2*r.limits.MaxOpen, "%d in memory, of which %d may leave it", len(r.table.byName), listed)
	counted[roomNone] = 0 // it is not counted
	require.Equal(t, counted, r.table.rooms)
	require.LessOrEqual(t, counted[roomCalls], r.limits.MaxOpen)
	for i := range r.table.decided.held {
		name := r.table.decided.at(r.table.decided.first() + i).name
		require.NotContains(t, r.table.byName, name, "there is a memo, too")
	}
}

// checkAges checks that the list of ages has all open instances, in memory and not, the oldest first.
func checkAges(t require.TestingT, r *Replica, open int) {
	l, n, since := &r.table.ages, 0, time.Duration(0)
	require.Equal(t, open, l.len)
	for a := l.ends.next; a != &l.ends; a = a.next {
		require.Same(t, a, a.next.prev)
		if e := a.evicted; e != nil {
			require.Same(t, e, r.table.evicted[e.name])
		} else {
			require.Same(t, a.inst, r.table.byName[a.inst.name])
		}
		require.LessOrEqual(t, since, a.since)
		since = a.since
		n++
	}
	require.Equal(t, open, n)
}

// checkFree checks that instances kept for later use are empty, and in no other place.
func checkFree(t require.TestingT, r *Replica) {
	seen := map[*instance]bool{}
	for _, inst := range r.table.byName {
		seen[inst] = true
	}
	require.LessOrEqual(t, len(r.table.free), maxFree)
	for _, inst := range r.table.free {
		require.False(t, seen[inst], "in use, and free")
		seen[inst] = true
		require.Equal(t, instance{arrivals: inst.arrivals, askers: inst.askers, calls: inst.calls, asking: inst.asking}, *inst, "what is free is empty")
		require.Equal(t, asking{}, *inst.question())
		require.Empty(t, inst.calls.all)
		require.LessOrEqual(t, cap(inst.calls.all), manyCalls, "a long list of calls is kept for no use")
		require.Empty(t, inst.arrivals)
	}
}

// checkTimers checks the heap of the timers: it is in order, and each is that of its instance.
func checkTimers(t require.TestingT, r *Replica) {
	for i, w := range r.timers.heap {
		require.Equal(t, i+1, w.place)
		require.False(t, i > 0 && w.at < r.timers.heap[(i-1)/2].at, "the heap is in order")
		if w.evicted != nil {
			require.Same(t, w.evicted, r.table.evicted[w.evicted.name])
		} else {
			require.Same(t, w.inst, r.table.byName[w.inst.name])
		}
	}
}

// checkCalls checks the calls, takeovers, hints and pulls of all instances against their counts.
func checkCalls(t require.TestingT, r *Replica) {
	calls, takeovers, asked, hints := 0, 0, 0, 0
	for _, e := range r.table.evicted {
		hints += len(e.hint.value)
	}
	fetches := map[int]int{} // by position
	for _, inst := range r.table.byName {
		hints += len(inst.hint.value)
		if inst.attempt.purpose == forTakeover {
			takeovers++
		} else if inst.attempt.purpose == forForward {
			asked++
		}
		for i := range r.view.Acceptors() {
			if inst.fetching.Has(i) {
				fetches[i]++
			}
		}
		if r.watches(inst) && !inst.orphaned && inst.attempt.state == attemptNone && r.stop == nil {
			require.NotZero(t, inst.alarms[alarmWatch], "nobody watches %q", inst.name)
		}
		calls += inst.calls.len()
		for _, c := range inst.calls.all {
			if c.op == opNone {
				continue
			}
			require.Same(t, inst, r.calls[c.id].instance)
		}
	}
	require.Equal(t, calls, len(r.calls))
	require.LessOrEqual(t, calls, r.limits.MaxCalls)
	require.Equal(t, []int{takeovers, asked}, []int{r.takeovers, r.stands.asked})
	require.Equal(t, hints, r.hints.bytes)
	for _, p := range r.peers {
		if p.position >= 0 {
			require.Equal(t, fetches[p.position], p.pull.open, "server %d", p.id)
			require.NotZero(t, p.pull.at, "nothing is pulled from server %d any more", p.id)
		}
	}
}

// checkSaves checks the values that are not saved and those in flight against their counts, and the lists of the saves.
func checkSaves(t require.TestingT, r *Replica) {
	unsaved, flies, waits := 0, 0, 0
	for _, inst := range r.table.byName {
		flies += inst.attempt.inflight
		require.False(t, inst.attempt.inflight > 0 && !inst.attempt.running())
		if inst.wantsRoom {
			waits++
			require.Same(t, &r.inflight.line, inst.list)
			require.NotNil(t, inst.calls.proposes(), "nobody wants its room")
		}
		unsaved += inst.unsaved
		if inst.unsaved != 0 {
			require.True(t, inst.gathered || inst.saving)
			require.Equal(t, len(inst.acceptor.Value), inst.unsaved)
		}
	}
	require.Equal(t, unsaved, r.saves.unsaved)
	require.Equal(t, flies, r.inflight.bytes)
	require.Equal(t, waits, r.inflight.line.len)
	require.False(t, waits > 0 && flies == 0 && !r.inflight.freed, "nobody flies, and some wait for ever")
	for _, inst := range r.saves.gather {
		require.True(t, inst.gathered)
		require.Same(t, inst, r.table.byName[inst.name])
	}
	require.LessOrEqual(t, len(r.saves.waitRun)+len(r.saves.waitNew), maxHeld)
}

// checkEvicted checks what stays of instances that left memory: each has a silence, which ends.
func checkEvicted(t require.TestingT, r *Replica) {
	require.LessOrEqual(t, len(r.table.evicted), mostLater(r.limits))
	for name, e := range r.table.evicted {
		require.Equal(t, name, e.name)
		require.Same(t, e, e.timer.evicted)
		require.NotZero(t, e.place, "nobody watches %q", name)
		require.Same(t, &e.timer, r.timers.heap[e.place-1])
		require.Nil(t, r.table.decided.find(name), "it is decided")
	}
}

// checkDecided checks that the memos are found by name, and are what the counts say.
func checkDecided(t require.TestingT, d *memos, most int) {
	n, bytes, late := 0, 0, 0
	require.LessOrEqual(t, int(d.held), min(len(d.ring), most))
	for i := range d.held {
		m := d.at(d.first() + i)
		if m.name == "" {
			require.NotZero(t, i, "the oldest is a gap")
			require.Equal(t, memo{}, *m)
			continue
		}
		n++
		bytes += len(m.Value)
		if m.pendingNotices != (pendingNotices{}) {
			late++
		}
		require.Same(t, m, d.find(m.name))
	}
	used, _ := d.names.Len()
	require.Equal(t, []int{n, n, bytes, late}, []int{used, d.len, d.bytes, d.late})
	require.True(t, bytes <= maxCacheBytes || n == 1)
}
