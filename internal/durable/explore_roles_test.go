package durable

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/explore"
)

// The tables of the roles: every step that they can take, each made by calling the code
// that ships, once for every state and every message, before the space is explored. Nothing in them is worked out by
// other means, so a change of acceptor.go or durable.go changes the tables.

// An exReply is something that an acceptor said. Nacks are left out: they assert nothing and no proposer gains by one.
type exReply struct {
	paxos.Message
	value int // index of the value in the Promise, or of the one that an Accepted voted for; -1: it has none
}

// An exStep is a step of an acceptor with a message: the next state, the reply (-1: none, or a Nack), and, if its storage is
// asynchronous, the Save for which the reply waits.
type exStep struct {
	next, reply int
	wait        Stage
	err         string
}

// An exRoles holds the tables. States are known by their index.
type exRoles struct {
	values    []paxos.Value
	ballots   []paxos.Ballot
	messages  [][]paxos.Message // the requests to acceptors, in all their forms: Prepares by ballot, then Accepts by ballot and value
	acceptors []paxos.Acceptor
	saves     []Acceptor
	replies   []exReply
	// Each has an entry for each state; steps have one more dimension, the message.
	acceptorSteps, saveSteps [][][]exStep
	began, ended             []int // save to save
	volatile                 []int // save to acceptor
	restarted                []int // acceptor to save
	acceptorOther, saveOther []int // the same state with the two values exchanged

	rules exRules
}

// exRules are the calls of the shipping save. A test can put a broken one in their place, to show that it would be
// seen.
type exRules struct {
	step  func(Acceptor, paxos.Message) (Acceptor, paxos.Message, Stage, error)
	begin func(Stage) Stage
	end   func(Stage) Stage
}

var exShipping = exRules{step: Acceptor.Step, begin: Stage.Begin, end: Stage.End}

// newExRoles makes the tables. async says whether the steps of save are needed.
func newExRoles(ballots []paxos.Ballot, values []paxos.Value, async bool, rules exRules, instance func(paxos.Ballot) string) *exRoles {
	r := &exRoles{values: values, ballots: ballots, rules: rules}
	for _, b := range ballots {
		var forms []paxos.Message
		for _, hint := range values {
			forms = append(forms, paxos.NewProposer(b, hint, paxos.Majority(1)).Prepare())
		}
		r.messages = append(r.messages, forms)
	}
	for _, b := range ballots {
		for v, value := range values {
			r.messages = append(r.messages, []paxos.Message{{Kind: paxos.KindAccept, Instance: instance(b), Ballot: b, Value: value}})
			r.reply(exReply{paxos.Message{Kind: paxos.KindAccepted, Ballot: b}, v})
		}
	}
	r.acceptor(paxos.Acceptor{})
	for i := 0; i < len(r.acceptors); i++ {
		r.acceptorSteps = append(r.acceptorSteps, r.stepsOf(func(m paxos.Message) (exStep, paxos.Message, paxos.Acceptor) {
			next, reply, err := r.acceptors[i].Step(m)
			return exStep{next: r.acceptor(next), err: exText(err)}, reply, next
		}))
	}
	if async {
		r.closeSaves()
	}
	r.sortReplies()
	r.exchange()
	return r
}

// closeSaves follows the shipping save through every step, begin, end and restart.
func (r *exRoles) closeSaves() {
	for i := 0; i < len(r.acceptors) || i < len(r.saves); i++ {
		if i < len(r.acceptors) {
			r.restarted = append(r.restarted, r.save(Acceptor{Acceptor: r.acceptors[i]}))
		}
		if i >= len(r.saves) {
			continue
		}
		s := r.saves[i]
		r.volatile = append(r.volatile, r.acceptor(s.Acceptor))
		r.began = append(r.began, r.save(Acceptor{s.Acceptor, r.rules.begin(s.Stage)}))
		r.ended = append(r.ended, r.save(Acceptor{s.Acceptor, r.rules.end(s.Stage)}))
		r.saveSteps = append(r.saveSteps, r.stepsOf(func(m paxos.Message) (exStep, paxos.Message, paxos.Acceptor) {
			next, reply, wait, err := r.rules.step(s, m)
			return exStep{next: r.save(next), wait: wait, err: exText(err)}, reply, next.Acceptor
		}))
	}
}

