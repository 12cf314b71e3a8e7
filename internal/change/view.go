// Package change has the values of a change of members. A [View] says under which configuration a server runs, and which acceptors and
// quorum an attempt has. [Imports] says how far a server has taken over the memory of the acceptors before. Both are pure: no clock, no
// goroutine, no messages.
package change

import (
	"slices"

	"github.com/singledecree/paxos"
)

// A View is the configuration under which a server runs. While it is joint, attempts ask the acceptors of the configuration before,
// too. A position is then a place among the acceptors of both.
//
//	joint      a phase-2 quorum of the acceptors is not known to be complete: see Joint of package paxos
//	settled    all phase-1 quorums have a complete acceptor, and the configuration before is not needed any more
//
// The zero View is not usable: see [NewView].
type View struct {
	current   paxos.Configuration
	before    paxos.Configuration // while it is joint
	joint     bool
	print     uint64           // the fingerprint of current
	acceptors []paxos.ServerID // by position
	inBefore  paxos.Set
	voters    paxos.Set // the acceptors of current
	complete  paxos.Set // the voters that are known to be complete
	quorum    paxos.Quorum
}

// IsConfiguration reports whether a configuration is decided in the instance of that name.
func IsConfiguration(name string) bool {
	if len(name) < 2 || name[0] != '$' || name[1] != 'c' {
		return false
	}
	_, ok := paxos.ConfigurationNumber(name)
	return ok
}

// NewView returns the view of a server under that configuration. It is settled.
func NewView(current paxos.Configuration) View {
	current.Members = current.Members.Clone()
	n := len(current.Members.Acceptors)
	return View{current: current, print: current.Fingerprint(), acceptors: current.Members.Acceptors, voters: paxos.All(n), complete: paxos.All(n),
		quorum: current.Members.Quorum}
}

// Joint returns the view of a server under the configuration next, while the one before it is needed. If both have the same
// acceptors and the same quorum, it is not needed: a phase-1 quorum of the one is a phase-1 quorum of the other.
func Joint(before, next paxos.Configuration) View {
	v := NewView(next)
	if before.Members.Voters() == next.Members.Voters() {
		return v
	}
	before.Members = before.Members.Clone()
	v.before, v.joint = before, true
	v.acceptors = slices.Concat(before.Members.Acceptors, next.Members.Acceptors)
	slices.Sort(v.acceptors)
	v.acceptors = slices.Compact(v.acceptors)
	v.voters, v.complete = 0, 0
	for i, id := range v.acceptors {
		if before.Members.Position(id) >= 0 {
			v.inBefore = v.inBefore.With(i)
		}
		if next.Members.Position(id) >= 0 {
			v.voters = v.voters.With(i)
		}
	}
	v.count()
	return v
}

// count makes the quorum of an attempt that begins now.
func (v *View) count() {
	q, err := paxos.Joint(v.before.Members.Quorum, v.inBefore, v.current.Members.Quorum, v.voters, v.complete)
	if err != nil {
		panic(err) // the sets were made from the two configurations
	}
	v.quorum = q
}

// Number returns the number of the configuration.
func (v *View) Number() uint64 { return v.current.Number }

// Current returns the configuration. Nobody changes its slices.
func (v *View) Current() paxos.Configuration { return v.current }

// Before returns the configuration before, if the view is joint.
func (v *View) Before() (before paxos.Configuration, joint bool) { return v.before, v.joint }

// IsJoint reports whether attempts ask the acceptors of the configuration before, too.
func (v *View) IsJoint() bool { return v.joint }

// Fingerprint returns the fingerprint of the configuration.
func (v *View) Fingerprint() uint64 { return v.print }

// Acceptors returns the acceptors by position. Nobody changes the slice.
func (v *View) Acceptors() []paxos.ServerID { return v.acceptors }

// Position returns the position of that server; -1: it is no acceptor.
func (v *View) Position(id paxos.ServerID) int {
	i, ok := slices.BinarySearch(v.acceptors, id)
	if !ok {
		return -1
	}
	return i
}

// Has reports whether that server is in the configuration.
func (v *View) Has(id paxos.ServerID) bool { return v.current.Members.Has(id) }

// Learners returns the other servers of the configuration, and those of the one before if the view is joint.
func (v *View) Learners() []paxos.ServerID {
	if !v.joint {
		return v.current.Members.Learners
	}
	all := slices.Concat(v.before.Members.Learners, v.current.Members.Learners)
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(id paxos.ServerID) bool { return v.Position(id) >= 0 })
}

// Voters returns the acceptors of the configuration. Nobody else is asked for a vote.
func (v *View) Voters() paxos.Set { return v.voters }

// Sources returns the acceptors of the configuration before, if the view is joint.
func (v *View) Sources() paxos.Set { return v.inBefore }

// Quorum returns the quorum of an attempt that begins now.
func (v *View) Quorum() paxos.Quorum { return v.quorum }

// IsSource reports whether these acceptors have a phase-1 quorum of the configuration before. An acceptor that has imported from all of
// them is complete.
func (v *View) IsSource(s paxos.Set) bool {
	return v.joint && v.before.Members.Quorum.Phase1(places(v.inBefore, s))
}

// IsComplete reports whether the acceptor at that position is known to be complete.
func (v *View) IsComplete(position int) bool { return v.complete.Has(position) }

// Complete returns the acceptors that are known to be complete.
func (v *View) Complete() paxos.Set { return v.complete }

// Completed notes that the acceptor at that position is complete. It reports whether that is news. Attempts that run keep the quorum
// with which they began.
func (v *View) Completed(position int) (news bool) {
	if !v.joint || !v.voters.Has(position) || v.complete.Has(position) {
		return false
	}
	v.complete = v.complete.With(position)
	v.count()
	return true
}

// IsVote reports whether b is the ballot of a vote that counts in this configuration. A vote of an earlier one counts there
// alone. The base of a configuration is no vote at all.
func (v *View) IsVote(b paxos.Ballot) bool {
	return b.Configuration() == v.current.Number && b.Server != 0
}

// IsSettled reports whether a phase-2 quorum is complete. Each phase-1 quorum then has a complete acceptor.
func (v *View) IsSettled() bool {
	return !v.joint || v.current.Members.Quorum.Phase2(places(v.voters, v.complete))
}

// places returns the members of s that are in place, each by its position among the members of place.
func places(place, s paxos.Set) (t paxos.Set) {
	n := 0
	for i := range paxos.MaxAcceptors {
		if place.Has(i) {
			if s.Has(i) {
				t = t.With(n)
			}
			n++
		}
	}
	return t
}
