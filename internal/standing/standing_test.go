package standing_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/durable"
	"github.com/singledecree/paxos/internal/standing"
)

var (
	lower  = paxos.Ballot{Round: 4, Server: 1}
	number = paxos.Ballot{Round: 5, Server: 1}
	higher = paxos.Ballot{Round: 5, Server: 2}
)

// A promise waits for a Save whose snapshot holds it. A refusal waits for nothing, and the promise never goes down.
func TestFloor(t *testing.T) {
	f, wait, ok := standing.Floor{}.Step(number)
	assert.True(t, ok)
	assert.Equal(t, durable.Dirty, wait)
	assert.Equal(t, number, f.Promised(), "it refuses from its Step on")
	assert.Equal(t, f, f.End(), "a Save that began before does not hold it")
	f = f.Begin()
	again, wait, ok := f.Step(number)
	assert.True(t, ok)
	assert.Equal(t, durable.Flushing, wait, "the same ballot again waits for the Save that runs")
	assert.Equal(t, f, again)
	meanwhile, wait, ok := f.Step(higher)
	assert.True(t, ok)
	assert.Equal(t, durable.Dirty, wait, "a higher one waits for the next Save")
	_, wait, _ = meanwhile.End().Step(higher)
	assert.Equal(t, durable.Dirty, wait)
	f = f.End()
	assert.Equal(t, standing.Stored(number), f)
	_, wait, ok = f.Step(number)
	assert.True(t, ok)
	assert.Equal(t, durable.Saved, wait)
	refused, wait, ok := f.Step(lower)
	assert.False(t, ok)
	assert.Equal(t, durable.Saved, wait)
	assert.Equal(t, f, refused)
}

func TestIsListed(t *testing.T) {
	voted := paxos.Acceptor{Promised: number, Accepted: lower, Value: "v"}
	for _, c := range []struct {
		name   string
		e      standing.Entry
		listed bool
	}{
		{"no record", standing.Entry{}, false},
		{"a promise", standing.Entry{Record: paxos.Acceptor{Promised: number}}, false},
		{"a vote", standing.Entry{Record: voted}, true},
		{"not known", standing.Entry{Unknown: true}, true},
		{"decided, without an Index", standing.Entry{Record: voted, Chosen: true}, true},
		{"decided, with an Index that is not durable", standing.Entry{Record: voted, Chosen: true, Index: 8}, true},
		{"decided, and a pull tells of it", standing.Entry{Record: voted, Chosen: true, Index: 7}, false},
		{"decided and stopped", standing.Entry{Chosen: true, Index: 7, Unknown: true}, true},
		{"forgotten, without an Index", standing.Entry{Record: paxos.Acceptor{}.Forget(), Chosen: true}, true},
		{"forgotten, and a pull tells of it", standing.Entry{Record: paxos.Acceptor{}.Forget(), Chosen: true, Index: 1}, false},
	} {
		assert.Equal(t, c.listed, c.e.IsListed(7), c.name)
	}
}

func TestAnswerFits(t *testing.T) {
	assert.True(t, standing.Answer{}.Fits())
	assert.True(t, standing.Answer{Names: make([]string, standing.MaxNames)}.Fits())
	assert.False(t, standing.Answer{Names: make([]string, standing.MaxNames+1)}.Fits())
	half := strings.Repeat("x", standing.MaxBytes/2)
	assert.True(t, standing.Answer{Names: []string{half, half}}.Fits())
	assert.False(t, standing.Answer{Names: []string{half, half, "x"}}.Fits())
}

const store = 77

// ready is a standing ballot of the first of three acceptors, which the first two have answered. Nothing is listed.
func ready() *standing.Ballot {
	b := standing.NewBallot(number, 0, paxos.Majority(3))
	b.Hear(0, number, store, standing.Answer{Index: 9})
	b.Hear(1, number, store+1, standing.Answer{})
	return b
}

func floorAt(b paxos.Ballot) *paxos.Floor {
	var f paxos.Floor
	f.Stand(b)
	return &f
}

// mayUse asks for a name of which this server knows nothing, with a floor of exactly the ballot.
func mayUse(b *standing.Ballot, name string) bool {
	return b.MayUse(name, standing.Entry{}, floorAt(number))
}

