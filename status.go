package paxos

import (
	"encoding/json"
	"fmt"
	"time"
)

// Counters count the work of a server since it started.
type Counters struct {
	Sent     [22]uint64 // messages sent, by Kind
	Received [22]uint64 // messages taken, by Kind
	Packets  uint64     // packets sent
	Saves    uint64     // Saves begun
	Records  uint64     // records in those Saves
	Attempts uint64     // ballots begun
	Owned    uint64     // those of them in round 0, of an instance that the server owns
	Stands   uint64     // standing ballots that the server has asked the acceptors to promise
	Standing uint64     // attempts in such a ballot: they began with the Accept
	// OneTrip counts the decisions of attempts of this server that began with the Accept: in round 0, or in a standing ballot.
	OneTrip uint64
	// Forwards counts the proposals of this server that it has forwarded to the server that stands. Hedges counts those of them that
	// took too long there, so that this server began a ballot of its own. Forwarded counts the proposals of other servers that this
	// one took up in its standing ballot.
	Forwards, Hedges, Forwarded uint64
	// Superseded counts the attempts that met a higher ballot. Resends counts the messages that went again to silent acceptors.
	Superseded, Resends uint64
	Takeovers           uint64 // attempts begun to finish an instance of another server
	Fetched             uint64 // decisions asked for because another server had listed them
	Decided             uint64 // decisions learned
	Changes             uint64 // configurations entered
	Dropped             uint64 // messages that were not valid, or for which there was no room
	// Unwatched counts the undecided instances that left memory for want of room, and that this server no longer watches. It
	// finishes such an instance when somebody asks for it, or after its next start. It watches 16 x Limits.MaxOpen instances
	// that have left memory, or 4,096 if that is more.
	Unwatched      uint64
	DroppedPackets uint64 // packets that were refused or late
	Strangers      uint64 // those of them that came from no member, or were for another server
	Faults         uint64 // proofs that some server broke the protocol
}

// A PeerStatus is the knowledge of a server about another.
type PeerStatus struct {
	ID    ServerID
	Votes bool
	Heard time.Duration // since its last packet; negative: never heard
	Store uint64        // its storage: with another one it is refused; 0: it was never met
	Boot  uint64
	Index uint64 // its last durable decision
	// Taken is the Index of this server up to which it has all decisions, as it has said. 0: it has not said so. A server says so
	// when it pulls, and it pulls from acceptors.
	Taken   uint64
	Refused string // why its packets are refused, or that it refuses those of this server; empty: neither
	Dropped uint64 // its packets that were not taken
	// Limits says in words how its MaxValue and MaxPacket differ from those of this server. Empty: they are the same, or not
	// known.
	Limits string
	// Complete says that it is an acceptor of this server's configuration, and remembers all that the acceptors before remembered. It
	// has said so since this server started. A change may be settled before all acceptors are complete.
	Complete bool
}

// An OpenInstance is an instance that has begun and of which the server knows no decision.
type OpenInstance struct {
	Instance string
	Age      time.Duration // since it came into memory
	Ballot   Ballot        // the highest ballot that this server has promised or tried; zero: none
	Calls    int           // calls on this server that wait for it
	// Orphaned says that this server knows of no value to finish the instance with. The others were asked once, and knew no
	// decision. The instance waits for the next proposal.
	Orphaned bool
}

// An ImportStatus tells how far an acceptor of a new configuration has taken over what other acceptors remember. It is zero if there is
// nothing to take over.
type ImportStatus struct {
	Sources int // the acceptors from which it imports
	Done    int // those of them from which all is here, and durable
	// Records is how many of the Goal decisions of the sources are here, and durable. A source is in both numbers when it has told all
	// its undecided instances.
	Records, Goal uint64
}

// A StandingStatus is the knowledge of a server about standing ballots. A server that has one, and proposes first in an instance with an
// ordinary name, decides after one round trip.
type StandingStatus struct {
	// Promised is the highest standing ballot that this server has promised. Its Server is the one that stands, or stood last. Zero: none.
	Promised Ballot
	Stands   time.Duration // since this server asked the acceptors to promise its own; 0: it does not stand
	// Ready says that it uses its own: a phase-1 quorum has promised it, and all is known here that these acceptors had decided by then.
	Ready bool
}

