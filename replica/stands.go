package replica

import (
	"slices"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/durable"
	"github.com/singledecree/paxos/internal/standing"
)

// stands is what a server knows of standing ballots, as an acceptor and as the server that stands.
type stands struct {
	off    bool           // this server does not stand
	floor  standing.Floor // the promise of this acceptor, and whether it is durable
	held   []heldStood    // answers that wait for that
	policy standing.Policy
	others standing.Forwarding
	asked  int // attempts that run for other servers, which have forwarded the values

	aside paxos.Ballot     // a ballot that no attempt uses, for the next time; zero: none
	own   *standing.Ballot // of this server; nil: it does not stand
	since time.Duration    // when the acceptors were asked to promise it
	sent  int              // how often
	at    time.Duration    // when this server stands, or asks the silent again; 0: never
	waits bool             // it stands as soon as a round is reserved
}

// A heldStood is an answer that waits for the promise in it to be durable.
type heldStood struct {
	to   *peer // nil: this server itself
	m    paxos.Message
	wait durable.Stage
}

// begin takes up what is stored.
func (s *stands) begin(now time.Duration, c *Config) {
	s.off, s.floor, s.policy.Alive = c.NoStanding, standing.Stored(c.State.Floor), c.Timing.Silence
	if c.State.Floor.Server != 0 && c.State.Floor.Server != c.State.ID {
		s.policy.OtherStands(now) // it may stand still
	}
}

// next returns when standDue is to be called; 0: never.
func (s *stands) next() time.Duration { return s.at }

// isWaiting reports whether this server stands as soon as a round is reserved.
func (s *stands) isWaiting() bool { return s.waits }

// isDue reports whether standDue is to be called.
func (s *stands) isDue(now time.Duration) bool { return s.at != 0 && s.at <= now }

// saveBegins notes that the promise is in the Save that begins.
func (s *stands) saveBegins() {
	s.floor = s.floor.Begin()
	for i := range s.held {
		s.held[i].wait = s.held[i].wait.Begin()
	}
}

// saveEnds notes that the promise is durable, as it was when the Save began. It returns the answers that waited for that.
func (s *stands) saveEnds() (answers []heldStood) {
	s.floor = s.floor.End()
	keep := s.held[:0]
	for _, h := range s.held {
		if h.wait = h.wait.End(); h.wait == durable.Saved {
			answers = append(answers, h)
		} else {
			keep = append(keep, h)
		}
	}
	clear(s.held[len(keep):])
	s.held = keep
	return answers
}

// hold keeps an answer for its time. A later answer to the same server takes the place of an earlier one.
func (s *stands) hold(h heldStood) {
	s.held = append(slices.DeleteFunc(s.held, func(e heldStood) bool { return e.to == h.to }), h)
}

// status is [paxos.Status].Standing.
func (s *stands) status(now time.Duration) paxos.StandingStatus {
	st := paxos.StandingStatus{Promised: s.floor.Promised()}
	if s.own != nil {
		st.Stands, st.Ready = max(now-s.since, 1), s.own.IsReady()
	}
	return st
}

// asideAbove returns the ballot that was set aside, if it is above the promise of this acceptor still. Else it gives that up, and returns the zero
// Ballot.
func (s *stands) asideAbove() paxos.Ballot {
	if !s.floor.Promised().Less(s.aside) {
		s.aside = paxos.Ballot{}
	}
	return s.aside
}

// number returns the ballot of this server, which stands.
func (s *stands) number() paxos.Ballot { return s.own.Number() }

// leaveConfiguration ends all that belongs to the configuration that this server leaves.
func (s *stands) leaveConfiguration() {
	s.own, s.at, s.waits, s.aside = nil, 0, false, paxos.Ballot{}
	s.policy.OtherEnds()
	clear(s.held)
	s.held = s.held[:0]
}

// asks notes that a server has forwarded a value. Of its Forwards only the latest waits for an answer.
func (inst *instance) asks(a asker) {
	for i := range inst.askers {
		if known := &inst.askers[i]; known.peer == a.peer {
			if known.ballot.Less(a.ballot) {
				known.ballot = a.ballot
			}
			return
		}
	}
	inst.askers = append(inst.askers, a)
}

// forgetAskers forgets them: they were answered.
func (inst *instance) forgetAskers() {
	clear(inst.askers)
	inst.askers = inst.askers[:0]
}
