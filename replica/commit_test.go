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

// newHeld returns a solo whose Saves end only when the test says so.
func newHeld(t *testing.T, n int) *pump {
	p := newSolo(t, n)
	p.hold = func(paxos.ServerID) bool { return true }
	return p
}

// ends ends the Save that runs, and returns what leaves then.
func (p *pump) ends(id paxos.ServerID) []string {
	return p.during(func() { p.endSave(id); p.run() })
}

// docs/design.md#4.2: a reply leaves after a save whose snapshot was taken at or after its Step, and after all earlier ones.
func TestReplicaReplyWaitsForTheRightSave(t *testing.T) {
	for _, tt := range []struct {
		name string
		// steps are messages from server 2, "end" for the end of the Save that runs, and the messages that leave then.
		steps []string
	}{
		{"a promise", []string{"prepare 1.2 @x", "end", "= promise 1.2 @x"}},
		{"an acceptance", []string{`accept 1.2 "v" @x`, "end", "= accepted 1.2 @x"}},
		{"a duplicate while the save is pending", []string{"prepare 1.2 @x", "prepare 1.2 @x", "end", "= promise 1.2 @x", "= promise 1.2 @x"}},
		{"a duplicate after it", []string{"prepare 1.2 @x", "end", "= promise 1.2 @x", "prepare 1.2 @x", "= promise 1.2 @x"}},
		{"the running snapshot is older", []string{"prepare 1.2 @x", `accept 1.2 "v" @x`, "end", "= promise 1.2 @x", "end", "= accepted 1.2 @x"}},
		{"a duplicate of the newer state", []string{"prepare 1.2 @x", `accept 1.2 "v" @x`, `accept 1.2 "v" @x`, "end", "= promise 1.2 @x",
			`accept 1.2 "v" @x`, "end", "= accepted 1.2 @x", "= accepted 1.2 @x", "= accepted 1.2 @x"}},
		{"a duplicate of the older state", []string{"prepare 1.2 @x", "prepare 3.2 @x", "prepare 1.2 @x", "end", "= promise 1.2 @x",
			"end", "= promise 3.2 @x", "= nack 1.2 above 3.2 @x"}},
		{"a refusal", []string{"prepare 3.2 @x", "prepare 1.2 @x", "end", "= promise 3.2 @x", "= nack 1.2 above 3.2 @x"}},
		{"a refusal of what is saved", []string{"prepare 3.2 @x", "end", "= promise 3.2 @x", "prepare 1.2 @x", "= nack 1.2 above 3.2 @x"}},
		{"a state", []string{"prepare 1.2 @x", "query 2.2 @x", "end", "= promise 1.2 @x", "= state 2.2 above 1.2 @x"}},
		{"a state of what is newer", []string{"prepare 1.2 @x", `accept 1.2 "v" @x`, "query 2.2 @x", "end", "= promise 1.2 @x",
			"end", "= accepted 1.2 @x", `= state 2.2 above 1.2 (1.2 "v") @x`}},
		{"a state of nothing", []string{"query 2.2 @x", "= state 2.2 @x"}},
		{"its content is as of its Step", []string{"prepare 1.2 @x", "query 2.2 @x", `accept 1.2 "v" @x`, "end", "= promise 1.2 @x", "= state 2.2 above 1.2 @x",
			"end", "= accepted 1.2 @x"}},
		{"another instance changed", []string{"prepare 1.2 @y", "prepare 1.2 @x", "end", "= promise 1.2 @y", "end", "= promise 1.2 @x"}},
		{"it was decided meanwhile", []string{"prepare 1.2 @x", `accept 1.2 "v" @x`, "chosen 1.2 @x", "end", "= promise 1.2 @x", "end", "= accepted 1.2 @x"}},
		{"a late prepare of the ballot it voted in", []string{`accept 1.2 "v" @x`, "prepare 1.2 @x", "end", "= accepted 1.2 @x", "= accepted 1.2 @x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newHeld(t, 3)
			var want []string
			n := len(p.sent)
			for i, step := range tt.steps {
				if text, ok := strings.CutPrefix(step, "= "); ok {
					want = append(want, "1 -> 2: "+text)
					continue
				}
				require.Equal(t, want, append([]string(nil), p.sent[n:]...), "before step %d, %s", i, step)
				if step == "end" {
					p.ends(1)
				} else {
					p.hear(1, 2, msg(t, step))
				}
			}
			assert.Equal(t, want, p.sent[n:])
			for p.held[1] != nil {
				assert.Empty(t, p.ends(1), "nothing is left")
			}
		})
	}
}

