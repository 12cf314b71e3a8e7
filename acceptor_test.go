package paxos

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// roleBallots are the ballots of the exhaustive tests: none, one of an owned instance, two servers in each of two
// rounds, and one that no server has. They ascend, except for the last.
var roleBallots = []Ballot{{}, {0, 1}, {1, 1}, {1, 2}, {2, 1}, {2, 2}, {1, 0}}

// roleInstances are one that nobody owns, one that the server of that ballot of round 0 owns, and one of another.
var roleInstances = []string{"i", "$1/i", "$2/i"}

// roleKinds are all kinds of messages and some that do not exist.
var roleKinds = []Kind{0, KindPrepare, KindPromise, KindAccept, KindAccepted, KindNack, KindChosen, KindDecided, KindQuery,
	KindState, KindPull, KindRefuse, 12, 255}

// everyRoleMessage yields every combination of small fields: all messages of a sound peer, and those of a broken one.
func everyRoleMessage(ballots []Ballot, values ...Value) iter.Seq[Message] {
	return func(yield func(Message) bool) {
		for _, k := range roleKinds {
			for _, b := range ballots {
				for _, promised := range ballots {
					for _, accepted := range ballots {
						for _, v := range values {
							if !yield(Message{k, "i", b, promised, accepted, v}) {
								return
							}
						}
					}
				}
			}
		}
	}
}

// fuzzedRoleMessages reads messages and the positions they come from, or go to, off fuzz data: three bytes each. Positions
// reach from -1 to 4, ballots and values are small, kinds are any.
func fuzzedRoleMessages(data []byte) iter.Seq2[int, Message] {
	values := []Value{"", "a", "b", "c"}
	pick := func(b byte) Ballot { return roleBallots[int(b)%len(roleBallots)] }
	attempt := func(b byte) Ballot {
		if int(b) < len(roleBallots) {
			return roleBallots[b]
		}
		return ballot21 // more often than others, or an attempt would rarely hear of itself
	}
	return func(yield func(int, Message) bool) {
		for ; len(data) >= 3; data = data[3:] {
			m := Message{Kind: Kind(data[0] % 13), Instance: "i", Ballot: attempt(data[1] & 15), Value: values[data[1]>>4&3],
				Promised: pick(data[2] & 15), Accepted: pick(data[2] >> 4)}
			if !yield(int(data[0]/13%6)-1, m) {
				return
			}
		}
	}
}

// addRandomRuns adds long random inputs to a fuzz target's seeds, the same every time, so that a plain go test compares the
// role with its model over thousands of steps.
func addRandomRuns(f *testing.F) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		data := make([]byte, 1+r.IntN(240))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		f.Add(data)
	}
}

// An acceptorStep is one message to an acceptor in one state, with the next state and the reply that must follow.
type acceptorStep struct {
	name  string
	from  Acceptor
	m     Message
	want  Acceptor
	reply Message
}

func prepareOf(round uint64, server ServerID) Message {
	return Message{Kind: KindPrepare, Instance: "i", Ballot: Ballot{round, server}, Value: "hint"}
}

func acceptOf(round uint64, server ServerID, v Value) Message {
	return Message{Kind: KindAccept, Instance: "i", Ballot: Ballot{round, server}, Value: v}
}

func ownedAccept(instance string, round uint64, server ServerID) Message {
	return Message{Kind: KindAccept, Instance: instance, Ballot: Ballot{round, server}, Value: "a"}
}

func replyTo(m Message, k Kind) Message {
	return Message{Kind: k, Instance: m.Instance, Ballot: m.Ballot}
}

func nackTo(m Message, promised Ballot) Message {
	return Message{Kind: KindNack, Instance: m.Instance, Ballot: m.Ballot, Promised: promised}
}

var (
	votedIn21  = Acceptor{Promised: Ballot{2, 1}, Accepted: Ballot{2, 1}, Value: "a"}
	raisedTo32 = Acceptor{Promised: Ballot{3, 2}, Accepted: Ballot{2, 1}, Value: "a"} // and promised a higher ballot since
	reportOf21 = Message{Kind: KindPromise, Instance: "i", Ballot: Ballot{3, 2}, Accepted: Ballot{2, 1}, Value: "a"}
)

