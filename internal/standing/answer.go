package standing

import "github.com/singledecree/paxos"

// An Entry is what a server knows of one ordinary name, durable or not. The zero Entry is that of a name with no record at all.
type Entry struct {
	Record  paxos.Acceptor
	Chosen  bool   // the decision is known, or the name is forgotten
	Index   uint64 // of that; 0: it has none yet
	Unknown bool   // the record is still being loaded, or a SafetyError has stopped the instance
}

// IsListed reports whether an Answer lists the name. saved is the highest Index that is durable: the Index of the Answer. A decision
// of which a pull up to that Index tells is not listed. Each other name is listed if the acceptor may have voted, or may know the decision.
// Votes that are not saved count, as do votes below an earlier floor.
func (e Entry) IsListed(saved uint64) bool {
	if e.Unknown {
		return true
	}
	if e.Chosen {
		return e.Index == 0 || e.Index > saved
	}
	return !e.Record.Accepted.IsZero()
}

// Limits of an Answer. An acceptor with a longer list does not promise: it says so, and the server asks again later.
const (
	MaxNames = 1 << 16 // names of a list
	MaxBytes = 1 << 20 // bytes of all its names together
)

// An Answer is what an acceptor says with its promise of a standing ballot. It is fixed at the Step of the promise: see [Floor.Step].
type Answer struct {
	Index uint64   // the highest Index that was durable at that Step
	Names []string // all names that were listed at that Step: see [Entry.IsListed]; never written again
}

// Fits reports whether the list is within the limits.
func (a Answer) Fits() bool {
	bytes := 0
	for _, name := range a.Names {
		bytes += len(name)
	}
	return len(a.Names) <= MaxNames && bytes <= MaxBytes
}
