package paxostest

import (
	"fmt"
	"time"

	"github.com/singledecree/paxos"
)

// A Match selects messages. A zero field fits all.
type Match struct {
	From, To paxos.ServerID
	Kind     paxos.Kind
	Ballot   paxos.Ballot
	Instance string
	Nth      int // which of the messages that fit the other fields, from 1; 0: all
}

// fits reports whether m selects a message, if Nth is left out.
func (m Match) fits(from, to paxos.ServerID, msg paxos.Message) bool {
	return (m.From == 0 || m.From == from) && (m.To == 0 || m.To == to) && (m.Kind == 0 || m.Kind == msg.Kind) &&
		(m.Ballot.IsZero() || m.Ballot == msg.Ballot) && (m.Instance == "" || m.Instance == msg.Instance)
}

// String returns the text form of m in scripts: `1->3 accept 1.1 @lunch #2`. Parts that do not matter are left out.
func (m Match) String() string {
	text := ""
	if m.From != 0 || m.To != 0 {
		text += " " + star(m.From) + "->" + star(m.To)
	}
	if m.Kind != 0 {
		text += " " + m.Kind.String()
	}
	if !m.Ballot.IsZero() {
		text += " " + m.Ballot.String()
	}
	if m.Instance != "" {
		text += " @" + m.Instance
	}
	if m.Nth != 0 {
		text += fmt.Sprintf(" #%d", m.Nth)
	}
	if text == "" {
		return "all"
	}
	return text[1:]
}

func star(id paxos.ServerID) string {
	if id == 0 {
		return "*"
	}
	return fmt.Sprint(uint64(id))
}

// A fate is what happens to a message.
type fate uint8

const (
	fateArrive fate = iota
	fateLose
	fateHold
	fateDelay
	fateRepeat
)

// A rule gives the messages that match a fate. The first rule that fits a message decides.
type rule struct {
	Match
	fate fate
	d    time.Duration
	seen int
}

// hits reports whether the rule applies to a message, and counts those that fit.
func (r *rule) hits(from, to paxos.ServerID, msg paxos.Message) bool {
	if !r.fits(from, to, msg) {
		return false
	}
	r.seen++
	return r.Nth == 0 || r.Nth == r.seen
}
