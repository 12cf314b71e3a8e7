package paxos

import "time"

// timers holds the instances whose timer runs, as a heap by time. Each instance has one timer at most and knows its place,
// so setting it anew moves it.
type timers struct{ heap []*instance }

// next returns when the first timer is due.
func (t *timers) next() (time.Duration, bool) {
	if len(t.heap) == 0 {
		return 0, false
	}
	return t.heap[0].at, true
}

// due takes out an instance whose timer is due, or returns nil.
func (t *timers) due(now time.Duration) *instance {
	if len(t.heap) == 0 || t.heap[0].at > now {
		return nil
	}
	inst := t.heap[0]
	t.stop(inst)
	return inst
}

// set has the timer of inst be due at that time, and no other.
func (t *timers) set(inst *instance, at time.Duration) {
	if inst.timer == 0 {
		t.heap = append(t.heap, inst)
		inst.timer = len(t.heap)
	}
	inst.at = at
	t.down(t.up(inst.timer - 1))
}

// stop ends the timer of inst, if it runs.
func (t *timers) stop(inst *instance) {
	if inst.timer == 0 {
		return
	}
	i, end := inst.timer-1, len(t.heap)-1
	inst.timer = 0
	moved := t.heap[end]
	t.heap[end] = nil
	t.heap = t.heap[:end]
	if i < end {
		t.heap[i] = moved
		moved.timer = i + 1
		t.down(t.up(i))
	}
}

func (t *timers) up(i int) int {
	for i > 0 && t.heap[i].at < t.heap[(i-1)/2].at {
		t.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
	return i
}

func (t *timers) down(i int) {
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(t.heap); c++ {
			if t.heap[c].at < t.heap[least].at {
				least = c
			}
		}
		if least == i {
			return
		}
		t.swap(i, least)
		i = least
	}
}

func (t *timers) swap(i, j int) {
	t.heap[i], t.heap[j] = t.heap[j], t.heap[i]
	t.heap[i].timer, t.heap[j].timer = i+1, j+1
}
