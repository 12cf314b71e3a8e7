//go:build race

package paxos

const exRace = true