var stepsOfPrepare = []acceptorStep{
	{"first prepare", Acceptor{}, prepareOf(1, 1), Acceptor{Promised: Ballot{1, 1}}, replyTo(prepareOf(1, 1), KindPromise)},
	{"same prepare again", Acceptor{Promised: Ballot{1, 1}}, prepareOf(1, 1),
		Acceptor{Promised: Ballot{1, 1}}, replyTo(prepareOf(1, 1), KindPromise)},
	{"higher prepare", Acceptor{Promised: Ballot{1, 1}}, prepareOf(2, 1),
		Acceptor{Promised: Ballot{2, 1}}, replyTo(prepareOf(2, 1), KindPromise)},
	{"lower prepare", Acceptor{Promised: Ballot{2, 1}}, prepareOf(1, 9),
		Acceptor{Promised: Ballot{2, 1}}, nackTo(prepareOf(1, 9), Ballot{2, 1})},
	{"P9: a promise reports the vote", votedIn21, prepareOf(3, 2), raisedTo32, reportOf21},
	{"the report is the same the second time", raisedTo32, prepareOf(3, 2), raisedTo32, reportOf21},
	{"prepare of the ballot it voted in", votedIn21, prepareOf(2, 1), votedIn21, replyTo(prepareOf(2, 1), KindAccepted)},
	{"prepare of the ballot it voted in, after a higher promise", raisedTo32, prepareOf(2, 1),
		raisedTo32, nackTo(prepareOf(2, 1), Ballot{3, 2})},
	{"P29: of two servers in a round the higher wins", Acceptor{Promised: Ballot{1, 1}}, prepareOf(1, 2),
		Acceptor{Promised: Ballot{1, 2}}, replyTo(prepareOf(1, 2), KindPromise)},
	{"P29: and the lower is refused", Acceptor{Promised: Ballot{1, 2}}, prepareOf(1, 1),
		Acceptor{Promised: Ballot{1, 2}}, nackTo(prepareOf(1, 1), Ballot{1, 2})},
}

var stepsOfAccept = []acceptorStep{
	{"accept as promised", Acceptor{Promised: Ballot{2, 1}}, acceptOf(2, 1, "a"),
		votedIn21, replyTo(acceptOf(2, 1, "a"), KindAccepted)},
	{"P20: accept without a prepare", Acceptor{}, acceptOf(2, 1, "a"), votedIn21, replyTo(acceptOf(2, 1, "a"), KindAccepted)},
	{"P1: accept raises the promise", Acceptor{Promised: Ballot{1, 1}}, acceptOf(2, 1, "a"),
		votedIn21, replyTo(acceptOf(2, 1, "a"), KindAccepted)},
	{"P20: the same accept again", votedIn21, acceptOf(2, 1, "a"), votedIn21, replyTo(acceptOf(2, 1, "a"), KindAccepted)},
	{"a vote moves to a higher ballot", votedIn21, acceptOf(4, 1, "b"),
		Acceptor{Ballot{4, 1}, Ballot{4, 1}, "b"}, replyTo(acceptOf(4, 1, "b"), KindAccepted)},
	{"accept below the promise", Acceptor{Promised: Ballot{2, 1}}, acceptOf(1, 9, "a"),
		Acceptor{Promised: Ballot{2, 1}}, nackTo(acceptOf(1, 9, "a"), Ballot{2, 1})},
	{"the accept it voted for, after a higher promise", raisedTo32, acceptOf(2, 1, "a"),
		raisedTo32, nackTo(acceptOf(2, 1, "a"), Ballot{3, 2})},
	{"P16: the empty value is a vote", Acceptor{}, acceptOf(2, 1, ""),
		Acceptor{Promised: Ballot{2, 1}, Accepted: Ballot{2, 1}}, replyTo(acceptOf(2, 1, ""), KindAccepted)},
	{"P16: and is reported as one", Acceptor{Promised: Ballot{2, 1}, Accepted: Ballot{2, 1}}, prepareOf(3, 2),
		Acceptor{Promised: Ballot{3, 2}, Accepted: Ballot{2, 1}},
		Message{Kind: KindPromise, Instance: "i", Ballot: Ballot{3, 2}, Accepted: Ballot{2, 1}}},
}