// Status is the state of a server, for people and monitors. A Node fills in Err.
type Status struct {
	ID      ServerID
	Store   uint64
	Boot    uint64
	Members string // cluster, acceptors and quorum, in words
	// Configuration is the number of the configuration under which this server lives. 0: the members never changed.
	Configuration uint64
	// Settled says that a phase-2 quorum of the configuration is complete, as far as this server knows. Servers that are not in it
	// are not needed any more.
	Settled  bool
	Import   ImportStatus
	Standing StandingStatus
	Calls    int // calls that wait
	Open     int // undecided instances, in memory or to come back to it
	// Orphaned is how many of them are orphaned: see [OpenInstance].
	Orphaned int
	// Instances are the oldest of the open instances, 1,000 at most, the oldest first.
	Instances []OpenInstance
	// NoQuorum is the time for which no quorum has answered this server's attempts and questions. 0: a quorum answers. A server
	// that asks nothing notices within two Timing.Pull that no quorum is there, or that one is there again. Peers shows the
	// silent servers.
	NoQuorum time.Duration
	// StorageWait is the time since the running Save began. 0: none runs. For a Node it may also be the time since the oldest
	// running Load began. Some milliseconds are normal. Seconds mean that the disk does not answer.
	StorageWait time.Duration
	Index       uint64 // the highest Index whose record is durable
	Counters    Counters
	// Forgotten are the ranges of names that this server has forgotten, in the order of names. Single names are not in it.
	Forgotten []NameRange
	// Broken has the last 16 proofs that some server broke the protocol, the oldest first. They stay until the process ends.
	// Counters.Faults counts all of them. A cluster with such a proof needs a person: see [SafetyError].
	Broken []*SafetyError
	Peers  []PeerStatus
	Err    error // why the server stopped; nil: it runs
}

// Metrics are the numbers of a server that a monitor asks for every few seconds. They cost the same however many instances are open.
// [Metrics.All] gives each of them its name. node.Node.Metrics returns them.
type Metrics struct {
	ID      ServerID
	Boot    uint64        // the number of this start
	Uptime  time.Duration // since this start
	Running bool          // false: the server has stopped, and these are its last numbers
	// Configuration, Settled, Import and Standing are those of a [Status].
	Configuration uint64
	Settled       bool
	Import        ImportStatus
	Standing      StandingStatus
	Calls         int // calls that wait
	Open          int // undecided instances, in memory or to come back to it
	Orphaned      int // those of them that wait for the next proposal: see [OpenInstance]
	InMemory      int // instances in memory: undecided ones, and decided ones of which not all is saved or told
	// NoQuorum, StorageWait and Index are those of a [Status].
	NoQuorum    time.Duration
	StorageWait time.Duration
	Index       uint64
	Counters    Counters
	Peers       []PeerStatus // the other servers
}

// A Metric is one of [Metrics], or one for each of some labels. Names, units and labels never change their meaning.
type Metric struct {
	// Name is in lower case, with words that are joined by "_". It has no prefix, and no suffix for the unit or the type.
	Name string
	Unit string // "s" is seconds, "By" is bytes; empty: a plain number
	Help string // one sentence
	// Counter says that it only rises, from 0 at each start. Else it is a gauge, which rises and falls.
	Counter bool
	Label   string // "kind" is a Kind of messages, "peer" the ID of another server, "reason" a word; empty: there is one value, without a label
	Values  []MetricValue
}

// A MetricValue is one value of a [Metric].
type MetricValue struct {
	Label string // the value of the label; empty: the Metric has none
	Value float64
}

// All returns each metric, always in the same order. One for each peer has no values if there is no peer, as in a zero Metrics.
// The caller owns the result.
func (m Metrics) All() []Metric {
	all := make([]Metric, 0, 48)
	all = m.gauges(all)
	all = m.perPeer(all)
	return m.Counters.all(all)
}

func (m Metrics) gauges(all []Metric) []Metric {
	gauge := func(name, unit string, value float64, help string) {
		all = append(all, Metric{Name: name, Unit: unit, Help: help, Values: []MetricValue{{"", value}}})
	}
	gauge("running", "", oneIf(m.Running), "1 while the server runs, and 0 when it has stopped.")
	gauge("uptime", "s", m.Uptime.Seconds(), "Time since the server started.")
	gauge("boot", "", float64(m.Boot), "The number of this start of the server on its storage.")
	gauge("no_quorum", "s", m.NoQuorum.Seconds(), "Time for which no quorum has answered. 0: a quorum answers.")
	gauge("storage_wait", "s", m.StorageWait.Seconds(), "Time for which the storage has not answered the running Save or Load. 0: none runs.")
	gauge("calls_waiting", "", float64(m.Calls), "Calls that wait on this server.")
	gauge("instances_open", "", float64(m.Open), "Instances that have begun and are not decided, as far as this server knows.")
	gauge("instances_orphaned", "", float64(m.Orphaned), "Open instances that wait for the next proposal, as no server knows a value.")
	gauge("instances_in_memory", "", float64(m.InMemory), "Instances in memory that are not at rest.")
	gauge("index", "", float64(m.Index), "The Index of the last durable decision of this server.")
	gauge("configuration", "", float64(m.Configuration), "The number of the last change of members under which this server lives.")
	gauge("configuration_settled", "", oneIf(m.Settled), "1 if the last change of members is done, and 0 while it is not.")
	gauge("standing", "s", m.Standing.Stands.Seconds(), "Time since this server asked the others to promise a standing ballot. 0: it has none.")
	gauge("standing_ready", "", oneIf(m.Standing.Ready), "1 while this server has a standing ballot that it can use, else 0.")
	gauge("import_records", "", float64(m.Import.Records), "Decisions that a new acceptor has taken over.")
	gauge("import_goal_records", "", float64(m.Import.Goal), "Decisions that a new acceptor has to take over. 0: none.")
	return all
}

