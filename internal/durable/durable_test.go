package durable

import (
	"iter"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// A savingServer is one acceptor with a disk: it begins and ends Saves, holds replies back as a save tells it to, and can
// crash. It is the smallest host that uses save as a Replica does.
type savingServer struct {
	Acceptor
	disk   paxos.Acceptor            // the state after a crash
	flight *paxos.Acceptor           // the snapshot of the Save that runs; nil: none
	held   map[Stage][]paxos.Message // replies that wait
	sent   []paxos.Message           // replies that left, ever
}

func newSavingServer() *savingServer { return &savingServer{held: map[Stage][]paxos.Message{}} }

// receive steps m and returns what its reply, if any, waits for.
func (s *savingServer) receive(m paxos.Message) (reply paxos.Message, wait Stage, err error) {
	s.Acceptor, reply, wait, err = s.Step(m)
	switch {
	case err != nil || reply.Kind == 0:
	case wait == Saved:
		s.sent = append(s.sent, reply)
	default:
		s.held[wait] = append(s.held[wait], reply)
	}
	return reply, wait, err
}

// beginSave starts a Save if none runs. The replies that gathered wait for it from now on.
func (s *savingServer) beginSave() {
	if s.flight != nil {
		return
	}
	snapshot := s.Acceptor.Acceptor
	s.flight, s.Stage = &snapshot, s.Stage.Begin()
	s.held[Flushing], s.held[Dirty] = s.held[Dirty], nil
}

// endSave makes the running Save durable and lets go what waited for it.
func (s *savingServer) endSave() {
	if s.flight == nil {
		return
	}
	s.disk, s.flight, s.Stage = *s.flight, nil, s.Stage.End()
	s.sent = append(s.sent, s.held[Flushing]...)
	s.held[Flushing] = nil
}

// crash forgets what is not on disk. torn: the running Save reached the disk all the same.
func (s *savingServer) crash(torn bool) {
	if torn && s.flight != nil {
		s.disk = *s.flight
	}
	s.Acceptor, s.flight, s.held = Acceptor{Acceptor: s.disk}, nil, map[Stage][]paxos.Message{}
}

// unbacked returns a reply that left and that the disk does not bear out; zero: there is none.
func (s *savingServer) unbacked() paxos.Message {
	for _, m := range s.sent {
		switch {
		case m.Kind == paxos.KindPromise && s.disk.Promised.Less(m.Ballot):
			return m
		case m.Kind == paxos.KindAccepted && s.disk.Accepted.Less(m.Ballot):
			return m
		}
	}
	return paxos.Message{}
}

func TestSaveHoldsReplies(t *testing.T) {
	prepare := func(round uint64) paxos.Message {
		return paxos.Message{Kind: paxos.KindPrepare, Ballot: paxos.Ballot{Round: round, Server: 1}}
	}
	accept := func(round uint64) paxos.Message {
		return paxos.Message{Kind: paxos.KindAccept, Ballot: paxos.Ballot{Round: round, Server: 1}, Value: "a"}
	}
	// A step receives a message if it has one, else begins or ends a Save.
	type step struct {
		do   string
		m    paxos.Message
		wait Stage
	}
	for _, c := range []struct {
		name  string
		steps []step
		want  Stage // of the server, in the end
		sent  int
	}{
		{"a change waits for the Save that holds it",
			[]step{{"receive", prepare(1), Dirty}, {do: "begin"}, {do: "end"}}, Saved, 1},
		{"and not for less", []step{{"receive", prepare(1), Dirty}, {do: "begin"}}, Flushing, 0},
		{"nor for a Save that began before it", []step{{"receive", prepare(1), Dirty}, {do: "begin"},
			{"receive", accept(1), Dirty}, {do: "end"}}, Dirty, 1},
		{"the Save after that lets it go", []step{{"receive", prepare(1), Dirty}, {do: "begin"},
			{"receive", accept(1), Dirty}, {do: "end"}, {do: "begin"}, {do: "end"}}, Saved, 2},
		{"P11: a duplicate before the Save begins waits too",
			[]step{{"receive", accept(1), Dirty}, {"receive", accept(1), Dirty}}, Dirty, 0},
		{"P11: a duplicate while the Save runs waits for it", []step{{"receive", accept(1), Dirty}, {do: "begin"},
			{"receive", accept(1), Flushing}}, Flushing, 0},
		{"P11: a prepare that comes late waits for the vote", []step{{"receive", accept(1), Dirty}, {do: "begin"},
			{"receive", prepare(1), Flushing}}, Flushing, 0},
		{"a duplicate of what is saved leaves at once", []step{{"receive", accept(1), Dirty}, {do: "begin"}, {do: "end"},
			{"receive", accept(1), Saved}}, Saved, 2},
		{"a refusal names a promise, and waits for it", []step{{"receive", prepare(2), Dirty},
			{"receive", prepare(1), Dirty},
			{do: "begin"}, {"receive", accept(1), Flushing}}, Flushing, 0},
		{"several changes go with one Save", []step{{"receive", prepare(1), Dirty}, {"receive", accept(1), Dirty},
			{"receive", prepare(2), Dirty}, {do: "begin"}, {do: "end"}}, Saved, 3},
		{"no change, nothing to save",
			[]step{{"receive", paxos.Message{Kind: paxos.KindChosen, Ballot: paxos.Ballot{Round: 1, Server: 1}}, Saved}, {do: "begin"}, {do: "end"}}, Saved, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSavingServer()
			for i, do := range c.steps {
				switch do.do {
				case "receive":
					_, wait, err := s.receive(do.m)
					require.NoError(t, err)
					require.Equal(t, do.wait, wait, "step %d", i)
				case "begin":
					s.beginSave()
				case "end":
					s.endSave()
				}
				require.Zero(t, s.unbacked())
			}
			assert.Equal(t, c.want, s.Stage)
			assert.Len(t, s.sent, c.sent)
		})
	}
}