// docs/design.md#4.1: the own promise and the own acceptance count only when saved.
func TestReplicaOwnAnswersCountWhenSaved(t *testing.T) {
	t.Run("one acceptor", func(t *testing.T) { // P24
		p := newHeld(t, 1)
		p.propose(1, 1, "lunch", "burger")
		p.pass(lazySave)
		require.Equal(t, paxos.Record{Instance: "lunch", Acceptor: paxos.Acceptor{Promised: paxos.Ballot{Round: 1, Server: 1}}}, p.held[1].Records[0])
		assert.False(t, p.replicas[1].table.byName["lunch"].attempt.Asking(), "its promise is not saved")
		p.ends(1)
		require.Equal(t, paxos.Acceptor{Promised: paxos.Ballot{Round: 1, Server: 1}, Accepted: paxos.Ballot{Round: 1, Server: 1}, Value: "burger"}, p.held[1].Records[0].Acceptor)
		assert.Empty(t, p.done, "its vote is not saved")
		p.ends(1)
		assert.Equal(t, paxos.Value("burger"), p.value(1))
		assert.Equal(t, paxos.Acceptor{Promised: paxos.Ballot{Round: 1, Server: 1}, Accepted: paxos.Ballot{Round: 1, Server: 1}, Value: "burger"}, p.records[1]["lunch"].Acceptor, "crash now: it is there")
		assert.Empty(t, p.sent)
	})
	t.Run("the other promise comes first", func(t *testing.T) {
		p := newHeld(t, 3)
		p.propose(1, 1, "lunch", "burger")
		assert.Empty(t, p.hear(1, 2, msg(t, "promise 1.1 @lunch")), "server 3 is lost, the own promise is not saved")
		assert.Equal(t, []string{`1 -> 2: accept 1.1 "burger" @lunch`, `1 -> 3: accept 1.1 "burger" @lunch`}, p.ends(1))
		p.hear(1, 2, msg(t, "accepted 1.1 @lunch"))
		assert.Empty(t, p.done, "server 3 is lost, the own vote is not saved")
		p.ends(1)
		assert.Equal(t, paxos.Value("burger"), p.value(1))
	})
	t.Run("a quorum of others needs no save here", func(t *testing.T) {
		p := newHeld(t, 3)
		p.propose(1, 1, "lunch", "burger")
		p.hear(1, 2, msg(t, "promise 1.1 @lunch"))
		assert.Len(t, p.hear(1, 3, msg(t, "promise 1.1 @lunch")), 2, "the Accept leaves")
		p.hear(1, 2, msg(t, "accepted 1.1 @lunch"))
		p.hear(1, 3, msg(t, "accepted 1.1 @lunch"))
		assert.Equal(t, paxos.Value("burger"), p.value(1))
		require.NotNil(t, p.held[1], "the first Save still runs")
	})
	t.Run("an older save is not enough", func(t *testing.T) {
		p := newHeld(t, 3)
		p.propose(1, 1, "lunch", "burger") // the Save of the own promise runs
		p.hear(1, 2, msg(t, "promise 1.1 @lunch"))
		p.hear(1, 3, msg(t, "promise 1.1 @lunch")) // the own vote gathers
		p.hear(1, 2, msg(t, "accepted 1.1 @lunch"))
		p.ends(1)
		assert.Empty(t, p.done, "that Save held the promise, not the vote")
		p.ends(1)
		assert.Equal(t, paxos.Value("burger"), p.value(1))
	})
	t.Run("the own answer to a question", func(t *testing.T) {
		p := newHeld(t, 3)
		p.hear(1, 2, msg(t, `accept 1.2 "v" @lunch`))
		p.replicas[1].Wait(p.now, 1, "lunch")
		p.run()
		p.hear(1, 2, msg(t, `state 2.1 above 1.2 (1.2 "v") @lunch`))
		assert.Empty(t, p.done, "the own vote is not saved")
		p.ends(1)
		assert.Equal(t, paxos.Value("v"), p.value(1))
	})
}

