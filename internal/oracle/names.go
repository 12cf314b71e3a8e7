package oracle

import (
	"cmp"
	"slices"
	"strings"

	"github.com/singledecree/paxos"
)

// A server stores the record of a range of forgotten names under a name that begins like this. Its value is the range.
const rangeRecord = "$forgotten/"

// rangeOf returns the names that were forgotten by saving rec. ok is false if none were.
func rangeOf(rec paxos.Record) (names paxos.NameRange, ok bool) {
	if !rec.Acceptor.Promised.IsForgotten() {
		return names, false
	}
	if !strings.HasPrefix(rec.Instance, rangeRecord) {
		return paxos.OneName(rec.Instance), true
	}
	names, err := paxos.ParseNameRange(string(rec.Acceptor.Value))
	return names, err == nil
}

// A nameSet is a set of names: ranges that do not touch, in their order.
type nameSet []paxos.NameRange

// add adds a range.
func (s *nameSet) add(r paxos.NameRange) {
	var kept nameSet
	for _, e := range *s {
		if e.To < r.From || r.To < e.From {
			kept = append(kept, e)
		} else {
			r = paxos.NameRange{From: min(r.From, e.From), To: max(r.To, e.To)}
		}
	}
	*s = append(kept, r)
	slices.SortFunc(*s, func(a, b paxos.NameRange) int { return cmp.Compare(a.From, b.From) })
}

// covers reports whether all names of r are in s.
func (s nameSet) covers(r paxos.NameRange) bool {
	return slices.ContainsFunc(s, func(e paxos.NameRange) bool { return e.Covers(r) })
}

// isInternal reports whether servers keep a name for themselves: no range holds it.
func isInternal(name string) bool {
	return strings.HasPrefix(name, "$") && (len(name) == 1 || name[1] < '0' || name[1] > '9')
}

// ofImport reports whether b has one of the last two rounds of its configuration. It is of a question of an import, or for the next
// configuration, and its answer counts for nothing else.
func ofImport(b paxos.Ballot) bool { return b.Round&paxos.MaxRound >= paxos.MaxRound-1 }
