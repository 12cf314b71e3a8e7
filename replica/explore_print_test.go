package replica

import (
	"fmt"
	"strings"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/explore"
)

// text tells a violation, one line for each step. A server comes first, by its number from 1; then what it does:
//
//	1: prepare 2.1                     its proposer begins a ballot
//	2: promise 2.1 (1.1 "a")           it receives the Prepare, and says this
//	1: accept 2.1 "a"                  its proposer asks for votes
//	2: accepted 2.1 "a"                it receives the Accept, and votes
//	2: …, held until the Save that runs ends | until the next Save ends
//	2: Save begins (promised 2.1, accepted -)
//	2: Save ends, and sends promise 2.1 (-)
//	2: crashes (promised -, accepted -)
func (x *exSpace) text(v *explore.Violation) string {
	var b strings.Builder
	for i, step := range v.Steps[1:] {
		fmt.Fprintln(&b, x.stepText(exAction(step.Action), v.Steps[i].State, step.State))
	}
	fmt.Fprintf(&b, "=> %v\n", v.Err)
	return b.String()
}

func (x *exSpace) stepText(a exAction, from, to []uint64) string {
	server, message, reply := int(a>>8&0xff), int(a>>16&0xff), int(a>>24&0xff)-1
	switch a & 0xff {
	case exPrepare:
		return fmt.Sprintf("%d: prepare %s", x.owners[message]+1, x.ballots[message])
	case exAsk:
		return fmt.Sprintf("%d: %s%s", x.owners[message/len(x.values)]+1, x.messageText(len(x.ballots)+message), x.ownedText(message))
	}
	if server >= x.n {
		return fmt.Sprintf("%d: starts again", server+1) // it does not vote, and has nothing to remember
	}
	before, after := x.unpack(server, from[server]), x.unpack(server, to[server])
	durable := exAcceptorText(x.acceptors[after.durable])
	switch a & 0xff {
	case exBegin:
		return fmt.Sprintf("%d: Save begins (%s)", server+1, exAcceptorText(x.acceptors[after.snapshot-1]))
	case exEnd:
		said := x.repliesText(after.sent &^ before.sent)
		if said != "" {
			said = ", and sends " + said
		}
		return fmt.Sprintf("%d: Save ends%s", server+1, said)
	case exCrash:
		return fmt.Sprintf("%d: crashes and starts again (%s)", server+1, durable)
	}
	if reply < 0 {
		return fmt.Sprintf("%d: receives %s, and is silent", server+1, x.messageText(message))
	}
	held := [...]string{
		saved: "", running: ", held until the Save that runs ends", gathering: ", held until the next Save ends",
	}
	return fmt.Sprintf("%d: %s%s", server+1, x.replyText(x.replies[reply]), held[a>>32])
}

// messageText tells what an acceptor is sent.
func (x *exSpace) messageText(k int) string {
	m := x.messages[k][0]
	if m.Kind == paxos.KindPrepare {
		return "prepare " + m.Ballot.String()
	}
	return fmt.Sprintf("accept %s %q", m.Ballot, m.Value)
}

func (x *exSpace) repliesText(replies uint64) string {
	var all []string
	for i, r := range x.replies {
		if replies>>i&1 == 1 {
			all = append(all, x.replyText(r))
		}
	}
	return strings.Join(all, ", ")
}
