package main

import (
	"slices"
)

// A plan is the works of one report, in the order in which it shows them.
type plan []work

// comparison is what the contestants are compared at. The first of servers and of values is the base: it is measured with
// each of callers, in memory and on disk. All others vary the base in one thing alone, on disk and with the middle of
// callers; so does contention. With full it is every combination instead.
func comparison(servers, callers, values []int, full bool) (p plan) {
	p = append(p, work{Floor: true, Disk: true, Servers: 1, Callers: 1, Value: floorBytes}, work{Floor: true, Disk: true, Servers: 1, Callers: 3, Value: floorBytes})
	middle := []int{callers[len(callers)/2]}
	if full {
		for _, contended := range []bool{false, true} {
			p = append(p, product([]bool{false, true}, servers, callers, values, contended)...)
		}
		return p
	}
	p = append(p, product([]bool{false, true}, servers[:1], callers, values[:1], false)...)
	base := len(p)
	disk := []bool{true}
	p = append(p, product(disk, servers[1:], middle, values[:1], false)...)
	p = append(p, product(disk, servers[:1], middle, values[:1], true)...)
	p = append(p, product(disk, servers[:1], middle, values[1:], false)...)
	for i := range p[base:] {
		p[base+i].Varied = true
	}
	return p
}

// floorBytes is what a floor appends, and sends: about a record of a decision of 64 bytes.
const floorBytes = 128

func product(disks []bool, servers, callers, values []int, contended bool) (p plan) {
	for _, d := range disks {
		for _, s := range servers {
			for _, v := range values {
				for _, c := range callers {
					if !contended || c > 1 {
						p = append(p, work{Disk: d, Servers: s, Callers: c, Value: v, Contended: contended})
					}
				}
			}
		}
	}
	return p
}

// sweep is how the cost of this library grows, with one thing at a time.
func sweep(huge bool) (p plan) {
	base := work{Disk: true, Servers: 3, Callers: 16, Value: 64}
	decided := []int{1_000, 10_000, 100_000, 1_000_000}
	if huge {
		decided = append(decided, 10_000_000)
	}
	for _, n := range decided {
		w := base
		w.Sweep, w.Decided = sweepDecided, n
		p = append(p, w)
	}
	for _, disk := range []bool{false, true} {
		base.Disk = disk
		for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9} {
			w := base
			w.Sweep, w.Servers = sweepServers, n
			p = append(p, w)
		}
		for _, n := range []int{16, 256, 4 << 10, 64 << 10, 256 << 10, 1 << 20} {
			w := base
			w.Sweep, w.Value = sweepValues, n
			p = append(p, w)
		}
		for _, n := range []int{1, 4, 16, 64, 256, 1024} {
			w := base
			w.Sweep, w.Callers = sweepCallers, n
			p = append(p, w)
		}
	}
	return p
}

// The number that grows in a sweep.
const (
	sweepDecided = "decided instances"
	sweepServers = "servers"
	sweepValues  = "bytes of a value"
	sweepCallers = "callers"
)

// grown is the figure that grows in the sweep of w.
func (w work) grown() int {
	switch w.Sweep {
	case sweepDecided:
		return w.Decided
	case sweepServers:
		return w.Servers
	case sweepValues:
		return w.Value
	default:
		return w.Callers
	}
}

// pauseWorks are what the contestants are compared at when a server stops. That a server stands still is for this library alone.
func pauseWorks() plan {
	killed := work{Disk: true, Servers: 3, Callers: 16, Value: 64, Gap: true}
	frozen := killed
	frozen.Frozen = true
	return plan{killed, frozen}
}

// changeWorks are what changes beside callers. A server is replaced when beside instances are decided, where peers do it too. All
// else is measured with decided instances.
func changeWorks(decided, beside int) (p plan) {
	base := work{Disk: true, Servers: 3, Callers: 16, Value: 64}
	for _, c := range []struct {
		change  string
		decided int
	}{{changeServer, beside}, {changeLeader, beside}, {changeServer, decided}, {changeImport, decided}, {forgetIdle, decided}, {forgetBusy, decided},
		{changeStanding, 0}} {
		w := base
		w.Change, w.Decided = c.change, c.decided
		if c.change == changeImport || c.change == forgetIdle {
			w.Callers = 0
		}
		if !slices.Contains(p, w) {
			w.Alone = len(p) > 1
			p = append(p, w)
		}
	}
	return p
}

// distinct returns numbers without repetitions, in their order.
func distinct(numbers []int) (once []int) {
	for _, n := range numbers {
		if !slices.Contains(once, n) {
			once = append(once, n)
		}
	}
	return once
}
