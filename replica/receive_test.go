package replica

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

var ballotOf1, ballotOf2 = paxos.Ballot{Round: 1, Server: 1}, paxos.Ballot{Round: 1, Server: 2}

// heard are messages to server 1 that it takes or drops. Its values have at most 100 bytes.
var heard = []struct {
	name  string
	from  paxos.ServerID // 8 is a learner
	m     paxos.Message
	valid bool
}{
	{"control: prepare", 2, paxos.Message{Kind: paxos.KindPrepare, Ballot: ballotOf2}, true},
	{"control: prepare of a learner", 8, paxos.Message{Kind: paxos.KindPrepare, Ballot: paxos.Ballot{Round: 1, Server: 8}}, true},
	{"control: at MaxRound", 2, paxos.Message{Kind: paxos.KindPrepare, Ballot: paxos.Ballot{Round: paxos.MaxRound, Server: 2}}, true},
	{"control: promise", 2, paxos.Message{Kind: paxos.KindPromise, Ballot: ballotOf1}, true},
	{"control: largest value", 2, paxos.Message{Kind: paxos.KindAccept, Ballot: ballotOf2, Value: paxos.Value(strings.Repeat("x", 100))}, true},
	{"prepare above MaxRound", 2, paxos.Message{Kind: paxos.KindPrepare, Ballot: paxos.Ballot{Round: paxos.MaxRound + 1, Server: 2}}, false},
	{"accept above MaxRound", 2, paxos.Message{Kind: paxos.KindAccept, Ballot: paxos.Ballot{Round: paxos.MaxRound + 1, Server: 2}}, false},
	{"query above MaxRound", 2, paxos.Message{Kind: paxos.KindQuery, Ballot: paxos.Ballot{Round: ^uint64(0), Server: 2}}, false},
	{"promise of a vote above MaxRound", 2, paxos.Message{Kind: paxos.KindPromise, Ballot: ballotOf1, Accepted: paxos.Ballot{Round: paxos.MaxRound + 1, Server: 2}}, false},
	{"nack above MaxRound", 2, paxos.Message{Kind: paxos.KindNack, Ballot: ballotOf1, Promised: paxos.Ballot{Round: paxos.MaxRound + 1, Server: 2}}, false},
	{"state above MaxRound", 2, paxos.Message{Kind: paxos.KindState, Ballot: ballotOf1, Accepted: paxos.Ballot{Round: paxos.MaxRound + 1, Server: 2}}, false},
	{"decided above MaxRound", 2, paxos.Message{Kind: paxos.KindDecided, Ballot: paxos.Ballot{Round: paxos.MaxRound + 1, Server: 2}}, false},
	{"chosen above MaxRound", 2, paxos.Message{Kind: paxos.KindChosen, Ballot: paxos.Ballot{Round: paxos.MaxRound + 1, Server: 2}}, false},
	{"prepare in another's ballot", 2, paxos.Message{Kind: paxos.KindPrepare, Ballot: paxos.Ballot{Round: 1, Server: 3}}, false},
	{"accept in this server's ballot", 2, paxos.Message{Kind: paxos.KindAccept, Ballot: ballotOf1}, false},
	{"query in another's ballot", 2, paxos.Message{Kind: paxos.KindQuery, Ballot: paxos.Ballot{Round: 1, Server: 3}}, false},
	{"prepare of round 0", 2, paxos.Message{Kind: paxos.KindPrepare, Ballot: paxos.Ballot{Round: 0, Server: 2}}, false},
	{"prepare of round 0, of the owner", 2, paxos.Message{Kind: paxos.KindPrepare, Instance: "$2/lunch", Ballot: paxos.Ballot{Round: 0, Server: 2}}, false},
	{"query of round 0, of the owner", 2, paxos.Message{Kind: paxos.KindQuery, Instance: "$2/lunch", Ballot: paxos.Ballot{Round: 0, Server: 2}}, false},
	{"control: accept of round 0, of the owner", 2, paxos.Message{Kind: paxos.KindAccept, Instance: "$2/lunch", Ballot: paxos.Ballot{Round: 0, Server: 2}}, true},
	{"control: accept of round 0, of who minted it", 2, paxos.Message{Kind: paxos.KindAccept, Instance: "$2.9.1/lunch", Ballot: paxos.Ballot{Round: 0, Server: 2}}, true},
	{"accept of round 0, of a stranger", 2, paxos.Message{Kind: paxos.KindAccept, Instance: "$3/lunch", Ballot: paxos.Ballot{Round: 0, Server: 2}}, false},
	{"accept of round 0, in the owner's ballot, of a stranger", 2, paxos.Message{Kind: paxos.KindAccept, Instance: "$3/lunch", Ballot: paxos.Ballot{Round: 0, Server: 3}}, false},
	{"accept of round 0, where nobody owns", 2, paxos.Message{Kind: paxos.KindAccept, Ballot: paxos.Ballot{Round: 0, Server: 2}}, false},
	{"accept without ballot", 2, paxos.Message{Kind: paxos.KindAccept}, false},
	{"promise of a learner", 8, paxos.Message{Kind: paxos.KindPromise, Ballot: ballotOf1}, false},
	{"accepted of a learner", 8, paxos.Message{Kind: paxos.KindAccepted, Ballot: ballotOf1}, false},
	{"nack of a learner", 8, paxos.Message{Kind: paxos.KindNack, Ballot: ballotOf1}, false},
	{"state of a learner", 8, paxos.Message{Kind: paxos.KindState, Ballot: ballotOf1}, false},
	{"promise for another's ballot", 2, paxos.Message{Kind: paxos.KindPromise, Ballot: paxos.Ballot{Round: 1, Server: 3}}, false},
	{"accepted without ballot", 2, paxos.Message{Kind: paxos.KindAccepted}, false},
	{"decided without ballot", 2, paxos.Message{Kind: paxos.KindDecided}, false},
	{"chosen without ballot", 2, paxos.Message{Kind: paxos.KindChosen}, false},
	{"value too large", 2, paxos.Message{Kind: paxos.KindAccept, Ballot: ballotOf2, Value: paxos.Value(strings.Repeat("x", 101))}, false},
	{"kind 0", 2, paxos.Message{Ballot: ballotOf2}, false},
	{"names, of a learner", 8, paxos.Message{Kind: paxos.KindNames, Value: "1 0 1 1"}, false},
	{"kind 16", 2, paxos.Message{Kind: 16, Ballot: ballotOf2}, false},
	{"limits that are none", 2, paxos.Message{Kind: paxos.KindLimits, Value: "many"}, true},
	{"kind 255", 2, paxos.Message{Kind: 255, Ballot: ballotOf2}, false},
}

