package wal

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/singledecree/paxos"
)

// A script draws the Saves of a server from a seed: instances are promised, voted on and decided, the state goes on. Now and then
// names are dropped or forgotten, or members change.
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
	switch s.x.IntN(40) {
	case 0:
		b.Drop = append(b.Drop, s.names())
	case 1:
		s.forget(&b)
	case 2, 3:
		s.seal(&b)
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
		s.state(&b).Last = s.index + uint64(s.x.IntN(20))
	}
	return b
}

// state returns the state that b saves. If b saves none yet, it is that of before.
func (s *script) state(b *paxos.Batch) *paxos.ServerState {
	if b.Server == nil {
		state := s.model.state
		b.Server = &state
	}
	return b.Server
}

// names returns a few names, which lie side by side.
func (s *script) names() paxos.NameRange {
	from := s.x.IntN(s.next + 1)
	return paxos.NameRange{From: fmt.Sprintf("job/%05d", from), To: fmt.Sprintf("job/%05d", from+1+s.x.IntN(5))}
}

// forget adds what a server saves when it forgets a range of names: the Drop, the record of the range, and how many such records there
// may be. A later range may take the place of an earlier one.
func (s *script) forget(b *paxos.Batch) {
	state := s.state(b)
	number := s.x.Uint64N(state.Forgotten + 1)
	state.Forgotten = max(state.Forgotten, number+1)
	names := s.names()
	s.index++
	record := paxos.Record{Instance: fmt.Sprintf("$forgotten/%d", number), Acceptor: paxos.Acceptor{}.Forget(), Chosen: true, Index: s.index}
	record.Acceptor.Accepted, record.Acceptor.Value = record.Acceptor.Promised, paxos.Value(names.String())
	b.Drop, b.Records = append(b.Drop, names), append(b.Records, record)
}

// seal adds what a server saves when it learns the next configuration: its state under that, and the decision.
func (s *script) seal(b *paxos.Batch) {
	state := s.state(b)
	was := paxos.Configuration{Members: paxos.Members{Cluster: state.Cluster, Acceptors: members.Acceptors}}
	if state.Configuration != "" {
		var err error
		if was, err = paxos.ParseConfiguration(state.Configuration); err != nil {
			panic(err)
		}
	}
	m := was.Members.Clone()
	m.Acceptors[len(m.Acceptors)-1]++ // a new server in place of one
	next, err := was.Next(m)
	if err != nil {
		panic(err)
	}
	state.Configuration, state.Before, state.Members, state.Import = next.String(), was.String(), next.Members.Voters(), ""
	s.index++
	b.Records = append(b.Records, decided(next.Name(), s.index, next.String()))
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