// docs/design.md#4.2, docs/design.md#5: never two Saves at once; while one runs the next gathers; several states of one
// instance are saved as the last one.
func TestReplicaGroupCommit(t *testing.T) {
	p := newHeld(t, 3)
	p.hear(1, 2, msg(t, "prepare 1.2 @first"))
	for i := range 50 {
		name := fmt.Sprint("job/", i)
		p.hear(1, 2, msg(t, "prepare 1.2 @"+name), msg(t, "prepare 2.2 @"+name), msg(t, `accept 2.2 "v" @`+name))
	}
	assert.Equal(t, 1, p.saves[1], "one is out")
	assert.Equal(t, []string{"1 -> 2: promise 1.2 @first"}, p.ends(1))
	assert.Equal(t, 2, p.saves[1])
	require.Len(t, p.held[1].Records, 50)
	for i, rec := range p.held[1].Records {
		assert.Equal(t, paxos.Record{Instance: fmt.Sprint("job/", i), Acceptor: paxos.Acceptor{Promised: paxos.Ballot{Round: 2, Server: 2}, Accepted: paxos.Ballot{Round: 2, Server: 2}, Value: "v"}}, rec)
	}
	assert.Len(t, p.ends(1), 150, "all replies leave with it")
	assert.Nil(t, p.held[1], "nothing is left to save")
	c := p.replicas[1].Status(p.now).Counters
	assert.Equal(t, []uint64{3, 51}, []uint64{c.Saves, c.Records})
}

// A Batch beyond MaxBatch is split, and replies leave with the half that holds what they rest on.
func TestReplicaBatchesAreSplit(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.limits, p.Unseen = paxos.Limits{MaxBatch: 8 << 10}, true
	p.start(1)
	p.run()
	p.hold = func(paxos.ServerID) bool { return true }
	p.hear(1, 2, msg(t, "prepare 1.2 @first"))
	large := paxos.Value(strings.Repeat("x", 3<<10))
	huge := paxos.Value(strings.Repeat("y", 30<<10))
	accept := func(name string, v paxos.Value) paxos.Message {
		return paxos.Message{Kind: paxos.KindAccept, Instance: name, Ballot: paxos.Ballot{Round: 1, Server: 2}, Value: v}
	}
	p.hear(1, 2, accept("a", large), accept("b", large), accept("c", large), accept("huge", huge), accept("d", large))
	p.hear(1, 2, msg(t, "query 2.2 @c"), msg(t, "query 2.2 @a"))
	assert.Equal(t, []string{"1 -> 2: promise 1.2 @first"}, p.ends(1))
	var batches [][]string
	for p.held[1] != nil {
		var names []string
		size := 0
		for _, rec := range p.held[1].Records {
			names = append(names, rec.Instance)
			size += len(rec.Acceptor.Value)
		}
		assert.True(t, size <= 8<<10 || len(names) == 1, "%v has %d bytes", names, size)
		batches = append(batches, names)
		var told []string
		for _, line := range p.ends(1) {
			told = append(told, line[strings.LastIndexByte(line, '@')+1:])
		}
		assert.Subset(t, names, told, "replies about what is not in this batch")
		assert.Subset(t, told, names)
	}
	assert.Equal(t, [][]string{{"a", "b"}, {"c"}, {"huge"}, {"d"}}, batches)
	assert.Len(t, p.sent, 1+5+2)
}

// A record that changes again while half of a batch is saved waits for the Save that holds the change.
func TestReplicaSplitBatchHoldsTheLastState(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.limits, p.Unseen = paxos.Limits{MaxBatch: 4 << 10}, true
	p.start(1)
	p.run()
	p.hold = func(paxos.ServerID) bool { return true }
	large := strings.Repeat("x", 3<<10)
	p.hear(1, 2, msg(t, `accept 1.2 "`+large+`" @a`), msg(t, `accept 1.2 "`+large+`" @b`))
	p.hear(1, 2, msg(t, "prepare 5.2 @a"), msg(t, "prepare 6.2 @b")) // a runs, b gathers
	left := func() (kinds []string) {
		for _, line := range p.ends(1) {
			f := strings.Fields(line)
			kinds = append(kinds, f[3]+" "+f[4]+" "+f[len(f)-1])
		}
		return kinds
	}
	assert.Equal(t, []string{"accepted 1.2 @a"}, left())
	assert.Equal(t, []string{"accepted 1.2 @b", "promise 6.2 @b"}, left())
	assert.Equal(t, []string{"promise 5.2 @a"}, left())
	assert.Nil(t, p.held[1])
}

