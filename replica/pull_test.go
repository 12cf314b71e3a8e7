package replica

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/page"
)

// Catching up, as docs/design.md#4.9 has it.

// pulling returns a solo server 1 of 3 that shows its pulls, and is silent for as long as nothing comes.
func pulling(t *testing.T, pulled string) *pump {
	p := newPump(t, membersOf(3))
	p.Unseen, p.pulls = true, true
	p.state[1].Pulled = pulled
	p.start(1)
	p.run()
	return p
}

// tells has server 1 hear that a peer has decided up to an Index.
func (p *pump) tells(from paxos.ServerID, index uint64, ms ...paxos.Message) []string {
	n := len(p.sent)
	packet := p.packet(from, 1, ms...)
	packet.Index = index
	p.replicas[1].Receive(p.now, packet)
	p.run()
	return p.sent[n:]
}

func pullMessage(store, index, boot uint64) paxos.Message {
	return paxos.Message{Kind: paxos.KindPull, Value: page.Pull{Store: store, Index: index, Boot: boot}.Text()}
}

// decisionsMessage is a page of the decisions of these names, each of the value "v" in ballot 9.2. A name that ends in "?" has none.
func decisionsMessage(store, from, boot, to uint64, names ...string) paxos.Message {
	var lines page.Decisions
	for _, name := range names {
		l := page.Line{Name: name, Ballot: paxos.Ballot{Round: 9, Server: 2}, Value: "v"}
		if own, ok := strings.CutSuffix(name, "?"); ok {
			l = page.Line{Name: own}
		}
		lines.Add(&l)
	}
	return paxos.Message{Kind: paxos.KindDecisions, Value: lines.Text(page.Head{Store: store, From: from, Boot: boot, To: to})}
}

func namesMessage(store, from, boot, to uint64, names ...string) paxos.Message {
	var lines page.Names
	for _, name := range names {
		lines.Add(&page.Line{Name: name})
	}
	return paxos.Message{Kind: paxos.KindNames, Value: lines.Text(page.Head{Store: store, From: from, Boot: boot, To: to})}
}

// A server that starts asks all others for the names it has not, then for the decisions that it has not, then for the next
// page; and what it has it asks for no more.
func TestReplicaPullsNamesFirst(t *testing.T) {
	p := pulling(t, "")
	assert.Equal(t, []string{`1 -> 2: pull - "0 0 1 values"`, `1 -> 3: pull - "0 0 1 values"`}, p.sent, "it knows nothing yet")
	p.tells(2, 3, msg(t, `decided 9.2 "c" @c`))
	require.Equal(t, []string{"1 -> 2: query 1.1 @a", "1 -> 2: query 2.1 @b"}, p.tells(2, 3, namesMessage(102, 0, 1, 3, "a", "b", "c")))
	assert.Empty(t, p.tells(2, 3, msg(t, `decided 9.2 "a" @a`)))
	assert.Equal(t, []string{`1 -> 2: pull - "66 3 1"`}, p.tells(2, 4, msg(t, `decided 9.2 "b" @b`)), "the page is done, and there is more")
	p.pass(time.Second)
	assert.Equal(t, "2/66/3", p.state[1].Pulled)
	assert.Equal(t, uint64(2), p.replicas[1].counters.Fetched)
}

// A server that lacks most of a page asks one acceptor for the next one with values, and for no decision by itself. The page
// of another acceptor waits meanwhile, but no longer than that one answers.
func TestReplicaPullsValues(t *testing.T) {
	p := pulling(t, "")
	queries := func(sent []string) []string {
		return slices.DeleteFunc(sent, func(s string) bool { return !strings.Contains(s, "query") })
	}
	sent := p.tells(2, 9, decisionsMessage(102, 0, 1, 4, "a", "b", "c", "d?"))
	assert.Equal(t, []string{"1 -> 2: query 1.1 @d"}, sent, "the page has no value of it")
	assert.Equal(t, []string{`1 -> 2: pull - "66 4 1 values"`}, p.tells(2, 9, msg(t, `decided 9.2 "v" @d`)))
	p.tells(3, 9)
	assert.Empty(t, p.tells(3, 9, namesMessage(103, 0, 1, 7, "a", "e", "f", "g", "h", "i", "j")), "server 2 may bring them all")
	assert.Equal(t, []string{`1 -> 2: pull - "66 8 1 values"`}, p.tells(2, 9, decisionsMessage(102, 4, 1, 8, "e", "f", "g", "h")))
	assert.Equal(t, []string{`1 -> 3: query 2.1 @i`, `1 -> 3: query 3.1 @j`}, queries(p.during(func() { p.pass(time.Second) })), "server 2 is silent")
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		assert.True(t, p.records[1][name].Chosen && p.records[1][name].Acceptor.Value == "v", name)
	}
	assert.Equal(t, "2/66/8,3/67/0", p.state[1].Pulled)
	p.tells(3, 9, msg(t, `decided 9.2 "v" @i`), msg(t, `decided 9.2 "v" @j`))
	p.pass(time.Second)
	assert.Equal(t, "2/66/8,3/67/7", p.state[1].Pulled)
	assert.Equal(t, uint64(10), p.replicas[1].counters.Fetched)
}

