package standing_test

import (
	"strconv"
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
	b.Pulled(-1, store, 1, 0)
	b.Pulled(3, store, 1, 0)
	assert.Equal(t, paxos.Set(0b1), b.Answered())
	assert.False(t, mayUse(b, "lunch"))
}

// A name in a list is not used, while the other answers make no quorum. The latest answer of an acceptor counts.
func TestLists(t *testing.T) {
	b := ready()
	b.Hear(1, number, store, standing.Answer{Names: []string{"lunch", "dinner"}})
	assert.False(t, mayUse(b, "lunch"))
	assert.True(t, mayUse(b, "breakfast"))
	b.Hear(2, number, store, standing.Answer{Names: []string{"dinner"}})
	assert.True(t, mayUse(b, "lunch"), "two acceptors do not list it")
	assert.False(t, mayUse(b, "dinner"))
	b.Hear(1, number, store, standing.Answer{Names: []string{"breakfast"}})
	assert.True(t, mayUse(b, "dinner"))
	b.Hear(2, number, store, standing.Answer{Names: []string{"breakfast"}})
	assert.False(t, mayUse(b, "breakfast"))
	assert.True(t, mayUse(b, "dinner"))
}

// An answer is usable when all decisions up to its Index are pulled, from the same storage, and up to the newest one that is forgotten.
func TestCatchUp(t *testing.T) {
	b := standing.NewBallot(number, 0, paxos.Majority(3))
	b.Pulled(1, store, 6, 0)
	b.Hear(1, number, store, standing.Answer{Index: 7})
	b.Hear(0, number, store, standing.Answer{Index: 70})
	assert.False(t, mayUse(b, "lunch"))
	b.Pulled(1, store+1, 7, 0)
	assert.False(t, mayUse(b, "lunch"), "another storage")
	b.Pulled(1, store, 7, 9)
	assert.False(t, mayUse(b, "lunch"), "a forgotten name may have moved up to Index 9")
	b.Pulled(1, store, 8, 0)
	assert.False(t, mayUse(b, "lunch"), "a page that tells of nothing forgotten does not take that back")
	b.Pulled(1, store, 9, 0)
	assert.True(t, mayUse(b, "lunch"))
	b.Hear(1, number, store, standing.Answer{Index: 10})
	assert.False(t, mayUse(b, "lunch"))
	b.Hear(1, number, store, standing.Answer{Index: 9})
	assert.True(t, mayUse(b, "lunch"))
}

func TestBarAndEnd(t *testing.T) {
	b := ready()
	b.Bar("lunch")
	assert.False(t, mayUse(b, "lunch"))
	assert.True(t, mayUse(b, "dinner"))
	assert.False(t, b.IsOver(floorAt(number)))
	assert.True(t, b.IsOver(floorAt(higher)))
	sealed := floorAt(number)
	sealed.Seal(1)
	assert.True(t, b.IsOver(sealed))
	for i := range standing.MaxNames {
		assert.False(t, b.IsOver(floorAt(number)))
		b.Bar(strconv.Itoa(i))
	}
	assert.True(t, b.IsOver(floorAt(number)), "too many names are barred")
	assert.False(t, mayUse(b, "dinner"))
	b = ready()
	b.End()
	assert.True(t, b.IsOver(floorAt(number)))
	assert.False(t, mayUse(b, "lunch"))
}