// P10: an acceptor that missed the prepare accepts, answers, crashes and comes back: the value and the promise are there.
func TestSaveP10AVoteWithoutAPromiseIsSavedWhole(t *testing.T) {
	for _, v := range []paxos.Value{"a", ""} {
		s := newSavingServer()
		_, wait, err := s.receive(paxos.Message{Kind: paxos.KindAccept, Ballot: paxos.Ballot{Round: 5, Server: 1}, Value: v})
		require.NoError(t, err)
		require.Equal(t, Dirty, wait)
		s.beginSave()
		s.endSave()
		require.Len(t, s.sent, 1)
		s.crash(false)
		assert.Equal(t, Acceptor{Acceptor: paxos.Acceptor{Promised: paxos.Ballot{Round: 5, Server: 1}, Accepted: paxos.Ballot{Round: 5, Server: 1}, Value: v}}, s.Acceptor)

		// P1, P16: and it still refuses what is below, and reports the vote above.
		reply, _, err := s.receive(paxos.Message{Kind: paxos.KindPrepare, Ballot: paxos.Ballot{Round: 3, Server: 2}})
		require.NoError(t, err)
		assert.Equal(t, paxos.KindNack, reply.Kind)
		reply, _, err = s.receive(paxos.Message{Kind: paxos.KindPrepare, Ballot: paxos.Ballot{Round: 6, Server: 2}})
		require.NoError(t, err)
		assert.Equal(t, paxos.Message{Kind: paxos.KindPromise, Ballot: paxos.Ballot{Round: 6, Server: 2}, Accepted: paxos.Ballot{Round: 5, Server: 1}, Value: v}, reply)
	}
}

func TestSaveSafetyErrorChangesNothing(t *testing.T) {
	for _, at := range []Stage{Saved, Flushing, Dirty} {
		s := Acceptor{paxos.Acceptor{Promised: paxos.Ballot{Round: 2, Server: 1}, Accepted: paxos.Ballot{Round: 2, Server: 1}, Value: "a"}, at}
		next, reply, _, err := s.Step(paxos.Message{Kind: paxos.KindAccept, Ballot: paxos.Ballot{Round: 2, Server: 1}, Value: "b"})
		assert.ErrorAs(t, err, new(*paxos.SafetyError), "P17: two values in one ballot")
		assert.Equal(t, s, next)
		assert.Zero(t, reply)
	}
}

// P20: every message in every state and stage: the step is the Acceptor's, and no stage is skipped.
func TestSaveP20EveryMessageInEveryState(t *testing.T) {
	states := []paxos.Acceptor{{}, {Promised: paxos.Ballot{Round: 1, Server: 1}}, {Promised: paxos.Ballot{Round: 1, Server: 1}, Accepted: paxos.Ballot{Round: 1, Server: 1}, Value: ""}, {Promised: paxos.Ballot{Round: 2, Server: 1}, Accepted: paxos.Ballot{Round: 1, Server: 1}, Value: "a"}}
	changed := 0
	for _, a := range states {
		for _, at := range []Stage{Saved, Flushing, Dirty} {
			for m := range everyRoleMessage([]paxos.Ballot{{}, {Round: 0, Server: 1}, {Round: 1, Server: 1}, {Round: 1, Server: 2}, {Round: 2, Server: 1}, {Round: 2, Server: 2}}, "", "a") {
				s := Acceptor{a, at}
				next, reply, wait, err := s.Step(m)
				wantNext, wantReply, wantErr := a.Step(m)
				wantStage := at
				if wantNext != a {
					wantStage = Dirty
					changed++
				}
				if (err == nil) != (wantErr == nil) || reply != wantReply || next != (Acceptor{wantNext, wantStage}) ||
					err == nil && wait != wantStage {
					require.Fail(t, "a wrong step", "%+v in %+v: next %+v, wait %d, reply %+v, error %v", m, s, next, wait, reply, err)
				}
				if err == nil && next.Stage.End() == next.Stage.Begin().End() && next.Stage == Dirty {
					require.Fail(t, "a Save that began before the change made it durable", "%+v", next)
				}
			}
		}
	}
	assert.Positive(t, changed)
}