// stepsOf collects what step does with every message. Forms of one message that lead to the same are one step.
func (r *exRoles) stepsOf(step func(paxos.Message) (exStep, paxos.Message, paxos.Acceptor)) (all [][]exStep) {
	for _, forms := range r.messages {
		var steps []exStep
		for _, m := range forms {
			s, reply, next := step(m)
			reply.Instance = "" // it is the same in all
			s.reply = -1
			switch reply.Kind {
			case paxos.KindPromise:
				s.reply = r.reply(exReply{reply, r.valueOf(reply)})
			case paxos.KindAccepted:
				s.reply = r.reply(exReply{reply, slices.Index(r.values, next.Value)})
			}
			if !slices.Contains(steps, s) {
				steps = append(steps, s)
			}
		}
		all = append(all, steps)
	}
	return all
}

func (r *exRoles) valueOf(promise paxos.Message) int {
	if promise.Accepted.IsZero() && promise.Value == "" {
		return -1
	}
	return slices.Index(r.values, promise.Value)
}

// acceptor returns the index of a, and sees to it that the state with the other value has one too.
func (r *exRoles) acceptor(a paxos.Acceptor) int {
	i := exIntern(&r.acceptors, a)
	exIntern(&r.acceptors, r.otherAcceptor(a))
	return i
}

func (r *exRoles) save(s Acceptor) int {
	i := exIntern(&r.saves, s)
	r.acceptor(s.Acceptor)
	s.Acceptor = r.otherAcceptor(s.Acceptor)
	exIntern(&r.saves, s)
	return i
}

func (r *exRoles) reply(p exReply) int {
	i := exIntern(&r.replies, p)
	exIntern(&r.replies, r.otherReply(p))
	return i
}

func (r *exRoles) other(v paxos.Value) paxos.Value {
	if len(r.values) < 2 {
		return v
	}
	return r.values[1-max(0, slices.Index(r.values, v))]
}

func (r *exRoles) otherAcceptor(a paxos.Acceptor) paxos.Acceptor {
	if !a.Accepted.IsZero() {
		a.Value = r.other(a.Value)
	}
	return a
}

func (r *exRoles) otherReply(p exReply) exReply {
	if p.value < 0 || len(r.values) < 2 {
		return p
	}
	p.value = 1 - p.value
	if p.Kind == paxos.KindPromise {
		p.Value = r.values[p.value]
	}
	return p
}

// sortReplies brings replies that differ in the value only side by side, so that exchanging the values exchanges
// neighbouring bits, and puts the votes last.
func (r *exRoles) sortReplies() {
	found := slices.Clone(r.replies)
	slices.SortFunc(r.replies, func(p, q exReply) int {
		return cmp.Or(cmp.Compare(p.Kind, q.Kind), p.Ballot.Compare(q.Ballot), p.Accepted.Compare(q.Accepted),
			cmp.Compare(p.value, q.value))
	})
	place := make([]int, len(found))
	for i, p := range found {
		place[i] = slices.Index(r.replies, p)
	}
	for _, table := range [][][][]exStep{r.acceptorSteps, r.saveSteps} {
		for _, byMessage := range table {
			for _, steps := range byMessage {
				for i := range steps {
					if steps[i].reply >= 0 {
						steps[i].reply = place[steps[i].reply]
					}
				}
			}
		}
	}
}

func (r *exRoles) exchange() {
	for _, a := range r.acceptors {
		r.acceptorOther = append(r.acceptorOther, slices.Index(r.acceptors, r.otherAcceptor(a)))
	}
	for _, s := range r.saves {
		s.Acceptor = r.otherAcceptor(s.Acceptor)
		r.saveOther = append(r.saveOther, slices.Index(r.saves, s))
	}
}

// broken says what is wrong with an acceptor state by itself: I4.
func (r *exRoles) broken(acceptor int) error {
	a := r.acceptors[acceptor]
	if a.Promised.Less(a.Accepted) {
		return fmt.Errorf("I4: accepted %s, above the promised %s", a.Accepted, a.Promised)
	}
	return nil
}