func TestMayUse(t *testing.T) {
	b := ready()
	assert.Equal(t, number, b.Number())
	assert.Equal(t, paxos.Set(0b11), b.Answered())
	assert.True(t, mayUse(b, "lunch"))
	assert.False(t, mayUse(b, "$1/lunch"), "no floor covers an owned name")
	for name, e := range map[string]standing.Entry{
		"promised": {Record: paxos.Acceptor{Promised: lower}}, "voted": {Record: paxos.Acceptor{Promised: lower, Accepted: lower}},
		"chosen": {Chosen: true}, "loading": {Unknown: true},
	} {
		assert.False(t, b.MayUse("lunch", e, floorAt(number)), name)
	}
	for _, floor := range []paxos.Ballot{{}, lower, higher} {
		assert.False(t, b.MayUse("lunch", standing.Entry{}, floorAt(floor)), "own floor %s", floor)
	}
	f := floorAt(number)
	f.Forget(paxos.Prefix("l"))
	assert.False(t, b.MayUse("lunch", standing.Entry{}, f))
	assert.True(t, b.MayUse("dinner", standing.Entry{}, f))
	f.Seal(1)
	assert.False(t, b.MayUse("dinner", standing.Entry{}, f))
}

// Only answers for exactly this ballot count, and not from strangers, and not those that are too long.
func TestHearRefuses(t *testing.T) {
	b := standing.NewBallot(number, 0, paxos.Majority(3))
	b.Hear(0, number, store, standing.Answer{})
	for _, other := range []paxos.Ballot{lower, higher} {
		b.Hear(1, other, store, standing.Answer{})
	}
	b.Hear(1, number, store, standing.Answer{Names: make([]string, standing.MaxNames+1)})
	b.Hear(-1, number, store, standing.Answer{})
	b.Hear(3, number, store, standing.Answer{})
	b.Pulled(-1, standing.Page{Store: store, To: 1})
	b.Pulled(3, standing.Page{Store: store, To: 1})
	assert.Equal(t, paxos.Set(0b1), b.Answered())
	assert.False(t, mayUse(b, "lunch"))
}

// A name in a list is not used, while the other answers make no quorum. The first answer of an acceptor counts.
func TestLists(t *testing.T) {
	b := standing.NewBallot(number, 0, paxos.Majority(3))
	b.Hear(0, number, store, standing.Answer{})
	b.Hear(1, number, store, standing.Answer{Names: []string{"lunch", "dinner"}})
	assert.False(t, mayUse(b, "lunch"))
	assert.True(t, mayUse(b, "breakfast"))
	b.Hear(2, number, store, standing.Answer{Names: []string{"dinner"}})
	assert.True(t, mayUse(b, "lunch"), "two acceptors do not list it")
	assert.False(t, mayUse(b, "dinner"))
	b.Hear(1, number, store, standing.Answer{Names: []string{"breakfast"}})
	assert.False(t, mayUse(b, "dinner"), "a later answer may leave out what a page since then has not told")
	assert.True(t, mayUse(b, "breakfast"))
	b = ready()
	b.Hear(1, number, store, standing.Answer{Names: []string{"lunch"}})
	assert.True(t, mayUse(b, "lunch"), "a later answer changes nothing")
}

// An answer is usable when all decisions up to its Index are pulled, from the same storage, and up to the last one that is forgotten.
func TestCatchUp(t *testing.T) {
	b := standing.NewBallot(number, 0, paxos.Majority(3))
	b.Pulled(1, standing.Page{Store: store, To: 6})
	b.Hear(1, number, store, standing.Answer{Index: 7})
	b.Hear(0, number, store, standing.Answer{Index: 70})
	assert.False(t, mayUse(b, "lunch"))
	b.Pulled(1, standing.Page{Store: store + 1, To: 7})
	assert.False(t, mayUse(b, "lunch"), "another storage")
	b.Pulled(1, standing.Page{Store: store, To: 3})
	assert.False(t, mayUse(b, "lunch"), "Index 7 is to be reached all the same")
	b.Pulled(1, standing.Page{Store: store, From: 6, To: 7, Forgot: 9})
	assert.False(t, mayUse(b, "lunch"), "a forgotten name may have moved up to Index 9")
	b.Pulled(1, standing.Page{Store: store, From: 7, To: 8, Forgot: 12})
	assert.False(t, mayUse(b, "lunch"), "a page that tells of nothing forgotten does not take that back")
	b.Pulled(1, standing.Page{Store: store, From: 8, To: 9, Forgot: 13})
	assert.True(t, mayUse(b, "lunch"), "it does not matter what was forgotten after all of it was told")
	b.Pulled(1, standing.Page{Store: store, From: 9, To: 10, Forgot: 99, Merged: 99})
	assert.True(t, mayUse(b, "lunch"), "all is known that the acceptor knew")
}

