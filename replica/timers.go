package replica

import "time"

// timers holds the timers that are set, as a heap by time.
type timers struct{ heap []*timer }

// next returns when the first timer is due.
func (t *timers) next() (time.Duration, bool) {
	if len(t.heap) == 0 {
		return 0, false
	}
	return t.heap[0].at, true
}

// due returns the timer that is due first, or nil.
func (t *timers) due(now time.Duration) *timer {
	if len(t.heap) == 0 || t.heap[0].at > now {
		return nil
	}
	return t.heap[0]
}

// set makes that alarm of inst due at that time. The time is not zero.
func (t *timers) set(inst *instance, which alarm, at time.Duration) {
	inst.alarms[which] = at
	t.plan(inst)
}

// stop ends that alarm of inst, if it is set.
func (t *timers) stop(inst *instance, which alarm) {
	if inst.alarms[which] != 0 {
		inst.alarms[which] = 0
		t.plan(inst)
	}
}

// stopAll ends all alarms of inst.
func (t *timers) stopAll(inst *instance) {
	inst.alarms = [alarms]time.Duration{}
	t.remove(&inst.timer)
}

// plan moves inst to the place of its first alarm.
func (t *timers) plan(inst *instance) {
	var first time.Duration
	for _, at := range inst.alarms {
		if at != 0 && (first == 0 || at < first) {
			first = at
		}
	}
	if first == 0 {
		t.remove(&inst.timer)
		return
	}
	if inst.timer.inst == nil {
		inst.timer.inst = inst
	}
	t.put(&inst.timer, first)
}

// put makes w due at that time.
func (t *timers) put(w *timer, at time.Duration) {
	switch {
	case w.place == 0:
		t.heap = append(t.heap, w)
		w.place = len(t.heap)
	case at == w.at:
		return
	}
	w.at = at
	t.down(t.up(w.place - 1))
}

func (t *timers) remove(w *timer) {
	if w.place == 0 {
		return
	}
	i, end := w.place-1, len(t.heap)-1
	w.place = 0
	moved := t.heap[end]
	t.heap[end] = nil
	t.heap = t.heap[:end]
	if i < end {
		t.heap[i] = moved
		moved.place = i + 1
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
	t.heap[i].place, t.heap[j].place = i+1, j+1
}
