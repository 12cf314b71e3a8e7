package paxos

// A Decision is the value that was chosen in an instance, whichever server proposed it. It is comparable.
type Decision struct {
	Instance string
	Value    Value
	// Ballot is the ballot in which this server learned of the decision. It is for diagnosis, and may differ between servers.
	Ballot Ballot
}

// A Learned is a decision with its place in this server's own order of decisions.
type Learned struct {
	Decision
	// Index rises, with gaps. On this server it means this decision for ever, also after a restart. Another server numbers
	// its decisions in another order.
	Index uint64
}
