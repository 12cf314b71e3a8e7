package main

import "fmt"

// line says in a few words what came out, while others still run.
func (r result) line(w work) string {
	s := countText(r.PerSecond) + "/s"
	if r.Changed != nil {
		return r.Changed.line(w) + r.others()
	}
	if w.Gap {
		s += fmt.Sprintf(", longest pause %s, before %s", millisText(r.After), millisText(r.Before))
	} else {
		s += fmt.Sprintf(", p50 %s, p99 %s", microsText(r.P50), microsText(r.P99))
	}
	if r.Memory != nil {
		s += fmt.Sprintf(", %s B of memory per decided instance", countText(*r.Memory))
	}
	if r.Errors > 0 && !w.Gap { // there, some calls must fail
		s += fmt.Sprintf(", %d errors, first: %s", r.Errors, r.Error)
	}
	return s + r.others()
}

// others says that the machine was not quiet.
func (r result) others() string {
	if r.OtherCPU > busyCores {
		return fmt.Sprintf(" * others used %.1f cores", r.OtherCPU)
	}
	return ""
}

func (c *changed) line(w work) string {
	before, during, after := c.Phases[phaseBefore], c.Phases[phaseDuring], c.Phases[phaseAfter]
	switch w.Change {
	case changeImport:
		return fmt.Sprintf("%s/s, %s times their bytes sent", countText(c.Import), shortText(c.Wire))
	case forgetIdle:
		return fmt.Sprintf("a call of %s, memory %s, %s, %s (free after %.1f s), disk %s, %s, %s", millisText(c.Call), megaText(c.Memory[0]),
			megaText(c.Memory[1]), megaText(c.Memory[2]), c.Freed, megaText(c.Disk[0]), megaText(c.Disk[1]), megaText(c.Disk[2]))
	default:
		s := fmt.Sprintf("longest pause %s, %s, %s, %s/s, %s/s, %s/s in %.1f s, %.1f s, %.1f s", millisText(before.Worst), millisText(during.Worst),
			millisText(after.Worst), countText(before.PerSecond), countText(during.PerSecond), countText(after.PerSecond), before.Seconds,
			during.Seconds, after.Seconds)
		if c.Settled > 0 {
			s += fmt.Sprintf(", settled after %.2f s", c.Settled)
		}
		if c.Call > 0 {
			s += ", a call of " + millisText(c.Call)
		}
		return s
	}
}