// The acceptor that gives the values has no more of them: the pages of the others wait no longer.
func TestReplicaPullsValuesToTheEnd(t *testing.T) {
	p := pulling(t, "")
	p.tells(2, 8, decisionsMessage(102, 0, 1, 4, "a", "b", "c", "d"))
	p.tells(3, 9)
	require.Empty(t, p.tells(3, 9, namesMessage(103, 0, 1, 9, "a", "x")))
	assert.Equal(t, []string{"1 -> 3: query 1.1 @x"}, p.tells(2, 8, decisionsMessage(102, 4, 1, 8, "e", "f", "g", "h")))
}

// A page of decisions is believed no more than the messages that it stands for.
func TestReplicaPullsNoBadValues(t *testing.T) {
	p := pulling(t, "")
	p.limits = paxos.Limits{MaxValue: 4}
	p.start(1)
	p.run()
	var lines page.Decisions
	for _, l := range []page.Line{{Name: "large", Ballot: paxos.Ballot{Round: 9, Server: 2}, Value: "large"},
		{Name: "high", Ballot: paxos.Ballot{Round: math.MaxUint64, Server: 2}, Value: "v"}, {Name: "small", Ballot: paxos.Ballot{Round: 9, Server: 2}, Value: "s"}} {
		lines.Add(&l)
	}
	p.tells(2, 3)
	p.tells(2, 3, paxos.Message{Kind: paxos.KindDecisions, Value: lines.Text(page.Head{Store: 102, Boot: 2, To: 3})})
	p.pass(time.Second)
	assert.Empty(t, p.state[1].Pulled)
	assert.Equal(t, paxos.Value("s"), p.records[1]["small"].Acceptor.Value)
	assert.Zero(t, p.records[1]["large"])
	assert.Zero(t, p.records[1]["high"])
	checkTables(t, p.replicas[1])
}

// A restart goes on where the last life was, though it had 10^6 decisions of each: nothing of them is listed again.
func TestReplicaPullsOnAfterARestart(t *testing.T) {
	p := pulling(t, "2/66/1000000,3/67/1000000")
	assert.Equal(t, []string{`1 -> 2: pull - "66 1000000 1"`, `1 -> 3: pull - "67 1000000 1"`}, p.sent)
	p.tells(2, 1_000_000)
	p.tells(3, 1_000_000)
	assert.Empty(t, slices.DeleteFunc(p.during(func() { p.pass(time.Minute) }), func(s string) bool { return strings.Contains(s, "1000000 1") }))
	p.tells(3, 1_000_001)
	assert.Contains(t, p.during(func() { p.pass(2 * time.Hour) }), `1 -> 3: pull - "67 1000000 1"`)
	assert.Empty(t, p.tells(3, 1_000_001, namesMessage(103, 1_000_000, 1, 1_000_001)), "an empty page: nothing that this one needs")
	p.pass(time.Second)
	assert.Equal(t, "2/66/1000000,3/67/1000001", p.state[1].Pulled)
}

// ServerState.Pulled never says more than is durable: after a crash between, the page is asked for again.
func TestReplicaPulledIsDurable(t *testing.T) {
	p := pulling(t, "")
	p.hold = func(paxos.ServerID) bool { return true }
	p.tells(2, 2)
	p.tells(2, 2, namesMessage(102, 0, 1, 2, "a", "b"))
	p.tells(2, 2, msg(t, `decided 9.2 "a" @a`))
	p.tells(2, 2, msg(t, `decided 9.2 "b" @b`))
	for range 20 { // Saves of the decisions, one after the other
		p.pass(time.Second)
		b := p.held[1]
		if b == nil {
			break
		}
		if b.Server != nil && b.Server.Pulled != "" {
			assert.True(t, p.records[1]["a"].Chosen && p.records[1]["b"].Chosen, "%q while %+v is durable", b.Server.Pulled, p.records[1])
		}
		p.endSave(1)
		p.run()
	}
	assert.Equal(t, "2/66/2", p.state[1].Pulled)
}