// A message that the protocol can't have is dropped and counted before any role sees it. docs/design.md#3: a round above MaxRound;
// 4.1: a ballot is its server's own; a server without a vote neither promises nor accepts; unknown kinds are ignored.
func TestReplicaDropsInvalidMessages(t *testing.T) {
	for _, tt := range heard {
		t.Run(tt.name, func(t *testing.T) {
			m := membersOf(3)
			m.Learners = []paxos.ServerID{8}
			p := newPump(t, m)
			p.Unseen, p.trace, p.limits = true, true, paxos.Limits{MaxValue: 100}
			p.start(1)
			p.run()
			p.events = nil
			if tt.m.Instance == "" {
				tt.m.Instance = "lunch"
			}
			p.hear(1, tt.from, tt.m, msg(t, fmt.Sprintf("query 1.%d @other", tt.from)))
			c := p.replicas[1].counters
			assert.Equal(t, tt.valid && tt.m.Kind != paxos.KindLimits, c.Dropped == 0)
			assert.Equal(t, tt.valid, p.events[0].Kind == paxos.EventReceive)
			assert.Equal(t, tt.m, p.events[0].Message)
			assert.Equal(t, tt.valid, p.events[0].Err == nil)
			if !tt.valid {
				assert.Equal(t, paxos.EventDrop, p.events[0].Kind)
				assert.Equal(t, []string{"other"}, p.loads, "no role sees it")
				assert.NotContains(t, p.records[1], tt.m.Instance)
			}
			assert.Contains(t, p.sent, fmt.Sprintf("1 -> %d: state 1.%d @other", tt.from, tt.from), "the rest of the packet is taken")
		})
	}
}

