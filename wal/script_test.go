package wal

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/singledecree/paxos"
)

// A script draws the Saves of a server from a seed: instances are promised, voted on and decided, the state goes on, and now and
// then names are dropped.
type script struct {
	x     *rand.Rand
	model *model
	next  int // name
	index uint64
	big   int // bytes of a value, at most
}

// newScript begins with the state that Create gave the log.
func newScript(x *rand.Rand, big int, l *Log) *script {
	s := &script{x: x, model: newModel(), big: big}
	s.model.state = l.state
	return s
}

func (s *script) value() string {
	return strings.Repeat(string(rune('a'+s.x.IntN(26))), s.x.IntN(s.big))
}

// batch returns the next Save.
func (s *script) batch() (b paxos.Batch) {
	if s.model.state.Boot == 0 || s.x.IntN(8) == 0 {
		state := s.model.state
		state.Boot++
		state.Rounds += 10
		state.Pulled = fmt.Sprintf("2/9f/%d", s.x.IntN(1000))
		b.Server = &state
	}
	if s.x.IntN(20) == 0 {
		from := s.x.IntN(s.next + 1)
		b.Drop = append(b.Drop, paxos.NameRange{From: fmt.Sprintf("job/%05d", from), To: fmt.Sprintf("job/%05d", from+s.x.IntN(5))})
	}
	seen := map[string]bool{}
	for range 1 + s.x.IntN(4) {
		n := max(0, s.next-s.x.IntN(6))
		if n == s.next {
			s.next++
		}
		name := fmt.Sprintf("job/%05d", n)
		if seen[name] {
			continue
		}
		seen[name] = true
		r, round := s.model.records[name], uint64(1+s.x.IntN(3))
		round += r.Acceptor.Promised.Round
		switch {
		case r.Chosen:
			continue
		case !r.Acceptor.Accepted.IsZero() && s.x.IntN(3) > 0:
			r = s.decide(r)
		case s.x.IntN(4) == 0:
			r = paxos.Record{Instance: name, Acceptor: r.Acceptor}
			r.Acceptor.Promised = ballot(round)
		case s.x.IntN(4) > 0:
			r = voted(name, round, s.value())
		default:
			r = s.decide(paxos.Record{Instance: name})
		}
		b.Records = append(b.Records, r)
	}
	if s.index > s.model.state.Last {
		state := s.model.state
		if b.Server != nil {
			state = *b.Server
		}
		state.Last = s.index + uint64(s.x.IntN(20))
		b.Server = &state
	}
	return b
}

// decide returns a decision about the instance of the record r. Mostly it has the value and the ballot of the vote, so that it becomes a
// mark.
func (s *script) decide(r paxos.Record) paxos.Record {
	s.index += 1 + uint64(s.x.IntN(2))
	decision := decided(r.Instance, s.index, s.value())
	if v := r.Acceptor; !v.Accepted.IsZero() && s.x.IntN(6) > 0 {
		if decision.Acceptor.Value = v.Value; s.x.IntN(3) > 0 {
			decision.Acceptor = v
		}
	}
	return decision
}

// run saves n batches on the log. Marks tell where each Save began and ended.
func (s *script) run(l *Log, n int, mark func(begun, saved *model)) error {
	for range n {
		b := s.batch()
		before, after := s.model, s.model.clone()
		after.apply(b)
		mark(after, before)
		if err := l.Save(b); err != nil {
			return err
		}
		s.model = after
		mark(nil, after)
		if s.x.IntN(8) == 0 {
			l.saved = time.Time{}
			l.sealDue()
			if err := l.alive(); err != nil {
				return err
			}
		}
	}
	return nil
}