// A storage that is another than the one of the cursor is listed from its beginning; so is one that has less than the
// cursor says.
func TestReplicaPullsFromAnotherStorage(t *testing.T) {
	p := pulling(t, "2/999/50")
	p.tells(2, 2)
	assert.Equal(t, []string{"1 -> 2: query 1.1 @a"}, p.tells(2, 2, namesMessage(102, 0, 1, 2, "a")))
	p.tells(2, 2, msg(t, `decided 9.2 "a" @a`))
	p.pass(time.Second)
	assert.Equal(t, "2/66/2", p.state[1].Pulled)
}

// A page that comes late, twice, out of place, for an earlier life, of another storage, or broken, changes nothing.
func TestReplicaPagesOutOfPlace(t *testing.T) {
	for name, m := range map[string]paxos.Message{
		"another place":     namesMessage(102, 1, 1, 3, "a"),
		"an earlier life":   namesMessage(102, 5, 7, 9, "a"),
		"another storage":   namesMessage(103, 5, 1, 9, "a"),
		"backwards":         namesMessage(102, 5, 1, 5, "a"),
		"no name":           namesMessage(102, 5, 1, 9, "a", "", "b"),
		"a late value":      decisionsMessage(102, 4, 1, 9, "a"),
		"a reserved value":  decisionsMessage(102, 5, 1, 9, "a", "$ready"),
		"a cut value":       {Kind: paxos.KindDecisions, Value: decisionsMessage(102, 5, 1, 9, "a").Value[:12]},
		"a control char":    namesMessage(102, 5, 1, 9, "a\x01"),
		"a reserved name":   namesMessage(102, 5, 1, 9, "$ready"),
		"no head":           {Kind: paxos.KindNames, Value: ""},
		"no numbers":        {Kind: paxos.KindNames, Value: "66 5 x 9\na"},
		"too many names":    namesMessage(102, 5, 1, 9, slices.Repeat([]string{"a"}, page.MaxLines+1)...),
		"more than it says": {Kind: paxos.KindNames, Value: "66 5 1 9 9\na"},
	} {
		t.Run(name, func(t *testing.T) {
			p := pulling(t, "2/66/5")
			p.tells(2, 9)
			assert.Empty(t, p.tells(2, 9, m))
			p.pass(time.Millisecond)
			assert.Equal(t, "2/66/5", p.state[1].Pulled)
			assert.Equal(t, []string{"1 -> 2: query 1.1 @a"}, p.tells(2, 9, namesMessage(102, 5, 1, 9, "a")), "the right one is taken")
			assert.Empty(t, p.tells(2, 9, namesMessage(102, 5, 1, 9, "a", "b")), "once")
		})
	}
}

// Whoever is asked lists what came after, at most a page, and leaves out what the asker told it.
func TestReplicaIsPulledFrom(t *testing.T) {
	p := pulling(t, "")
	for i := range page.MaxLines + 10 {
		p.tells(3, 0, msg(t, fmt.Sprintf(`decided 9.3 "v" @job/%04d`, i)))
	}
	p.tells(2, 0, msg(t, `decided 9.2 "v" @his`))
	p.pass(time.Second)
	first, last := page.Head{Store: 101, Boot: 1, To: page.MaxLines}, uint64(page.MaxLines+11)
	h, lines := p.answers(pullMessage(0, 0, 1))
	assert.Equal(t, first, h)
	assert.Equal(t, []page.Line{{Name: "job/0000"}, {Name: "job/0001"}}, lines[:2])
	assert.Len(t, lines, page.MaxLines)
	h, lines = p.answers(pullMessage(101, page.MaxLines, 1))
	assert.Equal(t, page.Head{Store: 101, From: page.MaxLines, Boot: 1, To: last}, h)
	assert.Equal(t, page.Line{Name: "job/1024"}, lines[0])
	assert.NotContains(t, lines, page.Line{Name: "his"})
	assert.Empty(t, p.tells(2, 0, pullMessage(101, last, 1)), "there is no more: no answer")
	h, _ = p.answers(pullMessage(101, last+1, 1))
	assert.Equal(t, first, h, "more than there ever was: it begins anew")
	h, _ = p.answers(pullMessage(77, 50, 1))
	assert.Equal(t, first, h, "of another storage")
	for _, bad := range []paxos.Value{"", "1 2", "x 2 1", "1 2 1 4", "65 0 2", paxos.Value(strings.Repeat("1", 200))} {
		assert.Empty(t, p.tells(2, 0, paxos.Message{Kind: paxos.KindPull, Value: bad}), "%q", bad)
	}
}