// A crash at any moment: every reply that had left rests on a saved record, and no other reply had left.
func TestReplicaCrashAtEverySave(t *testing.T) {
	for crashAt := 1; crashAt <= 9; crashAt++ {
		for id := paxos.ServerID(1); id <= 3; id++ {
			t.Run(fmt.Sprintf("server %d, before save %d of the cluster", id, crashAt), func(t *testing.T) {
				p := newPumpOf(t, 3)
				saves := 0
				p.hold = func(at paxos.ServerID) bool {
					saves++
					return saves >= crashAt && at == id
				}
				p.propose(1, 1, "lunch", "burger")
				p.pass(lazySave)
				p.crash(id)
				p.hold = nil
				p.run()
				p.start(id)
				p.run()
				p.propose(id, 2, "lunch", "pizza")
				p.pass(time.Minute)
				assert.Contains(t, []paxos.Value{"burger", "pizza"}, p.value(2))
				if d, ok := p.done[1]; ok {
					assert.Equal(t, d.Decision.Value, p.value(2))
				}
			})
		}
	}
}

// docs/design.md#4.9: an Index is shown only when its record is saved. The record of a decision waits for no caller: it rides along,
// or has a Save of its own soon.
func TestReplicaDecisionsAreSavedLazilyAndShownWhenSaved(t *testing.T) {
	p := newHeld(t, 3)
	r := p.replicas[1]
	p.hear(1, 2, msg(t, `decided 1.2 "v" @a`))
	p.hear(1, 2, msg(t, `decided 1.2 "w" @b`))
	assert.Nil(t, p.held[1], "nobody waits for it")
	at, ok := r.Next()
	require.True(t, ok)
	assert.Equal(t, p.now+lazySave, at)
	p.pass(lazySave)
	require.NotNil(t, p.held[1])
	v := paxos.Acceptor{Promised: paxos.Ballot{Round: 1, Server: 2}, Accepted: paxos.Ballot{Round: 1, Server: 2}, Value: "v"}
	assert.Equal(t, []paxos.Record{{Instance: "a", Acceptor: v, Chosen: true, Index: 1}, {Instance: "b", Acceptor: paxos.Acceptor{Promised: v.Promised, Accepted: v.Accepted, Value: "w"}, Chosen: true, Index: 2}}, p.held[1].Records)
	assert.Equal(t, uint64(2), p.held[1].Server.Last)
	assert.Zero(t, r.Status(p.now).Index)
	p.hear(1, 2, msg(t, `decided 1.2 "z" @c`))
	_, ok = r.Next()
	assert.True(t, ok, "c wants a Save too")
	r.Saved(p.now)
	p.put(1, *p.held[1])
	delete(p.held, 1)
	var out Output
	require.True(t, r.Take(&out), "a new Index is worth an Output")
	assert.Equal(t, uint64(2), out.Index)
	require.Nil(t, out.Save, "c can wait for one that somebody else needs")
	p.hear(1, 2, msg(t, "prepare 1.2 @d"))
	require.NotNil(t, p.held[1])
	assert.Equal(t, []string{"c", "d"}, []string{p.held[1].Records[0].Instance, p.held[1].Records[1].Instance}, "it rides along")
	assert.Equal(t, uint64(3), p.held[1].Records[0].Index)
	p.ends(1)
	_, ok = r.saves.hurryAt()
	assert.False(t, ok, "nothing is due")
	p.crash(1)
	p.start(1)
	p.run()
	p.ends(1)
	assert.Equal(t, uint64(3), p.replicas[1].Status(p.now).Index)
	p.hear(1, 3, msg(t, `decided 1.2 "v" @e`))
	p.pass(lazySave)
	assert.Equal(t, uint64(4), p.held[1].Records[0].Index, "no Index is given twice")
}

func TestReplicaSavedWithoutASavePanics(t *testing.T) {
	p := newSolo(t, 3)
	assert.PanicsWithValue(t, "paxos: Saved without a Save", func() { p.replicas[1].Saved(p.now) })
}

// Replies that wait for a Save are bounded: beyond, they are lost, as on any network.
func TestReplicaHeldRepliesAreBounded(t *testing.T) {
	p := newHeld(t, 3)
	p.hear(1, 2, msg(t, "prepare 1.2 @x"))
	packet := p.packet(2, 1)
	for range 1 << 12 {
		packet.Messages = append(packet.Messages, msg(t, "prepare 1.2 @x"))
	}
	for range maxHeld>>12 + 1 {
		p.replicas[1].Receive(p.now, packet)
	}
	s := &p.replicas[1].saves
	assert.Equal(t, maxHeld, len(s.waitRun)+len(s.waitNew))
	assert.Equal(t, uint64(1<<12+1), p.replicas[1].counters.Dropped)
}