// Round 0 is for Accepts of the owner.
var stepsOfRound0 = []acceptorStep{
	{"prepare of round 0", Acceptor{}, prepareOf(0, 1), Acceptor{}, nackTo(prepareOf(0, 1), Ballot{})},
	{"accept of round 0", Acceptor{}, acceptOf(0, 1, "a"), Acceptor{}, nackTo(acceptOf(0, 1, "a"), Ballot{})},
	{"accept of round 0, of the owner", Acceptor{}, ownedAccept("$1/i", 0, 1), Acceptor{Ballot{0, 1}, Ballot{0, 1}, "a"},
		replyTo(ownedAccept("$1/i", 0, 1), KindAccepted)},
	{"accept of round 0, of who minted it", Acceptor{}, ownedAccept("$1.5.7/i", 0, 1), Acceptor{Ballot{0, 1}, Ballot{0, 1}, "a"},
		replyTo(ownedAccept("$1.5.7/i", 0, 1), KindAccepted)},
	{"the same again", Acceptor{Ballot{0, 1}, Ballot{0, 1}, "a"}, ownedAccept("$1/i", 0, 1), Acceptor{Ballot{0, 1}, Ballot{0, 1}, "a"},
		replyTo(ownedAccept("$1/i", 0, 1), KindAccepted)},
	{"accept of round 0, of a stranger", Acceptor{}, ownedAccept("$1/i", 0, 2), Acceptor{}, nackTo(ownedAccept("$1/i", 0, 2), Ballot{})},
	{"accept of round 0, of a stranger to a minted name", Acceptor{}, ownedAccept("$1.5.7/i", 0, 5), Acceptor{},
		nackTo(ownedAccept("$1.5.7/i", 0, 5), Ballot{})},
	{"accept of round 0, after a promise", Acceptor{Promised: Ballot{1, 1}}, ownedAccept("$1/i", 0, 1), Acceptor{Promised: Ballot{1, 1}},
		nackTo(ownedAccept("$1/i", 0, 1), Ballot{1, 1})},
	{"prepare of round 0, of the owner", Acceptor{}, Message{Kind: KindPrepare, Instance: "$1/i", Ballot: Ballot{0, 1}}, Acceptor{},
		Message{Kind: KindNack, Instance: "$1/i", Ballot: Ballot{0, 1}}},
	{"prepare of round 0, after its vote", Acceptor{Ballot{0, 1}, Ballot{0, 1}, "a"}, Message{Kind: KindPrepare, Instance: "$1/i", Ballot: Ballot{0, 1}},
		Acceptor{Ballot{0, 1}, Ballot{0, 1}, "a"}, Message{Kind: KindNack, Instance: "$1/i", Ballot: Ballot{0, 1}, Promised: Ballot{0, 1}}},
	{"a vote in round 0 is reported", Acceptor{Ballot{0, 1}, Ballot{0, 1}, ""}, prepareOf(1, 2), Acceptor{Ballot{1, 2}, Ballot{0, 1}, ""},
		Message{Kind: KindPromise, Instance: "i", Ballot: Ballot{1, 2}, Accepted: Ballot{0, 1}}},
	{"the owner has other rounds, too", Acceptor{Ballot{0, 1}, Ballot{0, 1}, "b"}, ownedAccept("$1/i", 2, 1), votedIn21,
		replyTo(ownedAccept("$1/i", 2, 1), KindAccepted)},
}

var stepsWithoutReply = []acceptorStep{
	{"prepare of no server", Acceptor{}, prepareOf(1, 0), Acceptor{}, Message{}},
	{"accept of no server", Acceptor{}, acceptOf(1, 0, "a"), Acceptor{}, Message{}},
	{"P20: a refusal is no business of an acceptor",
		votedIn21, Message{Kind: KindNack, Ballot: Ballot{2, 1}, Promised: Ballot{9, 9}}, votedIn21, Message{}},
	{"an unknown kind", votedIn21, Message{Kind: 200, Ballot: Ballot{9, 9}, Value: "x"}, votedIn21, Message{}},
}

func TestAcceptorStep(t *testing.T) {
	for _, c := range slices.Concat(stepsOfPrepare, stepsOfAccept, stepsOfRound0, stepsWithoutReply) {
		t.Run(c.name, func(t *testing.T) {
			next, reply, err := c.from.Step(c.m)
			require.NoError(t, err)
			assert.Equal(t, c.want, next)
			assert.Equal(t, c.reply, reply)
		})
	}
}

