package replica

import (
	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/durable"
	"github.com/singledecree/paxos/internal/page"
	"github.com/singledecree/paxos/internal/standing"
)

// standFor takes a Stand.
func (r *Replica) standFor(from *peer, m *paxos.Message) {
	s := &r.stands
	nack := paxos.Message{Kind: paxos.KindNack, Ballot: m.Ballot}
	if _, _, ok := s.floor.Step(m.Ballot); !ok {
		nack.Promised = s.floor.Promised()
		r.send(from, &nack)
		return
	}
	if from.stood != 0 && r.now-from.stood < r.timing.Phase/2 {
		r.counters.Dropped++ // it was answered just now, and an answer takes long to make. The Stand comes again
		return
	}
	from.stood = max(r.now, 1)
	answer, ok := r.listVotes()
	var text paxos.Value
	if ok {
		text = answer.Text(r.server.Store)
	}
	if !ok || len(text) > max(from.maxPacket, page.MaxBytes) {
		r.send(from, &nack) // not now
		return
	}
	wait := r.promiseFloor(m.Ballot)
	s.policy.OtherStands(r.now)
	stood := paxos.Message{Kind: paxos.KindStood, Ballot: m.Ballot, Value: text}
	if wait == durable.Saved {
		r.send(from, &stood)
		return
	}
	s.hold(heldStood{to: from, m: stood, wait: wait})
}

// stoodBy takes a Stood. Decisions up to its Index are pulled at once: see notice.
func (r *Replica) stoodBy(from *peer, m *paxos.Message) {
	own := r.stands.own
	if own == nil {
		return
	}
	a, store, ok := standing.ParseAnswer(m.Value)
	if !ok || store != from.identity.store() {
		r.counters.Dropped++
		return
	}
	own.Hear(from.position, m.Ballot, store, a)
}

// standRefused takes the Nack of a Stand. A server that has promised more is worth an end. One that can't promise now is asked again.
func (r *Replica) standRefused(m *paxos.Message) {
	own := r.stands.own
	if own == nil || m.Ballot != own.Number() || !own.Number().Less(m.Promised) {
		return
	}
	r.endStand()
	r.rounds.above(min(m.Promised.Round, lastStanding(r.view.Number()))) // the next one is above
	r.reserveRounds()
}
