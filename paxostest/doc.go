// Package paxostest is the test kit of package paxos. It serves the tests of that package, and of the services, storages and transports
// built on it.
//
// [NewCluster] is for the test of a service: it starts real Nodes, on a network and on disks that the test controls. Packets are lost,
// links break, servers crash and come back, and disks hang. It is best used in a testing/synctest bubble, where time costs nothing.
//
// Its parts serve alone, too. A [Network] is a Transport that loses, delays, repeats and reorders. A [CrashStorage] is a Storage that
// crashes and fails on command.
//
// A [Sim] is a whole cluster in one goroutine and in virtual time: Replicas, their disks and the network between them. A script says what
// fails, and when. After every event the Sim checks agreement and the other invariants. It prints the run as a log or as a space-time
// diagram.
//
// [Regions] has the delays between regions, for a Sim or a Network. A test then shows what a service on several continents waits for.
//
// A [Chaos] is a Sim in which one seed decides what goes wrong. The same seed gives the same run, bit for bit. A run that fails shrinks
// to a short trace.
//
// [TestStorage] is the suite that every Storage must pass: one subtest for each rule.
//
// [TestTransport] checks a Transport of your own, and [TestReach] one that learns at run time where the servers are.
package paxostest
