package paxostest

import (
	"fmt"
	"time"

	"github.com/singledecree/paxos"
)

// A Chaos is all that goes wrong in one run of a cluster. It is data: the fate of each packet, and the faults with their times. [NewChaos]
// draws one from a seed. The same Chaos gives the same run, bit for bit.
//
// A run has two parts. Until Ends, faults happen. Then all of them end, and servers that are down start again. Within a bound, every
// server must know every decision, and everything that any server can finish must be decided (I10).
type Chaos struct {
	Seed     uint64
	Servers  int          // acceptors
	Learners int          // servers that do not vote
	Quorum   paxos.Quorum // nil: a majority
	Limits   paxos.Limits
	Timing   paxos.Timing
	Delay    time.Duration // of every message, one way, at least
	SaveTime time.Duration // of every Save
	ReadTime time.Duration // of every Load and every List, at most: each takes a random time, so they end in any order

	Loss   float64       // share of packets that are lost
	Twice  float64       // share of packets that arrive twice
	Late   float64       // share of packets that come later, by up to Later
	Later  time.Duration // may be long enough for a packet of an earlier life of the sender
	Slow   [2]paxos.ServerID
	SlowBy time.Duration // more delay on the link Slow, both ways

	Actions []Action      // in the order of At
	Ends    time.Duration // when the faults end
	Unmet   bool          // the servers have never met at the start; otherwise their disks name each other's Store
	// Forges makes a server lie about promises, votes and decisions. The run does not check the subject of a lie; it checks everything
	// else.
	Forges bool
	// Crowded adds a last part, when all is well again. Every server then calls in Limits.MaxOpen instances of its own, all at about the
	// same time. No call may be refused, and all must end.
	Crowded bool

	NoStanding bool // no server stands by itself

	// Explicit makes packets arrive after Delay, save those in Packets. Loss, Twice and Late are then not used.
	Explicit bool
	Packets  []PacketFate
}

// A PacketFate is the fate of one packet.
type PacketFate struct {
	From, To paxos.ServerID
	Pulls    bool            // a packet that does nothing but pull; such packets are counted apart, as they come whatever else happens
	Nth      uint64          // which packet of From to To, from 1, over all lives
	Copies   []time.Duration // after how long each copy arrives; none: the packet is lost
}

// An Act is something that happens in a Chaos.
type Act uint8

// The acts. The comments name the fields of Action that they use.
const (
	ActPropose Act = iota
	ActWait
	ActRead
	ActReady
	ActCancel // cancels the latest call on Server
	ActCrash  // the contents of the running Save are lost
	ActCrashSaved
	ActRestart
	ActPause
	ActResume
	ActFailSave // the next Save fails, and the server is down; nothing of the Save is on the disk
	ActFailSaveLate
	ActHangSave
	ActSaveTime // For: the new time
	ActLoadTime // For: the new bound, in place of ReadTime
	ActForget   // Names
	ActChange   // Members: the next acceptors and learners
	ActSettled
	ActWipe        // while Server is down, its disk is lost and replaced; the others are to go on without it: see chaosRun.wipe
	ActCut         // Server -> Peer
	ActJoin        // Server -> Peer
	ActForge       // Message from Server to Peer
	ActTwist       // an altered copy of the next message from Server to Peer arrives beside it, as from a server that lies
	ActStranger    // Message to Server, from a server that is no member
	ActCrashSeal   // in the middle of Server's next Save of a new configuration; Kept, For: how long it is down
	ActCrashImport // in the middle of its next Save of how far its import came; Kept, For
	ActLoseSource  // Server loses its disk when another server saves how far its import came, For: as for ActCrashSeal
	ActStand       // Server asks the acceptors to promise a standing ballot
	acts
)

var actNames = [acts]string{"propose", "wait", "read", "ready", "cancel", "crash", "crash-saved", "restart", "pause", "resume",
	"fail-save", "fail-save-late", "hang-save", "save-time", "load-time", "forget", "change", "settled", "wipe", "cut", "join", "forge", "twist", "stranger",
	"crash-seal", "crash-import", "lose-source", "stand"}