// FuzzSave runs messages, Saves and crashes in any order. A reply that left must be on disk, over any crash. Nothing waits for
// more than it needs: a second, deliberately dumb model numbers the changes of the state, and compares.
func FuzzSave(f *testing.F) {
	const begin, end, crash, torn = 0x80, 0x81, 0x82, 0x83
	f.Add([]byte{1, 2, 0, begin, 0, 0, 3, 0x12, 0, end, 0, 0, crash, 0, 0})
	f.Add([]byte{3, 0x12, 0, begin, 0, 0, 3, 0x12, 0, 3, 0x14, 0, end, 0, 0, crash, 0, 0, 1, 4, 0})
	f.Add([]byte{1, 4, 0, 1, 2, 0, begin, 0, 0, torn, 0, 0, 1, 2, 0})
	addRandomRuns(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newSavingServer()
		changes, snapshot, durable := 0, 0, 0
		for ; len(data) >= 3; data = data[3:] {
			op := int(data[0])
			if op >= begin {
				op &= begin | 3
			}
			switch op {
			case begin:
				if s.flight == nil {
					snapshot = changes
				}
				s.beginSave()
			case end:
				if s.flight != nil {
					durable = snapshot
				}
				s.endSave()
			case crash, torn:
				s.crash(op == torn)
				snapshot, durable = changes, changes
			default:
				for _, m := range fuzzedRoleMessages(data[:3]) {
					before := s.Acceptor.Acceptor
					_, wait, err := s.receive(m)
					if err != nil {
						continue
					}
					if s.Acceptor.Acceptor != before {
						changes++
					}
					want := Dirty
					if changes <= durable {
						want = Saved
					} else if changes <= snapshot && s.flight != nil {
						want = Flushing
					}
					require.Equal(t, want, wait, "%+v in %+v", m, before)
				}
			}
			require.Zero(t, s.unbacked(), "left, and is not on disk: %+v", s.disk)
			require.False(t, s.disk.Promised.Less(s.disk.Accepted))
		}
	})
}

// roleBallots are the ballots of the exhaustive tests: none, one of an owned instance, two servers in each of two
// rounds, and one that no server has. They ascend, except for the last.
var roleBallots = []paxos.Ballot{{}, ballot(0, 1), ballot(1, 1), ballot(1, 2), ballot(2, 1), ballot(2, 2), ballot(1, 0)}

// roleKinds are all kinds of messages and some that do not exist.
var roleKinds = []paxos.Kind{0, paxos.KindPrepare, paxos.KindPromise, paxos.KindAccept, paxos.KindAccepted, paxos.KindNack, paxos.KindChosen, paxos.KindDecided, paxos.KindQuery,
	paxos.KindState, paxos.KindPull, paxos.KindRefuse, 12, 255}

func ballot(round uint64, server paxos.ServerID) paxos.Ballot {
	return paxos.Ballot{Round: round, Server: server}
}