func TestReplicaDropsInvalidNames(t *testing.T) {
	for name, valid := range map[string]bool{"": false, strings.Repeat("x", 256): false, "\xff": false, "a\x00": false, "a": true} {
		p := newSolo(t, 3)
		p.hear(1, 2, paxos.Message{Kind: paxos.KindPrepare, Instance: name, Ballot: paxos.Ballot{Round: 1, Server: 2}})
		assert.Equal(t, valid, p.replicas[1].counters.Dropped == 0, "%.10q", name)
		assert.Equal(t, valid, len(p.loads) == 1)
	}
}

// A server without a vote is not counted, whatever it says. No acceptor is counted twice.
func TestReplicaCountsOnlyAcceptors(t *testing.T) {
	m := membersOf(5)
	m.Learners = []paxos.ServerID{8, 9}
	p := newPump(t, m)
	p.Unseen = true
	p.start(1)
	p.run()
	p.propose(1, 1, "lunch", "v")
	for _, id := range []paxos.ServerID{8, 9, 2, 8, 9, 2} {
		promise := "promise 1.1 @lunch"
		if id > 5 {
			promise = `promise 1.1 (0.9 "w") @lunch`
		}
		assert.Empty(t, p.hear(1, id, msg(t, promise)))
	}
	require.NotEmpty(t, p.hear(1, 3, msg(t, "promise 1.1 @lunch")))
	for _, id := range []paxos.ServerID{8, 9, 2, 8, 9, 2} {
		p.hear(1, id, msg(t, "accepted 1.1 @lunch"))
	}
	assert.Empty(t, p.done)
	p.hear(1, 4, msg(t, "accepted 1.1 @lunch"))
	assert.Equal(t, paxos.Value("v"), p.value(1))
}

// docs/design.md#4.9: a server that knows the decision answers Prepare, Accept and Query with Decided, and nothing else; two that
// know do not answer each other.
func TestReplicaDecidedInstanceAnswers(t *testing.T) {
	for _, where := range []string{"in memory", "in the storage"} {
		t.Run(where, func(t *testing.T) {
			p := newSolo(t, 3)
			p.hear(1, 3, msg(t, `decided 5.3 "v" @lunch`))
			p.pass(lazySave)
			if where == "in the storage" {
				p.crash(1)
				p.start(1)
				p.run()
			}
			saved := p.records[1]["lunch"]
			want := []string{`1 -> 2: decided 5.3 "v" @lunch`}
			for _, text := range []string{"prepare 1.2 @lunch", "prepare 9.2 @lunch", `accept 1.2 "w" @lunch`, `accept 9.2 "w" @lunch`, "query 7.2 @lunch"} {
				assert.Equal(t, want, p.hear(1, 2, msg(t, text)), text)
			}
			for _, text := range []string{"promise 1.1 @lunch", "accepted 1.1 @lunch", "nack 1.1 above 9.2 @lunch", "chosen 5.3 @lunch", "chosen 9.2 @lunch",
				`decided 5.3 "v" @lunch`, `decided 9.2 "v" @lunch`, `state 1.1 above 9.2 (9.2 "v") @lunch`} {
				assert.Empty(t, p.hear(1, 2, msg(t, text)), text)
			}
			p.pass(time.Minute)
			assert.Equal(t, saved, p.records[1]["lunch"], "and nothing changes")
			assert.Empty(t, p.faults)
		})
	}
}