func TestAcceptorKeepsWhatItVotedFor(t *testing.T) {
	// P1: the acceptor has no promise when it accepts ballot 5. From then on it must refuse a ballot below 5.
	t.Run("P1: prepare 3 and accept 3 after accept 5", func(t *testing.T) {
		a, reply, err := Acceptor{}.Step(Message{Kind: KindAccept, Ballot: Ballot{5, 1}, Value: "a"})
		require.NoError(t, err)
		require.Equal(t, KindAccepted, reply.Kind)
		for _, k := range []Kind{KindPrepare, KindAccept} {
			next, reply, err := a.Step(Message{Kind: k, Ballot: Ballot{3, 2}, Value: "b"})
			require.NoError(t, err)
			assert.Equal(t, Message{Kind: KindNack, Ballot: Ballot{3, 2}, Promised: Ballot{5, 1}}, reply)
			assert.Equal(t, a, next)
		}
	})
	for name, promised := range map[string]Ballot{"as voted": {2, 1}, "after a higher promise": {3, 2}} {
		t.Run("P17: same ballot, other value, "+name, func(t *testing.T) {
			a := Acceptor{Promised: promised, Accepted: Ballot{2, 1}, Value: "a"}
			next, reply, err := a.Step(Message{Kind: KindAccept, Instance: "i", Ballot: Ballot{2, 1}, Value: "b"})
			var broken *SafetyError
			require.ErrorAs(t, err, &broken)
			assert.Equal(t, SafetyError{Instance: "i", Ballot: Ballot{2, 1}, Values: [2]Value{"a", "b"},
				Reason: "an acceptor was asked to accept two values in one ballot"}, *broken)
			assert.Equal(t, a, next)
			assert.Zero(t, reply)
		})
	}
	t.Run("P17: the empty value is another value", func(t *testing.T) {
		a := Acceptor{Promised: Ballot{2, 1}, Accepted: Ballot{2, 1}}
		_, _, err := a.Step(Message{Kind: KindAccept, Ballot: Ballot{2, 1}, Value: "b"})
		assert.ErrorAs(t, err, new(*SafetyError))
	})
	t.Run("the zero Acceptor has accepted nothing, so no value contradicts it", func(t *testing.T) {
		_, reply, err := Acceptor{}.Step(Message{Kind: KindAccept, Value: "b"})
		assert.NoError(t, err)
		assert.Zero(t, reply)
	})
}

// P29: a promise is made to one ballot and compared with others. If order and equality disagreed, an acceptor could take
// a ballot for the one it promised, or refuse that.
func TestAcceptorP29BallotsAreEqualExactlyIfTheyCompareSo(t *testing.T) {
	const most = 1<<64 - 1
	extreme := []Ballot{{MaxRound, 1}, {MaxRound, most}, {most, most}, {0, most}, {1 << 63, 1}, {1, 1 << 63}}
	all := append(slices.Clone(roleBallots), extreme...)
	for _, b := range all {
		for _, c := range all {
			name := fmt.Sprintf("P29: %s and %s", b, c)
			assert.Equal(t, b == c, b.Compare(c) == 0, name)
			assert.Equal(t, b.Less(c), b.Compare(c) < 0, name)
			assert.Equal(t, b.Compare(c), -c.Compare(b), name)
			if b.Server == 0 || c.Server == 0 || b.Round == 0 || c.Round == 0 {
				continue
			}
			_, reply, err := Acceptor{Promised: b}.Step(Message{Kind: KindAccept, Ballot: c})
			require.NoError(t, err)
			assert.Equal(t, c.Compare(b) >= 0, reply.Kind == KindAccepted, "accept %s after a promise to %s", c, b)
		}
	}
}

// P20: every message in every state.
func TestAcceptorP20EveryMessageInEveryState(t *testing.T) {
	var states []Acceptor
	legal := roleBallots[:6]
	for i, promised := range legal {
		states = append(states, Acceptor{Promised: promised})
		for _, accepted := range legal[1 : i+1] {
			states = append(states, Acceptor{promised, accepted, ""}, Acceptor{promised, accepted, "a"})
		}
	}
	steps, broken := 0, 0
	for _, a := range states {
		for m := range everyRoleMessage(roleBallots, "", "a", "b") {
			for _, m.Instance = range roleInstances {
				next, reply, err := a.Step(m)
				if fault := acceptorFault(a, m, next, reply, err); fault != "" {
					require.Fail(t, fault, "%+v in %+v: next %+v, reply %+v, error %v", m, a, next, reply, err)
				}
				steps++
				if err != nil {
					broken++
				}
			}
		}
	}
	assert.Positive(t, broken, "no message met the SafetyError")
	t.Logf("%d steps, %d safety errors", steps, broken)
}