// An instance that has stopped is not listed, as nothing more is said of it: whoever asked for it would wait for ever. Nor does
// one that has stopped here keep this server from the rest of a page.
func TestReplicaStoppedInstanceIsNotPulled(t *testing.T) {
	p := pulling(t, "")
	p.tells(3, 0, msg(t, `decided 9.3 "v" @broken`), msg(t, `decided 9.3 "v" @whole`))
	p.pass(time.Second)
	p.tells(3, 0, msg(t, `decided 9.3 "w" @broken`))
	require.Len(t, p.faults, 1)
	assert.Equal(t, []string{`1 -> 2: names - "65 0 1 2 18446744073709551615 0\nwhole"`}, p.tells(2, 0, pullMessage(0, 0, 1)))
	require.Equal(t, []string{"1 -> 2: query 1.1 @other"}, p.tells(2, 2, namesMessage(102, 0, 1, 2, "broken", "other")))
	p.tells(2, 2, msg(t, `decided 9.2 "o" @other`))
	p.pass(time.Second)
	assert.Equal(t, "2/66/2", p.state[1].Pulled)
}

// A page ends with its bytes, too.
func TestReplicaPageBytes(t *testing.T) {
	p := pulling(t, "")
	long := strings.Repeat("n", 250)
	for i := range 400 {
		p.tells(3, 0, msg(t, fmt.Sprintf(`decided 9.3 "v" @%s%04d`, long, i)))
	}
	p.pass(time.Second)
	h, lines := p.answers(pullMessage(0, 0, 1))
	assert.Equal(t, uint64(page.MaxBytes/255), h.To)
	assert.Len(t, lines, page.MaxBytes/255)
	h, _ = p.answers(pullMessage(101, h.To, 1))
	assert.Equal(t, page.Head{Store: 101, From: page.MaxBytes / 255, Boot: 1, To: 400}, h)
}

// Ready waits for what others had decided when they were heard first.
func TestReplicaReadyCatchesUp(t *testing.T) {
	p := pulling(t, "")
	p.ready(1, 1)
	p.tells(2, 1, paxos.Message{Kind: paxos.KindState, Instance: readyName, Ballot: paxos.Ballot{Round: 1, Server: 1}})
	assert.Empty(t, p.done, "a quorum has answered, and server 2 knows a decision that is not here")
	p.tells(2, 1, namesMessage(102, 0, 1, 1, "a"))
	p.tells(2, 2, msg(t, `decided 9.2 "a" @a`))
	assert.Contains(t, p.done, CallID(1), "what came later does not matter")
}

// A server with a vote for a decision need not know of the decision: the page for that server has it, too.
func TestReplicaTellsVotersWhatTheyChose(t *testing.T) {
	p := pulling(t, "")
	p.replicas[1].Read(p.now, 1, "a")
	p.run()
	p.tells(3, 0, msg(t, `state 1.1 above 9.2 (9.2 "v") @a`))
	p.tells(2, 0, msg(t, `state 1.1 above 9.2 (9.2 "v") @a`))
	require.Equal(t, paxos.Value("v"), p.value(1))
	p.pass(time.Second)
	assert.Equal(t, []string{`1 -> 2: names - "65 0 1 1\na"`}, p.tells(2, 0, pullMessage(0, 0, 1)))
}

// Catching up leaves half of the room for what callers want.
func TestReplicaCatchUpLeavesRoom(t *testing.T) {
	p := pulling(t, "")
	p.limits = paxos.Limits{MaxOpen: 32}
	p.start(1)
	p.run()
	names := make([]string, 100)
	for i := range names {
		names[i] = fmt.Sprint("job/", i)
	}
	for _, from := range []paxos.ServerID{2, 3} {
		p.tells(from, 100)
		p.tells(from, 100, namesMessage(100+uint64(from), 0, 2, 100, names...))
	}
	assert.LessOrEqual(t, len(p.replicas[1].table.byName), 16)
	p.propose(1, 1, "lunch", "burger")
	assert.NotContains(t, p.done, CallID(1), "it waits for the others, and there is room for it")
	for i := range names {
		p.tells(2, 100, msg(t, fmt.Sprintf(`decided 9.2 "v" @job/%d`, i)))
		p.pass(lazySave)
		assert.LessOrEqual(t, len(p.replicas[1].table.byName), 16+1)
	}
	p.pass(time.Second)
	assert.Equal(t, "2/66/100,3/67/100", p.state[1].Pulled)
}