// docs/design.md#4.9: Chosen: "the value that you accepted in Ballot, or above, is chosen". An acceptor that accepted nothing there asks.
func TestReplicaChosen(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before string // the state of the server
		want   string // its answer then; empty if it knows
	}{
		{"it voted in that ballot", `accept 5.2 "v" @lunch`, ""},
		{"it voted in a higher one", `accept 7.3 "v" @lunch`, ""},
		{"it voted in a lower one", `accept 4.3 "w" @lunch`, "query 5.1 @lunch"},
		{"it only promised", "prepare 5.2 @lunch", "query 6.1 @lunch"},
		{"it knows nothing", "", "query 1.1 @lunch"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newSolo(t, 3)
			if tt.before != "" {
				m := msg(t, tt.before)
				p.hear(1, m.Ballot.Server, m)
			}
			sent := p.hear(1, 2, msg(t, "chosen 5.2 @lunch"))
			if tt.want != "" {
				assert.Equal(t, []string{"1 -> 2: " + tt.want}, sent, "it asks who said so")
				_, ok, _ := p.replicas[1].Peek("lunch")
				assert.False(t, ok, "it believes nothing yet")
				assert.Empty(t, p.hear(1, 2, msg(t, `decided 5.2 "v" @lunch`)))
			} else {
				assert.Empty(t, sent)
			}
			d, ok, _ := p.replicas[1].Peek("lunch")
			assert.True(t, ok)
			assert.Equal(t, paxos.Decision{Instance: "lunch", Value: "v", Ballot: paxos.Ballot{Round: 5, Server: 2}}, d)
			p.pass(lazySave)
			assert.True(t, p.records[1]["lunch"].Chosen)
		})
	}
	t.Run("in a cluster: the Accept was lost on the way to 3", func(t *testing.T) {
		p := newPumpOf(t, 3)
		p.lose = func(packet paxos.Packet, m paxos.Message) bool { return packet.To == 3 && m.Kind == paxos.KindAccept }
		p.propose(1, 1, "lunch", "v")
		assert.Equal(t, []string{"1 -> 3: chosen 1.1 @lunch", "3 -> 1: query 2.3 @lunch", `1 -> 3: decided 1.1 "v" @lunch`}, p.sent[len(p.sent)-3:])
		_, ok, _ := p.replicas[3].Peek("lunch")
		assert.True(t, ok)
	})
	t.Run("the Accept comes after Chosen", func(t *testing.T) {
		p := newSolo(t, 3)
		p.hear(1, 2, msg(t, "chosen 5.2 @lunch"))
		assert.Equal(t, []string{"1 -> 2: accepted 5.2 @lunch"}, p.hear(1, 2, msg(t, `accept 5.2 "v" @lunch`)))
		p.hear(1, 2, msg(t, `decided 5.2 "v" @lunch`))
		_, ok, _ := p.replicas[1].Peek("lunch")
		assert.True(t, ok)
	})
}