// A Save that turned out not to be needed leaves nothing behind: the next decision waits for company as always.
func TestReplicaSaveNotNeeded(t *testing.T) {
	m := membersOf(3)
	m.Learners = []paxos.ServerID{8}
	p := newPump(t, m)
	p.Unseen = true
	p.start(8)
	p.run()
	p.hold = func(paxos.ServerID) bool { return true }
	for i, name := range []string{"a", "d"} {
		p.propose(8, CallID(i+1), name, "v")
		for id := paxos.ServerID(1); id <= 2; id++ {
			p.hear(8, id, paxos.Message{Kind: paxos.KindNack, Instance: name, Ballot: paxos.Ballot{Round: uint64(i + 1), Server: 8}, Promised: paxos.Ballot{Round: 1e6, Server: 1}})
		}
	}
	p.pass(100 * time.Millisecond) // one after the other they want a round, which the first one's Save will hold
	require.NotNil(t, p.held[8])
	require.True(t, p.replicas[8].saves.urgent, "the second asked for another Save")
	assert.Len(t, p.ends(8), 2*3, "two Prepares")
	require.Nil(t, p.held[8], "a learner has nothing else to save")
	p.hear(8, 1, msg(t, `decided 5.1 "v" @b`))
	assert.Nil(t, p.held[8])
	p.pass(lazySave)
	assert.NotNil(t, p.held[8])
}

// docs/guarantees.md says when an instance is decided: two votes for one value gather for one Save, only the higher is ever on stable
// storage, and both are told, and count.
func TestReplicaVotesOvertakenInOneSave(t *testing.T) {
	p := newSolo(t, 3)
	p.hold = func(paxos.ServerID) bool { return true }
	p.hear(1, 2, msg(t, "prepare 1.2 @other")) // its Save runs while the votes come
	require.NotNil(t, p.held[1])
	p.hear(1, 2, msg(t, `accept 1.2 "v" @x`))
	p.hear(1, 3, msg(t, `accept 2.3 "v" @x`))
	p.endSave(1)
	p.run()
	require.NotNil(t, p.held[1])
	require.Len(t, p.held[1].Records, 1)
	assert.Equal(t, paxos.Acceptor{Promised: paxos.Ballot{Round: 2, Server: 3}, Accepted: paxos.Ballot{Round: 2, Server: 3}, Value: "v"}, p.held[1].Records[0].Acceptor)
	told := p.during(func() {
		p.endSave(1)
		p.run()
	})
	assert.ElementsMatch(t, []string{"1 -> 2: accepted 1.2 @x", "1 -> 3: accepted 2.3 @x"}, told)
}

// Where nothing comes, a Save begins at once; and one that is out keeps no other waiting for more.
func TestReplicaHoldsSaves(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.Unseen = true
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

// A Replica that delays notices keeps them until something else leaves for the same peer, or they are many.
func TestReplicaDelaysNotices(t *testing.T) {
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
		m := chosen(1)
		r.send(r.peers[i], &m)
	}
	assert.Empty(t, take())
	assert.True(t, r.HasNotices())

	r.send(r.peers[0], &paxos.Message{Kind: paxos.KindPrepare, Instance: "job/2", Ballot: paxos.Ballot{Round: 1, Server: 1}})
	assert.Equal(t, map[paxos.ServerID][]paxos.Kind{2: {paxos.KindChosen, paxos.KindPrepare}}, take(), "together, in their order")
	assert.True(t, r.HasNotices(), "server 3 has not heard it yet")
	r.DelayNotices(false)
	assert.Equal(t, map[paxos.ServerID][]paxos.Kind{3: {paxos.KindChosen}}, take())
	assert.False(t, r.HasNotices())

	r.DelayNotices(true)
	m := chosen(3)
	r.send(r.peers[0], &m)
	var out Output
	r.Flush(&out)
	require.Len(t, out.Send, 1)
	assert.Equal(t, []paxos.Message{chosen(3)}, out.Send[0].Messages)
	assert.False(t, r.HasNotices())

	r.DelayNotices(true)
	n := 0
	for ; len(take()) == 0; n++ {
		m := chosen(n)
		r.send(r.peers[0], &m)
	}
	size := chosen(n)
	assert.InDelta(t, r.limits.MaxPacket/2/sizeOf(&size), n, float64(n)/10, "half of a packet at most waits")
}
