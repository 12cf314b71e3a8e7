package paxostest

import (
	"fmt"
	"time"

	"github.com/singledecree/paxos"
)

// A Chaos is all that goes wrong in one run of a cluster, as data: what the network does to each packet, and what happens
// when. NewChaos draws one from a seed. The same Chaos does the same again, bit for bit.
//
// A run has two parts. Until Ends, faults are on. Then all of them end, who is down starts again, and within a bound every
// decision must be known on every server, and everything that anybody can finish be decided (I10).
type Chaos struct {
	Seed     uint64
	Servers  int          // acceptors
	Learners int          // servers that do not vote
	Quorum   paxos.Quorum // nil: a majority
	Limits   paxos.Limits
	Timing   paxos.Timing
	Delay    time.Duration // of every message, one way, at least
	SaveTime time.Duration // of every Save
	ReadTime time.Duration // of every Load and every List, at most: each takes a time of its own, and so they end in any order

	Loss   float64       // of packets
	Twice  float64       // packets that arrive twice
	Late   float64       // packets that come later, by up to Later
	Later  time.Duration // may be long: from an earlier life of the sender
	Slow   [2]paxos.ServerID
	SlowBy time.Duration // more on the link Slow, either way

	Actions []Action      // in the order of At
	Ends    time.Duration // of the faults
	Unmet   bool          // the servers have never met when it begins; else their disks name each other's
	// Forges has a server lie, in what it says of promises, votes and decisions. What it lies about is not checked then, but all the rest is.
	Forges bool
	// Crowded has, when all is well again, every server call in as many instances of its own as Limits.MaxOpen allows, all at
	// about the same time: none is refused, and all end.
	Crowded bool

	// Explicit, if set, has packets arrive after Delay, save those in Packets: Loss, Twice and Late are not used then.
	Explicit bool
	Packets  []PacketFate
}

// A PacketFate is what becomes of one packet.
type PacketFate struct {
	From, To paxos.ServerID
	Pulls    bool            // it does nothing but pull: those are counted apart, as they come whatever else happens
	Nth      uint64          // packet of From to To, from 1, over all lives
	Copies   []time.Duration // after how long each arrives; none: it is lost
}

// An Act is something that happens in a Chaos.
type Act uint8

// The acts.
const (
	ActPropose Act = iota
	ActWait
	ActRead
	ActReady
	ActCancel // the call that began last on Server
	ActCrash  // what the running Save holds is lost
	ActCrashSaved
	ActRestart
	ActPause
	ActResume
	ActFailSave // the next Save fails, nothing of it on the disk; the server is down
	ActFailSaveLate
	ActHangSave
	ActSaveTime // For
	ActLoadTime // For: at most, in place of ReadTime
	ActWipe     // the disk is lost and made anew, while the server is down; the rest is to go on without it. See chaosRun.wipe
	ActCut      // Server -> Peer
	ActJoin     // Server -> Peer
	ActForge    // Message from Server to Peer
	ActTwist    // beside the next message from Server to Peer, an altered copy of it comes, as from a server that lies
	ActStranger // Message to Server, from one that is no member
	acts
)

var actNames = [acts]string{"propose", "wait", "read", "ready", "cancel", "crash", "crash-saved", "restart", "pause", "resume",
	"fail-save", "fail-save-late", "hang-save", "save-time", "load-time", "wipe", "cut", "join", "forge", "twist", "stranger"}

// String returns the word for a in scripts.
func (a Act) String() string { return actNames[a] }

// An Action is an Act at a time. Fields that the Act has no use for are zero. An Action that makes no sense when its time
// comes, such as a crash of what is down, does nothing.
type Action struct {
	At       time.Duration
	Act      Act
	Server   paxos.ServerID
	Peer     paxos.ServerID
	Instance string
	Value    paxos.Value
	For      time.Duration
	Message  paxos.Message
}

// String is one line: "  12ms propose 1 job/0 "v"".
func (a Action) String() string {
	s := fmt.Sprintf("%8s  %s %d", a.At.Round(time.Microsecond), a.Act, a.Server)
	switch a.Act {
	case ActPropose:
		s += fmt.Sprintf(" %s %q", a.Instance, string(a.Value))
	case ActWait, ActRead:
		s += " " + a.Instance
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

// String says all of it, a line for each action and packet.
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

// Bound is within how long after Ends all must be well, at the 99th percentile over seeds: the longest silence, a phase, a
// backoff, a pull and 20 delays. No seed may take more than four times that.
func (c Chaos) Bound() time.Duration {
	t := c.Timing
	if c.Crowded { // in a ring that is longer than in other seeds, of which few servers may know of an instance
		t.Phase *= time.Duration(c.Servers)
	}
	return max(t.Silence, t.MaxSilence) + t.Phase + t.MaxBackoff + t.Pull + 20*c.Delay
}
