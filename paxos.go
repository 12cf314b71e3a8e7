// Package paxos lets the replicas of a service agree, once and for all, on named values. Each name is one instance of
// single-decree Paxos: a register that is written once. Any server may propose at any time; there is no leader, no log
// and no state machine, and the loss of any minority of servers is never noticed as a pause.
//
// A service starts a Node on each of its servers, gives it a Storage and a Transport, and calls Propose:
//
//	d, err := node.Propose(ctx, "leader of shard 7", "server 3")
//
// The Decision is what was chosen, whoever proposed it, and every server of the cluster gets the same one, for ever.
//
// Below the Node lies the Replica, the same protocol as one pure state machine, for hosts with a loop of their own; below
// that the roles of Paxos as plain values: Acceptor, Proposer and Learner.
package paxos
