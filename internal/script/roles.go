package script

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/words"
)

// Roles are acceptors, proposers and learners that a script drives by hand, without any server: by name.
//
//	acceptor NAME gets: MESSAGE         answers, and shows what it remembers
//	proposer NAME BALLOT VALUE of N     begins an attempt among N acceptors
//	proposer NAME gets N: MESSAGE       from the acceptor at position N, from 0
//	learner NAME of N                   among N acceptors
//	learner NAME hears N BALLOT VALUE   the acceptor at position N, from 0, voted so
//	compare BALLOT BALLOT               which one is higher, and are they equal
//	sort BALLOT …                       from the lowest
type roles struct {
	acceptors map[string]paxos.Acceptor
	proposers map[string]paxos.Proposer
	learners  map[string]paxos.Learner
}

func newRoles() roles {
	return roles{map[string]paxos.Acceptor{}, map[string]paxos.Proposer{}, map[string]paxos.Learner{}}
}

func (p *player) role(verb string, a *arguments) error {
	switch verb {
	case "acceptor":
		p.acceptor(a)
	case "proposer":
		p.proposer(a)
	case "learner":
		p.learner(a)
	case "compare":
		b, c := a.ballot(), a.ballot()
		p.say("Compare %d, Less %t, == %t", b.Compare(c), b.Less(c), b == c)
	case "sort":
		var all []paxos.Ballot
		for len(a.words) > 0 {
			all = append(all, a.ballot())
		}
		slices.SortFunc(all, paxos.Ballot.Compare)
		var texts []string
		for _, b := range all {
			texts = append(texts, b.String())
		}
		p.say("%s", strings.Join(texts, " "))
	}
	return a.err
}

func (p *player) acceptor(a *arguments) {
	name := a.word()
	if verb := a.word(); verb != "gets" {
		a.fail(fmt.Errorf("acceptor: %q: want gets", verb))
	}
	m := a.message()
	a.then(func() {
		next, reply, err := p.roles.acceptors[name].Step(m)
		p.roles.acceptors[name] = next
		switch {
		case err != nil:
			p.say("%s", err)
		case reply.Kind == 0:
			p.say("no answer")
		default:
			p.say("%s", reply)
		}
		p.say("%s has %s", name, words.Record(paxos.Record{Acceptor: next}))
	})
}

func (p *player) proposer(a *arguments) {
	name := a.word()
	if len(a.words) == 4 {
		b, v := a.ballot(), a.value()
		q := a.of()
		a.then(func() {
			p.roles.proposers[name] = paxos.NewProposer(b, v, q)
			p.say("%s", p.roles.proposers[name].Prepare())
		})
		return
	}
	old, ok := p.roles.proposers[name]
	if verb := a.word(); !ok || verb != "gets" {
		a.fail(errors.New("proposer: want BALLOT VALUE of N, then gets"))
		return
	}
	position, m := a.number(), a.message()
	a.then(func() {
		next, out, err := old.Step(position, m)
		p.roles.proposers[name] = next
		if err != nil {
			p.say("%s", err)
		}
		if out.Kind != 0 {
			p.say("%s", out)
		}
		p.say("%s", proposerText(name, next))
	})
}

func proposerText(name string, p paxos.Proposer) string {
	above, over := p.Superseded()
	switch {
	case p.Chosen():
		return fmt.Sprintf("%s: %s is chosen", name, words.Quote(p.Value()))
	case over:
		return fmt.Sprintf("%s is superseded by %s", name, above)
	case p.Accept().Kind != 0:
		return fmt.Sprintf("%s asks for votes for %s; answered: %s", name, words.Quote(p.Value()), p.Answered())
	}
	return fmt.Sprintf("%s prepares; answered: %s", name, p.Answered())
}

func (p *player) learner(a *arguments) {
	name := a.word()
	if len(a.words) == 2 {
		q := a.of()
		a.then(func() { p.roles.learners[name] = paxos.NewLearner(q) })
		return
	}
	old, ok := p.roles.learners[name]
	if verb := a.word(); !ok || verb != "hears" {
		a.fail(errors.New("learner: want of N, then hears"))
		return
	}
	position, b, v := a.number(), a.ballot(), a.value()
	a.then(func() {
		next, err := old.Step(position, b, v)
		p.roles.learners[name] = next
		value, chosen := next.Chosen()
		switch {
		case err != nil:
			p.say("%s", err)
		case chosen:
			p.say("%s: %s is chosen", name, words.Quote(value))
		default:
			p.say("%s: nothing is chosen", name)
		}
	})
}

// of takes "of N": a majority of N acceptors.
func (a *arguments) of() paxos.Quorum {
	if word := a.word(); word != "of" {
		a.fail(fmt.Errorf("%q: want of", word))
	}
	return paxos.Majority(a.number())
}
