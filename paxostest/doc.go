// Package paxostest is the test kit of package paxos, for its own tests and for those of the services, storages and
// transports built on it.
//
// A Sim is a whole cluster in one goroutine and in virtual time: Replicas, their disks and the network between them, under a
// script that says who fails when. After every event it checks that agreement and its kin hold; what happened prints as a
// log or as a space-time diagram.
//
// A Chaos is a Sim in which one seed decides what goes wrong. The same seed does the same again, bit for bit, and what fails
// shrinks to a short trace.
//
// TestStorage is the suite that every Storage must pass: one subtest for each thing that a Storage promises.
//
// A Network and a CrashStorage are for real Nodes, and so for services built on them: a Transport that loses, delays, repeats
// and reorders, and a Storage that crashes and fails when it is told to. They are best used in a testing/synctest bubble, in
// which time costs nothing.
//
// TestTransport checks a Transport of your own.
package paxostest
