package main

import (
	"fmt"
	"time"
)

// A work is what all contestants at it do alike. It is comparable.
type work struct {
	Disk    bool // durable storage and TCP over loopback; else memory
	Servers int
	Callers int
	Value   int // bytes
	// Contended has all callers propose the same names, in the same order.
	Contended bool `json:",omitempty"`
	// Decided is how many instances were decided before.
	Decided int `json:",omitempty"`
	// Gap has a server stopped on the way: the leader, where there is one.
	Gap bool `json:",omitempty"`
	// Frozen has it stand still instead, as after a SIGSTOP: its connections stay, and so do its callers.
	Frozen bool `json:",omitempty"`
	// Change names a change on the way: of the members, or of the names that are remembered.
	Change string `json:",omitempty"`
	// Alone has no peers: they would take too long.
	Alone bool `json:",omitempty"`
	// Varied works differ from the base in one thing alone, and are not the point.
	Varied bool `json:",omitempty"`
	// Floor is what the machine can do, without any library.
	Floor bool `json:",omitempty"`
	// Sweep names the number that grows in the row of works that this one belongs to.
	Sweep string `json:",omitempty"`
}

// String is what -only is matched against, after it the contestant: "disk/3 servers/16 callers/64 B/paxos".
func (w work) String() string {
	if w.Floor {
		return "floor"
	}
	s := fmt.Sprintf("%s/%d servers/%d callers/%s", w.where(), w.Servers, w.Callers, bytesText(w.Value))
	if w.Contended {
		s += "/contended"
	}
	if w.Decided > 0 {
		s += fmt.Sprintf("/%d decided", w.Decided)
	}
	if w.Gap {
		s += "/gap"
	}
	if w.Frozen {
		s += "/frozen"
	}
	if w.Change != "" {
		s += "/" + w.Change
	}
	if w.Sweep != "" {
		s = "sweep " + w.Sweep + "/" + s
	}
	return s
}

// replaces reports whether the work replaces a server beside callers: that is what peers do, too.
func (w work) replaces() bool { return w.Change == changeServer || w.Change == changeLeader }

func (w work) where() string {
	if w.Disk {
		return "disk"
	}
	return "memory"
}

// A job is one measured run: a child process gets it, and answers with a result.
type job struct {
	Work       work
	Contestant string
	Ours       bool
	Floor      bool          `json:",omitempty"` // no library
	Warm       time.Duration // callers run, and nothing counts
	Window     time.Duration // time that is measured
	Dir        string        // for what must be durable; the child makes it, the parent removes it
}

// id is what -only is matched against.
func (j job) id() string { return j.Work.String() + "/" + j.Contestant }

// curveAt are the quantiles of a latency curve.
var curveAt = []float64{0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999}

// A result is what one run measured. Latencies are in microseconds, pauses in milliseconds; "per decision" is over all
// servers together, and with the callers, since all of them are one process.
type result struct {
	Decisions uint64
	Calls     uint64 // that returned; more than Decisions where several callers ask for one name
	Seconds   float64
	PerSecond float64 // decisions

	P50, P99, P999, Max float64   // of a call
	Curve               []float64 `json:",omitempty"` // at curveAt, as far as there were calls enough to tell

	Allocs, Bytes float64 // per decision
	CPU           float64 // microseconds per decision
	OtherCPU      float64 // cores that others used meanwhile

	Syncs    *float64 `json:",omitempty"` // fsyncs of the log, per decision and server; nil: not known
	Messages *float64 `json:",omitempty"` // per decision
	Memory   *float64 `json:",omitempty"` // bytes of the process per decided instance and server

	Before, After float64 // longest pause before and after a server was stopped

	Changed *changed `json:",omitempty"`

	Errors int
	Error  string `json:",omitempty"` // the first of them
}

// A run is a job that was done.
type run struct {
	Round  int
	Job    job
	Result result
}
