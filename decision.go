package paxos

// A Decision is what was chosen in an instance, whoever proposed it. It is comparable.
type Decision struct {
	Instance string
	Value    Value
	// Ballot is for diagnosis: the one in which this server learned of the decision. Servers may differ.
	Ballot Ballot
}

// A Learned is a decision with its place in this server's own order of decisions.
type Learned struct {
	Decision
	// Index rises, with gaps. It means this decision for ever, also after a restart; on another server it means another.
	Index uint64
}
