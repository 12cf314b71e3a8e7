// Package paxos lets the replicas of a service agree, once and for all, on named values. Each name is one instance of
// single-decree Paxos: a register that is written once. Any server may propose at any time. There is no leader, no log and
// no state machine, and the service goes on when a minority of servers stops.
//
// A service imports this package and [github.com/singledecree/paxos/node]. It starts a Node on each of its servers, on a
// [Storage] and a [Transport], and calls Propose:
//
//	server, err := node.Start(ctx, node.Config{ID: 1, Members: members, Storage: storage, Transport: transport})
//	…
//	d, err := server.Propose(ctx, "leader of shard 7", "server 3")
//
// The [Decision] is the chosen value, whichever server proposed it. Every server of the cluster gets the same one, for ever.
//
// This package has the words, the roles of the paper as plain values ([Acceptor], [Proposer], [Learner]), and the interfaces.
// These packages stand on it:
//
//   - [github.com/singledecree/paxos/node] runs one server.
//   - [github.com/singledecree/paxos/replica] is the same protocol as one pure state machine, for a host with a loop of its own.
//   - [github.com/singledecree/paxos/wal] is a Storage on disk.
//   - [github.com/singledecree/paxos/tcp] is a Transport between machines.
//   - [github.com/singledecree/paxos/memory] has both in memory, for trials and tests.
//   - [github.com/singledecree/paxos/paxostest] tests services, Storages and Transports.
package paxos
