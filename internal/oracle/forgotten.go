package oracle

import (
	"fmt"
	"slices"
	"strings"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/words"
)

// ToForget tells of a call of Forget.
func (o *Oracle) ToForget(names paxos.NameRange) { o.toForget.add(names) }

// Forgot tells of a Forget that returned without an error: a quorum has forgotten the names.
func (o *Oracle) Forgot(s *Server, names paxos.NameRange) error {
	o.forgot.add(names)
	if !s.forgetsAll(names, paxos.Batch{}) {
		return fmt.Errorf("I13 is broken: a Forget of %s ended well at server %d, and its disk has not forgotten them", names, s.ID)
	}
	var have []*Server
	for _, other := range o.servers {
		if other.Wiped() || other.forgetsAll(names, paxos.Batch{}) { // a lost disk had it, perhaps
			have = append(have, other)
		}
	}
	quorum := func(c *configuration) bool { return c.quorum.Phase2(c.set(have)) }
	if !o.Unseen && !slices.ContainsFunc(o.configurations, quorum) {
		return fmt.Errorf("I13 is broken: a Forget of %s ended well at server %d, and only %d servers have forgotten them", names, s.ID, len(have))
	}
	return nil
}

// IsForgot reports whether a Forget of the instance has returned without an error.
func (o *Oracle) IsForgot(instance string) bool {
	return !isInternal(instance) && o.forgot.covers(paxos.OneName(instance))
}

// ToldForgotten tells of a call that ended because the instance is forgotten.
func (o *Oracle) ToldForgotten(s *Server, instance string) error {
	if !s.Disk.Forgets(instance) {
		return o.history(instance).broken("I13", "a call at server %d was told that it is forgotten, and on the disk it is not", s.ID)
	}
	return nil
}

// savedForgotten checks I13 for a Batch. Only forgotten records are dropped. Some call asked to forget them, and they stay forgotten.
func (o *Oracle) savedForgotten(s *Server, b paxos.Batch) error {
	for name, r := range s.Disk.ranges {
		if slices.ContainsFunc(b.Records, func(rec paxos.Record) bool { return rec.Instance == name }) ||
			slices.ContainsFunc(b.Drop, func(d paxos.NameRange) bool { return d.Has(name) }) {
			if !o.batchForgets(b, r) {
				return fmt.Errorf("I13 is broken: server %d takes back that %s is forgotten", s.ID, r)
			}
		}
	}
	for _, d := range b.Drop {
		for name := range s.Disk.Records {
			if d.Has(name) && !strings.HasPrefix(name, rangeRecord) && (isInternal(name) || !o.batchForgets(b, paxos.OneName(name))) {
				return o.history(name).broken("I3", "server %d drops it, and forgets nothing of it", s.ID)
			}
		}
	}
	for _, rec := range b.Records {
		names, forgets := rangeOf(rec)
		switch {
		case forgets && !o.toForget.covers(names):
			return fmt.Errorf("I2 is broken: server %d forgets %s, and no call asked for that", s.ID, names)
		case !forgets && !isInternal(rec.Instance) && (s.Disk.Forgets(rec.Instance) || o.batchForgets(b, paxos.OneName(rec.Instance))):
			return o.history(rec.Instance).broken("I13", "server %d saves %s, and has forgotten it", s.ID, words.Record(rec))
		}
	}
	return nil
}

// batchForgets reports whether b says that all these names are forgotten.
func (o *Oracle) batchForgets(b paxos.Batch, names paxos.NameRange) bool {
	return slices.ContainsFunc(b.Records, func(rec paxos.Record) bool {
		r, ok := rangeOf(rec)
		return ok && r.Covers(names)
	})
}

// sentForgotten checks I5 and I13 for a message: a server says that an instance is forgotten when it is so on the disk, and then says
// nothing else of it. done is false if m needs the other checks, too.
func (o *Oracle) sentForgotten(s *Server, m *paxos.Message) (done bool, err error) {
	says := m.Kind == paxos.KindNack && m.Promised.IsForgotten()
	names := paxos.OneName(m.Instance)
	switch m.Kind {
	case paxos.KindNack:
		if more, err := paxos.ParseNameRange(string(m.Value)); says && err == nil {
			names = more // all of it is believed
		}
	case paxos.KindForget, paxos.KindForgotten:
		says = m.Kind == paxos.KindForgotten
		if m.Instance == "" {
			if names, err = paxos.ParseNameRange(string(m.Value)); err != nil {
				return true, fmt.Errorf("server %d sends %s: %w", s.ID, words.Message(*m), err)
			}
		}
		if !o.toForget.covers(names) {
			return true, fmt.Errorf("I2 is broken: server %d sends %s, and no call asked for that", s.ID, words.Message(*m))
		}
		if !says {
			return true, nil
		}
	}
	switch {
	case m.Kind == paxos.KindForgotten && o.hasLeft(s): // it says no more than that it is sealed
	case says && !s.forgetsAll(names, paxos.Batch{}):
		return true, fmt.Errorf("I5 is broken: server %d sends %s, and on its disk it is not forgotten", s.ID, words.Message(*m))
	case m.Kind == paxos.KindQuery && ofImport(m.Ballot):
		return true, nil // it need not look whether it has forgotten the instance: the answer is taken over, and changes nothing
	case !says && s.Disk.Forgets(m.Instance):
		return true, o.history(m.Instance).broken("I13", "server %d sends %s, and has forgotten it", s.ID, words.Message(*m))
	}
	return says, nil
}
