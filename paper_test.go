package paxos

import (
	"fmt"
	"go/ast"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// One test for each sentence of Lamport's "Paxos Made Simple" (2001), sections 2.1 to 2.5, that states something which can
// be checked. docs/paper.md leads from the sentence to the code and to the test. This file holds the world they play in
// and section 2.1. paper_choosing_test.go and paper_acceptor_test.go have 2.2. paper_learning_test.go has 2.3 to 2.5, and
// the part of 2.2 that needs a disk.

// A paperProposal is a proposal as the paper has it: a number and a value.
type paperProposal struct {
	number Ballot
	value  Value
}

// A paperWorld holds the shipping roles of one instance, and passes messages between them by hand. A message that is not
// delivered is lost, and one that is delivered twice is a duplicate. Unlike a server, it remembers everything that happened.
type paperWorld struct {
	t         *testing.T
	name      string
	acceptors []Acceptor
	attempts  map[Ballot]Proposer
	requests  []Message       // Prepares and Accepts that were ever sent
	replies   []heardMessage  // all that acceptors ever answered
	proposed  map[Value]bool  // values that a call proposed
	issued    []paperProposal // proposals for which an Accept was sent
	votes     []heardVote     // every acceptance, in order
}

func newPaperWorld(t *testing.T, n int) *paperWorld {
	return &paperWorld{t: t, acceptors: make([]Acceptor, n), attempts: map[Ballot]Proposer{}, proposed: map[Value]bool{}}
}

// begin starts an attempt of a server.
func (w *paperWorld) begin(round uint64, server ServerID, v Value) Ballot {
	b := Ballot{round, server}
	require.NotContains(w.t, w.attempts, b, "a ballot is used once")
	w.attempts[b] = NewProposer(b, v, Majority(len(w.acceptors)))
	w.proposed[v] = true
	w.requests = append(w.requests, w.attempts[b].Prepare())
	return b
}

// ask delivers a request to acceptor i and returns the answer.
func (w *paperWorld) ask(i int, m Message) Message {
	w.t.Helper()
	next, reply, err := w.acceptors[i].Step(m)
	require.NoError(w.t, err, w.name)
	if was := w.acceptors[i]; next.Accepted != was.Accepted || next.Value != was.Value {
		w.votes = append(w.votes, heardVote{i, vote{next.Accepted, next.Value}})
	}
	w.acceptors[i] = next
	w.replies = append(w.replies, heardMessage{i, reply})
	return reply
}

// tell delivers a reply of acceptor i to the proposer that it belongs to.
func (w *paperWorld) tell(i int, reply Message) {
	w.t.Helper()
	next, out, err := w.attempts[reply.Ballot].Step(i, reply)
	require.NoError(w.t, err, w.name)
	if out.Kind != 0 {
		w.issued = append(w.issued, paperProposal{out.Ballot, out.Value})
		w.requests = append(w.requests, out)
	}
	w.attempts[reply.Ballot] = next
}

// prepare runs phase 1 of b with the acceptors at these positions.
func (w *paperWorld) prepare(b Ballot, at ...int) {
	w.t.Helper()
	for _, i := range at {
		w.tell(i, w.ask(i, w.attempts[b].Prepare()))
	}
}

// accept runs phase 2 of b with the acceptors at these positions.
func (w *paperWorld) accept(b Ballot, at ...int) {
	w.t.Helper()
	require.Equal(w.t, KindAccept, w.attempts[b].Accept().Kind, "%s has no promises from a majority", b)
	for _, i := range at {
		w.tell(i, w.ask(i, w.attempts[b].Accept()))
	}
}

// propose runs both phases of a new attempt with the acceptors at these positions.
func (w *paperWorld) propose(round uint64, server ServerID, v Value, at ...int) Ballot {
	w.t.Helper()
	b := w.begin(round, server, v)
	w.prepare(b, at...)
	w.accept(b, at...)
	return b
}

// chosen counts the votes, proposal by proposal: those that a majority has accepted, in ascending order.
func (w *paperWorld) chosen() (all []paperProposal) {
	voters := map[paperProposal]map[int]bool{}
	for _, v := range w.votes {
		p := paperProposal{v.ballot, v.value}
		if voters[p] == nil {
			voters[p] = map[int]bool{}
		}
		voters[p][v.from] = true
		if len(voters[p]) == len(w.acceptors)/2+1 && !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b paperProposal) int { return a.number.Compare(b.number) })
	return all
}

