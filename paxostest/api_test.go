package paxostest_test

import (
	"testing"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/paxostest"
)

// The names and signatures that tests outside the repository compile against.
var (
	_ func(paxostest.NetworkConfig) *paxostest.Network                          = paxostest.NewNetwork
	_ func(*paxostest.Network, paxos.ServerID) paxos.Transport                  = (*paxostest.Network).Join
	_ func(*paxostest.Network, paxostest.NetworkConfig)                         = (*paxostest.Network).Change
	_ []func(*paxostest.Network, paxos.ServerID)                                = []func(*paxostest.Network, paxos.ServerID){(*paxostest.Network).Mute, (*paxostest.Network).Deafen, (*paxostest.Network).Isolate}
	_ []func(*paxostest.Network, paxos.ServerID, paxos.ServerID)                = []func(*paxostest.Network, paxos.ServerID, paxos.ServerID){(*paxostest.Network).Cut, (*paxostest.Network).CutOneWay}
	_ func(*paxostest.Network)                                                  = (*paxostest.Network).Heal
	_ func(*paxostest.Network, paxostest.Match)                                 = (*paxostest.Network).Drop
	_ func(*paxostest.Network)                                                  = (*paxostest.Network).Clear
	_ func(*paxostest.Network) paxostest.NetworkStats                           = (*paxostest.Network).Stats
	_ paxos.Storage                                                             = (*paxostest.CrashStorage)(nil)
	_ func() *paxostest.CrashStorage                                            = paxostest.NewCrashStorage
	_ func(*paxostest.CrashStorage) *paxostest.CrashStorage                     = (*paxostest.CrashStorage).Crash
	_ func(*paxostest.CrashStorage) *paxostest.CrashStorage                     = (*paxostest.CrashStorage).CrashKept
	_ func(*paxostest.CrashStorage, paxostest.Failure)                          = (*paxostest.CrashStorage).Fail
	_ func(*paxostest.CrashStorage, string, time.Duration)                      = (*paxostest.CrashStorage).Delay
	_ []func(*paxostest.CrashStorage)                                           = []func(*paxostest.CrashStorage){(*paxostest.CrashStorage).Hang, (*paxostest.CrashStorage).Release}
	_ func(*paxostest.Network, ...paxos.ServerID)                               = (*paxostest.Network).Partition
	_ func(testing.TB, paxostest.ClusterConfig) *paxostest.Cluster              = paxostest.NewCluster
	_ []func(*paxostest.Cluster, paxos.ServerID) *node.Node                     = []func(*paxostest.Cluster, paxos.ServerID) *node.Node{(*paxostest.Cluster).Node, (*paxostest.Cluster).Start, (*paxostest.Cluster).Add}
	_ []func(*paxostest.Cluster, paxos.ServerID)                                = []func(*paxostest.Cluster, paxos.ServerID){(*paxostest.Cluster).Crash, (*paxostest.Cluster).Stop, (*paxostest.Cluster).Wipe}
	_ func(*paxostest.Cluster, paxos.ServerID, paxostest.Match) func()          = (*paxostest.Cluster).CrashOn
	_ func(*paxostest.Cluster, paxos.ServerID) *paxostest.CrashStorage          = (*paxostest.Cluster).Disk
	_ func(*paxostest.CrashStorage, string) int                                 = (*paxostest.CrashStorage).Calls
	_ func(*paxostest.CrashStorage) []paxos.Batch                               = (*paxostest.CrashStorage).Batches
	_ func(*testing.T, func(*testing.T, string) paxos.Storage)                  = paxostest.TestStorage
	_ func(paxostest.SimConfig) *paxostest.Sim                                  = paxostest.NewSim
	_ func(*paxostest.Sim, paxos.ServerID, string, paxos.Value) *paxostest.Call = (*paxostest.Sim).Propose
	_ func(*paxostest.Sim, paxos.ServerID, string) string                       = (*paxostest.Sim).Mint
	_ []func(*paxostest.Sim, paxos.ServerID, string) *paxostest.Call            = []func(*paxostest.Sim, paxos.ServerID, string) *paxostest.Call{(*paxostest.Sim).Wait, (*paxostest.Sim).Read}
	_ []func(*paxostest.Sim)                                                    = []func(*paxostest.Sim){(*paxostest.Sim).Run, (*paxostest.Sim).Clear, (*paxostest.Sim).Heal}
	_ []func(*paxostest.Sim, paxos.ServerID)                                    = []func(*paxostest.Sim, paxos.ServerID){(*paxostest.Sim).Crash, (*paxostest.Sim).CrashSaved, (*paxostest.Sim).Restart, (*paxostest.Sim).Pause, (*paxostest.Sim).Resume, (*paxostest.Sim).HangSave}
	_ []func(*paxostest.Sim, paxostest.Match)                                   = []func(*paxostest.Sim, paxostest.Match){(*paxostest.Sim).Drop, (*paxostest.Sim).Hold, (*paxostest.Sim).Release, (*paxostest.Sim).Replay}
	_ []func(*paxostest.Sim) string                                             = []func(*paxostest.Sim) string{(*paxostest.Sim).Draw, (*paxostest.Sim).Text}
	_ []func(*paxostest.Sim, string)                                            = []func(*paxostest.Sim, string){(*paxostest.Sim).CrashRegion, (*paxostest.Sim).RestartRegion, (*paxostest.Sim).IsolateRegion}
	_ func(paxostest.Regions) error                                             = paxostest.Regions.Check
	_ func(paxostest.Regions, string, string) time.Duration                     = paxostest.Regions.RoundTrip
	_ func(paxostest.Regions, string) []paxos.ServerID                          = paxostest.Regions.Servers
	_ func(*paxostest.Sim, ...paxos.Kind) string                                = (*paxostest.Sim).DrawWithout
	_ func(uint64) paxostest.Chaos                                              = paxostest.NewChaos
	_ func(paxostest.Chaos, bool) paxostest.ChaosResult                         = paxostest.Chaos.Run
	_ func(paxostest.Chaos) paxostest.Chaos                                     = paxostest.Chaos.Shrink
	_ func(*testing.T, func(*testing.T, ...paxos.ServerID) []paxos.Transport)   = paxostest.TestTransport

	_ func(*testing.T, func(*testing.T, paxos.ServerID) (paxos.ReachTransport, string)) = paxostest.TestReach
)