// acceptorFault holds one step against the invariants written above Acceptor and the sentences above Step, and says what
// is wrong; empty: nothing.
func acceptorFault(a Acceptor, m Message, next Acceptor, reply Message, err error) string {
	request := (m.Kind == KindPrepare || m.Kind == KindAccept) && m.Ballot.Server != 0
	if err != nil {
		switch _, ok := err.(*SafetyError); {
		case !ok:
			return "the error is no SafetyError"
		case next != a || reply != Message{}:
			return "there is a next state or a reply beside a SafetyError"
		case m.Kind != KindAccept || m.Ballot != a.Accepted || m.Value == a.Value:
			return "a SafetyError without a contradiction"
		}
		return ""
	}
	switch {
	case next.Promised.Less(next.Accepted):
		return "Accepted is above Promised"
	case next.Promised.Less(a.Promised):
		return "Promised went down"
	case next.Accepted.Less(a.Accepted):
		return "Accepted went down"
	case next.Accepted == a.Accepted && next.Value != a.Value:
		return "one ballot has two values"
	case request != (reply.Kind != 0):
		return "a reply to what is no request, or none to a request"
	case !request && next != a:
		return "what is no request changed the state"
	case !request && reply != Message{}:
		return "a reply without a kind says something"
	case request && (reply.Instance != m.Instance || reply.Ballot != m.Ballot):
		return "the reply is not tagged with the request's instance and ballot"
	}
	refuse := m.Ballot.Round == 0 && (m.Kind == KindPrepare || m.Instance != fmt.Sprintf("$%d/i", m.Ballot.Server)) || m.Ballot.Less(a.Promised)
	switch reply.Kind {
	case KindNack:
		if !refuse || next != a || reply.Promised != a.Promised || reply.Accepted != (Ballot{}) || reply.Value != "" {
			return "a wrong refusal"
		}
	case KindPromise:
		vote := Acceptor{m.Ballot, a.Accepted, a.Value}
		if refuse || m.Kind != KindPrepare || next != vote || reply.Accepted != a.Accepted || reply.Value != a.Value ||
			reply.Promised != (Ballot{}) || !reply.Accepted.Less(m.Ballot) {
			return "a wrong promise"
		}
	case KindAccepted:
		bare := Message{Kind: KindAccepted, Instance: m.Instance, Ballot: m.Ballot}
		if refuse || reply != bare || next.Accepted != m.Ballot || next.Promised != m.Ballot ||
			m.Kind == KindAccept && next.Value != m.Value || m.Kind == KindPrepare && next != a {
			return "a wrong vote"
		}
	}
	return ""
}

// An acceptorModel is a second acceptor, deliberately dumb: it remembers all that it ever answered, and answers by
// reading the sentences of Paxos Made Simple, 2.2, over it.
type acceptorModel struct {
	promises []Ballot
	votes    []vote
}

func (h *acceptorModel) step(m Message) (reply Message, broken bool) {
	var last vote
	promised := Ballot{}
	for _, v := range h.votes {
		if last.ballot.Less(v.ballot) {
			last = v
		}
	}
	for _, b := range append(slices.Clone(h.promises), last.ballot) {
		if promised.Compare(b) < 0 {
			promised = b
		}
	}
	reply = Message{Instance: m.Instance, Ballot: m.Ballot}
	switch {
	case m.Ballot.Server == 0 || m.Kind != KindPrepare && m.Kind != KindAccept:
		return Message{}, false
	case m.Kind == KindAccept && m.Ballot == last.ballot && m.Value != last.value:
		return Message{}, true
	case m.Ballot.Round == 0 && m.Kind == KindPrepare, m.Ballot.Round == 0 && m.Instance != fmt.Sprintf("$%d/i", m.Ballot.Server),
		m.Ballot.Compare(promised) < 0:
		reply.Kind, reply.Promised = KindNack, promised
	case m.Kind == KindAccept:
		reply.Kind = KindAccepted
		h.votes = append(h.votes, vote{m.Ballot, m.Value})
	case m.Ballot == last.ballot:
		reply.Kind = KindAccepted
	default:
		reply.Kind, reply.Accepted, reply.Value = KindPromise, last.ballot, last.value
		h.promises = append(h.promises, m.Ballot)
	}
	return reply, false
}

// FuzzAcceptor runs any sequence of messages through an Acceptor and through the model that remembers everything.
func FuzzAcceptor(f *testing.F) {
	f.Add([]byte{1, 0x02, 0, 3, 0x12, 0, 1, 0x05, 0, 3, 0x22, 0, 3, 0x25, 0})
	f.Add([]byte{3, 0x15, 0, 1, 0x03, 0, 3, 0x23, 0, 3, 0x25, 0})
	f.Add([]byte{1, 1, 0, 3, 1, 0, 3, 6, 0, 1, 6, 0})
	addRandomRuns(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		a, model := Acceptor{}, acceptorModel{}
		for _, m := range fuzzedRoleMessages(data) {
			m.Instance = roleInstances[len(data)%len(roleInstances)]
			next, reply, err := a.Step(m)
			require.Empty(t, acceptorFault(a, m, next, reply, err), "%+v in %+v", m, a)
			want, broken := model.step(m)
			require.Equal(t, broken, err != nil, "%+v in %+v: %v", m, a, err)
			require.Equal(t, want, reply, "%+v in %+v", m, a)
			a = next
		}
	})
}