func (m Metrics) perPeer(all []Metric) []Metric {
	const label = "peer"
	silence := Metric{Name: "peer_silence", Unit: "s", Label: label, Help: "Time since the last packet of that server, or since the start if there was none."}
	refused := Metric{Name: "peer_refused", Label: label, Help: "1 if one of the two servers takes nothing from the other, else 0."}
	behind := Metric{Name: "peer_decisions_behind", Label: label, Help: "Decisions of this server that the other one has not said to have. Missing: it has said nothing yet."}
	dropped := Metric{Name: "peer_packets_dropped", Counter: true, Label: label, Help: "Packets of that server that were not taken."}
	for _, p := range m.Peers {
		id := fmt.Sprint(uint64(p.ID))
		heard := p.Heard
		if heard < 0 {
			heard = m.Uptime
		}
		silence.Values = append(silence.Values, MetricValue{id, heard.Seconds()})
		refused.Values = append(refused.Values, MetricValue{id, oneIf(p.Refused != "")})
		dropped.Values = append(dropped.Values, MetricValue{id, float64(p.Dropped)})
		if p.Taken > 0 {
			behind.Values = append(behind.Values, MetricValue{id, float64(m.Index - min(m.Index, p.Taken))})
		}
	}
	return append(all, silence, refused, behind, dropped)
}

func (c *Counters) all(all []Metric) []Metric {
	count := func(name string, value uint64, help string) {
		all = append(all, Metric{Name: name, Counter: true, Help: help, Values: []MetricValue{{"", float64(value)}}})
	}
	byKind := func(name string, counts *[len(c.Sent)]uint64, help string) {
		m := Metric{Name: name, Counter: true, Label: "kind", Help: help}
		for k := 1; k < len(counts); k++ {
			m.Values = append(m.Values, MetricValue{Kind(k).String(), float64(counts[k])})
		}
		all = append(all, m)
	}
	count("decisions_learned", c.Decided, "Decisions that this server has learned.")
	count("decisions_fetched", c.Fetched, "Decisions asked for because another server had listed them.")
	count("attempts", c.Attempts, "Ballots begun.")
	count("attempts_owned", c.Owned, "Ballots begun in round 0, of instances that this server owns.")
	count("attempts_standing", c.Standing, "Ballots begun without a phase 1 of their own, in a standing ballot of this server.")
	count("standing_ballots", c.Stands, "Standing ballots that this server has asked the others to promise.")
	count("decisions_in_one_round_trip", c.OneTrip, "Decisions of this server that took one round trip.")
	count("proposals_forwarded", c.Forwards, "Proposals of this server that it has forwarded to the server that stands.")
	count("proposals_hedged", c.Hedges, "Forwarded proposals that took too long, so that this server began a ballot of its own.")
	count("attempts_forwarded", c.Forwarded, "Ballots begun in a standing ballot of this server, for proposals of others.")
	count("attempts_superseded", c.Superseded, "Ballots that met a higher one.")
	count("takeovers", c.Takeovers, "Ballots begun to finish an instance of another server.")
	count("saves", c.Saves, "Saves begun.")
	count("records_saved", c.Records, "Records in those Saves.")
	count("packets_sent", c.Packets, "Packets sent.")
	byKind("messages_sent", &c.Sent, "Messages sent, by kind.")
	byKind("messages_received", &c.Received, "Messages taken, by kind.")
	count("messages_resent", c.Resends, "Messages that went again to silent acceptors.")
	count("messages_dropped", c.Dropped, "Messages that were not valid, or for which there was no room.")
	count("packets_dropped", c.DroppedPackets, "Packets that were refused or late.")
	count("packets_of_strangers", c.Strangers, "Dropped packets that came from no member, or were for another server.")
	count("instances_unwatched", c.Unwatched, "Open instances that left memory, and that this server no longer watches.")
	count("configurations_entered", c.Changes, "Configurations entered.")
	count("faults", c.Faults, "Proofs that some server broke the protocol.")
	return all
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// MarshalJSON returns an object with each metric under its name, for [expvar]. One with a label is an object by label.
func (m Metrics) MarshalJSON() ([]byte, error) {
	object := map[string]any{}
	for _, metric := range m.All() {
		if metric.Label == "" {
			object[metric.Name] = metric.Values[0].Value
			continue
		}
		values := map[string]float64{}
		for _, v := range metric.Values {
			values[v.Label] = v.Value
		}
		object[metric.Name] = values
	}
	return json.Marshal(object)
}

// A RoundTrip is the time from a server's question to all acceptors until a quorum has answered. It contains the Saves of these acceptors.
type RoundTrip struct {
	// Kind is KindPrepare for phase 1, KindAccept for phase 2, and KindQuery for a Read.
	Kind     Kind
	Duration time.Duration
}