// docs/design.md#4.2: an unknown instance is loaded before its first Step. Messages that come meanwhile wait in order, up to a bound.
func TestReplicaUnknownInstanceIsLoadedFirst(t *testing.T) {
	p := newSolo(t, 3)
	p.records[1]["lunch"] = paxos.Record{Instance: "lunch", Acceptor: paxos.Acceptor{Promised: paxos.Ballot{Round: 5, Server: 3}, Accepted: paxos.Ballot{Round: 4, Server: 3}, Value: "v"}}
	p.slow = true
	assert.Empty(t, p.hear(1, 2, msg(t, "prepare 3.2 @lunch"), msg(t, "query 4.2 @lunch"), msg(t, "prepare 6.2 @lunch")))
	p.begin(1, 1, "lunch", "mine")
	p.pass(time.Minute)
	assert.Equal(t, []string{"lunch"}, p.loads, "asked once")
	assert.Empty(t, p.sent)
	for range maxArrivals {
		p.hear(1, 3, msg(t, "query 7.3 @lunch"))
	}
	assert.Equal(t, uint64(3), p.replicas[1].counters.Dropped, "beyond 64 they are lost")
	assert.False(t, p.replicas[1].Loaded(p.now, "nobody asked", paxos.Record{}))
	n := len(p.sent)
	p.load(1, "lunch")
	p.load(1, "lunch") // a second answer is ignored
	p.run()
	var to2 []string
	for _, line := range p.sent[n:] {
		if strings.HasPrefix(line, "1 -> 2") {
			to2 = append(to2, line)
		}
	}
	assert.Equal(t, []string{"1 -> 2: nack 3.2 above 5.3 @lunch", `1 -> 2: state 4.2 above 5.3 (4.3 "v") @lunch`,
		`1 -> 2: prepare 7.1 "mine" @lunch`, `1 -> 2: promise 6.2 (4.3 "v") @lunch`}, to2)
	assert.Len(t, p.sent[n:], 4+61+1)
}

// A contradiction proves that some server broke the protocol. The instance stops, its calls end, and other instances go on. The
// cases are all places that can meet one.
func TestReplicaSafetyErrors(t *testing.T) {
	for _, tt := range []struct {
		name   string
		steps  []string // "2: message" from server 2, or a call: "propose", "wait"
		reason string
	}{
		{"one ballot with two values, at an acceptor", []string{"propose", `2: accept 5.2 "v" @x`, `2: accept 5.2 "w" @x`}, "an acceptor was asked to accept two values in one ballot"},
		{"a promise with a vote in its own ballot", []string{"propose", `2: promise 1.1 (1.1 "v") @x`}, "a promise reports a vote in ballot 1.1, which is not below its own"},
		{"a promise with a vote above its ballot", []string{"propose", `2: promise 1.1 (9.3 "v") @x`}, "a promise reports a vote in ballot 9.3"},
		{"promises with two values in one ballot", []string{"propose", `2: promise 1.1 (0.9 "v") @x`, `3: promise 1.1 (0.9 "w") @x`}, "two acceptors voted for different values in one ballot"},
		{"a vote before any value was asked for", []string{"propose", "2: accepted 1.1 @x"}, "an acceptor voted in a ballot before any value was asked for"},
		{"states with two values in one ballot", []string{"wait", `2: state 1.1 above 5.3 (5.3 "v") @x`, `3: state 1.1 above 5.3 (5.3 "w") @x`}, "two acceptors voted for different values in one ballot"},
		{"a state against the own vote", []string{`2: accept 5.2 "v" @x`, "wait", `3: state 6.1 above 5.2 (5.2 "w") @x`}, "two acceptors voted for different values in one ballot"},
		{"decided against a vote in that ballot", []string{"wait", `2: accept 5.2 "v" @x`, `3: decided 5.2 "w" @x`}, "a value was chosen in ballot 5.2, and a later vote is for another"},
		{"decided against a later vote", []string{"propose", `2: accept 5.2 "v" @x`, `3: decided 3.3 "w" @x`}, "a value was chosen in ballot 3.3, and a later vote is for another"},
		{"two decisions", []string{`2: decided 5.2 "v" @x`, `3: decided 6.3 "w" @x`}, "two values were decided"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newSolo(t, 5)
			p.trace = true
			var from paxos.ServerID
			for i, step := range tt.steps {
				require.Empty(t, p.faults, "before step %d", i)
				switch step {
				case "propose":
					p.propose(1, 1, "x", "mine")
				case "wait":
					p.replicas[1].Wait(p.now, 1, "x")
					p.run()
				default:
					_, err := fmt.Sscanf(step, "%d:", &from)
					require.NoError(t, err)
					p.hear(1, from, msg(t, step[3:]))
				}
			}
			require.Len(t, p.faults, 1)
			f := p.faults[0]
			assert.Equal(t, "x", f.Instance)
			assert.Equal(t, from, f.Server, "who said what proves it")
			assert.Contains(t, f.Reason, tt.reason)
			p.stoppedBy(t, f, strings.Contains(strings.Join(tt.steps, " "), "propose") || strings.Contains(strings.Join(tt.steps, " "), "wait"))
		})
	}
}

