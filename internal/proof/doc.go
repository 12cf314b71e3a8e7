// Package proof holds the tests of the whole: servers together, under every fault, and the cost of a decision. It has no
// code but tests.
//
//   - The swarm: clusters in which one seed decides what goes wrong. TestSwarm, TestSwarmCoverage; testdata/swarm-seeds.txt.
//   - Traces: scripts, and all that happens in them. TestTrace, TestRegress; testdata/trace, testdata/regress.
//   - A living cluster must get on: TestTakeover…, TestCatchUp…, TestDuels….
//   - Histories of real Nodes are linearizable.
//   - Mutants: each sabotage of testdata/mutants.txt is caught by some test.
//   - Costs of a decision: messages, Saves, round trips, allocations; benchmarks.
package proof