// A range takes the place of forgotten names that have moved already, so they move again.
func TestCatchUpBesideARange(t *testing.T) {
	b := standing.NewBallot(number, 0, paxos.Majority(3))
	b.Hear(0, number, store, standing.Answer{})
	b.Hear(1, number, store, standing.Answer{Index: 7})
	b.Pulled(1, standing.Page{Store: store, To: 7, Forgot: 9})
	b.Pulled(1, standing.Page{Store: store, From: 7, To: 9, Forgot: 12, Merged: 11})
	assert.False(t, mayUse(b, "lunch"), "it was forgotten at Index 8, and with a range at Index 11")
	b.Pulled(1, standing.Page{Store: store, From: 9, To: 11, Forgot: 12, Merged: 11})
	assert.True(t, mayUse(b, "lunch"))
	b = standing.NewBallot(number, 0, paxos.Majority(3))
	b.Hear(0, number, store, standing.Answer{})
	b.Pulled(1, standing.Page{Store: store, To: 20, Forgot: 25})
	b.Hear(1, number, store, standing.Answer{Index: 7})
	assert.False(t, mayUse(b, "lunch"), "the page may have been read after the answer was given")
	b.Pulled(1, standing.Page{Store: store, From: 20, To: 25, Forgot: 30})
	assert.True(t, mayUse(b, "lunch"))
}

// A gap in what was pulled makes an answer of no use, for good: nobody knows what is in the gap. If the answer was usable before, the gap is
// beyond it.
func TestLacks(t *testing.T) {
	b := standing.NewBallot(number, 0, paxos.Majority(3))
	b.Hear(0, number, store, standing.Answer{})
	b.Hear(1, number, store, standing.Answer{Index: 7})
	b.Lacks(1)
	assert.False(t, b.Lags(1), "no page would help")
	b.Pulled(1, standing.Page{Store: store, To: 1000})
	assert.False(t, mayUse(b, "lunch"))
	b.Lacks(3)
	b.Lacks(-1)
	b = ready()
	b.Lacks(1)
	assert.True(t, mayUse(b, "lunch"))
}

// An answer waits for pages until all up to its Index, and the newest forgetting, is known.
func TestLags(t *testing.T) {
	b := standing.NewBallot(number, 0, paxos.Majority(3))
	for _, acceptor := range []int{-1, 0, 1, 2, 3} {
		assert.False(t, b.Lags(acceptor), "%d has not answered", acceptor)
	}
	b.Hear(0, number, store, standing.Answer{Index: 9})
	assert.False(t, b.Lags(0), "the own server knows all that its acceptor knows")
	b.Hear(1, number, store, standing.Answer{Index: 9})
	assert.True(t, b.Lags(1))
	b.Pulled(1, standing.Page{Store: store, To: 8})
	assert.True(t, b.Lags(1))
	assert.False(t, b.IsReady())
	b.Pulled(1, standing.Page{Store: store, To: 9, Forgot: 10})
	assert.True(t, b.Lags(1))
	b.Pulled(1, standing.Page{Store: store, To: 10})
	assert.False(t, b.Lags(1))
	assert.True(t, b.IsReady())
}

// The text of an answer is its storage, its Index and its names, and nothing else is taken for one.
func TestAnswerText(t *testing.T) {
	for want, a := range map[string]standing.Answer{
		"9f03 7":             {Index: 7},
		"9f03 7\na\nlunch é": {Index: 7, Names: []string{"a", "lunch é"}},
	} {
		assert.Equal(t, paxos.Value(want), a.Text(0x9f03))
		got, store, ok := standing.ParseAnswer(paxos.Value(want))
		assert.True(t, ok)
		assert.Equal(t, a, got)
		assert.Equal(t, uint64(0x9f03), store)
	}
	name := strings.Repeat("x", 255)
	for what, text := range map[string]string{
		"nothing": "", "no Index": "9f03", "no number": "9f03 x", "a number more": "9f03 7 8", "no name": "9f03 7\n", "an empty name": "9f03 7\na\n\nb",
		"a control character": "9f03 7\na\tb", "a long name": "9f03 7\n" + name + "x",
		"too many names": "9f03 7" + strings.Repeat("\na", standing.MaxNames+1), "too many bytes": "9f03 7" + strings.Repeat("\n"+name, standing.MaxBytes/255+1),
	} {
		_, _, ok := standing.ParseAnswer(paxos.Value(text))
		assert.False(t, ok, what)
	}
	_, _, ok := standing.ParseAnswer(paxos.Value("9f03 7" + strings.Repeat("\na", standing.MaxNames)))
	assert.True(t, ok)
	_, _, ok = standing.ParseAnswer(paxos.Value("9f03 7" + strings.Repeat("\n"+name, standing.MaxBytes/255)))
	assert.True(t, ok)
}