// everyRoleMessage yields every combination of small fields: all messages of a sound peer, and those of a broken one.
func everyRoleMessage(ballots []paxos.Ballot, values ...paxos.Value) iter.Seq[paxos.Message] {
	return func(yield func(paxos.Message) bool) {
		for _, k := range roleKinds {
			for _, b := range ballots {
				for _, promised := range ballots {
					for _, accepted := range ballots {
						for _, v := range values {
							if !yield(paxos.Message{Kind: k, Instance: "i", Ballot: b, Promised: promised, Accepted: accepted, Value: v}) {
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
func fuzzedRoleMessages(data []byte) iter.Seq2[int, paxos.Message] {
	values := []paxos.Value{"", "a", "b", "c"}
	pick := func(b byte) paxos.Ballot { return roleBallots[int(b)%len(roleBallots)] }
	attempt := func(b byte) paxos.Ballot {
		if int(b) < len(roleBallots) {
			return roleBallots[b]
		}
		return ballot(2, 1) // more often than others, or an attempt would rarely hear of itself
	}
	return func(yield func(int, paxos.Message) bool) {
		for ; len(data) >= 3; data = data[3:] {
			m := paxos.Message{Kind: paxos.Kind(data[0] % 13), Instance: "i", Ballot: attempt(data[1] & 15), Value: values[data[1]>>4&3],
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

// 2.5: "Stable storage, preserved during failures, is used to maintain the information that the acceptor must remember."
func TestPaper25StableStorageHoldsWhatMustBeRemembered(t *testing.T) {
	s := newSavingServer()
	for _, m := range []paxos.Message{
		{Kind: paxos.KindPrepare, Ballot: paxos.Ballot{Round: 1, Server: 1}}, {Kind: paxos.KindAccept, Ballot: paxos.Ballot{Round: 1, Server: 1}, Value: "a"}, {Kind: paxos.KindPrepare, Ballot: paxos.Ballot{Round: 2, Server: 2}},
	} {
		_, _, err := s.receive(m)
		require.NoError(t, err)
		s.beginSave()
		s.endSave()
		before := s.Acceptor.Acceptor
		s.crash(false)
		assert.Equal(t, before, s.Acceptor.Acceptor, "after %+v", m)
	}
	assert.Equal(t, paxos.Acceptor{Promised: paxos.Ballot{Round: 2, Server: 2}, Accepted: paxos.Ballot{Round: 1, Server: 1}, Value: "a"}, s.Acceptor.Acceptor)
}

// 2.5: "An acceptor records its intended response in stable storage before actually sending the response."
func TestPaper25RecordsBeforeItResponds(t *testing.T) {
	requests := []paxos.Message{
		{Kind: paxos.KindPrepare, Ballot: paxos.Ballot{Round: 1, Server: 1}}, {Kind: paxos.KindAccept, Ballot: paxos.Ballot{Round: 1, Server: 1}, Value: "a"},
		{Kind: paxos.KindAccept, Ballot: paxos.Ballot{Round: 1, Server: 1}, Value: "a"}, {Kind: paxos.KindPrepare, Ballot: paxos.Ballot{Round: 2, Server: 2}},
	}
	// A Save begins, ends, or neither, after each request; then the server crashes. All orders of that.
	sent := 0
	for plan := range 81 {
		s, rest := newSavingServer(), plan
		for _, m := range requests {
			_, _, err := s.receive(m)
			require.NoError(t, err)
			switch rest % 3 {
			case 1:
				s.beginSave()
			case 2:
				s.beginSave()
				s.endSave()
			}
			rest /= 3
			require.Zero(t, s.unbacked(), "plan %d: left before it was recorded", plan)
		}
		s.crash(false)
		require.Zero(t, s.unbacked(), "plan %d: the crash took back a response", plan)
		sent += len(s.sent)
	}
	assert.Positive(t, sent, "no response ever left")
}

// 2.2: "an acceptor must remember this information even if it fails and then restarts"
func TestPaper22RemembersOverARestart(t *testing.T) {
	// An acceptor may crash after each of the 8 answers of two attempts, in every combination.
	for crashes := range 1 << 8 {
		servers := [3]*savingServer{newSavingServer(), newSavingServer(), newSavingServer()}
		first, second := paxos.NewProposer(paxos.Ballot{Round: 1, Server: 1}, "a", paxos.Majority(3)), paxos.NewProposer(paxos.Ballot{Round: 2, Server: 2}, "b", paxos.Majority(3))
		point := 0
		deliver := func(p *paxos.Proposer, m paxos.Message, i int) {
			reply, _, err := servers[i].receive(m)
			require.NoError(t, err)
			servers[i].beginSave()
			servers[i].endSave()
			if crashes>>point&1 == 1 {
				servers[i].crash(false)
			}
			point++
			next, _, err := p.Step(i, reply)
			require.NoError(t, err)
			*p = next
		}
		for _, i := range []int{0, 1} {
			deliver(&first, first.Prepare(), i)
		}
		for _, i := range []int{0, 1} {
			deliver(&first, first.Accept(), i)
		}
		for _, i := range []int{1, 2} {
			deliver(&second, second.Prepare(), i)
		}
		for _, i := range []int{1, 2} {
			deliver(&second, second.Accept(), i)
		}
		require.True(t, first.Chosen(), "crashes %08b", crashes)
		require.True(t, second.Chosen(), "crashes %08b", crashes)
		require.Equal(t, paxos.Value("a"), second.Value(), "crashes %08b", crashes)
	}
}