// A decision above Limits.MaxValue does not keep a server from the rest. Its disk does not say that it has it: acceptors have to.
func TestReplicaTooLargeDecisionIsPassedOver(t *testing.T) {
	p := pulling(t, "")
	p.limits = paxos.Limits{MaxValue: 4}
	p.start(1)
	p.run()
	p.tells(2, 2)
	require.Len(t, p.tells(2, 2, namesMessage(102, 0, 2, 2, "large", "small")), 2)
	p.tells(2, 2, msg(t, `decided 9.2 "large" @large`), msg(t, `decided 9.2 "s" @small`))
	p.pass(time.Second)
	assert.Empty(t, p.state[1].Pulled)
	assert.True(t, p.records[1]["small"].Chosen)
	assert.Zero(t, p.records[1]["large"])
	checkTables(t, p.replicas[1])
}

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
	require.Len(t, p.pages[0].page.Names, 2)
	require.Len(t, p.pages[1].page.Names, 3)

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
			p := lister(t)
			assert.Empty(t, p.tells(2, 0, pullMessage(0, 0, 1)))
			require.Equal(t, []listed{{1, ListAsk{ID: 1, After: 0, Max: page.MaxLines}, Page{Names: []paxos.Named{{Instance: "a", Index: 1}, {Instance: "b", Index: 2}, {Instance: "c", Index: 3}}}}}, p.pages)
			p.tells(3, 0, msg(t, `decided 9.3 "v" @d`))
			p.pass(time.Second)
			require.Equal(t, uint64(4), p.state[1].Last)
			if late {
				p.pages[0].page = p.listed(1, p.pages[0].ask)
			}
			assert.Equal(t, []string{`1 -> 2: names - "65 0 1 3\na\nc"`}, p.during(func() { p.list(p.pages[0]); p.run() }))
		})
	}
}

// Pages are answered in any order, each to the peer that it was asked for, and once. A question that was not asked has no answer.
func TestReplicaPagesInAnyOrder(t *testing.T) {
	p := lister(t)
	p.tells(2, 0, pullMessage(0, 0, 1))
	p.tells(3, 0, pullMessage(101, 1, 1))
	p.tells(2, 0, pullMessage(101, 1, 1)) // a page for it is being listed
	require.Len(t, p.pages, 2)
	assert.Equal(t, []string{`1 -> 3: names - "65 1 1 3\nb"`}, p.during(func() { p.list(p.pages[1]); p.run() }), "it told of c itself")
	assert.Equal(t, []string{`1 -> 2: names - "65 0 1 3\na\nc"`}, p.during(func() { p.list(p.pages[0]); p.run() }))
	for _, id := range []uint64{0, 1, 2, 3} {
		p.replicas[1].Listed(p.now, id, Page{Names: []paxos.Named{{Instance: "d", Index: 4}}})
		p.run()
	}
	assert.Len(t, p.sent, 2)
	p.tells(3, 0, pullMessage(101, 0, 1))
	require.Len(t, p.pages, 3)
	assert.Equal(t, uint64(3), p.pages[2].ask.ID, "the next question has another ID")
}

// lister returns a solo server 1 of 3 that knows the decisions a and c of server 3, and b of server 2, of which its memory holds the last only: its
// storage is asked for pages, and the test hands them in.
func lister(t *testing.T) *pump {
	p := pulling(t, "")
	p.limits = paxos.Limits{Cache: 1}
	p.late = 1
	p.start(1)
	p.run()
	p.tells(3, 0, msg(t, `decided 9.3 "v" @a`))
	p.tells(2, 0, msg(t, `decided 9.3 "v" @b`))
	p.tells(3, 0, msg(t, `decided 9.3 "v" @c`))
	p.pass(time.Second)
	require.Equal(t, uint64(3), p.state[1].Last)
	p.sent = nil
	return p
}

// A decision that a server told, and has forgotten since, is on the page for its next start: also if the message waited,
// while its instance was loaded, until that start was heard of.
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
