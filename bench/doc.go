// Command bench measures package paxos and what a user would pick instead of it on the same work, in one run:
//
//	go run -C bench . -out ../docs
//
// It is a module of its own, so that only its users need the peers, which require go 1.26. The peers share the module: whoever runs this
// compiles them anyway, once. docs/performance.md says what it does and what came out; it writes the tables and drawings there.
//
// Each measured run is a process of its own, so that the memory and the garbage of one don't disturb the next. The parent
// goes through all contestants once in a round, and takes medians over the rounds.
package main