// String returns the word for a in scripts.
func (a Act) String() string { return actNames[a] }

// An Action is an [Act] at a time. Fields that the Act does not use are zero. An Action that is impossible at its time, such as the crash
// of a server that is down, does nothing.
type Action struct {
	At       time.Duration
	Act      Act
	Server   paxos.ServerID
	Peer     paxos.ServerID
	Instance string
	Value    paxos.Value
	Names    paxos.NameRange
	Members  paxos.Members
	For      time.Duration
	Kept     bool // the contents of the Save are on the disk
	Message  paxos.Message
}

// String returns one line: " 12ms propose 1 job/0 "v"".
func (a Action) String() string {
	s := fmt.Sprintf("%8s  %s %d", a.At.Round(time.Microsecond), a.Act, a.Server)
	switch a.Act {
	case ActPropose:
		s += fmt.Sprintf(" %s %q", a.Instance, string(a.Value))
	case ActWait, ActRead:
		s += " " + a.Instance
	case ActForget:
		s += " " + a.Names.String()
	case ActChange:
		s += fmt.Sprintf(" to acceptors %s, learners %v", a.Members.Voters(), a.Members.Learners)
	case ActCrashSeal, ActCrashImport, ActLoseSource:
		s += fmt.Sprintf(" for %s, kept: %t", a.For, a.Kept)
	case ActSaveTime, ActLoadTime:
		s += " " + a.For.String()
	case ActCut, ActJoin:
		s += fmt.Sprintf(" -> %d", a.Peer)
	case ActForge:
		s += fmt.Sprintf(" -> %d: %s", a.Peer, a.Message)
	case ActTwist:
		s += fmt.Sprintf(" -> %d: %s %q", a.Peer, a.Message.Kind, string(a.Value))
	case ActStranger:
		s += fmt.Sprintf(" gets: %s", a.Message)
	}
	return s
}

// String returns the whole Chaos, one line for each action and packet.
func (c Chaos) String() string {
	q := c.Quorum
	if q == nil {
		q = paxos.Majority(c.Servers)
	}
	s := fmt.Sprintf("seed %d: %d servers, %d learners, %s, delay %s, save %s, read up to %s, silence %s to %s, phase %s, pull %s\n", c.Seed, c.Servers,
		c.Learners, q, c.Delay, c.SaveTime, c.ReadTime, c.Timing.Silence, c.Timing.MaxSilence, c.Timing.Phase, c.Timing.Pull)
	if c.Unmet {
		s += "the servers have never met\n"
	}
	if !c.Explicit {
		s += fmt.Sprintf("loss %.2f, twice %.2f, late %.2f by up to %s, link %d-%d slower by %s\n", c.Loss, c.Twice, c.Late, c.Later,
			c.Slow[0], c.Slow[1], c.SlowBy)
	}
	for _, a := range c.Actions {
		s += a.String() + "\n"
	}
	for _, p := range c.Packets {
		kind := "packet"
		if p.Pulls {
			kind = "pull"
		}
		s += fmt.Sprintf("%s %d of %d -> %d arrives after %v\n", kind, p.Nth, p.From, p.To, p.Copies)
	}
	return s + fmt.Sprintf("%8s  all faults end\n", c.Ends.Round(time.Microsecond))
}

// Bound is how long the cluster may take after Ends until all is well, at the 99th percentile over seeds. It is the longest silence, a
// phase, a backoff, a pull and 20 delays. No seed may take more than four times that, and a phase for each server.
func (c Chaos) Bound() time.Duration {
	t := c.Timing
	if c.Crowded { // in a ring that is longer than in other seeds, of which few servers may know of an instance
		t.Phase *= time.Duration(c.Servers)
	}
	return max(t.Silence, t.MaxSilence) + t.Phase + t.MaxBackoff + t.Pull + 20*c.Delay
}