// stoppedBy checks that instance x of server 1 has stopped for good, and that others have not.
func (p *pump) stoppedBy(t *testing.T, f *paxos.SafetyError, called bool) {
	if called {
		assert.ErrorIs(t, p.failed(1), f, "its calls end")
	}
	p.pass(time.Minute)
	before := p.records[1]["x"]
	for _, text := range []string{"prepare 9.2 @x", `accept 9.2 "z" @x`, "query 10.2 @x", "chosen 9.2 @x", `decided 9.2 "z" @x`, "promise 1.1 @x",
		"accepted 1.1 @x", "nack 1.1 above 9.9 @x"} {
		assert.Empty(t, p.hear(1, 2, msg(t, text)), "nothing more is said: %s", text)
	}
	p.propose(1, 11, "x", "again")
	p.replicas[1].Wait(p.now, 12, "x")
	assert.Empty(t, p.during(func() { p.pass(time.Hour) }))
	assert.ErrorIs(t, p.failed(11), f)
	assert.ErrorIs(t, p.failed(12), f)
	assert.False(t, p.failed(11).Unknown())
	_, ok, known := p.replicas[1].Peek("x")
	assert.Equal(t, []bool{false, true}, []bool{ok, known})
	assert.Equal(t, before, p.records[1]["x"], "nothing is believed")
	assert.Len(t, p.faults, 1, "said once")
	assert.Equal(t, uint64(1), p.replicas[1].counters.Faults)
	assert.Equal(t, []string{"1 -> 2: promise 3.2 @y"}, p.hear(1, 2, msg(t, "prepare 3.2 @y")), "other instances go on")
}

// A configuration that no correct server decides, with too many acceptors, is not entered.
func TestChangeToTooManyServers(t *testing.T) {
	p := newSolo(t, 3)
	var many []paxos.ServerID
	for i := range 64 {
		many = append(many, paxos.ServerID(100+i))
	}
	before := p.replicas[1].view.Current()
	next := paxos.Configuration{Number: 1, Members: paxos.Members{Cluster: p.members.Cluster, Acceptors: many}, Before: before.Fingerprint()}
	assert.NotPanics(t, func() {
		p.replicas[1].Receive(p.now, stranger(1, decidedAs(next, 77)))
		p.run()
	})
}

// Nor is one of another cluster, which no storage would take.
func TestChangeToAnotherCluster(t *testing.T) {
	p := newSolo(t, 3)
	before := p.replicas[1].view.Current()
	next := paxos.Configuration{Number: 1, Members: paxos.Members{Cluster: "other", Acceptors: ids(1, 2, 3)}, Before: before.Fingerprint()}
	last := *p.state[1]
	p.hold = func(paxos.ServerID) bool { return true }
	p.replicas[1].Receive(p.now, stranger(1, decidedAs(next, 77)))
	p.run()
	p.pass(10 * time.Millisecond)
	if p.held[1] != nil {
		assert.NoError(t, p.held[1].Check(last))
	}
}

// Junk from a stranger keeps nobody from learning the next configuration.
func TestChangeSurvivesJunk(t *testing.T) {
	p := newSolo(t, 3)
	junk := paxos.Message{Kind: paxos.KindDecided, Instance: "$config/1", Ballot: paxos.Ballot{Round: 1, Server: 77}, Value: "junk"}
	p.replicas[1].Receive(p.now, stranger(1, junk))
	p.run()
	next := p.next(1, of(ids(1, 2, 4), nil))
	for range 5 {
		p.learnsNext(next)
		p.pass(time.Second)
	}
	assert.Equal(t, uint64(1), p.replicas[1].view.Number())
}