// play lets chance choose what happens next, many times: a new attempt, a request that reaches an acceptor, an answer
// that reaches its proposer, however old. It calls check after every step.
func (w *paperWorld) play(r *rand.Rand, steps int, check func()) {
	values := []Value{"a", "b", "", "c", "d"}
	for range steps {
		switch draw := r.IntN(20); {
		case len(w.requests) == 0, draw == 0 && len(w.attempts) < len(values):
			if b := (Ballot{1 + r.Uint64N(3), 1 + ServerID(r.Uint64N(3))}); w.attempts[b] == (Proposer{}) {
				w.begin(b.Round, b.Server, values[len(w.attempts)])
			}
		case draw < 9 && len(w.replies) > 0:
			reply := w.replies[len(w.replies)-1-r.IntN(len(w.replies))/(1+r.IntN(4))]
			w.tell(reply.from, reply.m)
		default:
			w.ask(r.IntN(len(w.acceptors)), w.requests[len(w.requests)-1-r.IntN(len(w.requests))/(1+r.IntN(2))])
		}
		check()
	}
}

// paperHistories plays many worlds of 3 to 5 acceptors, the same every time, and calls check after every step. It fails if
// too little happened in them for a check to mean anything.
func paperHistories(t *testing.T, check func(w *paperWorld)) {
	t.Helper()
	chosen, twice := 0, 0
	for seed := range uint64(600) {
		w := newPaperWorld(t, 3+int(seed%3))
		w.name = fmt.Sprintf("history %d", seed)
		w.play(rand.New(rand.NewPCG(seed, 22)), 100, func() { check(w) })
		all := w.chosen()
		if len(all) > 0 {
			chosen++
		}
		if len(all) > 1 && w.attempts[all[0].number].own != w.attempts[all[1].number].own {
			twice++
		}
	}
	require.Greater(t, chosen, 200, "histories in which something was chosen")
	require.Greater(t, twice, 20, "histories in which proposers of two values both had a proposal chosen")
}

// 2.1: "If no value is proposed, then no value should be chosen."
func TestPaper21NothingProposedNothingChosen(t *testing.T) {
	w := newPaperWorld(t, 3)
	b := w.begin(1, 1, "hint")
	w.prepare(b, 0, 1, 2)
	assert.Empty(t, w.chosen(), "a prepare request proposes nothing yet, although it carries a value")
	l := NewLearner(Majority(3))
	for i, a := range w.acceptors {
		l = learnAll(t, l, heardVote{i, vote{a.Accepted, a.Value}})
	}
	_, ok := l.Chosen()
	assert.False(t, ok)
	w.accept(b, 0, 1)
	assert.Len(t, w.chosen(), 1)
}

// 2.1: "If a value has been chosen, then processes should be able to learn the chosen value."
func TestPaper21AChosenValueCanBeLearned(t *testing.T) {
	w := newPaperWorld(t, 3)
	w.propose(1, 1, "a", 0, 2)
	l := NewLearner(Majority(3))
	for i, a := range w.acceptors {
		l = learnAll(t, l, heardVote{i, vote{a.Accepted, a.Value}})
	}
	v, ok := l.Chosen()
	assert.True(t, ok)
	assert.Equal(t, Value("a"), v)
}

// 2.1: "Only a value that has been proposed may be chosen"
func TestPaper21OnlyAProposedValueIsChosen(t *testing.T) {
	paperHistories(t, func(w *paperWorld) {
		for _, p := range w.chosen() {
			require.True(t, w.proposed[p.value], "%s: %v", w.name, p)
		}
	})
}

// 2.1: "Only a single value is chosen"
func TestPaper21OnlyASingleValueIsChosen(t *testing.T) {
	paperHistories(t, func(w *paperWorld) {
		values := map[Value]bool{}
		for _, p := range w.chosen() {
			values[p.value] = true
		}
		require.LessOrEqual(t, len(values), 1, "%s: %v", w.name, w.chosen())
	})
}

// 2.1: "A process never learns that a value has been chosen unless it actually has been."
func TestPaper21OnlyWhatIsChosenIsLearned(t *testing.T) {
	learned := 0
	for seed := range uint64(300) {
		w, r := newPaperWorld(t, 3), rand.New(rand.NewPCG(seed, 21))
		l := NewLearner(Majority(3))
		w.play(r, 100, func() {
			if len(w.votes) > 0 {
				l = learnAll(t, l, w.votes[r.IntN(len(w.votes))])
			}
			values := map[Value]bool{}
			for _, p := range w.chosen() {
				values[p.value] = true
			}
			if v, ok := l.Chosen(); ok {
				require.True(t, values[v], "history %d: the learner", seed)
				learned++
			}
			for b, p := range w.attempts {
				require.False(t, p.Chosen() && !values[p.Value()], "history %d: the proposer of %s", seed, b)
			}
		})
	}
	require.Positive(t, learned)
}