// unbacked says which reply must not leave yet: I5, stable storage has to imply what the reply asserts.
func (r *exRoles) unbacked(reply, durable int) error {
	m, a := r.replies[reply], r.acceptors[durable]
	if a.Promised.Less(m.Ballot) || m.Kind == paxos.KindAccepted && a.Accepted.Less(m.Ballot) {
		return fmt.Errorf("I5: %s leaves, but stable storage holds %s", r.replyText(m), exAcceptorText(a))
	}
	return nil
}

func (r *exRoles) replyText(p exReply) string {
	switch {
	case p.Kind == paxos.KindAccepted:
		return fmt.Sprintf("accepted %s %q", p.Ballot, r.values[p.value])
	case p.value < 0:
		return fmt.Sprintf("promise %s (-)", p.Ballot)
	}
	return fmt.Sprintf("promise %s (%s %q)", p.Ballot, p.Accepted, p.Value)
}

func exAcceptorText(a paxos.Acceptor) string {
	if a.Accepted.IsZero() {
		return fmt.Sprintf("promised %s, accepted -", a.Promised)
	}
	return fmt.Sprintf("promised %s, accepted %s %q", a.Promised, a.Accepted, a.Value)
}

func exIntern[T comparable](all *[]T, x T) int {
	if i := slices.Index(*all, x); i >= 0 {
		return i
	}
	*all = append(*all, x)
	return len(*all) - 1
}

func exText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestExploreSaves explores what is volatile apart from what is durable: the save that ships, one Save at a time on
// each server, replies that wait, changes that share a Save, duplicates, and crashes that lose all but what is
// durable.
func TestExploreSaves(t *testing.T) {
	const everything = exSeenChosen | exSeenOther | exSeenCrash | exSeenTwoStages | exSeenUnsent | exSeenCoalesced
	for _, space := range []struct {
		name   string
		config exConfig
		size   int
		want   exCount
	}{
		{"2 ballots, 1 server with saves, 2 crashes", exConfig{
			owners: []int{0, 1}, async: 1, crashes: 2, symmetry: true}, exTiny, exCount{26_631, 91_278, 24}},
		{"2 ballots, 2 servers with saves, 1 crash", exConfig{
			owners: []int{0, 1}, async: 2, crashes: 1, symmetry: true}, exSmall, exCount{122_842, 414_887, 29}},
		{"2 ballots, 3 servers with saves, 2 crashes", exConfig{
			owners: []int{0, 1}, async: 3, crashes: 2, symmetry: true}, exSmall, exCount{1_037_383, 4_898_209, 36}},
		{"3 ballots, 1 server with saves, 1 crash", exConfig{
			owners: []int{0, 1, 0}, async: 1, crashes: 1, symmetry: true}, exSmall, exCount{1_267_871, 3_836_047, 33}},
		{"3 ballots, 1 server with saves, 2 crashes, no symmetry", exConfig{
			owners: []int{0, 1, 0}, async: 1, crashes: 2}, exCI, exCount{8_921_955, 31_153_464, 35}},
		{"3 ballots, 2 servers with saves, 1 crash", exConfig{
			owners: []int{0, 1, 0}, async: 2, crashes: 1, symmetry: true}, exCI, exCount{11_477_314, 39_144_135, 41}},
		{"3 ballots, 2 servers with saves, 2 crashes", exConfig{
			owners: []int{0, 1, 0}, async: 2, crashes: 2, symmetry: true}, exLong, exCount{33_117_195, 131_532_126, 43}},
	} {
		t.Run(space.name, func(t *testing.T) {
			explore.Fits(t, space.size)
			space.config.quorum, space.config.wanted = paxos.Majority(3), 2
			exHolds(t, space.config, space.want, everything)
		})
	}
}

// exOlder lets the Save that runs release a reply whose change is not in its snapshot.
var exOlder = exRules{begin: Stage.Begin, end: Stage.End, step: func(s Acceptor, m paxos.Message) (Acceptor, paxos.Message, Stage, error) {
	after, reply, wait, err := s.Step(m)
	if s.Stage == Flushing && wait == Dirty {
		wait = Flushing
	}
	return after, reply, wait, err
}}