// No vote is cast in a ballot of configuration 0 after the seal, also if its Accept came before.
func TestChangeNoVoteAfterTheSeal(t *testing.T) {
	p := newSolo(t, 3)
	p.slow = true
	p.hear(1, 2, msg(t, `accept 1.2 "v" @X`))
	require.Equal(t, []string{"X"}, p.loads)
	p.learnsNext(p.next(1, of(ids(1, 2, 4), nil)))
	p.load(1, "$config/1")
	p.run()
	p.pass(10 * time.Millisecond)
	require.Equal(t, uint64(1), p.replicas[1].view.Number())
	require.NotEmpty(t, p.state[1].Configuration, "the seal is durable")
	require.True(t, p.replicas[1].saves.isSealed())
	p.load(1, "X")
	sent := p.during(func() { p.run(); p.pass(10 * time.Millisecond) })
	assert.Empty(t, p.records[1]["X"].Acceptor)
	assert.False(t, slices.Contains(sent, "1 -> 2: accepted 1.2 @X"))
}

// The packets for guests that the last Take gave stay valid over a Flush.
func TestChangeFlushKeepsPackets(t *testing.T) {
	p := newSolo(t, 3)
	p.learnsNext(p.next(1, of(ids(1, 2, 3), ids(9))))
	p.pass(time.Second)
	require.Equal(t, uint64(1), p.replicas[1].view.Number())
	r := p.replicas[1]
	var out Output
	r.Receive(p.now, stranger(0))
	require.True(t, r.Take(&out))
	var was []paxos.Packet
	for _, pk := range out.Send {
		if pk.To == 77 {
			was = append(was, pk)
		}
	}
	require.Len(t, was, 1)
	require.Equal(t, paxos.KindDecided, was[0].Messages[0].Kind)
	p.now += time.Second
	r.Receive(p.now, stranger(0))
	r.Flush(&out)
	assert.Equal(t, paxos.KindDecided, was[0].Messages[0].Kind)
	p.now += time.Second
	r.Receive(p.now, stranger(0))
	r.Flush(&out)
	assert.Equal(t, paxos.KindDecided, was[0].Messages[0].Kind)
}

// Of two servers that are far behind each other, one at least reads what the other has, whatever each of them has heard lately. If that one does
// not get on, both do.
func TestReplicaOneOfTwoReadsFirst(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	waits := 0
	for range 200_000 {
		index := [2]uint64{1 + draw.Uint64N(200_000), 1 + draw.Uint64N(200_000)}
		cursor := [2]uint64{draw.Uint64N(index[1] + 1), draw.Uint64N(index[0] + 1)}
		if draw.IntN(2) == 0 && index[0]-cursor[1] <= index[1] {
			cursor[0] = index[1] - (index[0] - cursor[1]) // as far behind
		}
		first := 0
		for i := range 2 {
			other := 1 - i
			p := &peer{id: paxos.ServerID(5 - i), complete: true}
			p.pull.cursor, p.identity.last = cursor[i], index[other]-min(index[other]-cursor[i], draw.Uint64N(farBehind/4))
			p.listing.said = cursor[other] - min(cursor[other], draw.Uint64N(farBehind/4))
			r := &Replica{id: paxos.ServerID(4 + i), index: index[i]}
			if r.isFirst(p) {
				first++
				r.now = r.timing.Pull + 1
				require.False(t, r.isFirst(p), "it does not get on")
			}
		}
		require.Less(t, first, 2, "indexes %d, cursors %d: both wait", index, cursor)
		waits += first
	}
	require.Greater(t, waits, 10_000)
}