// 2.1: "a solution is impossible unless some information can be remembered by an agent that has failed and restarted"
func TestPaper21AnAcceptorMustRemember(t *testing.T) {
	for _, forgets := range []bool{false, true} {
		w := newPaperWorld(t, 3)
		w.propose(1, 1, "a", 0, 1)
		if forgets {
			w.acceptors[1] = Acceptor{}
		}
		w.propose(2, 2, "b", 1, 2)
		single := w.chosen()[0].value == w.chosen()[1].value
		assert.Equal(t, !forgets, single, "chosen: %v", w.chosen())
	}
}

// 2.1: "Messages can take arbitrarily long to be delivered, can be duplicated, and can be lost"
func TestPaper21LateDuplicateAndLostMessages(t *testing.T) {
	w := newPaperWorld(t, 3)
	first := w.begin(1, 1, "a")
	w.prepare(first, 0, 1)
	w.accept(first, 0)
	w.propose(2, 2, "b", 0, 2)
	require.Equal(t, []paperProposal{{Ballot{2, 2}, "a"}}, w.chosen())
	// Now everything that was ever sent arrives everywhere, twice, in any order.
	r := rand.New(rand.NewPCG(21, 21))
	for range 2 {
		for _, k := range r.Perm(len(w.requests)) {
			for i := range w.acceptors {
				w.ask(i, w.requests[k])
			}
		}
		for _, k := range r.Perm(len(w.replies)) {
			w.tell(w.replies[k].from, w.replies[k].m)
		}
	}
	for _, p := range w.chosen() {
		assert.Equal(t, Value("a"), p.value)
	}
	assert.True(t, w.attempts[Ballot{2, 2}].Chosen())
}

// docs/paper.md names tests and functions that exist, and every test of a sentence is in it.
func TestPaperTableIsTrue(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("docs", "paper.md"))
	require.NoError(t, err)
	tests, functions := repositoryFunctions(t)
	named := regexp.MustCompile(`\b(Test|Fuzz)[A-Z0-9]\w*`).FindAllString(string(page), -1)
	require.NotEmpty(t, named)
	for _, name := range named {
		assert.True(t, tests[name], "docs/paper.md names %s, which is no test: write it, or mend the table", name)
	}
	for name := range tests {
		if strings.HasPrefix(name, "TestPaper2") {
			assert.Contains(t, named, name, "docs/paper.md does not name it: add its sentence to the table")
		}
	}
	code := regexp.MustCompile("`([\\w/]+\\.go: [\\w.]+)`").FindAllStringSubmatch(string(page), -1)
	require.NotEmpty(t, code)
	for _, c := range code {
		assert.True(t, functions[c[1]], "docs/paper.md names %s, which is no function: mend the table", c[1])
	}
}

// repositoryFunctions returns the names of all functions of tests, and of all others with their files.
func repositoryFunctions(t *testing.T) (tests, functions map[string]bool) {
	tests, functions = map[string]bool{}, map[string]bool{}
	for _, file := range repositorySource(t) {
		for _, decl := range file.ast.Decls {
			f, ok := decl.(*ast.FuncDecl)
			switch {
			case !ok:
			case file.isTest():
				tests[f.Name.Name] = true
			default:
				functions[file.path+": "+strings.TrimPrefix(receiverName(f)+"."+f.Name.Name, ".")] = true
			}
		}
	}
	return tests, functions
}

// receiverName returns the name of a method's type; empty if decl is a function.
func receiverName(decl *ast.FuncDecl) string {
	if decl.Recv == nil {
		return ""
	}
	t := decl.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if generic, ok := t.(*ast.IndexExpr); ok {
		t = generic.X
	}
	if name, ok := t.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}

// TestGuaranteesAreHeld: each line of docs/guarantees.md names tests, and there are such tests.
func TestGuaranteesAreHeld(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("docs", "guarantees.md"))
	require.NoError(t, err)
	tests, _ := repositoryFunctions(t)
	lines := 0
	for line := range strings.SplitSeq(string(page), "\n") {
		if !strings.HasPrefix(line, "| ") || strings.HasSuffix(line, "held by |") {
			continue
		}
		lines++
		named := regexp.MustCompile(`\bTest[A-Z0-9]\w*`).FindAllString(line, -1)
		assert.NotEmpty(t, named, "%s", line)
		for _, name := range named {
			assert.True(t, tests[name], "docs/guarantees.md names %s, which is no test", name)
		}
	}
	assert.Greater(t, lines, 30)
}