// TestExploreRulesLeftOut leaves out one rule at a time of those that decide when a reply may leave, and finds how
// that ends: with two decisions. It shows that the spaces above are large enough to see such a mistake in the code
// that ships. The steps are those of the shortest way; docs/design.md#7.5, like TLC, counts the initial state too.
func TestExploreRulesLeftOut(t *testing.T) {
	replyFirst, duplicate, next := exShipping, exShipping, exShipping
	replyFirst.step = func(s Acceptor, m paxos.Message) (Acceptor, paxos.Message, Stage, error) {
		s, reply, _, err := s.Step(m)
		return s, reply, Saved, err
	}
	duplicate.step = func(s Acceptor, m paxos.Message) (Acceptor, paxos.Message, Stage, error) {
		after, reply, wait, err := s.Step(m)
		if after == s {
			wait = Saved
		}
		return after, reply, wait, err
	}
	next.end = func(Stage) Stage { return Saved }

	for _, left := range []struct {
		name  string
		how   exConfig
		steps int    // until two values are chosen
		first string // the rule that is broken before that, if every invariant is checked
	}{
		{"reply before save", exConfig{rules: replyFirst}, 13, "I5: "},
		{"reply to a duplicate while the save is pending", exConfig{rules: duplicate}, 15, "I5: "},
		{"reply released by a save whose snapshot is older", exConfig{rules: exOlder}, 17, "I5: "},
		{"change taken for saved when an older snapshot is", exConfig{rules: next}, 18, "I5: "},
		{"own promise and vote counted before they are saved", exConfig{early: true}, 15, "I8: "},
		{"ballot used again after a restart", exConfig{reuse: true}, 8, "I6: "},
	} {
		t.Run(left.name, func(t *testing.T) {
			c := left.how
			c.quorum, c.wanted, c.owners, c.async, c.crashes, c.symmetry = paxos.Majority(3), 2, []int{1, 0}, 1, 1, true
			x, r := exRun(t, c, exCount{})
			require.NotNil(t, r.Violation)
			assert.ErrorContains(t, r.Violation.Err, left.first, x.text(r.Violation))
			c.agreement = true
			x, r = exRun(t, c, exCount{})
			require.NotNil(t, r.Violation)
			assert.ErrorContains(t, r.Violation.Err, "I1: two values are chosen", x.text(r.Violation))
			assert.Len(t, r.Violation.Steps[1:], left.steps, x.text(r.Violation))
		})
	}
}

// TestExploreTrace tells how two values come to be chosen, as people read it.
func TestExploreTrace(t *testing.T) {
	x, r := exRun(t, exConfig{quorum: counted{2, 1, 1}, wanted: 2, owners: []int{0, 1}, symmetry: true}, exCount{})
	require.NotNil(t, r.Violation)
	assert.Equal(t, `
2: prepare 2.2
1: promise 2.2 (-)
2: accept 2.2 ""
1: prepare 1.1
1: accepted 2.2 ""
2: promise 1.1 (-)
1: accept 1.1 "a"
2: accepted 1.1 "a"
=> I1: two values are chosen
`, "\n"+x.text(r.Violation))

	c := exConfig{
		quorum: paxos.Majority(3), wanted: 2, owners: []int{1, 0}, async: 1, crashes: 1, symmetry: true,
		agreement: true, rules: exOlder,
	}
	x, r = exRun(t, c, exCount{})
	require.NotNil(t, r.Violation)
	assert.Equal(t, `
2: prepare 1.2
2: promise 1.2 (-)
1: prepare 2.1
1: promise 1.2 (-), held until the next Save ends
1: Save begins (promised 1.2, accepted -)
1: promise 2.1 (-), held until the Save that runs ends
1: Save ends, and sends promise 1.2 (-), promise 2.1 (-)
2: promise 2.1 (-)
1: accept 2.1 ""
1: crashes and starts again (promised 1.2, accepted -)
2: accept 1.2 "a"
1: accepted 1.2 "a", held until the next Save ends
1: accepted 2.1 "", held until the next Save ends
1: Save begins (promised 2.1, accepted 2.1 "")
1: Save ends, and sends accepted 1.2 "a", accepted 2.1 ""
2: accepted 2.1 ""
3: accepted 1.2 "a"
=> I1: two values are chosen
`, "\n"+x.text(r.Violation))
}
